from rankd.v1 import features_pb2 as _features_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KIND_UNSPECIFIED: _ClassVar[Kind]
    KIND_DECISION: _ClassVar[Kind]
    KIND_REWARD: _ClassVar[Kind]
    KIND_ACTIVATION: _ClassVar[Kind]
    KIND_TICK: _ClassVar[Kind]
    KIND_CONFIG: _ClassVar[Kind]
    KIND_EPOCH: _ClassVar[Kind]
    KIND_PROMOTION: _ClassVar[Kind]
    KIND_ERASURE: _ClassVar[Kind]
    KIND_FENCE: _ClassVar[Kind]
    KIND_LEASE: _ClassVar[Kind]
    KIND_ARTEFACT: _ClassVar[Kind]

class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODE_UNSPECIFIED: _ClassVar[Mode]
    MODE_ONLINE: _ClassVar[Mode]
    MODE_APPRENTICE: _ClassVar[Mode]
    MODE_LOGGING_ONLY: _ClassVar[Mode]
KIND_UNSPECIFIED: Kind
KIND_DECISION: Kind
KIND_REWARD: Kind
KIND_ACTIVATION: Kind
KIND_TICK: Kind
KIND_CONFIG: Kind
KIND_EPOCH: Kind
KIND_PROMOTION: Kind
KIND_ERASURE: Kind
KIND_FENCE: Kind
KIND_LEASE: Kind
KIND_ARTEFACT: Kind
MODE_UNSPECIFIED: Mode
MODE_ONLINE: Mode
MODE_APPRENTICE: Mode
MODE_LOGGING_ONLY: Mode

class Header(_message.Message):
    __slots__ = ("app", "kind", "event_id", "origin_time_us", "node", "sequence", "previous_sequence", "key_id", "subject_id", "log_time_us", "lag_us")
    APP_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_TIME_US_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    LOG_TIME_US_FIELD_NUMBER: _ClassVar[int]
    LAG_US_FIELD_NUMBER: _ClassVar[int]
    app: str
    kind: Kind
    event_id: str
    origin_time_us: int
    node: str
    sequence: int
    previous_sequence: int
    key_id: str
    subject_id: str
    log_time_us: int
    lag_us: int
    def __init__(self, app: _Optional[str] = ..., kind: _Optional[_Union[Kind, str]] = ..., event_id: _Optional[str] = ..., origin_time_us: _Optional[int] = ..., node: _Optional[str] = ..., sequence: _Optional[int] = ..., previous_sequence: _Optional[int] = ..., key_id: _Optional[str] = ..., subject_id: _Optional[str] = ..., log_time_us: _Optional[int] = ..., lag_us: _Optional[int] = ...) -> None: ...

class Record(_message.Message):
    __slots__ = ("header", "payload")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    header: Header
    payload: bytes
    def __init__(self, header: _Optional[_Union[Header, _Mapping]] = ..., payload: _Optional[bytes] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("context", "action_ids", "action_features", "excluded_ids", "slot_ids", "defer_activation", "pmf", "ranking", "slot_probabilities", "sampler", "epoch", "model_version", "mode", "request_hash", "preferred", "slot_pmfs", "base_probabilities")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    ACTION_IDS_FIELD_NUMBER: _ClassVar[int]
    ACTION_FEATURES_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_IDS_FIELD_NUMBER: _ClassVar[int]
    SLOT_IDS_FIELD_NUMBER: _ClassVar[int]
    DEFER_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    PMF_FIELD_NUMBER: _ClassVar[int]
    RANKING_FIELD_NUMBER: _ClassVar[int]
    SLOT_PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    SAMPLER_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_HASH_FIELD_NUMBER: _ClassVar[int]
    PREFERRED_FIELD_NUMBER: _ClassVar[int]
    SLOT_PMFS_FIELD_NUMBER: _ClassVar[int]
    BASE_PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    context: _containers.RepeatedCompositeFieldContainer[_features_pb2.Features]
    action_ids: _containers.RepeatedScalarFieldContainer[str]
    action_features: _containers.RepeatedCompositeFieldContainer[_features_pb2.ActionFeatures]
    excluded_ids: _containers.RepeatedScalarFieldContainer[str]
    slot_ids: _containers.RepeatedScalarFieldContainer[str]
    defer_activation: bool
    pmf: _containers.RepeatedScalarFieldContainer[float]
    ranking: _containers.RepeatedScalarFieldContainer[int]
    slot_probabilities: _containers.RepeatedScalarFieldContainer[float]
    sampler: str
    epoch: int
    model_version: int
    mode: Mode
    request_hash: bytes
    preferred: int
    slot_pmfs: _containers.RepeatedScalarFieldContainer[float]
    base_probabilities: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, context: _Optional[_Iterable[_Union[_features_pb2.Features, _Mapping]]] = ..., action_ids: _Optional[_Iterable[str]] = ..., action_features: _Optional[_Iterable[_Union[_features_pb2.ActionFeatures, _Mapping]]] = ..., excluded_ids: _Optional[_Iterable[str]] = ..., slot_ids: _Optional[_Iterable[str]] = ..., defer_activation: bool = ..., pmf: _Optional[_Iterable[float]] = ..., ranking: _Optional[_Iterable[int]] = ..., slot_probabilities: _Optional[_Iterable[float]] = ..., sampler: _Optional[str] = ..., epoch: _Optional[int] = ..., model_version: _Optional[int] = ..., mode: _Optional[_Union[Mode, str]] = ..., request_hash: _Optional[bytes] = ..., preferred: _Optional[int] = ..., slot_pmfs: _Optional[_Iterable[float]] = ..., base_probabilities: _Optional[_Iterable[float]] = ...) -> None: ...

class Reward(_message.Message):
    __slots__ = ("value", "slot_id", "reward_id", "decision_id")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SLOT_ID_FIELD_NUMBER: _ClassVar[int]
    REWARD_ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    value: float
    slot_id: str
    reward_id: str
    decision_id: str
    def __init__(self, value: _Optional[float] = ..., slot_id: _Optional[str] = ..., reward_id: _Optional[str] = ..., decision_id: _Optional[str] = ...) -> None: ...

class Activation(_message.Message):
    __slots__ = ("cause",)
    class Cause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CAUSE_UNSPECIFIED: _ClassVar[Activation.Cause]
        CAUSE_CLIENT: _ClassVar[Activation.Cause]
        CAUSE_UNDELIVERED: _ClassVar[Activation.Cause]
        CAUSE_REDELIVERED: _ClassVar[Activation.Cause]
    CAUSE_UNSPECIFIED: Activation.Cause
    CAUSE_CLIENT: Activation.Cause
    CAUSE_UNDELIVERED: Activation.Cause
    CAUSE_REDELIVERED: Activation.Cause
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    cause: Activation.Cause
    def __init__(self, cause: _Optional[_Union[Activation.Cause, str]] = ...) -> None: ...

class Config(_message.Message):
    __slots__ = ("json", "sha256")
    JSON_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    json: str
    sha256: str
    def __init__(self, json: _Optional[str] = ..., sha256: _Optional[str] = ...) -> None: ...

class Epoch(_message.Message):
    __slots__ = ("number", "start", "config_sha256", "state_sha256", "libraries")
    class Start(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        START_UNSPECIFIED: _ClassVar[Epoch.Start]
        START_FRESH: _ClassVar[Epoch.Start]
        START_CARRIED: _ClassVar[Epoch.Start]
        START_ARTEFACT: _ClassVar[Epoch.Start]
    START_UNSPECIFIED: Epoch.Start
    START_FRESH: Epoch.Start
    START_CARRIED: Epoch.Start
    START_ARTEFACT: Epoch.Start
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    CONFIG_SHA256_FIELD_NUMBER: _ClassVar[int]
    STATE_SHA256_FIELD_NUMBER: _ClassVar[int]
    LIBRARIES_FIELD_NUMBER: _ClassVar[int]
    number: int
    start: Epoch.Start
    config_sha256: str
    state_sha256: str
    libraries: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, number: _Optional[int] = ..., start: _Optional[_Union[Epoch.Start, str]] = ..., config_sha256: _Optional[str] = ..., state_sha256: _Optional[str] = ..., libraries: _Optional[_Iterable[str]] = ...) -> None: ...

class Promotion(_message.Message):
    __slots__ = ("action", "epoch", "model_version", "state_sha256")
    class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ACTION_UNSPECIFIED: _ClassVar[Promotion.Action]
        ACTION_ROLL_BACK: _ClassVar[Promotion.Action]
        ACTION_PIN: _ClassVar[Promotion.Action]
        ACTION_UNPIN: _ClassVar[Promotion.Action]
    ACTION_UNSPECIFIED: Promotion.Action
    ACTION_ROLL_BACK: Promotion.Action
    ACTION_PIN: Promotion.Action
    ACTION_UNPIN: Promotion.Action
    ACTION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_SHA256_FIELD_NUMBER: _ClassVar[int]
    action: Promotion.Action
    epoch: int
    model_version: int
    state_sha256: str
    def __init__(self, action: _Optional[_Union[Promotion.Action, str]] = ..., epoch: _Optional[int] = ..., model_version: _Optional[int] = ..., state_sha256: _Optional[str] = ...) -> None: ...

class Fence(_message.Message):
    __slots__ = ("folder",)
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    folder: str
    def __init__(self, folder: _Optional[str] = ...) -> None: ...

class Lease(_message.Message):
    __slots__ = ("number", "owner", "released")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    number: int
    owner: str
    released: bool
    def __init__(self, number: _Optional[int] = ..., owner: _Optional[str] = ..., released: bool = ...) -> None: ...

class Artefact(_message.Message):
    __slots__ = ("state_sha256", "piece", "pieces", "data")
    STATE_SHA256_FIELD_NUMBER: _ClassVar[int]
    PIECE_FIELD_NUMBER: _ClassVar[int]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    state_sha256: str
    piece: int
    pieces: int
    data: bytes
    def __init__(self, state_sha256: _Optional[str] = ..., piece: _Optional[int] = ..., pieces: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...
