"""What `rankd serve` does, and nothing else: `python -m tests.server.serve DATA_DIR CONFIG`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from pathlib import Path

from server import logs
from server.config_file import load
from server.files import DataFolder
from server.supervisor import Supervisor


def end_with(parent: int) -> None:
    """Stops the service when the tests that started it are gone, killed say: an orphan would disturb the next ones."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    logs.configure("supervisor")
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    folder, config = Path(sys.argv[1]), Path(sys.argv[2])
    return asyncio.run(Supervisor(load(config), DataFolder(folder)).run())


if __name__ == "__main__":
    sys.exit(main())
