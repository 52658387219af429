"""Importing rankd costs nothing until a client is wanted."""

from __future__ import annotations

import subprocess
import sys

import pytest

import rankd


@pytest.mark.parametrize(
    "statement", ["import rankd", "from rankd.v1 import decisions_pb2", "import rankd.errors"]
)
def test_no_grpc_where_none_is_wanted(statement: str) -> None:
    script = f"{statement}\nimport sys\nprint('grpc' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_every_public_name_is_there() -> None:
    assert set(rankd.__all__) <= set(dir(rankd))
    assert [getattr(rankd, name).__name__ for name in rankd.__all__] == rankd.__all__


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="module 'rankd' has no attribute 'Klient'"):
        rankd.Klient  # noqa: B018
