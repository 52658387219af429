"""What all benchmarks print: a table, the bars, and one JSON object as the last line."""

from __future__ import annotations

import json
import os
import platform
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints columns, the first one to the left, all others to the right."""
    cells = [[str(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(len(row[c]) for row in cells) for c in range(len(heads))]
    for row in cells:
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join([row[0].ljust(len(first)), *others]), flush=True)


def result(permanent_id: str, bars: Mapping[str, bool], **figures: Any) -> int:
    """Prints whether each bar is met, then everything as one line of JSON.

    Returns:
        The exit code: 1 if a bar is missed.
    """
    print()
    for bar, met in bars.items():
        print(f"{'met   ' if met else 'MISSED'}  {bar}")
    cpu = f"{_cpu()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(json.dumps({"id": permanent_id, "machine": cpu, "bars": dict(bars), **figures}))
    return int(not all(bars.values()))


def missing(policy: Mapping[str, object]) -> str:
    """Why this installation cannot build such a policy, or nothing."""
    from policies import PolicyError
    from policies.registry import names, settings_of

    if policy.get("type") not in names():
        return "no such policy is installed"
    try:
        settings_of(policy)
    except PolicyError as error:
        return str(error)
    return ""


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor()
