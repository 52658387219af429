"""One request to Rank on its way: checked, decided unless that has been done before, answered. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.features import FeatureError
from rankd.v1 import decisions_pb2 as api
from rankd.v1 import log_pb2 as pb
from server.fold.decide import Question, decide, decide_alike
from server.fold.settings import MODES
from server.fold.wire_format import field, varints
from server.serving.errors import AlreadyExistsError, InvalidArgumentError, ServiceError
from server.serving.ids import new_id
from server.serving.questions import tail
from server.serving.validation import check_groups, check_id, check_rank, check_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rankd.v1 import internal_pb2
    from server.fold.decide import Answer
    from server.fold.question_shapes import QuestionShape
    from server.sections import Limits
    from server.serving.models import Served
    from server.serving.questions import Questions

# Elements of features that are worked on at once, those of the context once for each action: 8 MB, and some times as much on the way.
_ELEMENTS = 1_000_000
# Fields of rankd.v1.Decision.
_PMF, _RANKING = 7, 8


@dataclass(slots=True)
class Asked:
    """A checked request, and what has become of it."""

    path: str  # of the request in the call; empty where it is alone
    request: api.RankRequest
    app: str
    event_id: str
    ids: list[str]  # of the actions
    slots: list[str]
    tail: bytes  # of the request
    question: bytes  # what was asked, as the log keeps it
    shape: QuestionShape | None = None  # where it is known
    decided: Answer | None = None
    model: tuple[int, int] = (0, 0)  # (epoch, version) of the one that decided
    stored: pb.Decision | None = None  # the event's decision, where it was made before
    clashes: bool = False  # whether that was one on another question
    decision_id: str = ""

    def logged(self, ack: internal_pb2.Ack) -> None:
        """Takes note of where the decision stands in the log, and of the one that was there before."""
        self.decision_id = f"{ack.node}:{ack.sequence}"
        if ack.HasField("stored"):
            self.made_before(ack.stored)

    def made_before(self, decision: bytes) -> None:
        """Takes note of what the event's decision is, which the log has already."""
        self.stored = pb.Decision.FromString(decision)
        self.clashes = _question(self.stored, self.stored.slot_ids) != self.question

    @property
    def named(self) -> bool:
        """Whether the client gave the event its id."""
        return bool(self.request.event_id)

    @property
    def redelivered(self) -> bool:
        """Whether the answer shows once more what was decided before."""
        return self.stored is not None and not self.clashes and not self.stored.defer_activation


def check(path: str, app: str, request: api.RankRequest, limits: Limits, known: Questions) -> Asked:
    """The request, if all of it but the features' values is right.

    Raises:
        InvalidArgumentError: naming the first field that is wrong.
    """
    event_id = request.event_id
    check_id("event_id", event_id, required=False)
    event_id = event_id or new_id()
    check_groups(request)
    end = tail(request)
    found = known.find(end)
    if found is None:
        shape, ids = None, list(request.action_ids)
        slots = check_rank(request, ids, limits)
        question = _question(request, slots)
    else:
        shape, ids, slots = found.question, found.question.ids, []
        question = found.logged(end)
    return Asked(path, request, app, event_id, ids, slots, end, question, shape)


def _question(request: api.RankRequest | pb.Decision, slots: Sequence[str]) -> bytes:
    """What was asked, as the log keeps it: of a request, or once more of a decision."""
    return pb.Decision(
        context=request.context,
        action_ids=request.action_ids,
        action_features=request.action_features,
        excluded_ids=request.excluded_ids,
        slot_ids=slots,
        defer_activation=request.defer_activation,
    ).SerializeToString(deterministic=True)


def complete(
    asked: Sequence[Asked], served: Callable[[str], Served], limits: Limits, known: Questions
) -> list[bytes | Exception]:
    """Decides; returns each decision as the log keeps it, or why there is none.

    Args:
        served: the model of an app; raises ServiceError where there is none.
    """
    found: list[bytes | Exception] = [b""] * len(asked)
    # By app and shape; what has no shape is alone.
    groups: dict[tuple[str, int], list[int]] = {}
    for i, each in enumerate(asked):
        groups.setdefault((each.app, -i if each.shape is None else id(each.shape)), []).append(i)
    for group in groups.values():
        shape = asked[group[0]].shape
        most = 1 if shape is None else max(1, _ELEMENTS // shape.elements)
        for first in range(0, len(group), most):
            part = group[first : first + most]
            payloads = _together([asked[i] for i in part], served, limits, known)
            for i, payload in zip(part, payloads, strict=True):
                found[i] = payload
    return found


def _together(
    asked: list[Asked], served: Callable[[str], Served], limits: Limits, known: Questions
) -> list[bytes | Exception]:
    """Decides what is asked of one app, in questions of one shape if there are several."""
    try:
        return _complete(asked, served(asked[0].app), limits, known)
    except Exception as error:
        if len(asked) == 1:
            return [error]
    # What one question does to a policy is no other's concern.
    return [payload for each in asked for payload in _together([each], served, limits, known)]


def _complete(
    asked: list[Asked], served: Served, limits: Limits, known: Questions
) -> list[bytes | Exception]:
    """As `_together`.

    Raises:
        FieldError: a feature is wrong.
        Exception: the policy's.
    """
    shape = asked[0].shape
    if shape is not None:
        questions, right = shape.questions([each.question for each in asked], limits.magnitude)
        if right.all():
            ids = [each.event_id for each in asked]
            answers = decide_alike(questions, ids, served.model, served.settings)
            return [
                _logged(each, answer, served) for each, answer in zip(asked, answers, strict=True)
            ]
        if len(asked) > 1:
            raise ValueError("one of several has a number that is wrong")
    return [_new(asked[0], served, limits, known)]  # which says what is wrong, if anything is


def _new(asked: Asked, served: Served, limits: Limits, known: Questions) -> bytes:
    """Decides a question that is read by itself, and remembers its shape."""
    if asked.slots and served.model.slotwise:
        eligible = len(asked.ids) - len(asked.request.excluded_ids)
        named = bool(asked.request.slot_ids)
        check_scores(len(asked.slots), eligible, named, limits)
    try:
        question = Question.of(asked.request, limits.magnitude)
    except FeatureError as error:
        raise InvalidArgumentError(error.field, error.reason) from error
    if asked.shape is None and not asked.slots:
        known.answered(asked.tail, asked.question)
    slots = asked.slots or [""]
    answer = decide(question, slots, asked.event_id, served.model, served.settings)
    return _logged(asked, answer, served)


def _logged(asked: Asked, answer: Answer, served: Served) -> bytes:
    asked.decided, asked.model = answer, (served.epoch, served.version)
    decided = pb.Decision(
        slot_probabilities=answer.slot_probabilities,
        sampler=answer.sampler,
        slot_pmfs=answer.slot_pmfs,
        base_probabilities=answer.base_probabilities,
        epoch=served.epoch,
        model_version=served.version,
        mode=MODES[served.settings.mode],
        preferred=answer.preferred,
    )
    # The bytes of parts of a message, one after the other, are those of the whole where its fields come in their order.
    pmf = field(_PMF, answer.pmf.astype("<f8", copy=False).tobytes())
    ranking = field(_RANKING, varints(answer.ranking))
    return b"".join((asked.question, pmf, ranking, decided.SerializeToString()))


def to_reply(asked: Asked) -> api.RankReply | ServiceError:
    """What the caller is told."""
    if asked.clashes:
        return AlreadyExistsError(
            f"event_id: {asked.event_id!r} belongs to a decision on another question"
        )
    made, stored = asked.decided, asked.stored
    decision: Answer | pb.Decision
    if stored is not None:
        decision, pmf, ranking = stored, list(stored.pmf), list(stored.ranking)
        epoch, version = stored.epoch, stored.model_version
    else:
        assert made is not None
        decision, pmf, ranking = made, made.pmf.tolist(), made.ranking
        epoch, version = asked.model
    ids = asked.ids
    ranked = list(map(ids.__getitem__, ranking))
    reply = api.RankReply(
        event_id=asked.event_id,
        decision_id=asked.decision_id,
        action_id=ranked[0],
        ranking=ranked,
        probabilities=map(pmf.__getitem__, ranking),
        epoch=epoch,
        model_version=version,
    )
    if asked.slots:
        reply.slot_ids.extend(asked.slots)
        reply.slot_action_ids.extend(ranked[: len(asked.slots)])
        reply.slot_probabilities.extend(decision.slot_probabilities)
        reply.sampler = decision.sampler
    return reply
