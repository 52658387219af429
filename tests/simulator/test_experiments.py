"""Trials in parallel and resumable: the same bits however they were run, whoever killed them, and no two experiments in one folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pytest

from policies.features import NO_FEATURES, encode_actions
from simulator.environments import environment_of
from simulator.experiments import Opened, Play, StoreError, data_digest, digest_of, run, survey
from simulator.experiments.code import code_version
from simulator.logs import ArraysLog, Decided
from tests.server.harness import REPOSITORY, eventually
from tests.simulator.test_replay import Listed

if TYPE_CHECKING:
    from collections.abc import Callable

POLICIES: list[dict[str, Any]] = [{"type": "linucb"}, {"type": "lints"}, {"type": "uniform"}]
TRIALS = [
    Play("linear:actions=3", policy, rounds=60, seed=seed) for seed in (1, 2) for policy in POLICIES
]


@dataclass(frozen=True)
class Counted:
    """Writes down that it ran, and fails where it is told to."""

    number: int
    ran: list[int]
    fails: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        return {"number": self.number}

    def run(self, progress: Callable[[float], None] | None = None) -> dict[str, Any]:
        if self.fails:
            raise ValueError(f"trial {self.number}")
        self.ran.append(self.number)
        if progress is not None:
            progress(0.5)
        return {"square": self.number**2, "pair": (0.1, float(self.number))}


def test_one_job_is_two_jobs_to_the_bit(tmp_path: Path) -> None:
    alone = run(TRIALS)
    assert run(TRIALS, jobs=2) == alone
    assert run(TRIALS[::-1], jobs=2, folder=tmp_path)[::-1] == alone
    assert run(TRIALS, folder=tmp_path) == alone  # as they are read again


@dataclass(frozen=True)
class Where:
    """Tells in which thread of which process it ran."""

    @property
    def facts(self) -> dict[str, Any]:
        return {}

    def run(self, progress: Callable[[float], None] | None = None) -> dict[str, Any]:
        return {"process": os.getpid(), "thread": threading.get_ident()}


def test_joblibs_configuration_decides_where() -> None:
    here = {"process": os.getpid(), "thread": threading.get_ident()}
    assert run([Where()]) == run([Where()], jobs=1) == [here]
    with joblib.parallel_config(backend="threading", n_jobs=2):
        (there,) = run([Where()])
        assert there["process"] == here["process"]
        assert there["thread"] != here["thread"]
        assert run(TRIALS[:2]) == run(TRIALS[:2], jobs=1)


def test_a_backend_that_gives_lists_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ray's does. What is finished is kept on the way all the same."""
    whole = joblib.Parallel

    def lists(*, n_jobs: int | None, return_as: str = "list") -> Any:
        if return_as != "list":
            raise ValueError("does not support return_as")
        return whole(n_jobs=n_jobs, return_as=return_as)

    monkeypatch.setattr(joblib, "Parallel", lists)
    monkeypatch.setattr(sys.modules["simulator.experiments.run"], "_LIST", 2)
    seen: list[float] = []
    assert run(TRIALS, folder=tmp_path, progress=seen.append) == run(TRIALS, jobs=1)
    assert seen == list(range(len(TRIALS) + 1))


def test_on_a_dask_cluster() -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        assert run([Where()])[0]["process"] != os.getpid()
        assert run(TRIALS) == run(TRIALS, jobs=1)


@pytest.mark.filterwarnings("ignore::Warning")  # Ray's own
def test_on_a_ray_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else it leaves a token in the home folder
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.util.joblib").register_ray()
    here = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # where this module is
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": here}
    )
    try:
        with joblib.parallel_config(backend="ray", n_jobs=2):
            assert run([Where()])[0]["process"] != os.getpid()
            assert run(TRIALS, folder=tmp_path) == run(TRIALS, jobs=1)
    finally:
        ray.shutdown()


def test_a_run_goes_on_where_it_failed(tmp_path: Path) -> None:
    ran: list[int] = []
    trials = [Counted(n, ran, fails=n == 3) for n in range(5)]
    with pytest.raises(ValueError, match="trial 3"):
        run(trials, folder=tmp_path)
    assert ran == [0, 1, 2]
    seen: list[float] = []
    found = run([Counted(n, ran) for n in range(5)], folder=tmp_path, jobs=1, progress=seen.append)
    assert ran == [0, 1, 2, 3, 4]
    assert found == [{"square": n * n, "pair": [0.1, float(n)]} for n in range(5)]
    assert seen == [3, 3.5, 4, 4.5, 5]


def test_equal_trials_run_once() -> None:
    ran: list[int] = []
    found = run([Counted(1, ran), Counted(2, ran), Counted(1, ran)])
    assert ran == [1, 2]
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize("torn", [b"", b'{"trial"', b'{"trial": "x", "facts"', b"\0\0\0"])
def test_a_torn_last_line_is_done_again(tmp_path: Path, torn: bytes) -> None:
    whole = run([Counted(n, []) for n in range(3)], folder=tmp_path)
    path = tmp_path / "results.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + torn)
    ran: list[int] = []
    assert run([Counted(n, ran) for n in range(3)], folder=tmp_path) == whole
    assert ran == [2]
    assert path.read_bytes() == b"".join(lines)


def test_what_is_damaged_elsewhere_is_refused(tmp_path: Path) -> None:
    run([Counted(n, []) for n in range(3)], folder=tmp_path)
    path = tmp_path / "results.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{}\n" + lines[2])
    with pytest.raises(StoreError, match="line 2: is damaged; remove the line"):
        run([Counted(0, [])], folder=tmp_path)


def test_a_folder_takes_one_experiment(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    run(TRIALS[:1], experiment={"rounds": 60, "log": {"digest": "a"}}, folder=folder)
    with pytest.raises(StoreError, match="rounds was 60, is 70"):
        run(TRIALS[:1], experiment={"rounds": 70, "log": {"digest": "a"}}, folder=folder)
    with pytest.raises(StoreError, match=r"the log is not the one .* take another folder"):
        run(TRIALS[:1], experiment={"rounds": 60, "log": {"digest": "b"}}, folder=folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "journal.sqlite").touch()
    with pytest.raises(StoreError, match=r"holds 'journal\.sqlite' and no experiment"):
        run(TRIALS[:1], folder=tmp_path / "other")
    with pytest.raises(StoreError, match="is a file"):
        run(TRIALS[:1], folder=tmp_path / "other" / "journal.sqlite")


def test_other_code_is_another_experiment(tmp_path: Path) -> None:
    run(TRIALS[:1], folder=tmp_path)
    about = tmp_path / "experiment.json"
    there = json.loads(about.read_text())
    there["code"]["sources"] = "before"
    about.write_text(json.dumps(there))
    with pytest.raises(StoreError, match=r"code\.sources was before"):
        run(TRIALS[:1], folder=tmp_path)


@pytest.mark.parametrize("left", [b"", b'{"format": 1', b"\xff\xfe"], ids=["empty", "cut", "bytes"])
def test_a_folder_that_does_not_say_what_it_holds_is_refused(left: bytes, tmp_path: Path) -> None:
    run(TRIALS[:1], folder=tmp_path)
    (tmp_path / "experiment.json").write_bytes(left)
    with pytest.raises(StoreError, match=r"experiment\.json: is damaged"):
        run(TRIALS[:1], folder=tmp_path)


def test_facts_name_all_that_counts() -> None:
    one = TRIALS[0]
    others = [
        replace(one, seed=2),
        replace(one, rounds=61),
        replace(one, policy={"type": "linucb", "alpha": 2.0}),
        replace(one, min_exploration=0.1),
        replace(one, standardise=False),
        replace(one, data="changed"),
    ]
    assert len({digest_of(each.facts) for each in [one, *others]}) == len(others) + 1
    # Defaults are written out, so that a default that is spelled is none other.
    spelled = replace(one, policy={"type": "linucb", "alpha": 0.3})
    assert digest_of(spelled.facts) == digest_of(one.facts)


def test_data_that_changed_is_other_data(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("x,label\n1,a\n2,b\n3,a\n")
    spec = f"csv:path={path},label=label"
    before = data_digest(environment_of(spec))
    path.write_text("x,label\n1,a\n2,b\n4,a\n")
    assert data_digest(environment_of(spec)) != before
    assert data_digest(environment_of("linear")) == ""
    late = f"delayed:of=csv,path={path},label=label,late=3"
    assert data_digest(environment_of(late)) == data_digest(environment_of(spec))


def test_a_survey_sees_every_number() -> None:
    arrays: dict[str, Any] = {
        "context": np.zeros((3, 1)),
        "action": np.zeros(3, int),
        "reward": np.array([0.0, 2.0, 1.0]),
        "pi_b": np.full((3, 2), 0.5),
    }
    known = survey(ArraysLog(arrays))
    assert (known.decided, known.matured, known.low, known.high) == (3, 3, 0.0, 2.0)
    assert survey(ArraysLog(arrays)) == known
    changes: dict[str, Any] = {
        "context": np.array([[0.0], [0.0], [1e-9]]),
        "action": np.array([0, 0, 1]),
        "reward": np.array([0.0, 2.0, 1.0 + 1e-12]),
        "pi_b": np.array([[0.5, 0.5], [0.5, 0.5], [0.5 + 1e-9, 0.5]]),
    }
    digests = {survey(ArraysLog({**arrays, name: value})).digest for name, value in changes.items()}
    assert len(digests | {known.digest}) == 5
    with Opened(ArraysLog(arrays)).open() as log:
        assert survey(log) == known


def test_a_survey_sees_what_only_some_policies_see() -> None:
    p = np.array([0.5, 0.5])
    one = Decided("e", 0, NO_FEATURES, encode_actions(["a", "b"], []), 0, p, 0.5)
    others = [
        one,
        replace(one, bases=np.array([0.9, 0.1])),
        replace(one, bases=np.array([0.1, 0.9])),
        replace(one, bases=np.array([0.1, 0.9]), mixture="a"),
        replace(one, raw="shared | x"),
        replace(one, raw="shared | y"),
        replace(one, raw={"c": {"x": 1}}),
        replace(one, raw={"c": {"x": 2}}),
    ]
    assert len({survey(Listed([each])).digest for each in others}) == len(others)


def test_the_code_of_the_fold_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials on a log of rankd's own fold it."""
    read: list[Path] = []
    whole = Path.read_bytes

    def noted(path: Path) -> bytes:
        read.append(path)
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", noted)
    code_version.__wrapped__()
    assert {"policies", "simulator", "fold"} <= {path.parent.name for path in read}


COMMAND = [
    *("simulate", "linear", "--policy", "linucb", "--policy", "lints"),
    *("--rounds", "800", "--seeds", "6", "--json"),
]


def rankd(*arguments: str) -> subprocess.Popen[str]:
    """The command as a process group of its own, so that it can be killed with its children."""
    return subprocess.Popen(
        [sys.executable, "-m", "rankd.cli", *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_killed_and_resumed_it_is_what_it_would_have_been(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    results = folder / "results.jsonl"
    process = rankd(*COMMAND, "--jobs", "2", "--resume", str(folder))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if results.exists() and results.read_bytes().count(b"\n") >= 2:
            break
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    kept = results.read_bytes()
    kept = kept[: kept.rfind(b"\n") + 1]
    assert 2 <= kept.count(b"\n") < 12, "it was to be killed in the middle"
    resumed = rankd(*COMMAND, "--resume", str(folder))
    straight = rankd(*COMMAND)
    (out, err), (expected, _) = resumed.communicate(timeout=300), straight.communicate(timeout=300)
    assert resumed.returncode == 0, err
    assert json.loads(out) == json.loads(expected)
    whole = results.read_bytes()
    assert whole.startswith(kept)  # what was there was not done again
    assert whole.count(b"\n") == 12


@dataclass(frozen=True)
class Long:
    """Says which process it runs in, and takes as long as it is let."""

    folder: Path
    number: int

    @property
    def facts(self) -> dict[str, Any]:
        return {"number": self.number}

    def run(self, progress: Callable[[float], None] | None = None) -> dict[str, Any]:
        (self.folder / str(os.getpid())).touch()
        time.sleep(300)
        return {}


_LONG = """
import sys
from pathlib import Path
from simulator.experiments import run
from tests.simulator.test_experiments import Long
run([Long(Path(sys.argv[1]), n) for n in range(2)], jobs=2)
"""


def alive(process: int) -> bool:
    """Whether it runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    """Which is killed alone, as by the system when memory runs out."""
    process = subprocess.Popen(
        [sys.executable, "-c", _LONG, str(tmp_path)], cwd=REPOSITORY, start_new_session=True
    )
    try:
        eventually("both workers to be at work", lambda: len(list(tmp_path.iterdir())) == 2)
        workers = [int(path.name) for path in tmp_path.iterdir()]
        assert all(alive(worker) for worker in workers)
        process.kill()
        process.wait()
        eventually("the workers to end", lambda: not any(map(alive, workers)))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_two_at_once_in_one_folder_are_refused(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Nested:
        @property
        def facts(self) -> dict[str, Any]:
            return {"nested": True}

        def run(self, progress: Callable[[float], None] | None = None) -> dict[str, Any]:
            with pytest.raises(StoreError, match="another process is at work"):
                run(TRIALS[:1], folder=tmp_path)
            return {}

    run([Nested()], folder=tmp_path)


def test_serving_and_one_job_load_no_joblib() -> None:
    code = (
        "import sys, server.supervisor, server.serving.service\n"
        "from simulator.experiments import Play, run\n"
        "run([Play('linear', {'type': 'uniform'}, rounds=2, seed=1)], jobs=1)\n"
        "print('joblib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
