"""The same examples in every run: a test that fails here fails everywhere, and one that passes keeps passing."""

from __future__ import annotations

import signal

from hypothesis import settings

settings.register_profile("rankd", derandomize=True, deadline=None, database=None)
settings.load_profile("rankd")

# What a shell starts in the background ignores Ctrl-C, and so would whatever the tests start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.services.fixtures"]
