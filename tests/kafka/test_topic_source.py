"""`rankd verify`, `validate` and `log` on a topic, and on the data folder of a learner that merged it."""

from __future__ import annotations

import signal
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.exports.jsonl import ExportSource
from server.files import DataFolder, replace
from server.fold.records import LogError
from server.fold.verify import verify
from server.journal.store import Store
from server.kafka.source import TopicSource, merged_apps, merged_source
from server.learning.checkpoints import Checkpoints
from server.learning.pieces import pieces_of
from tests.cli.conftest import rankd, start
from tests.kafka.follow import Cluster, Follower, filled
from tests.kafka.test_follower import a_chain, delete_before, external, goes_on
from tests.server.harness import free_port
from tests.server.scribe import SECOND, SETTINGS, Scribe
from tests.server.topics import APP, Topic

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.running_kafka import RunningKafka


# All that is learned is learned at once: the broker's stamps are other than the scribe's, so that windows close elsewhere.
AT_ONCE = {"always_sent": True, "wait_us": 86_400 * SECOND}


def a_log() -> Scribe:
    """With a roll back to a model that is in the log itself, in two pieces."""
    scribe = Scribe(SETTINGS.model_copy(update=AT_ONCE))
    scribe.busy(60)
    version = max(scribe.kept)
    kept = scribe.kept[version]
    model = internal_pb2.Snapshot(app=APP, policy=kept.policy, config_json="x" * (300 << 10))
    pieces = pieces_of(APP, model, 0)
    assert len(pieces) == 2
    for piece in pieces:
        scribe.append(pb.KIND_ARTEFACT, payload=piece.payload)
    scribe.promote(pb.Promotion.ACTION_ROLL_BACK, version)
    scribe.publish()
    scribe.busy(40, seed=2)
    return scribe


@pytest.fixture(scope="module")
def scribe() -> Scribe:
    return a_log()


@pytest.fixture(scope="module")
def cluster(kafka: RunningKafka, scribe: Scribe) -> Cluster:
    return filled(Cluster(kafka), Topic().ship(scribe.log))


def url(cluster: Cluster, app: str = APP) -> str:
    return f"kafka://{cluster.kafka.bootstrap}/{cluster.topic(app)}"


def test_a_topic_verifies_as_the_log_that_was_shipped(cluster: Cluster, scribe: Scribe) -> None:
    expected = verify(scribe)
    assert (expected.verified, expected.mismatches) == (100, 0)
    with closing(TopicSource(url(cluster))) as source:
        assert source.apps() == [APP]
        assert source.left_out == 0
        assert [r.payload for r in source.records(0)] == [r.payload for r in scribe.log]
        assert source.read(5) == list(source.records(0))[4]
    result = rankd("verify", url(cluster))
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[0] == "verified 100, unverifiable 0, mismatches 0"
    assert rankd("verify", url(cluster), "--app", APP) == result


def test_an_export_of_a_topic_verifies_alike(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    assert rankd("log", "export", url(cluster), "-o", path).code == 0
    assert rankd("verify", path) == rankd("verify", url(cluster))
    with closing(TopicSource(url(cluster))) as source:
        assert list(ExportSource(path).records(0)) == list(source.records(0))


def test_a_topic_is_validated(cluster: Cluster, tmp_path: Path) -> None:
    checks = rankd("validate", url(cluster)).out.splitlines()
    for name in ("opens", "no holes", "time", "probabilities", "shop verify"):
        assert any(line.startswith(f"PASS  {name}") for line in checks), checks
    path = tmp_path / "log.jsonl"
    assert rankd("log", "export", url(cluster), "-o", path).code == 0
    lines = path.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if '"previous_sequence":50,' in line)
    lines[at] = lines[at].replace('"previous_sequence":50,', '"previous_sequence":49,')
    path.write_text("\n".join(lines) + "\n")
    assert "goes on with 51 after 49, but 50 is before it" in rankd("validate", path).out


def test_what_has_no_certain_place_is_left_out_and_said(
    kafka: RunningKafka, tmp_path: Path
) -> None:
    """Rewards of others come first; the name of the app is found all the same."""
    cluster, topic = Cluster(kafka), Topic()
    cluster.create(3)
    for number in range(10):
        topic.write(external(number))
    topic.config(1, 3)
    cluster.write(goes_on(topic, 200, 3).messages)
    with closing(TopicSource(url(cluster))) as source:
        assert source.apps() == [APP]
        assert list(source.records(0)) == cluster.merged()
        total = sum(len(held) for held in topic.partitions)
        assert source.left_out == total - len(list(source.records(0))) > 0
        left_out = source.left_out
    result = rankd("log", "export", url(cluster), "-o", tmp_path / "log")
    assert f"the last {left_out} records of the topic have no certain place yet" in result.err
    restored = list(ExportSource(tmp_path / "log").records(0))
    assert restored == cluster.merged()
    assert {r.partition for r in restored} == {0, 1, 2}


def test_a_topic_whose_beginning_is_gone_is_refused(kafka: RunningKafka) -> None:
    cluster = filled(Cluster(kafka), a_chain(20))
    delete_before(cluster, 3)
    result = rankd("verify", url(cluster))
    assert result.code == 2
    assert "begins at offset 3" in result.err
    assert "data folder of a learner" in result.err


def test_what_is_no_topic_is_told(kafka: RunningKafka) -> None:
    for path, said in (
        ("kafka://nowhere", "give kafka://HOST:PORT/TOPIC"),
        (f"kafka://{kafka.bootstrap}/no-such-topic", "no-such-topic is not there yet"),
        (f"kafka://127.0.0.1:{free_port()}/t", "Unable to bootstrap"),
    ):
        for command in (("verify",), ("log", "export"), ("log", "tail"), ("validate",)):
            result = rankd(*command, path)
            assert result.code == 2
            assert said in result.err
    cluster = Cluster(kafka)
    cluster.create()
    with pytest.raises(LogError, match="--app gives the app's name"):
        TopicSource(url(cluster))
    with closing(TopicSource(url(cluster), APP)) as source:
        assert list(source.records(0)) == []


def test_tail_follows_a_topic(kafka: RunningKafka) -> None:
    topic = a_chain(20)
    cluster = filled(Cluster(kafka), topic)
    assert len(rankd("log", "tail", url(cluster), "-n", 5).out.splitlines()) == 5
    process = start("log", "tail", url(cluster), "-n", 1, "--follow", "--ticks")
    try:
        assert process.stdout is not None
        assert "tick" in process.stdout.readline()
        cluster.write(goes_on(topic, 1).messages[22:])
        assert "reward      shop  e" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()


# -- data folders ----------------------------------------------------------------------------------


def test_a_learner_s_folder_has_a_log_for_each_app(
    cluster: Cluster, scribe: Scribe, tmp_path: Path
) -> None:
    cluster.create(app="other")
    cluster.write([Topic().write(external(1))], app="other")
    root = tmp_path / "data"
    with Follower(cluster.config(APP, "other"), root, APP, "other") as follower:
        follower.wait_merged(len(scribe.log))
        follower.wait_merged(1, app="other")
    folder = DataFolder(root)
    assert merged_apps(folder) == ["other", APP]
    checkpoints = Checkpoints(folder.checkpoints(APP), keep=100)
    for kept in scribe.kept.values():
        kept.merge_state = b"\n\1\0"
        checkpoints.save(kept)
    checkpoints.save(
        internal_pb2.Checkpoint(app=APP, version=1)
    )  # of the journal, before it was shared
    with closing(merged_source(folder, APP)) as source:
        assert source.apps() == [APP]
        assert source.checkpoints(APP) == scribe.checkpoints(APP)
        assert source.base(APP) is None
        assert verify(source) == verify(scribe)
    for command in (("log", "export"), ("log", "tail")):
        result = rankd(*command, root)
        assert result.code == 2
        assert "pick one with --app: other, shop" in result.err
        assert rankd(*command, root, "--app", APP).code == 0
    result = rankd("verify", root, "--app", APP)
    assert result.out.splitlines()[0] == "verified 100, unverifiable 0, mismatches 0"
    # The other one has a reward of a producer that was earlier than the app: nothing that it could be about.
    assert rankd("verify", root).out == result.out
    assert "no app 'third'" in rankd("verify", root, "--app", "third").err


def test_a_server_s_folder_points_to_the_topic(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    Store(folder.journal).close()
    replace(folder.shipped, b"{}", durable=False)
    result = rankd("verify", tmp_path)
    assert result.code == 2
    assert "Give kafka://HOST:PORT/TOPIC" in result.err
    assert rankd("log", "tail", tmp_path).code == 0
