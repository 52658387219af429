"""One real service for all tests of the command line, with decisions in its log; and a copy of its data folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from rankd import Client
from rankd.cli import app
from tests.server.harness import REPOSITORY, Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = {
    "apps": {
        "shop": {
            "policy": {"type": "linucb"},
            "min_exploration": 0.3,
            "drift": {"detector": "adwin", "on": "residual"},
            "reward": {"min": 0, "max": 1, "always_sent": True},
        }
    },
    "learner": {"checkpoint_every": 100, "keep_checkpoints": 20},
}
ROUNDS = 200
_FIRST = 20


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


def rankd(*args: object) -> Result:
    """Runs the command in this process."""
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Result(result.exit_code, result.stdout, result.stderr)


def start(*args: object, cwd: Path = REPOSITORY, **environment: str) -> subprocess.Popen[str]:
    """Starts the command as a process of its own; the caller ends it."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("RANKD_")}
    return subprocess.Popen(
        [sys.executable, "-m", "rankd.cli", *map(str, args)],
        cwd=cwd,
        env={**clean, **environment, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("cli") / "data", CONFIG) as service:
        with Client(f"127.0.0.1:{service.port}", timeout=20) as client:
            for i in range(ROUNDS):
                decision = client.rank(
                    {"user": {"age": float(i % 50)}}, ["a", "b", "c"], event_id=f"event-{i}"
                )
                client.reward(decision, float(decision.action == "b"))
                if i == _FIRST:  # so that most of the others are decided by a model that knows b
                    service.wait_counters(matured=_FIRST + 1)
        service.wait_counters(matured=ROUNDS)
        yield service


@pytest.fixture(scope="session")
def folder(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the data folder as it was with the first decisions alone."""
    copy = tmp_path_factory.mktemp("copy") / "data"
    shutil.copytree(service.folder.root, copy, ignore=shutil.ignore_patterns("run"))
    return copy


def changed(exported: Path, path: Path) -> Path:
    """The export with one entry of one pmf changed, at event-7."""
    lines = exported.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if '"event_id":"event-7"' in line)
    record = json.loads(lines[at])
    record["payload"]["pmf"][0] += 1e-12
    lines[at] = json.dumps(record)
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def exported(folder: Path) -> Path:
    path = folder.with_name("log.jsonl")
    result = rankd("log", "export", folder, "-o", path)
    assert result.code == 0, result.err
    return path
