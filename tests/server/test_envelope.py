"""Files of checkpoints and models: damaged ones are noticed, and the one before is used."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from policies import state_sha256
from rankd.v1 import internal_pb2
from server.files import InUseError, exclusive, replace
from server.fold.envelope import EnvelopeError, seal, unseal
from server.fold.records import LogError
from server.learning.artefacts import Artefacts
from server.learning.checkpoints import Checkpoints
from server.learning.publisher import Publisher

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE = internal_pb2.Checkpoint(app="shop", version=7, policy=bytes(range(64)))


def checkpoint(version: int, oldest_needed: int = 1) -> internal_pb2.Checkpoint:
    return internal_pb2.Checkpoint(app="shop", version=version, oldest_needed=oldest_needed)


def test_round_trip() -> None:
    assert unseal(internal_pb2.Checkpoint, seal(MESSAGE)) == MESSAGE
    assert seal(MESSAGE) == seal(unseal(internal_pb2.Checkpoint, seal(MESSAGE)))


@pytest.mark.parametrize("size", range(len(seal(MESSAGE))))
def test_cut_short_anywhere(size: int) -> None:
    with pytest.raises(EnvelopeError):
        unseal(internal_pb2.Checkpoint, seal(MESSAGE)[:size])


@pytest.mark.parametrize("at", range(len(seal(MESSAGE))))
def test_one_bit_flipped_anywhere(at: int) -> None:
    for bit in range(8):
        data = bytearray(seal(MESSAGE))
        data[at] ^= 1 << bit
        with pytest.raises(EnvelopeError):
            unseal(internal_pb2.Checkpoint, bytes(data))


def test_bytes_at_the_end() -> None:
    with pytest.raises(EnvelopeError):
        unseal(internal_pb2.Checkpoint, seal(MESSAGE) + b"\0")


def test_a_newer_format_says_so() -> None:
    data = seal(MESSAGE)
    with pytest.raises(EnvelopeError, match="format 2; this rankd reads format 1"):
        unseal(internal_pb2.Checkpoint, data[:9] + b"\x02" + data[10:])


# -- checkpoints -----------------------------------------------------------------------------------


def test_the_newest_good_one_comes_first(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=4)
    for version in (10, 20, 30, 40):
        checkpoints.save(checkpoint(version))
    files = sorted(tmp_path.glob("*.ckpt"))
    files[3].write_bytes(files[3].read_bytes()[:-1])
    files[1].write_bytes(b"")
    assert [c.version for c in checkpoints.newest()] == [30, 10]
    assert checkpoints.versions() == [10, 20, 30, 40]


def test_old_ones_go_but_for_the_archive(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2, archive=50)
    for version in range(10, 121, 10):
        checkpoints.save(checkpoint(version))
    assert checkpoints.versions() == [50, 100, 110, 120]


def test_those_that_need_trimmed_records_go(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1, archive=10)
    for version, oldest in ((10, 5), (20, 15), (30, 12), (40, 12)):
        checkpoints.save(checkpoint(version, oldest))
    checkpoints.drop_useless(13)
    assert checkpoints.versions() == [20, 40], "the newest stays, whatever it needs"


def test_files_under_way_are_not_checkpoints(tmp_path: Path) -> None:
    """What a crash leaves behind: a part of a file under its temporary name."""
    (tmp_path / f".{10:020}.ckpt.123").write_bytes(b"part")
    assert Checkpoints(tmp_path).versions() == []


# -- artefacts and published models ----------------------------------------------------------------


def test_artefacts_are_named_by_what_is_in_them(tmp_path: Path) -> None:
    artefacts = Artefacts(tmp_path)
    one, other = (internal_pb2.Snapshot(policy=policy) for policy in (b"one", b"other"))
    name = artefacts.save(one)
    assert name == state_sha256(b"one")
    assert artefacts.state(name) == b"one"
    (tmp_path / f"{name}.model").write_bytes(seal(other))
    with pytest.raises(LogError, match="holds another model"):
        artefacts.load(name)
    (tmp_path / f"{name}.model").write_bytes(b"")
    with pytest.raises(LogError, match="restore it from a backup"):
        artefacts.load(name)
    for wrong in ("../../etc/passwd", "", "0" * 63, "G" * 64):
        with pytest.raises(LogError, match="no sha256"):
            artefacts.load(wrong)


def test_publication_never_goes_back(tmp_path: Path) -> None:
    path = tmp_path / "current.model"

    def published(epoch: int, version: int) -> tuple[int, int]:
        """Publishes that pair in a process of its own; returns what is there afterwards."""
        snapshot = internal_pb2.Snapshot(epoch=epoch, published_at=version)
        Publisher(path, 0.0).publish(lambda _: snapshot)
        current = unseal(internal_pb2.Snapshot, path.read_bytes())
        return current.epoch, current.published_at

    assert published(1, 10) == (1, 10)
    assert published(1, 9) == (1, 10)
    assert published(2, 5) == (2, 5)
    assert published(1, 99) == (2, 5)
    path.write_bytes(b"damaged")
    assert published(1, 1) == (1, 1)


def test_a_failed_replacement_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace(path, b"old", durable=True)
    with pytest.raises(TypeError):
        replace(path, "no bytes", durable=True)  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_replacing_one_file_from_many_threads(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with ThreadPoolExecutor(8) as pool:
        for written in [pool.submit(replace, path, b"x" * 99_999, durable=True) for _ in range(40)]:
            written.result()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    refused = pytest.raises(InUseError, match="held by another")
    with exclusive(lock), refused, exclusive(lock, wait=0.05):
        pass
    with exclusive(lock):
        pass
