"""Which code made a result: other code may give other numbers."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

# What a trial runs: a log of rankd's own is folded. Not what shows results.
_PACKAGES = ("policies", "server.fold", "simulator")
_LIBRARIES = ("numpy", "scipy")


@cache
def code_version() -> dict[str, str]:
    """rankd's version, a digest of the sources that trials run, and the versions of what they compute with.

    A policy's own libraries are among the facts of its trials.

    >>> sorted(code_version())
    ['numpy', 'rankd', 'scipy', 'sources']
    """
    digest = sha256()
    for package in _PACKAGES:
        spec = find_spec(package)
        assert spec is not None
        for place in spec.submodule_search_locations or ():
            for path in sorted(Path(place).rglob("*.py")):
                digest.update(str(path.relative_to(place)).encode() + b"\0" + path.read_bytes())
    return {
        "rankd": version("rankd"),
        "sources": digest.hexdigest()[:16],
        **{name: version(name) for name in _LIBRARIES},
    }
