from rankd.v1 import features_pb2 as _features_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RankRequest(_message.Message):
    __slots__ = ("app", "event_id", "context", "action_ids", "action_features", "excluded_ids", "slot_ids", "k", "defer_activation")
    APP_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    ACTION_IDS_FIELD_NUMBER: _ClassVar[int]
    ACTION_FEATURES_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_IDS_FIELD_NUMBER: _ClassVar[int]
    SLOT_IDS_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    DEFER_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    app: str
    event_id: str
    context: _containers.RepeatedCompositeFieldContainer[_features_pb2.Features]
    action_ids: _containers.RepeatedScalarFieldContainer[str]
    action_features: _containers.RepeatedCompositeFieldContainer[_features_pb2.ActionFeatures]
    excluded_ids: _containers.RepeatedScalarFieldContainer[str]
    slot_ids: _containers.RepeatedScalarFieldContainer[str]
    k: int
    defer_activation: bool
    def __init__(self, app: _Optional[str] = ..., event_id: _Optional[str] = ..., context: _Optional[_Iterable[_Union[_features_pb2.Features, _Mapping]]] = ..., action_ids: _Optional[_Iterable[str]] = ..., action_features: _Optional[_Iterable[_Union[_features_pb2.ActionFeatures, _Mapping]]] = ..., excluded_ids: _Optional[_Iterable[str]] = ..., slot_ids: _Optional[_Iterable[str]] = ..., k: _Optional[int] = ..., defer_activation: bool = ...) -> None: ...

class RankReply(_message.Message):
    __slots__ = ("event_id", "decision_id", "action_id", "ranking", "probabilities", "slot_ids", "slot_action_ids", "slot_probabilities", "epoch", "model_version", "sampler", "error")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_ID_FIELD_NUMBER: _ClassVar[int]
    RANKING_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    SLOT_IDS_FIELD_NUMBER: _ClassVar[int]
    SLOT_ACTION_IDS_FIELD_NUMBER: _ClassVar[int]
    SLOT_PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    SAMPLER_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    decision_id: str
    action_id: str
    ranking: _containers.RepeatedScalarFieldContainer[str]
    probabilities: _containers.RepeatedScalarFieldContainer[float]
    slot_ids: _containers.RepeatedScalarFieldContainer[str]
    slot_action_ids: _containers.RepeatedScalarFieldContainer[str]
    slot_probabilities: _containers.RepeatedScalarFieldContainer[float]
    epoch: int
    model_version: int
    sampler: str
    error: Error
    def __init__(self, event_id: _Optional[str] = ..., decision_id: _Optional[str] = ..., action_id: _Optional[str] = ..., ranking: _Optional[_Iterable[str]] = ..., probabilities: _Optional[_Iterable[float]] = ..., slot_ids: _Optional[_Iterable[str]] = ..., slot_action_ids: _Optional[_Iterable[str]] = ..., slot_probabilities: _Optional[_Iterable[float]] = ..., epoch: _Optional[int] = ..., model_version: _Optional[int] = ..., sampler: _Optional[str] = ..., error: _Optional[_Union[Error, _Mapping]] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class RankBatchRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[RankRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[RankRequest, _Mapping]]] = ...) -> None: ...

class RankBatchReply(_message.Message):
    __slots__ = ("replies",)
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    replies: _containers.RepeatedCompositeFieldContainer[RankReply]
    def __init__(self, replies: _Optional[_Iterable[_Union[RankReply, _Mapping]]] = ...) -> None: ...

class RewardRequest(_message.Message):
    __slots__ = ("app", "event_id", "value", "slot_id", "reward_id", "decision_id", "age_ms")
    APP_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SLOT_ID_FIELD_NUMBER: _ClassVar[int]
    REWARD_ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    app: str
    event_id: str
    value: float
    slot_id: str
    reward_id: str
    decision_id: str
    age_ms: int
    def __init__(self, app: _Optional[str] = ..., event_id: _Optional[str] = ..., value: _Optional[float] = ..., slot_id: _Optional[str] = ..., reward_id: _Optional[str] = ..., decision_id: _Optional[str] = ..., age_ms: _Optional[int] = ...) -> None: ...

class RewardReply(_message.Message):
    __slots__ = ("sequence",)
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    def __init__(self, sequence: _Optional[int] = ...) -> None: ...

class RewardBatchRequest(_message.Message):
    __slots__ = ("rewards",)
    REWARDS_FIELD_NUMBER: _ClassVar[int]
    rewards: _containers.RepeatedCompositeFieldContainer[RewardRequest]
    def __init__(self, rewards: _Optional[_Iterable[_Union[RewardRequest, _Mapping]]] = ...) -> None: ...

class RewardBatchReply(_message.Message):
    __slots__ = ("sequences",)
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    sequences: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, sequences: _Optional[_Iterable[int]] = ...) -> None: ...

class ActivateRequest(_message.Message):
    __slots__ = ("app", "event_id")
    APP_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    app: str
    event_id: str
    def __init__(self, app: _Optional[str] = ..., event_id: _Optional[str] = ...) -> None: ...

class ActivateReply(_message.Message):
    __slots__ = ("sequence",)
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    def __init__(self, sequence: _Optional[int] = ...) -> None: ...
