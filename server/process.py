"""The entry point of the service's child processes: `python -m server.process ROLE DATA_DIR PORT`, ROLE being
writer, learner, worker, shipper, follower or relay, with a number where there are several (worker-1).

Exit codes: 0 stopped as asked; 78 the configuration cannot work (restarting would not help); anything else: restart.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from server import logs
from server.files import DataFolder, exclusive

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from server.config import Config
    from server.kafka.mirror import MirrorReader
    from server.learning.learner import Feed

EX_CONFIG = 78
# Seconds that a process waits for its predecessor to end, where the supervisor was killed and started again.
_HANDOVER_SECONDS = 10.0
# Seconds between two looks for a file that another process is about to make.
_LOOK_SECONDS = 0.05
# A follower's report that is older than this (seconds) is one of an earlier run.
_FRESH_SECONDS = 2.0
# New objects between two looks for cycles among them (Python: 700); some megabytes at most.
_GC_OBJECTS = 20_000


def _write(folder: DataFolder) -> int:
    from server.journal.writer import main

    # Read without the libraries of the configuration: all calls wait while a writer starts.
    shared = bool(json.loads(folder.config.read_bytes())["kafka"]["bootstrap"])
    with exclusive(folder.lock("writer"), _HANDOVER_SECONDS):
        main(folder.journal, folder.socket, shared)
    return 0


def _learn(folder: DataFolder, config: Config, number: int) -> int:
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
    apps = apps_of(config, number)
    try:
        for app in apps:  # a policy that cannot be built is told before anything is touched
            config.fold_settings(app, "00" * 16).spec().build()
    except PolicyError as error:
        log.error("apps.%s.policy: %s", app, error)  # the text says it all
        return EX_CONFIG
    try:
        with exclusive(folder.lock(f"learner-{number}"), _HANDOVER_SECONDS):
            if config.kafka.bootstrap:
                feeds = _merged(folder, config, apps, stop)
            else:
                from server.journal.store import JournalReader
                from server.learning.feeds import journal_feed

                reader = JournalReader(folder.journal)
                feeds = [journal_feed(config, folder, reader, apps, trims=number == 0)]
            # A fold makes many short-lived objects and hardly a cycle: looking for cycles so often costs it a twentieth.
            gc.set_threshold(_GC_OBJECTS)
            Learner(config, feeds).run(stop)
    except LogError as error:
        log.error("the log cannot be folded", error=str(error))
        return 1
    return 0


def apps_of(config: Config, number: int) -> list[str]:
    """The apps of one of this machine's learner processes, which take turns in taking them."""
    apps = sorted(config.learner.apps or config.apps)
    return apps[number :: config.learner.processes]


def _merged(
    folder: DataFolder, config: Config, apps: list[str], stop: threading.Event
) -> list[Feed]:
    """The merged logs of these apps; waits until the follower has made them."""
    from server.journal.store import JournalReader
    from server.kafka.mirror import MirrorReader, trim
    from server.learning.feeds import merged_feed

    me = JournalReader(folder.journal).folder()
    feeds = []
    for app in apps:
        path = folder.merged(app)
        while not path.exists() and not stop.is_set():
            stop.wait(_LOOK_SECONDS)
        if stop.is_set():
            return []
        reader = MirrorReader(path)
        while not stop.is_set() and not _reaches(reader, folder, app):
            stop.wait(_LOOK_SECONDS)
        feeds.append(merged_feed(config, folder, reader, partial(trim, path), app, me))
    return feeds


def _reaches(reader: MirrorReader, folder: DataFolder, app: str) -> bool:
    """Whether the merged log has come to where the newest checkpoint stands, or has all that is in Kafka.

    After a power cut, or where the file was lost, the follower is still merging that part anew.
    """
    from server.learning.checkpoints import Checkpoints

    versions = Checkpoints(folder.checkpoints(app)).versions()
    if not versions or reader.bounds()[1] >= versions[-1]:
        return True
    try:
        following = json.loads(folder.following(app).read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    fresh = time.time() - following["time"] < _FRESH_SECONDS
    # One that has stopped for good says why; then there is nothing to resume from, and this waits for somebody to come.
    return fresh and bool(following["behind"] == 0)


def _serve(folder: DataFolder, config: Config, name: str, port: int) -> int:
    if config.server.edge == "envoy":
        from server.edges.envoy_process import EdgeMissingError, become_envoy

        try:
            become_envoy(folder, config.server, name, port)
        except EdgeMissingError as error:
            structlog.get_logger("worker").error(str(error))
            return EX_CONFIG
    from server.edges.worker import serve_grpcio

    asyncio.run(serve_grpcio(config, folder, name, port))
    return 0


def _ship(folder: DataFolder, config: Config) -> int:
    from server.fold.records import LogError
    from server.kafka.shipper import run
    from server.kafka.topics import TopicError

    log = structlog.get_logger("shipper")
    try:
        with exclusive(folder.lock("shipper"), _HANDOVER_SECONDS):
            _until_told(lambda stop: run(config, folder, stop))
    except (LogError, TopicError) as error:
        log.error("cannot ship the journal; stopping this node", error=str(error))
        return EX_CONFIG
    return 0


def _follow(folder: DataFolder, config: Config, number: int) -> int:
    from server.kafka.follower import run

    with exclusive(folder.lock(f"follower-{number}"), _HANDOVER_SECONDS):
        _until_told(lambda stop: run(config, folder, apps_of(config, number), stop))
    return 0


def _relay(folder: DataFolder, config: Config) -> int:
    from server.redis.relay import run

    with exclusive(folder.lock("relay"), _HANDOVER_SECONDS):
        _until_told(lambda stop: run(config, folder, stop))
    return 0


def _until_told(run: Callable[[asyncio.Event], Coroutine[object, object, None]]) -> None:
    """Runs it until SIGTERM, or until the supervisor is gone."""

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C: the supervisor decides

        def ended() -> None:
            loop.remove_reader(0)
            stop.set()

        loop.add_reader(0, ended)
        await run(stop)

    asyncio.run(main())


def main() -> int:
    """Runs one role until told to stop."""
    name, data, port = sys.argv[1:4]
    role, _, number = name.partition("-")
    folder = DataFolder(Path(data))
    logs.configure(name)
    if role == "writer":
        return _write(folder)
    from server.config import Config
    from server.sections import CHECKED

    config = Config.model_validate_json(folder.config.read_bytes(), context=CHECKED)
    if role == "learner":
        return _learn(folder, config, int(number or 0))
    if role == "shipper":
        return _ship(folder, config)
    if role == "follower":
        return _follow(folder, config, int(number or 0))
    if role == "relay":
        return _relay(folder, config)
    return _serve(folder, config, name, int(port))


if __name__ == "__main__":
    sys.exit(main())
