"""The same examples in every run: a test that fails here fails everywhere, and one that passes keeps passing."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("rankd", derandomize=True, deadline=None, database=None)
settings.load_profile("rankd")

pytest_plugins = ["tests.services.fixtures"]
