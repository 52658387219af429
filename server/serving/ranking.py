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
from server.serving.validation import check_rank

if TYPE_CHECKING:
    from server.sections import Limits
    from server.serving.models import Served


@dataclass(slots=True)
class Asked:
    """A checked request, and what has become of it."""

    path: str  # of the request in the call; empty where it is alone
    request: api.RankRequest
    app: str
    event_id: str
    slots: list[str]
    decision: pb.Decision  # what was asked with its hash; then, what was decided
    stored: pb.Decision | None = None  # the event's decision, where it was made before
    decision_id: str = ""

    @property
    def named(self) -> bool:
        """Whether the client gave the event its id."""
        return bool(self.request.event_id)

    @property
    def clashes(self) -> bool:
        """Whether the event's decision was one on another question."""
        return self.stored is not None and self.stored.request_hash != self.decision.request_hash

    @property
    def redelivered(self) -> bool:
        """Whether the answer shows once more what was decided before."""
        return self.stored is not None and not self.clashes and not self.stored.defer_activation


def check(path: str, app: str, request: api.RankRequest, limits: Limits) -> Asked:
    """The request, if all of it but the features' values is right.

    Raises:
        InvalidArgumentError: naming the first field that is wrong.
    """
    slots = check_rank(request, limits)
    decision = pb.Decision(
        context=request.context,
        action_ids=request.action_ids,
        action_features=request.action_features,
        excluded_ids=request.excluded_ids,
        slot_ids=slots,
        defer_activation=request.defer_activation,
    )
    question = decision.SerializeToString(deterministic=True)
    decision.request_hash = blake2b(question, digest_size=16).digest()
    return Asked(path, request, app, request.event_id or secrets.token_hex(16), slots, decision)


def complete(asked: Asked, served: Served, limits: Limits) -> bytes:
    """Decides; returns the decision as the log keeps it.

    Raises:
        InvalidArgumentError: a feature is wrong.
    """
    try:
        question = Question.of(asked.request, limits.magnitude)
    except FeatureError as error:
        raise InvalidArgumentError(error.field, error.reason) from error
    answer = decide(question, asked.slots or [""], asked.event_id, served.model, served.settings)
    decision = asked.decision
    decision.pmf.extend(answer.pmf.tolist())
    decision.ranking.extend(answer.ranking)
    decision.slot_probabilities.extend(answer.slot_probabilities)
    decision.sampler = answer.sampler
    decision.slot_pmfs.extend(answer.slot_pmfs)
    decision.base_probabilities.extend(answer.base_probabilities)
    decision.epoch, decision.model_version = served.epoch, served.version
    decision.mode = MODES[served.settings.mode]
    decision.preferred = answer.preferred
    return decision.SerializeToString()


def to_reply(asked: Asked) -> api.RankReply | ServiceError:
    """What the caller is told."""
    if asked.clashes:
        return AlreadyExistsError(
            f"event_id: {asked.event_id!r} belongs to a decision on another question"
        )
    decision = asked.decision if asked.stored is None else asked.stored
    ids, pmf, ranking = decision.action_ids, decision.pmf, decision.ranking
    reply = api.RankReply(
        event_id=asked.event_id,
        decision_id=asked.decision_id,
        action_id=ids[ranking[0]],
        ranking=[ids[k] for k in ranking],
        probabilities=[pmf[k] for k in ranking],
        epoch=decision.epoch,
        model_version=decision.model_version,
    )
    if decision.slot_ids:
        reply.slot_ids.extend(decision.slot_ids)
        reply.slot_action_ids.extend(ids[k] for k in ranking[: len(decision.slot_ids)])
        reply.slot_probabilities.extend(decision.slot_probabilities)
        reply.sampler = decision.sampler
    return reply
