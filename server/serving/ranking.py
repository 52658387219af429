"""One request to Rank on its way: checked, decided unless that has been done before, answered. No I/O."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from policies.features import FeatureError
from rankd.v1 import decisions_pb2 as api
from rankd.v1 import log_pb2 as pb
from server.fold.decide import Question, decide
from server.fold.settings import MODES
from server.serving.errors import AlreadyExistsError, InvalidArgumentError, ServiceError
from server.serving.validation import check_id, check_rank

if TYPE_CHECKING:
    from server.fold.question_shapes import QuestionShape
    from server.sections import Limits
    from server.serving.models import Served
    from server.serving.questions import Questions


@dataclass(slots=True)
class Asked:
    """A checked request, and what has become of it."""

    path: str  # of the request in the call; empty where it is alone
    request: api.RankRequest
    app: str
    event_id: str
    ids: list[str]  # of the actions
    slots: list[str]
    question: bytes  # what was asked, as the log keeps it
    request_hash: bytes
    shape: QuestionShape | None = None  # where it is known
    decided: pb.Decision | None = None  # what was answered, without the question
    stored: pb.Decision | None = None  # the event's decision, where it was made before
    decision_id: str = ""

    @property
    def named(self) -> bool:
        """Whether the client gave the event its id."""
        return bool(self.request.event_id)

    @property
    def clashes(self) -> bool:
        """Whether the event's decision was one on another question."""
        return self.stored is not None and self.stored.request_hash != self.request_hash

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
    event_id = event_id or secrets.token_hex(16)
    question = None if request.k or request.slot_ids else _question(request, [])
    shape = None if question is None else known.find(question)
    ids = list(request.action_ids) if shape is None else shape.ids
    slots = check_rank(request, ids, limits) if shape is None else []
    if question is None:
        question = _question(request, slots)
    request_hash = blake2b(question, digest_size=16).digest()
    return Asked(path, request, app, event_id, ids, slots, question, request_hash, shape)


def _question(request: api.RankRequest, slots: list[str]) -> bytes:
    return pb.Decision(
        context=request.context,
        action_ids=request.action_ids,
        action_features=request.action_features,
        excluded_ids=request.excluded_ids,
        slot_ids=slots,
        defer_activation=request.defer_activation,
    ).SerializeToString(deterministic=True)


def complete(asked: Asked, served: Served, limits: Limits, known: Questions) -> bytes:
    """Decides; returns the decision as the log keeps it.

    Raises:
        InvalidArgumentError: a feature is wrong.
    """
    shape = asked.shape
    question = None if shape is None else shape.question(asked.question, limits.magnitude)
    if question is None:
        try:
            question = Question.of(asked.request, limits.magnitude)
        except FeatureError as error:
            raise InvalidArgumentError(error.field, error.reason) from error
        if shape is None and not asked.slots:
            known.answered(asked.question)
    answer = decide(question, asked.slots or [""], asked.event_id, served.model, served.settings)
    decided = asked.decided = pb.Decision(
        pmf=answer.pmf.tolist(),
        ranking=answer.ranking,
        slot_probabilities=answer.slot_probabilities,
        sampler=answer.sampler,
        slot_pmfs=answer.slot_pmfs,
        base_probabilities=answer.base_probabilities,
        epoch=served.epoch,
        model_version=served.version,
        mode=MODES[served.settings.mode],
        request_hash=asked.request_hash,
        preferred=answer.preferred,
    )
    # The bytes of two parts of a message, one after the other, are those of the whole, as the question's fields come first.
    return asked.question + decided.SerializeToString()


def to_reply(asked: Asked) -> api.RankReply | ServiceError:
    """What the caller is told."""
    if asked.clashes:
        return AlreadyExistsError(
            f"event_id: {asked.event_id!r} belongs to a decision on another question"
        )
    decision = asked.decided if asked.stored is None else asked.stored
    assert decision is not None
    ids, pmf, ranking = asked.ids, list(decision.pmf), list(decision.ranking)
    ranked = [ids[k] for k in ranking]
    reply = api.RankReply(
        event_id=asked.event_id,
        decision_id=asked.decision_id,
        action_id=ranked[0],
        ranking=ranked,
        probabilities=[pmf[k] for k in ranking],
        epoch=decision.epoch,
        model_version=decision.model_version,
    )
    if asked.slots:
        reply.slot_ids.extend(asked.slots)
        reply.slot_action_ids.extend(ranked[: len(asked.slots)])
        reply.slot_probabilities.extend(decision.slot_probabilities)
        reply.sampler = decision.sampler
    return reply
