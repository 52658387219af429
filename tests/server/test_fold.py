"""The model is a fold over the log: stopping and resuming, epochs and promotions change no bit of it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from policies import PolicyError, state_sha256
from policies.meta.auto import Auto
from policies.registry import names
from rankd.v1 import decisions_pb2 as api
from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.fold import joiner_state
from server.fold.envelope import seal, unseal
from server.fold.records import LogError
from server.fold.verify import verify
from tests.server.scribe import APP, SECOND, SETTINGS, Scribe

if TYPE_CHECKING:
    from server.fold.fold import AppFold
    from server.fold.settings import FoldSettings

Action = pb.Promotion


# Every policy, and what decides in another way.
POLICIES: dict[str, dict[str, object]] = {name: {"type": name} for name in names()}
POLICIES["vw by slot"] = {"type": "vw", "args": "--ccb_explore_adf -q :i -q 0i"}
POLICIES["watched"] = {"type": "linucb"}
# What an app may have besides its policy. So easily alarmed, it restarts several times in these logs.
MORE: dict[str, dict[str, object]] = {
    "watched": {
        "drift": {
            "detector": "page_hinkley",
            "on": "residual",
            "action": "restart",
            "threshold": 0.5,
            "min_instances": 5,
        },
        "new_actions": {"share": 0.1, "until": 20},
    }
}


@cache
def written(policy: str) -> Scribe:
    """A log of about 300 records under that policy. Not to be changed."""
    scribe = Scribe(
        SETTINGS.model_copy(update={"policy": POLICIES[policy], **MORE.get(policy, {})})
    )
    scribe.busy(130)
    return scribe


def bits(fold: AppFold) -> tuple[str, bytes, str, int]:
    """Everything that a fold knows."""
    assert fold.model is not None
    assert fold.joiner is not None
    state = state_sha256(fold.model.state())
    return state, b"".join(joiner_state.dump(fold.joiner)), fold.report.dump(), fold.clock.now_us


@pytest.mark.parametrize("policy", POLICIES)
def test_resuming_from_any_checkpoint_equals_never_having_stopped(policy: str) -> None:
    scribe = written(policy)
    whole = scribe.folded()
    assert bits(whole) == bits(scribe.fold)
    assert len(scribe.kept) > 10
    assert whole.joiner is not None
    assert whole.joiner.counters["matured"] > 50
    for version, checkpoint in scribe.kept.items():
        resumed = scribe.empty_fold()
        resumed.restore(unseal(internal_pb2.Checkpoint, seal(checkpoint)))
        for record in scribe.records(version):
            resumed.step(record)
            if resumed.due():
                assert seal(resumed.checkpoint()) == seal(scribe.kept[record.sequence])
        assert bits(resumed) == bits(whole), f"resumed from {version}"


@pytest.mark.parametrize("policy", POLICIES)
def test_every_decision_can_be_derived_again(policy: str) -> None:
    found = verify(written(policy))
    assert (found.verified, found.unverifiable, found.mismatches) == (130, 0, 0)
    assert found.states == {APP: bits(written(policy).fold)[0]}


def test_drift_is_watched_for_and_acted_on() -> None:
    """Or else the two tests above would say little of it."""
    model = written("watched").fold.model
    assert model is not None
    assert model.drift is not None
    assert model.drift.detections > 1
    assert model.drift.restarted > 0


def test_watching_begins_and_ends_with_an_epoch_and_the_policy_goes_on() -> None:
    scribe = Scribe()
    scribe.busy(40)
    assert scribe.fold.model is not None
    policy = scribe.fold.model.policy.state()
    for more in (MORE["watched"], {"drift": None, "new_actions": None}):
        epoch = scribe.open_epoch(SETTINGS.model_copy(update=more))
        assert epoch.start == pb.Epoch.START_CARRIED
        assert scribe.fold.model.policy.state() == policy
        assert (scribe.fold.model.drift is None) == (more["drift"] is None)
        assert ("river" in "".join(epoch.libraries)) == (more["drift"] is not None)
    scribe.publish()
    scribe.busy(40, seed=3)
    found = verify(scribe)
    assert (found.unverifiable, found.mismatches) == (0, 0)


def test_what_is_learned_depends_on_the_rewards() -> None:
    """Or else equal states would say little."""
    other = Scribe()
    other.busy(130, seed=2)
    assert bits(other.fold)[0] != bits(written("linucb").fold)[0]


# -- what a mixed policy's bases gave ----------------------------------------------------------------

# One learns to earn 1, the other earns it every second time.
GREEDY: dict[str, object] = {"type": "epsilon_greedy"}
UNIFORM: dict[str, object] = {"type": "uniform"}


def mixing(*bases: dict[str, object]) -> FoldSettings:
    policy = {"type": "auto", "bases": list(bases), "stack": False}
    more = {"policy": policy, "wait_us": 60 * SECOND, "checkpoint_every": 100}
    return SETTINGS.model_copy(update=more)


def good_or_bad(scribe: Scribe, events: int) -> None:
    """One action earns 1, the other nothing. No window closes meanwhile."""
    first = len(scribe.log)
    for n in range(events):
        asked = api.RankRequest(action_ids=["bad", "good"])
        made = scribe.rank(f"event-{first}-{n}", asked, after_us=1_000).decision()
        scribe.reward(f"event-{first}-{n}", float(made.action_ids[made.ranking[0]] == "good"))


def close_windows(scribe: Scribe) -> None:
    for _ in range(16):
        scribe.tick(4 * SECOND)


def swapped() -> Scribe:
    """300 decisions wait whose bases are to change places; these had learned from 300 before."""
    scribe = Scribe(mixing(GREEDY, UNIFORM))
    good_or_bad(scribe, 300)
    close_windows(scribe)
    scribe.publish()
    good_or_bad(scribe, 300)
    return scribe


def test_what_other_bases_gave_is_not_learned() -> None:
    scribe = swapped()
    assert scribe.open_epoch(mixing(UNIFORM, GREEDY)).start == pb.Epoch.START_FRESH
    good_or_bad(scribe, 20)  # by a worker that has not loaded the new model yet
    close_windows(scribe)
    assert scribe.fold.model is not None
    weights = scribe.fold.model.policy.report()
    assert weights["weight.epsilon_greedy"] > 0.9
    assert list(weights) == ["weight.uniform", "weight.epsilon_greedy"]
    scribe.publish()
    good_or_bad(scribe, 20)
    found = verify(scribe)
    assert (found.verified, found.unverifiable, found.mismatches) == (640, 0, 0)


def test_what_the_same_bases_gave_is_learned_in_epochs_that_go_on() -> None:
    """Untrained, both gave 1/2, and so their weights stay equal; by what they give later greedy would have earned more."""
    carried, foreign = Scribe(mixing(GREEDY, UNIFORM)), Scribe(mixing(GREEDY, UNIFORM))
    for scribe in (carried, foreign):
        good_or_bad(scribe, 100)
        epoch = scribe.open_epoch(mixing(GREEDY, UNIFORM).model_copy(update={"wait_us": SECOND}))
        assert epoch.start == pb.Epoch.START_CARRIED
    assert carried.fold.bases_since == 1
    foreign.fold.bases_since = 2
    weights = []
    for scribe in (carried, foreign):
        close_windows(scribe)
        assert scribe.fold.model is not None
        weights.append(scribe.fold.model.policy.report()["weight.epsilon_greedy"])
    assert weights[0] == 0.5
    assert weights[1] > 0.9


def test_resuming_while_what_other_bases_gave_still_waits() -> None:
    scribe = swapped()
    scribe.open_epoch(mixing(UNIFORM, GREEDY))
    opened = scribe.fold.version
    good_or_bad(scribe, 60)
    close_windows(scribe)
    whole = scribe.folded()
    assert bits(whole) == bits(scribe.fold)
    waiting = [v for v in scribe.kept if opened < v < len(scribe.log) - 16]
    assert waiting  # checkpoints from after the change, before any window closed
    for version, checkpoint in scribe.kept.items():
        resumed = scribe.empty_fold()
        resumed.restore(unseal(internal_pb2.Checkpoint, seal(checkpoint)))
        for record in scribe.records(version):
            resumed.step(record)
        assert bits(resumed) == bits(whole), f"resumed from {version}"


def test_checkpoints_that_do_not_know_the_bases_are_followed_by_another_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As rankd wrote them with auto's version 1. What waits when that is raised is learned as the whole fold learns it."""
    monkeypatch.setattr(Auto, "version", 1)
    scribe = swapped()
    scribe.open_epoch(mixing(UNIFORM, GREEDY))
    good_or_bad(scribe, 60)
    version, old = max(scribe.kept.items())
    old.ClearField("bases_since")
    monkeypatch.undo()
    assert scribe.open_epoch(mixing(UNIFORM, GREEDY)).start == pb.Epoch.START_CARRIED
    close_windows(scribe)
    resumed = scribe.empty_fold()
    resumed.restore(old)
    for record in scribe.records(version):
        resumed.step(record)
    assert bits(resumed) == bits(scribe.folded()) == bits(scribe.fold)


# -- a log that was changed ------------------------------------------------------------------------


def changed(**fields: object) -> Scribe:
    """A log in which the last decision says something else than what was decided."""
    scribe = Scribe()
    scribe.busy(20)
    record = next(r for r in reversed(scribe.log) if r.kind == pb.KIND_DECISION)
    decision = record.decision()
    for name, value in fields.items():
        if isinstance(value, list):
            decision.ClearField(name)
            getattr(decision, name).extend(value)
        else:
            setattr(decision, name, value)
    scribe.edit(record.sequence, decision.SerializeToString())
    return scribe


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pmf", [1.0]),
        ("ranking", [0, 1, 2, 3, 4, 5, 6]),
        ("slot_probabilities", [0.123]),
        ("preferred", 77),
        ("epoch", 9),
        ("sampler", "dice"),
        ("slot_pmfs", [0.5]),
        ("base_probabilities", [0.5]),
    ],
)
def test_a_changed_decision_is_found_and_named(field: str, value: object) -> None:
    scribe = changed(**{field: value})
    found = verify(scribe)
    assert found.mismatches == 1
    assert f": {field} " in found.first_mismatch
    assert "event-" in found.first_mismatch


def test_a_changed_reward_shows_in_later_decisions_and_checkpoints() -> None:
    scribe = Scribe()
    scribe.busy(60)
    record = next(r for r in scribe.log if r.kind == pb.KIND_REWARD)
    reward = pb.Reward.FromString(record.payload)
    reward.value = -reward.value
    scribe.edit(record.sequence, reward.SerializeToString())
    found = verify(scribe)
    assert found.mismatches > 1
    assert "the checkpoint of app 'shop'" in found.first_mismatch


@pytest.mark.parametrize(
    "kind",
    [
        pb.KIND_DECISION,
        pb.KIND_REWARD,
        pb.KIND_ACTIVATION,
        pb.KIND_CONFIG,
        pb.KIND_EPOCH,
        pb.KIND_PROMOTION,
    ],
)
def test_a_payload_that_is_no_message_stops_the_fold(kind: pb.Kind) -> None:
    scribe = Scribe()
    number = len(scribe.log) + 1
    with pytest.raises(LogError, match=f"record {number}.*payload"):
        scribe.append(kind, "event", b"\xff\xff\xff")


@pytest.mark.parametrize("error", [ZeroDivisionError("by 0"), OverflowError("by 0")])
def test_arithmetic_that_fails_names_the_decision(
    error: ArithmeticError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def learn(interactions: object) -> None:
        raise error

    scribe = Scribe()
    number = scribe.rank("event", api.RankRequest(action_ids=["a", "b"])).sequence
    monkeypatch.setattr(scribe.fold.model, "learn", learn)
    with pytest.raises(LogError, match=f"decision {number} cannot be learned: by 0"):
        scribe.tick(4 * SECOND)  # the window closes


def test_an_unknown_kind_stops_the_fold() -> None:
    with pytest.raises(LogError, match="unknown kind 99"):
        Scribe().append(99)  # type: ignore[arg-type]


def test_the_log_must_rise() -> None:
    scribe = Scribe()
    with pytest.raises(LogError, match="the log must rise"):
        scribe.fold.step(scribe.log[-1])


def test_nothing_comes_before_the_first_epoch() -> None:
    scribe = Scribe()
    scribe.busy(1)
    with pytest.raises(LogError, match="no epoch yet"):
        scribe.empty_fold().step(scribe.log[2])


def test_other_apps_pass_by_and_ticks_count() -> None:
    scribe = Scribe()
    before = bits(scribe.fold)
    scribe.append(pb.KIND_DECISION, "event", b"not even looked at", app="another")
    assert bits(scribe.fold) == before
    scribe.tick()
    assert bits(scribe.fold) != before
    assert scribe.fold.version == len(scribe.log)


# -- epochs ----------------------------------------------------------------------------------------


def settings_epoch(scribe: Scribe) -> pb.Epoch:
    """An Epoch record for the settings in force, as it should be."""
    settings, model = scribe.fold.settings, scribe.fold.model
    assert settings is not None
    assert model is not None
    return pb.Epoch(
        number=scribe.fold.epoch + 1,
        start=pb.Epoch.START_CARRIED,
        config_sha256=settings.sha256(),
        state_sha256=state_sha256(model.state()),
        libraries=scribe.fold.libraries,
    )


def test_an_epoch_that_names_another_number_config_or_state_stops_the_fold() -> None:
    for field, value, message in (
        ("number", 7, "epoch 7 after 1"),
        ("config_sha256", "0" * 64, "Config is not in the log"),
        ("state_sha256", "0" * 64, "starts from state 000000000000"),
    ):
        scribe = Scribe()
        scribe.busy(30)
        epoch = settings_epoch(scribe)
        setattr(epoch, field, value)
        with pytest.raises(LogError, match=message):
            scribe.append(pb.KIND_EPOCH, payload=epoch.SerializeToString())


def test_a_config_that_does_not_match_its_name_stops_the_fold() -> None:
    config = pb.Config(json=SETTINGS.canonical(), sha256="0" * 64)
    with pytest.raises(LogError, match="does not match its sha256"):
        Scribe().append(pb.KIND_CONFIG, payload=config.SerializeToString())


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"policy": {"type": "linucb", "alpha": 2.0}}, pb.Epoch.START_CARRIED),
        ({"wait_us": 5_000_000, "aggregation": "sum"}, pb.Epoch.START_CARRIED),
        ({"mode": "apprentice"}, pb.Epoch.START_CARRIED),
        ({"checkpoint_every": 7}, pb.Epoch.START_CARRIED),
        ({"policy": {"type": "linucb", "ridge": 3.0}}, pb.Epoch.START_FRESH),
        ({"policy": {"type": "uniform"}}, pb.Epoch.START_FRESH),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_change_of_settings_carries_the_state_on_where_it_fits(
    changes: dict[str, object], start: pb.Epoch.Start
) -> None:
    scribe = Scribe()
    scribe.busy(40)
    assert scribe.fold.model is not None
    learned = state_sha256(scribe.fold.model.state())
    settings = SETTINGS.model_copy(update=changes)
    epoch = scribe.open_epoch(settings)
    assert (epoch.number, epoch.start) == (2, start)
    if start == pb.Epoch.START_CARRIED:
        assert epoch.state_sha256 == learned
    else:
        assert epoch.state_sha256 == state_sha256(settings.spec().build().state())
    scribe.publish()
    scribe.busy(40, seed=3)
    assert bits(scribe.folded()) == bits(scribe.fold)
    assert verify(scribe).mismatches == 0
    for checkpoint in scribe.kept.values():
        resumed = scribe.empty_fold()
        resumed.restore(checkpoint)
        for record in scribe.records(checkpoint.version):
            resumed.step(record)
        assert bits(resumed) == bits(scribe.fold)


def test_decisions_by_the_model_of_the_epoch_before_are_verified_too() -> None:
    """A server may decide with the old model for a moment after the new epoch is in the log."""
    scribe = Scribe()
    scribe.busy(30)
    scribe.publish()
    scribe.open_epoch(SETTINGS.model_copy(update={"aggregation": "sum"}))
    scribe.busy(1)
    assert verify(scribe).mismatches == 0


# -- promotions ------------------------------------------------------------------------------------


def test_rolling_back_learns_on_from_the_old_state() -> None:
    scribe = Scribe()
    scribe.busy(60)
    scribe.promote(Action.ACTION_ROLL_BACK, 40)
    assert scribe.fold.model is not None
    assert scribe.fold.model.state() == scribe.kept[40].policy
    scribe.publish()
    scribe.busy(30, seed=2)
    assert scribe.fold.model.state() != scribe.kept[40].policy
    assert bits(scribe.folded()) == bits(scribe.fold)
    assert verify(scribe).mismatches == 0


def test_a_pin_changes_nothing_that_is_learned() -> None:
    pinned, free = Scribe(), Scribe()
    for scribe in (pinned, free):
        scribe.busy(60)
    pinned.promote(Action.ACTION_PIN, 40)
    free.tick(after_us=100_000)
    for scribe in (pinned, free):
        scribe.busy(30, seed=2)
    assert bits(pinned.fold) == bits(free.fold)
    assert pinned.fold.pinned is not None
    assert pinned.fold.pinned.model_version == 40
    resumed = pinned.empty_fold()
    resumed.restore(pinned.kept[max(pinned.kept)])
    assert resumed.pinned == pinned.fold.pinned
    pinned.promote(Action.ACTION_UNPIN, 40)
    assert pinned.fold.pinned is None


def test_a_promotion_of_an_epoch_that_has_ended_is_void() -> None:
    late, never = Scribe(), Scribe()
    for scribe in (late, never):
        scribe.busy(30)
        scribe.open_epoch(SETTINGS.model_copy(update={"policy": {"type": "uniform"}}))
    late.promote(Action.ACTION_ROLL_BACK, 20)
    late.promote(Action.ACTION_PIN, 20)
    never.tick(after_us=200_000)
    assert bits(late.fold)[0] == bits(never.fold)[0]
    assert late.fold.pinned is None


def test_windows_may_close_while_an_epoch_is_opened() -> None:
    """After an outage the stamp of its Config is the first to tell that time has gone on."""
    scribe = Scribe()
    scribe.busy(30)
    assert scribe.fold.joiner is not None
    pending = scribe.fold.joiner.open
    scribe.now_us += 3_600 * SECOND
    scribe.open_epoch(SETTINGS.model_copy(update={"aggregation": "sum"}))
    assert scribe.fold.joiner.open == pending
    scribe.tick()
    assert scribe.fold.joiner.open == 0
    assert bits(scribe.folded()) == bits(scribe.fold)


def test_logging_only_learns_nothing() -> None:
    scribe = Scribe(SETTINGS.model_copy(update={"mode": "logging_only"}))
    untrained = bits(scribe.fold)[0]
    scribe.busy(40)
    assert bits(scribe.fold)[0] == untrained
    assert scribe.fold.joiner is not None
    assert scribe.fold.joiner.counters["matured"] > 0
    for record in scribe.log:
        if record.kind == pb.KIND_DECISION:
            assert max(record.decision().pmf) == 1.0


def test_a_checkpoint_of_another_policy_is_refused() -> None:
    scribe = written("linucb")
    checkpoint = internal_pb2.Checkpoint()
    checkpoint.CopyFrom(scribe.kept[40])
    uniform = SETTINGS.model_copy(update={"policy": {"type": "uniform"}})
    checkpoint.config_json = uniform.canonical()
    with pytest.raises(PolicyError):
        scribe.empty_fold().restore(checkpoint)
