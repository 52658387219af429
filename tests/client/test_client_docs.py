"""Every example of docs/client.md runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "client.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) >= 8
    assert all('"localhost:50051"' in example for example in EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs(example: str, service_address: str) -> None:
    # One second is the default timeout, but this machine may be busy.
    settings = (
        f'"{service_address}", timeout=60.0'
        if "timeout=" not in example
        else f'"{service_address}"'
    )
    exec(example.replace('"localhost:50051"', settings), {"__name__": "example"})
