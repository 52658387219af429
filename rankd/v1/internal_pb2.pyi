from rankd.v1 import log_pb2 as _log_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JournalRequest(_message.Message):
    __slots__ = ("id", "records", "expected_last", "trim_to", "shipped", "wait_shipped", "callers")
    ID_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_LAST_FIELD_NUMBER: _ClassVar[int]
    TRIM_TO_FIELD_NUMBER: _ClassVar[int]
    SHIPPED_FIELD_NUMBER: _ClassVar[int]
    WAIT_SHIPPED_FIELD_NUMBER: _ClassVar[int]
    CALLERS_FIELD_NUMBER: _ClassVar[int]
    id: int
    records: _containers.RepeatedCompositeFieldContainer[_log_pb2.Record]
    expected_last: int
    trim_to: int
    shipped: Shipped
    wait_shipped: bool
    callers: int
    def __init__(self, id: _Optional[int] = ..., records: _Optional[_Iterable[_Union[_log_pb2.Record, _Mapping]]] = ..., expected_last: _Optional[int] = ..., trim_to: _Optional[int] = ..., shipped: _Optional[_Union[Shipped, _Mapping]] = ..., wait_shipped: bool = ..., callers: _Optional[int] = ...) -> None: ...

class Shipped(_message.Message):
    __slots__ = ("sequence", "topics", "partition_counts", "last_sequences", "last_offsets")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    PARTITION_COUNTS_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    LAST_OFFSETS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    topics: _containers.RepeatedScalarFieldContainer[str]
    partition_counts: _containers.RepeatedScalarFieldContainer[int]
    last_sequences: _containers.RepeatedScalarFieldContainer[int]
    last_offsets: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, sequence: _Optional[int] = ..., topics: _Optional[_Iterable[str]] = ..., partition_counts: _Optional[_Iterable[int]] = ..., last_sequences: _Optional[_Iterable[int]] = ..., last_offsets: _Optional[_Iterable[int]] = ...) -> None: ...

class JournalReply(_message.Message):
    __slots__ = ("id", "acks", "error")
    class Error(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ERROR_NONE: _ClassVar[JournalReply.Error]
        ERROR_FULL: _ClassVar[JournalReply.Error]
        ERROR_MOVED: _ClassVar[JournalReply.Error]
        ERROR_INVALID: _ClassVar[JournalReply.Error]
        ERROR_BUSY: _ClassVar[JournalReply.Error]
    ERROR_NONE: JournalReply.Error
    ERROR_FULL: JournalReply.Error
    ERROR_MOVED: JournalReply.Error
    ERROR_INVALID: JournalReply.Error
    ERROR_BUSY: JournalReply.Error
    ID_FIELD_NUMBER: _ClassVar[int]
    ACKS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: int
    acks: _containers.RepeatedCompositeFieldContainer[Ack]
    error: JournalReply.Error
    def __init__(self, id: _Optional[int] = ..., acks: _Optional[_Iterable[_Union[Ack, _Mapping]]] = ..., error: _Optional[_Union[JournalReply.Error, str]] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ("sequence", "node", "stored")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    node: str
    stored: bytes
    def __init__(self, sequence: _Optional[int] = ..., node: _Optional[str] = ..., stored: _Optional[bytes] = ...) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("app", "version", "epoch", "config_json", "libraries", "policy", "joiner", "oldest_needed", "pinned", "changed_at", "proposed_json", "report_json", "clock_us", "order_time_us", "streams", "watermark_us", "lease", "lease_renewed_us", "merge_state", "joiner_parts", "bases_since")
    APP_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    LIBRARIES_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    JOINER_FIELD_NUMBER: _ClassVar[int]
    OLDEST_NEEDED_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    CHANGED_AT_FIELD_NUMBER: _ClassVar[int]
    PROPOSED_JSON_FIELD_NUMBER: _ClassVar[int]
    REPORT_JSON_FIELD_NUMBER: _ClassVar[int]
    CLOCK_US_FIELD_NUMBER: _ClassVar[int]
    ORDER_TIME_US_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_US_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    LEASE_RENEWED_US_FIELD_NUMBER: _ClassVar[int]
    MERGE_STATE_FIELD_NUMBER: _ClassVar[int]
    JOINER_PARTS_FIELD_NUMBER: _ClassVar[int]
    BASES_SINCE_FIELD_NUMBER: _ClassVar[int]
    app: str
    version: int
    epoch: int
    config_json: str
    libraries: _containers.RepeatedScalarFieldContainer[str]
    policy: bytes
    joiner: bytes
    oldest_needed: int
    pinned: _log_pb2.Promotion
    changed_at: int
    proposed_json: _containers.RepeatedScalarFieldContainer[str]
    report_json: str
    clock_us: int
    order_time_us: int
    streams: _containers.RepeatedCompositeFieldContainer[Stream]
    watermark_us: int
    lease: _log_pb2.Lease
    lease_renewed_us: int
    merge_state: bytes
    joiner_parts: _containers.RepeatedScalarFieldContainer[bytes]
    bases_since: int
    def __init__(self, app: _Optional[str] = ..., version: _Optional[int] = ..., epoch: _Optional[int] = ..., config_json: _Optional[str] = ..., libraries: _Optional[_Iterable[str]] = ..., policy: _Optional[bytes] = ..., joiner: _Optional[bytes] = ..., oldest_needed: _Optional[int] = ..., pinned: _Optional[_Union[_log_pb2.Promotion, _Mapping]] = ..., changed_at: _Optional[int] = ..., proposed_json: _Optional[_Iterable[str]] = ..., report_json: _Optional[str] = ..., clock_us: _Optional[int] = ..., order_time_us: _Optional[int] = ..., streams: _Optional[_Iterable[_Union[Stream, _Mapping]]] = ..., watermark_us: _Optional[int] = ..., lease: _Optional[_Union[_log_pb2.Lease, _Mapping]] = ..., lease_renewed_us: _Optional[int] = ..., merge_state: _Optional[bytes] = ..., joiner_parts: _Optional[_Iterable[bytes]] = ..., bases_since: _Optional[int] = ...) -> None: ...

class Stream(_message.Message):
    __slots__ = ("folder", "partition", "heard_us")
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    HEARD_US_FIELD_NUMBER: _ClassVar[int]
    folder: str
    partition: int
    heard_us: int
    def __init__(self, folder: _Optional[str] = ..., partition: _Optional[int] = ..., heard_us: _Optional[int] = ...) -> None: ...

class MergeState(_message.Message):
    __slots__ = ("sequence", "offsets", "times_us", "chains", "dead", "copies")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    TIMES_US_FIELD_NUMBER: _ClassVar[int]
    CHAINS_FIELD_NUMBER: _ClassVar[int]
    DEAD_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    offsets: _containers.RepeatedScalarFieldContainer[int]
    times_us: _containers.RepeatedScalarFieldContainer[int]
    chains: _containers.RepeatedCompositeFieldContainer[Chain]
    dead: int
    copies: int
    def __init__(self, sequence: _Optional[int] = ..., offsets: _Optional[_Iterable[int]] = ..., times_us: _Optional[_Iterable[int]] = ..., chains: _Optional[_Iterable[_Union[Chain, _Mapping]]] = ..., dead: _Optional[int] = ..., copies: _Optional[int] = ...) -> None: ...

class Chain(_message.Message):
    __slots__ = ("folder", "partition", "incarnation", "sequence")
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    folder: str
    partition: int
    incarnation: int
    sequence: int
    def __init__(self, folder: _Optional[str] = ..., partition: _Optional[int] = ..., incarnation: _Optional[int] = ..., sequence: _Optional[int] = ...) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ("app", "epoch", "published_at", "model_epoch", "model_version", "config_json", "policy", "lease")
    APP_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_AT_FIELD_NUMBER: _ClassVar[int]
    MODEL_EPOCH_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    app: str
    epoch: int
    published_at: int
    model_epoch: int
    model_version: int
    config_json: str
    policy: bytes
    lease: int
    def __init__(self, app: _Optional[str] = ..., epoch: _Optional[int] = ..., published_at: _Optional[int] = ..., model_epoch: _Optional[int] = ..., model_version: _Optional[int] = ..., config_json: _Optional[str] = ..., policy: _Optional[bytes] = ..., lease: _Optional[int] = ...) -> None: ...

class StoredDecision(_message.Message):
    __slots__ = ("node", "sequence", "payload")
    NODE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    node: str
    sequence: int
    payload: bytes
    def __init__(self, node: _Optional[str] = ..., sequence: _Optional[int] = ..., payload: _Optional[bytes] = ...) -> None: ...
