"""Injects faults into a real cluster, and says what they did: `python -m tests.faults --rounds 50`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import asdict
from pathlib import Path

from tests.faults.catalogue import FAULTS
from tests.faults.checks import CannotInjectError, Outcome
from tests.faults.report import page, row


def main() -> int:
    """Runs from the command line; exit code 1 if anything was lost, doubled or changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rounds", type=int, default=10, help="faults of each kind, where there are several"
    )
    parser.add_argument(
        "--only", choices=sorted(FAULTS), action="append", help="may be given again"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", type=Path, help="add the figures to this file, a line each")
    parser.add_argument(
        "--report", type=Path, help="write the figures, with those of --record, as a page, too"
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # clusters are stopped on the way out
    outcomes = recorded(arguments.record) if arguments.record else {}
    failed = 0
    for name in arguments.only or FAULTS:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"rankd-{name}-") as folder:
            try:
                outcome = FAULTS[name](Path(folder), arguments.rounds, arguments.seed)
            except CannotInjectError as error:
                print(f"{name}: skipped. {error}", flush=True)
                continue
            except Exception:
                traceback.print_exc()
                print(f"FAILED: {name}", file=sys.stderr)
                failed += 1
                continue
        outcomes[name] = outcome
        if arguments.record:
            with arguments.record.open("a") as file:
                file.write(json.dumps({"name": name, **asdict(outcome)}) + "\n")
        print(f"{row(outcome)}  ({time.monotonic() - started:.0f} s)", flush=True)
    if arguments.report and not failed:
        arguments.report.write_text(page([outcomes[name] for name in FAULTS if name in outcomes]))
    return 1 if failed else 0


def recorded(path: Path) -> dict[str, Outcome]:
    """Of each fault the run with the most of it, in a file that `--record` has written."""
    found: dict[str, Outcome] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            said = json.loads(line)
            name = said.pop("name")
            outcome = Outcome(**said)
            if name not in found or outcome.injected >= found[name].injected:
                found[name] = outcome
    return found


if __name__ == "__main__":
    sys.exit(main())
