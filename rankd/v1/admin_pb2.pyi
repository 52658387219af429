from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AppsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class App(_message.Message):
    __slots__ = ("name", "policy", "mode", "epoch", "model_version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    policy: str
    mode: str
    epoch: int
    model_version: int
    def __init__(self, name: _Optional[str] = ..., policy: _Optional[str] = ..., mode: _Optional[str] = ..., epoch: _Optional[int] = ..., model_version: _Optional[int] = ...) -> None: ...

class AppsReply(_message.Message):
    __slots__ = ("apps",)
    APPS_FIELD_NUMBER: _ClassVar[int]
    apps: _containers.RepeatedCompositeFieldContainer[App]
    def __init__(self, apps: _Optional[_Iterable[_Union[App, _Mapping]]] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ("app",)
    APP_FIELD_NUMBER: _ClassVar[int]
    app: str
    def __init__(self, app: _Optional[str] = ...) -> None: ...

class StatusReply(_message.Message):
    __slots__ = ("app", "policy", "mode", "epoch", "log_records", "folded_records", "served_version", "lag_records", "lag_seconds", "pending", "counter_names", "counter_values", "sum_names", "sum_values", "reward_min", "reward_max", "alarms", "lease", "owner", "nodes", "drift", "policy_names", "policy_values")
    APP_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LOG_RECORDS_FIELD_NUMBER: _ClassVar[int]
    FOLDED_RECORDS_FIELD_NUMBER: _ClassVar[int]
    SERVED_VERSION_FIELD_NUMBER: _ClassVar[int]
    LAG_RECORDS_FIELD_NUMBER: _ClassVar[int]
    LAG_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    COUNTER_NAMES_FIELD_NUMBER: _ClassVar[int]
    COUNTER_VALUES_FIELD_NUMBER: _ClassVar[int]
    SUM_NAMES_FIELD_NUMBER: _ClassVar[int]
    SUM_VALUES_FIELD_NUMBER: _ClassVar[int]
    REWARD_MIN_FIELD_NUMBER: _ClassVar[int]
    REWARD_MAX_FIELD_NUMBER: _ClassVar[int]
    ALARMS_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    DRIFT_FIELD_NUMBER: _ClassVar[int]
    POLICY_NAMES_FIELD_NUMBER: _ClassVar[int]
    POLICY_VALUES_FIELD_NUMBER: _ClassVar[int]
    app: str
    policy: str
    mode: str
    epoch: int
    log_records: int
    folded_records: int
    served_version: int
    lag_records: int
    lag_seconds: float
    pending: int
    counter_names: _containers.RepeatedScalarFieldContainer[str]
    counter_values: _containers.RepeatedScalarFieldContainer[int]
    sum_names: _containers.RepeatedScalarFieldContainer[str]
    sum_values: _containers.RepeatedScalarFieldContainer[float]
    reward_min: float
    reward_max: float
    alarms: _containers.RepeatedCompositeFieldContainer[Alarm]
    lease: int
    owner: str
    nodes: _containers.RepeatedCompositeFieldContainer[NodeStatus]
    drift: Drift
    policy_names: _containers.RepeatedScalarFieldContainer[str]
    policy_values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, app: _Optional[str] = ..., policy: _Optional[str] = ..., mode: _Optional[str] = ..., epoch: _Optional[int] = ..., log_records: _Optional[int] = ..., folded_records: _Optional[int] = ..., served_version: _Optional[int] = ..., lag_records: _Optional[int] = ..., lag_seconds: _Optional[float] = ..., pending: _Optional[int] = ..., counter_names: _Optional[_Iterable[str]] = ..., counter_values: _Optional[_Iterable[int]] = ..., sum_names: _Optional[_Iterable[str]] = ..., sum_values: _Optional[_Iterable[float]] = ..., reward_min: _Optional[float] = ..., reward_max: _Optional[float] = ..., alarms: _Optional[_Iterable[_Union[Alarm, _Mapping]]] = ..., lease: _Optional[int] = ..., owner: _Optional[str] = ..., nodes: _Optional[_Iterable[_Union[NodeStatus, _Mapping]]] = ..., drift: _Optional[_Union[Drift, _Mapping]] = ..., policy_names: _Optional[_Iterable[str]] = ..., policy_values: _Optional[_Iterable[float]] = ...) -> None: ...

class Drift(_message.Message):
    __slots__ = ("detector", "on", "action", "learned", "detections", "last", "exploring_until")
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    ON_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    LEARNED_FIELD_NUMBER: _ClassVar[int]
    DETECTIONS_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    EXPLORING_UNTIL_FIELD_NUMBER: _ClassVar[int]
    detector: str
    on: str
    action: str
    learned: int
    detections: int
    last: int
    exploring_until: int
    def __init__(self, detector: _Optional[str] = ..., on: _Optional[str] = ..., action: _Optional[str] = ..., learned: _Optional[int] = ..., detections: _Optional[int] = ..., last: _Optional[int] = ..., exploring_until: _Optional[int] = ...) -> None: ...

class Alarm(_message.Message):
    __slots__ = ("id", "text")
    ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    id: str
    text: str
    def __init__(self, id: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class NodeStatus(_message.Message):
    __slots__ = ("folder", "host", "role", "silent_seconds", "journal_records", "unshipped_records", "unshipped_seconds", "model_lease", "model_epoch", "model_version")
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    SILENT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_RECORDS_FIELD_NUMBER: _ClassVar[int]
    UNSHIPPED_RECORDS_FIELD_NUMBER: _ClassVar[int]
    UNSHIPPED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MODEL_LEASE_FIELD_NUMBER: _ClassVar[int]
    MODEL_EPOCH_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    folder: str
    host: str
    role: str
    silent_seconds: float
    journal_records: int
    unshipped_records: int
    unshipped_seconds: float
    model_lease: int
    model_epoch: int
    model_version: int
    def __init__(self, folder: _Optional[str] = ..., host: _Optional[str] = ..., role: _Optional[str] = ..., silent_seconds: _Optional[float] = ..., journal_records: _Optional[int] = ..., unshipped_records: _Optional[int] = ..., unshipped_seconds: _Optional[float] = ..., model_lease: _Optional[int] = ..., model_epoch: _Optional[int] = ..., model_version: _Optional[int] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("app",)
    APP_FIELD_NUMBER: _ClassVar[int]
    app: str
    def __init__(self, app: _Optional[str] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("epoch", "model_version", "state_sha256", "created", "served", "pinned")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_SHA256_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    SERVED_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    model_version: int
    state_sha256: str
    created: float
    served: bool
    pinned: bool
    def __init__(self, epoch: _Optional[int] = ..., model_version: _Optional[int] = ..., state_sha256: _Optional[str] = ..., created: _Optional[float] = ..., served: bool = ..., pinned: bool = ...) -> None: ...

class ListModelsReply(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelVersion]
    def __init__(self, models: _Optional[_Iterable[_Union[ModelVersion, _Mapping]]] = ...) -> None: ...

class RollBackRequest(_message.Message):
    __slots__ = ("app", "model_version")
    APP_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    app: str
    model_version: int
    def __init__(self, app: _Optional[str] = ..., model_version: _Optional[int] = ...) -> None: ...

class PromoteRequest(_message.Message):
    __slots__ = ("app", "model")
    APP_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    app: str
    model: bytes
    def __init__(self, app: _Optional[str] = ..., model: _Optional[bytes] = ...) -> None: ...

class PinRequest(_message.Message):
    __slots__ = ("app", "model_version")
    APP_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    app: str
    model_version: int
    def __init__(self, app: _Optional[str] = ..., model_version: _Optional[int] = ...) -> None: ...

class UnpinRequest(_message.Message):
    __slots__ = ("app",)
    APP_FIELD_NUMBER: _ClassVar[int]
    app: str
    def __init__(self, app: _Optional[str] = ...) -> None: ...

class PromotionReply(_message.Message):
    __slots__ = ("sequence", "state_sha256")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STATE_SHA256_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    state_sha256: str
    def __init__(self, sequence: _Optional[int] = ..., state_sha256: _Optional[str] = ...) -> None: ...

class ExportModelRequest(_message.Message):
    __slots__ = ("app", "model_version")
    APP_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    app: str
    model_version: int
    def __init__(self, app: _Optional[str] = ..., model_version: _Optional[int] = ...) -> None: ...

class ExportModelReply(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: bytes
    def __init__(self, model: _Optional[bytes] = ...) -> None: ...
