"""A producer outside of rankd: whatever it likes, straight into a topic."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer

from rankd.v1 import log_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable

    _Message = tuple[str | None, bytes | None]

# Bytes of the largest message: above what a topic of rankd takes.
_LARGEST = 16 << 20
# Seconds for all of it.
_PATIENCE = 300.0


def produce(bootstrap: str, topic: str, messages: Iterable[_Message]) -> int:
    """Sends (key, value) pairs and waits until all are in the topic; returns how many.

    The key chooses the partition, as Kafka's own producers do it; without one it is any.
    """
    return asyncio.run(_produce(bootstrap, topic, messages))


async def _produce(bootstrap: str, topic: str, messages: Iterable[_Message]) -> int:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=_LARGEST, linger_ms=5)
    async with asyncio.timeout(_PATIENCE):
        await producer.start()
        try:
            sent = [
                await producer.send(topic, value, None if key is None else key.encode())
                for key, value in messages
            ]
            await asyncio.gather(*sent)
        finally:
            await producer.stop()
    return len(sent)


def json_reward(event_id: str, value: float, reward_id: str, **more: object) -> bytes:
    """A reward as JSON; `more` are optional fields: slot_id, decision_id, time_ms."""
    said = {"kind": "reward", "event_id": event_id, "reward_id": reward_id, "value": value}
    return json.dumps(said | more).encode()


def proto_reward(event_id: str, value: float, reward_id: str, app: str = "") -> bytes:
    """A reward as a protobuf Record."""
    header = pb.Header(app=app, kind=pb.KIND_REWARD, event_id=event_id)
    reward = pb.Reward(value=value, reward_id=reward_id)
    return pb.Record(header=header, payload=reward.SerializeToString()).SerializeToString()
