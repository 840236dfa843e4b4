"""The base class of the Kafka client's errors, for packages that may not import the client."""

from __future__ import annotations

from aiokafka.errors import KafkaError

__all__ = ["KafkaError"]
