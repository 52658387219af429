"""`rankd load` against a real service: what it reports is what the service's log has."""

from __future__ import annotations

import json
import signal
import struct
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import rankd, start
from tests.server.harness import Service, eventually, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = {
    "apps": {
        "busy": {"policy": {"type": "linucb", "model": "shared"}, "reward": {"always_sent": True}},
        "other": {},
    },
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("load") / "data", CONFIG) as service:
        yield service


def decisions(service: Service) -> int:
    return service.counters("busy")["decisions"]


def test_a_fixed_rate_from_two_processes(service: Service, tmp_path: Path) -> None:
    picture = tmp_path / "latency.png"
    process = start(
        *("load", "--target", f"127.0.0.1:{service.port}", "--app", "busy"),
        *("--rate", 50, "--duration", "2s", "--actions", 5, "--features", 4, "--rewards", 1),
        *(
            "--timeout",
            "60s",
            "--processes",
            2,
            "--connections",
            3,
            "--histogram",
            picture,
            "--json",
        ),
    )
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    found = json.loads(out.splitlines()[-1])
    assert found["rank"]["answered"] == found["reward"]["answered"] == 100
    assert found["errors"] == {}
    assert (found["loop"], found["rate_asked"], found["processes"]) == ("open", 50, 2)
    latencies = [found["rank"][f"p{q}_ms"] for q in ("50", "90", "99", "99.9")]
    assert 0 < latencies[0] <= latencies[1] <= latencies[2] <= latencies[3]
    assert latencies[3] <= found["rank"]["max_ms"]
    assert struct.unpack(">8sI4s", picture.read_bytes()[:16])[::2] == (
        b"\x89PNG\r\n\x1a\n",
        b"IHDR",
    )
    service.wait_counters("busy", decisions=100, joined=100, duplicate_rewards=0)


def test_a_closed_loop_ends_with_ctrl_c_and_says_what_there_was(service: Service) -> None:
    before = decisions(service)
    process = start(
        *("load", "--target", f"127.0.0.1:{service.port}", "--app", "busy", "--json"),
        *("--closed", 1, "--duration", "10m", "--features", 0, "--actions", 2),
    )
    eventually("calls", lambda: decisions(service) > before + 5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert (found["loop"], found["concurrency"], found["errors"]) == ("closed", 1, {})
    assert 0 < found["seconds"] < 600
    service.wait_counters("busy", decisions=before + found["rank"]["answered"])
    assert "Rank" in err


def test_what_is_wrong_is_said_before_a_call_is_made(service: Service, tmp_path: Path) -> None:
    target = f"127.0.0.1:{service.port}"
    before = decisions(service)

    def refused(*args: object) -> tuple[int, str]:
        result = rankd("load", "--target", target, *args)
        return result.code, result.err.strip()

    assert refused("--app", "busy", "--duration", "soon") == (
        2,
        "--duration soon: give a number with a unit: 500ms, 30s, 10m",
    )
    assert refused("--app", "busy", "--timeout", "0s")[0] == 2
    assert refused("--app", "bus")[1] == (
        f"{target} has no app 'bus': give one of them with --app: busy, other"
    )
    assert refused()[1] == f"{target} has several apps: give one of them with --app: busy, other"
    png = tmp_path / "no" / "such.png"
    assert refused("--app", "busy", "--histogram", png)[1].endswith(f"no folder {png.parent}")
    assert "must end in .png" in refused("--app", "busy", "--histogram", tmp_path / "a.svg")[1]
    assert refused("--rate", "0")[0] == 2
    assert decisions(service) == before


def test_no_service_there() -> None:
    target = f"127.0.0.1:{free_port()}"
    result = rankd("load", "--target", target)
    assert result.code == 1
    assert result.err.startswith(f"no rankd answers at {target}: is it running there?")


def test_calls_that_all_fail_are_an_error(service: Service) -> None:
    process = start(
        *("load", "--target", f"127.0.0.1:{service.port}", "--app", "busy", "--json"),
        *("--rate", 20, "--duration", "1s", "--actions", 1_001),
    )
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert json.loads(out)["errors"] == {"Rank INVALID_ARGUMENT": 20}
