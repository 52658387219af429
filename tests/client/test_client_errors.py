"""Errors: what each status becomes, and what may be tried again."""

from __future__ import annotations

import pickle

import grpc
import pytest

from rankd import errors
from rankd.errors import BatchError, RankdError, error_of

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, RankdError)
]


@pytest.mark.parametrize(
    ("code", "cls", "retryable", "outage"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, errors.InvalidArgument, False, False),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.DeadlineExceeded, True, True),
        (grpc.StatusCode.NOT_FOUND, errors.NotFound, False, False),
        (grpc.StatusCode.ALREADY_EXISTS, errors.AlreadyExists, False, False),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.ResourceExhausted, False, True),
        (grpc.StatusCode.INTERNAL, errors.InternalError, False, True),
        (grpc.StatusCode.UNKNOWN, errors.InternalError, False, True),
        (grpc.StatusCode.DATA_LOSS, errors.InternalError, False, True),
        (grpc.StatusCode.UNAVAILABLE, errors.Unavailable, True, True),
        (grpc.StatusCode.PERMISSION_DENIED, RankdError, False, False),
        (grpc.StatusCode.UNIMPLEMENTED, RankdError, False, False),
    ],
)
def test_each_status_has_its_class(
    code: grpc.StatusCode, cls: type[RankdError], retryable: bool, outage: bool
) -> None:
    error = error_of(code.value[0], "why", event_id="e")
    assert type(error) is cls
    assert error.code == code.value[0]
    assert str(error) == "why"
    assert error.event_id == "e"
    assert (error.retryable, error.outage) == (retryable, outage)


@pytest.mark.parametrize(
    ("code", "retry_after", "retryable"),
    [
        (8, None, False),
        (8, 0.5, True),
        (8, -1, False),
        (14, 0.5, True),
        (14, -1, False),
        (3, 0.5, False),
    ],
)
def test_the_service_can_allow_or_forbid_a_retry(
    code: int, retry_after: float | None, retryable: bool
) -> None:
    assert error_of(code, "why", retry_after=retry_after).retryable == retryable


def test_a_wrong_argument_is_a_value_error_wherever_it_is_found() -> None:
    assert issubclass(errors.InvalidArgument, ValueError)


@pytest.mark.parametrize("cls", CLASSES)
def test_each_class_tells_what_may_be_done(cls: type[RankdError]) -> None:
    assert cls.__doc__
    assert "May be retried: " in cls.__doc__
    assert "gRPC status: " in cls.__doc__


def test_errors_go_through_queues() -> None:
    error = error_of(14, "away", event_id="e", reward_id="r", retry_after=0.5)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_a_batch_error_goes_through_queues() -> None:
    again = pickle.loads(pickle.dumps(BatchError([error_of(6, "clash"), error_of(14, "away")])))
    assert str(again) == "2 of 2 requests failed; requests[0]: clash"
    assert [type(item) for item in again.results] == [errors.AlreadyExists, errors.Unavailable]
