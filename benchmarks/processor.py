"""Processor time and memory of a process and all that it has started."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TICKS = os.sysconf("SC_CLK_TCK")


def seconds(root: int, roles: Mapping[int, str]) -> dict[str, float]:
    """User and system seconds so far, by role; a process without one (a proxy, say) has the role of whoever started it.

    Args:
        roles: process id -> role.
    """
    found: dict[str, float] = defaultdict(float)
    for pid, role in _tree(root, roles):
        fields = _stat(pid)
        if fields:
            found[role] += (int(fields[11]) + int(fields[12])) / _TICKS
    return dict(found)


def resident(root: int) -> int:
    """Bytes of memory of all of them; pages that several share count for each."""
    total = 0
    for pid, _ in _tree(root, {}):
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue  # it has just ended
    return total * os.sysconf("SC_PAGE_SIZE")


def _tree(root: int, roles: Mapping[int, str]) -> Iterator[tuple[int, str]]:
    """Every process with its role."""
    below: dict[int, list[int]] = defaultdict(list)
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            below[int(fields[1])].append(int(entry))
    waiting = [(root, roles.get(root, "main"))]
    while waiting:
        pid, role = waiting.pop()
        yield pid, role
        waiting.extend((child, roles.get(child, role)) for child in below[pid])


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on (proc(5)); none where the process has gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()
