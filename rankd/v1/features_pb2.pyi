from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Features(_message.Message):
    __slots__ = ("namespace", "numeric_names", "numeric_values", "categorical_names", "categorical_values", "vector_names", "vector_sizes", "vector_data")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NUMERIC_NAMES_FIELD_NUMBER: _ClassVar[int]
    NUMERIC_VALUES_FIELD_NUMBER: _ClassVar[int]
    CATEGORICAL_NAMES_FIELD_NUMBER: _ClassVar[int]
    CATEGORICAL_VALUES_FIELD_NUMBER: _ClassVar[int]
    VECTOR_NAMES_FIELD_NUMBER: _ClassVar[int]
    VECTOR_SIZES_FIELD_NUMBER: _ClassVar[int]
    VECTOR_DATA_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    numeric_names: _containers.RepeatedScalarFieldContainer[str]
    numeric_values: _containers.RepeatedScalarFieldContainer[float]
    categorical_names: _containers.RepeatedScalarFieldContainer[str]
    categorical_values: _containers.RepeatedScalarFieldContainer[str]
    vector_names: _containers.RepeatedScalarFieldContainer[str]
    vector_sizes: _containers.RepeatedScalarFieldContainer[int]
    vector_data: bytes
    def __init__(self, namespace: _Optional[str] = ..., numeric_names: _Optional[_Iterable[str]] = ..., numeric_values: _Optional[_Iterable[float]] = ..., categorical_names: _Optional[_Iterable[str]] = ..., categorical_values: _Optional[_Iterable[str]] = ..., vector_names: _Optional[_Iterable[str]] = ..., vector_sizes: _Optional[_Iterable[int]] = ..., vector_data: _Optional[bytes] = ...) -> None: ...

class ActionFeatures(_message.Message):
    __slots__ = ("namespace", "numeric_counts", "numeric_names", "numeric_values", "categorical_counts", "categorical_names", "categorical_values", "vector_size", "vector_data")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NUMERIC_COUNTS_FIELD_NUMBER: _ClassVar[int]
    NUMERIC_NAMES_FIELD_NUMBER: _ClassVar[int]
    NUMERIC_VALUES_FIELD_NUMBER: _ClassVar[int]
    CATEGORICAL_COUNTS_FIELD_NUMBER: _ClassVar[int]
    CATEGORICAL_NAMES_FIELD_NUMBER: _ClassVar[int]
    CATEGORICAL_VALUES_FIELD_NUMBER: _ClassVar[int]
    VECTOR_SIZE_FIELD_NUMBER: _ClassVar[int]
    VECTOR_DATA_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    numeric_counts: _containers.RepeatedScalarFieldContainer[int]
    numeric_names: _containers.RepeatedScalarFieldContainer[str]
    numeric_values: _containers.RepeatedScalarFieldContainer[float]
    categorical_counts: _containers.RepeatedScalarFieldContainer[int]
    categorical_names: _containers.RepeatedScalarFieldContainer[str]
    categorical_values: _containers.RepeatedScalarFieldContainer[str]
    vector_size: int
    vector_data: bytes
    def __init__(self, namespace: _Optional[str] = ..., numeric_counts: _Optional[_Iterable[int]] = ..., numeric_names: _Optional[_Iterable[str]] = ..., numeric_values: _Optional[_Iterable[float]] = ..., categorical_counts: _Optional[_Iterable[int]] = ..., categorical_names: _Optional[_Iterable[str]] = ..., categorical_values: _Optional[_Iterable[str]] = ..., vector_size: _Optional[int] = ..., vector_data: _Optional[bytes] = ...) -> None: ...
