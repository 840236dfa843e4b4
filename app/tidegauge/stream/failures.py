"""What the Kafka client raises, for packages that may not know the client."""

from __future__ import annotations

from aiokafka.errors import KafkaError

__all__ = ["KafkaError"]
