"""The entry point of the service's child processes: `python -m server.process ROLE DATA_DIR PORT`.

Exit codes: 0 stopped as asked; 78 the configuration cannot work (restarting would not help); anything else: restart.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path

import structlog

from server import logs
from server.config import Config
from server.files import DataFolder, exclusive

EX_CONFIG = 78
# Seconds that a process waits for its predecessor to end, where the supervisor was killed and started again.
_HANDOVER_SECONDS = 10.0


def _write(folder: DataFolder) -> int:
    from server.journal.writer import main

    with exclusive(folder.lock("writer"), _HANDOVER_SECONDS):
        main(folder.journal, folder.socket)
    return 0


def _learn(folder: DataFolder, config: Config) -> int:
    from policies import PolicyError
    from server.fold.records import LogError
    from server.learning.learner import Learner

    log = structlog.get_logger("learner")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch_parent() -> None:
        while os.read(0, 1):  # ends with the supervisor
            pass
        stop.set()

    threading.Thread(target=watch_parent, daemon=True).start()
    try:
        for app in config.apps:  # a policy that cannot be built is told before anything is touched
            config.fold_settings(app, "00" * 16).spec().build()
    except PolicyError as error:
        log.error("apps.%s.policy: %s", app, error)  # the text says it all
        return EX_CONFIG
    try:
        with exclusive(folder.lock("learner"), _HANDOVER_SECONDS):
            Learner(config, folder).run(stop)
    except LogError as error:
        log.error("the log cannot be folded", error=str(error))
        return 1
    return 0


def _serve(folder: DataFolder, config: Config, port: int) -> int:
    from server.serving.worker import serve

    asyncio.run(serve(config, folder, port))
    return 0


def main() -> int:
    """Runs one role until told to stop."""
    role, data, port = sys.argv[1:4]
    folder = DataFolder(Path(data))
    logs.configure(role)
    if role == "writer":
        return _write(folder)
    config = Config.model_validate_json(folder.config.read_bytes())
    if role == "learner":
        return _learn(folder, config)
    return _serve(folder, config, int(port))


if __name__ == "__main__":
    sys.exit(main())
