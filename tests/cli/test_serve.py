"""`rankd serve` as a process: it starts, says what it runs on, refuses what cannot work, and stops."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

from rankd import Client
from rankd.commands.serve import find_config
from tests.cli.conftest import rankd, start
from tests.server.harness import eventually, free_port

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.server.harness import Service


def test_it_serves_until_sigterm(tmp_path: Path) -> None:
    data = tmp_path / "data"
    config = tmp_path / "mine.yaml"
    config.write_text("server: {port: 1}\napps: {shop: {policy: {type: uniform}}}\n")
    # The command line goes before the environment, that before the file.
    process = start(
        *("serve", "--data-dir", data, "--config", config, "--port", 0, "--workers", 2),
        RANKD_SERVER__PORT="2",
        RANKD_SERVER__HOST="127.0.0.1",
    )
    try:

        def answers() -> bool:
            assert process.poll() is None, process.communicate()
            result = rankd("status", "--data-dir", data)
            return result.code == 0

        eventually("the service to answer", answers)
        assert "app shop: uniform" in rankd("status", "--data-dir", data).out
        address = f"127.0.0.1:{_port(data)}"
        with Client(address, timeout=20) as client:
            assert client.rank({}, ["a", "b"]).action in "ab"
        assert len(_pids(data)) == 5  # supervisor, writer, learner, two workers
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert f'"file": "{config}", "event": "configuration"' in said
    assert rankd("verify", data).out.startswith("verified 1, unverifiable 0, mismatches 0\n")


def test_a_setting_that_is_wrong_is_named(tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text("server: {prot: 1}\napps: {shop: {min_exploration: 2}}\n")
    result = rankd("serve", "--data-dir", tmp_path / "data", "--config", config)
    assert result.code == 78
    assert f"{config}: server.prot: no such setting" in result.err
    assert f"{config}: apps.shop.min_exploration: " in result.err
    assert not (tmp_path / "data").exists()


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    result = rankd("serve", "--data-dir", tmp_path, "--config", tmp_path / "no.yaml")
    assert result.code == 78
    assert "no.yaml" in result.err


def test_a_folder_in_use_is_refused(service: Service) -> None:
    process = start("serve", "--data-dir", service.folder.root, "--port", 0)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"{service.folder.root} is in use by another rankd serve" in said
    assert "Traceback" not in said


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        port = free_port()
        taken.bind(("127.0.0.1", port))
        taken.listen()
        process = start("serve", "--data-dir", tmp_path / "data", "--port", port)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert "Traceback" not in said


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    process = start("serve", "--data-dir", tmp_path / "file", "--port", 0)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert str(tmp_path / "file") in said
    assert "Traceback" not in said


def test_the_configuration_is_looked_for_in_the_folder_then_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, here = tmp_path / "data", tmp_path / "here"
    data.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    assert find_config(data) is None
    (here / "rankd.yaml").write_text("")
    found = find_config(data)
    assert found is not None
    assert found.resolve() == here / "rankd.yaml"
    (data / "rankd.yaml").write_text("")
    assert find_config(data) == data / "rankd.yaml"


def _service(data: Path) -> dict[str, object]:
    import json

    content: dict[str, object] = json.loads((data / "run" / "service.json").read_bytes())
    return content


def _port(data: Path) -> object:
    return _service(data)["port"]


def _pids(data: Path) -> dict[str, int]:
    pids = _service(data)["pids"]
    assert isinstance(pids, dict)
    return pids
