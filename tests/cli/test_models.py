"""`rankd models` against a running service: what is ordered is what is served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rankd import Client
from tests.cli.conftest import rankd
from tests.server.harness import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.server.harness import Service


def models(service: Service) -> list[list[str]]:
    """version, epoch, date, time, state, marks"""
    result = rankd("models", "list", "--data-dir", service.folder.root)
    assert result.code == 0, result.err
    header, *lines = result.out.splitlines()
    assert header.split()[:3] == ["version", "epoch", "created"]
    return [line.split() for line in lines]


def served(service: Service) -> list[str]:
    (line,) = [line for line in models(service) if any("served" in word for word in line[5:])]
    return line


def test_roll_back_pin_and_unpin(service: Service) -> None:
    where = ("--address", f"127.0.0.1:{service.port}", "--app", "shop")
    oldest, second = models(service)[:2]
    assert int(oldest[0]) < int(second[0]) <= int(served(service)[0])
    assert len({oldest[4], second[4], served(service)[4]}) == 3

    result = rankd("models", "rollback", oldest[0], *where)
    assert result.code == 0, result.err
    assert f"rolled back to version {oldest[0]}" in result.out
    eventually("the old state to be served", lambda: served(service)[4] == oldest[4])

    result = rankd("models", "pin", second[0], *where)
    assert result.code == 0, result.err
    expected = [second[4], "served,", "pinned"]
    eventually("the pinned state to be served", lambda: served(service)[4:] == expected)

    result = rankd("models", "unpin", *where)
    assert result.code == 0, result.err
    eventually("the old state to be served again", lambda: served(service)[4] == oldest[4])


def test_a_model_travels_as_a_file(service: Service, tmp_path: Path) -> None:
    where = ("--data-dir", service.folder.root)
    before = served(service)
    path = tmp_path / "shop.model"
    result = rankd("models", "export", "-o", path, *where)
    assert result.code == 0, result.err
    assert f"{path.stat().st_size} bytes" in result.out
    result = rankd("models", "promote", path, *where)
    assert result.code == 0, result.err
    epoch = int(before[1]) + 1
    eventually("the imported model to be published", lambda: served(service)[1] == str(epoch))
    assert served(service)[4] == before[4]
    with Client(f"127.0.0.1:{service.port}", timeout=20) as client:
        eventually("it to be served", lambda: client.rank({}, ["a", "b"]).epoch == epoch)
    assert rankd("verify", service.folder.root).code == 0


def test_what_the_service_refuses_is_told(service: Service, tmp_path: Path) -> None:
    where = ("--address", f"127.0.0.1:{service.port}")
    result = rankd("models", "rollback", 3, *where)
    assert result.code == 1
    assert "NOT_FOUND" in result.err
    assert "rankd models list" in result.err
    bad = tmp_path / "bad.model"
    bad.write_bytes(b"no model")
    result = rankd("models", "promote", bad, *where)
    assert result.code == 1
    assert "not a rankd file" in result.err
    result = rankd("models", "promote", tmp_path / "missing", *where)
    assert result.code == 1
    assert "No such file" in result.err
    result = rankd("models", "export", "-o", tmp_path / "x.model", "--app", "news", *where)
    assert result.code == 1
    assert "news" in result.err
    assert not (tmp_path / "x.model").exists()


def test_no_service_is_told(tmp_path: Path) -> None:
    result = rankd("models", "list", "--address", "127.0.0.1:1")
    assert result.code == 1
    assert "no rankd answers at 127.0.0.1:1" in result.err
    result = rankd("models", "list", "--data-dir", tmp_path)
    assert result.code == 1
    assert f"no rankd serve runs on {tmp_path}" in result.err
