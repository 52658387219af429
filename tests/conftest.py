"""The same examples in every run: a test that fails here fails everywhere, and one that passes keeps passing."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from pathlib import Path

settings.register_profile("rankd", derandomize=True, deadline=None, database=None)
settings.load_profile("rankd")

# What a shell starts in the background ignores Ctrl-C, and so would whatever the tests start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.services.fixtures"]

# They stop, kill and starve real processes and say how soon things must be well again, or how late a reward may be.
# Another test on the same cores would be a fault that nobody asked for.
_ALONE = ("faults", "kafka", "services", "demo", "test_crash.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks the tests that want the machine for themselves."""
    root: Path = config.rootpath / "tests"
    for item in items:
        if item.path.is_relative_to(root) and item.path.relative_to(root).parts[0] in _ALONE:
            item.add_marker(pytest.mark.alone)


@pytest.fixture
def one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client's second attempt would come long after every deadline, so a call ends with the first one's failure.

    Else the last of several may run out of time before it fails, and says so.
    """
    monkeypatch.setattr("rankd.calls.FIRST_BACKOFF", 1e9)
    monkeypatch.setattr("rankd.calls.LAST_BACKOFF", 1e9)
