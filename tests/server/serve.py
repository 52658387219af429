"""What `rankd serve` does, and nothing else: `python -m tests.server.serve DATA_DIR CONFIG`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from server import logs
from server.config import load
from server.files import DataFolder
from server.supervisor import Supervisor


def main() -> int:
    logs.configure("supervisor")
    folder, config = Path(sys.argv[1]), Path(sys.argv[2])
    return asyncio.run(Supervisor(load(config), DataFolder(folder)).run())


if __name__ == "__main__":
    sys.exit(main())
