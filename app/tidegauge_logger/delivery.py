"""Sends blocks of events to Kafka with librdkafka, and acknowledges them in order."""

from __future__ import annotations

import ctypes
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from tidegauge_logger.backlog import Block
from tidegauge_logger.counters import Counters
from tidegauge_logger.events import Event

RETRY_SECONDS = 1.0
SLICE = 16
"""How many events are passed to librdkafka before other threads of the service may run."""
NEVER = frozenset(
    (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError._INVALID_ARG)
)
"""Errors for which sending an event again is useless."""

_SETTINGS: dict[str, Any] = {
    # The default of Kafka's Java client. With librdkafka's own default, labels would be in other partitions than predictions.
    "partitioner": "murmur2_random",
    "enable.idempotence": True,
    "acks": "all",
    "linger.ms": 5,
    "compression.type": "lz4",
    "message.max.bytes": 2 << 20,
    # Kafka may be unavailable for days, so the amount of waiting events is limited, but not the time.
    "message.timeout.ms": 0,
    "queue.buffering.max.messages": 1_000_000,
    "socket.keepalive.enable": True,
    "reconnect.backoff.max.ms": 2000,
    # Standard error belongs to the service. Lasting problems are reported in one warning a minute.
    "log_level": 0,
    "client.id": "tidegauge-logger",
}


class Delivery:
    """The blocks that are being sent. For use by a single thread.

    ``settings``: additional settings of librdkafka; ``topics``: topic names by logical name; ``window``: the most bytes that
    are being sent at the same time; ``arrived``: called with each acknowledged block, in the order in which blocks were sent.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        topics: Mapping[str, str],
        window: int,
        counters: Counters,
        arrived: Callable[[Block], None],
    ) -> None:
        self._settings = {**_SETTINGS, **settings, "error_cb": self._on_error}
        self._topics, self._window, self._counters, self._arrived = topics, window, counters, arrived
        self._producer: Any = None
        self._blocks: deque[Block] = deque()
        self._bytes = 0
        self._again: deque[tuple[Block, Event]] = deque()
        self._again_at = 0.0
        self._fatal = False
        self.problem = ""
        """What Kafka, or the way to it, last complained of."""

    @property
    def under_way(self) -> list[Block]:
        return list(self._blocks)

    @property
    def idle(self) -> bool:
        return not self._blocks

    @property
    def full(self) -> bool:
        return self._bytes >= self._window

    def send(self, block: Block) -> None:
        self._blocks.append(block)
        self._bytes += block.bytes
        for number, event in enumerate(block.events, 1):
            self._produce(block, event)
            if number % SLICE == 0:
                time.sleep(0)

    def _produce(self, block: Block, event: Event) -> None:
        try:
            if self._producer is None:
                self._producer = Producer(self._settings)
            self._producer.produce(
                self._topics[event.topic],
                event.value,
                event.key.encode(),
                headers=None if event.traceparent is None else [("traceparent", event.traceparent.encode())],
                on_delivery=partial(self._on_delivery, block, event),
            )
        except KafkaException as error:
            self._on_delivery(block, event, error.args[0], None)
        except Exception as error:
            # The queue is full, or the settings are unusable.
            self.problem = str(error)
            self._later(block, event)

    def _on_delivery(self, block: Block, event: Event, error: Any, message: Any) -> None:
        if error is None:
            self._counters.sent += 1
            block.left -= 1
            self.problem = ""
        elif error.code() in NEVER:
            self._counters.drop("refused", text=error.str())
            block.left -= 1
        else:
            if error.code() != KafkaError._PURGE_QUEUE:
                self.problem = error.str()
            self._later(block, event)

    def _later(self, block: Block, event: Event) -> None:
        if not self._again:
            self._again_at = time.monotonic() + RETRY_SECONDS
        self._again.append((block, event))

    def _on_error(self, error: Any) -> None:
        self._fatal = self._fatal or error.fatal()
        self.problem = error.str()

    def poll(self) -> None:
        """Process Kafka's answers, acknowledge blocks, and send again what failed some time ago."""
        if self._producer is None:
            return
        self._producer.poll(0)
        if self._fatal:
            self._discard()
        while self._blocks and not self._blocks[0].left:
            block = self._blocks.popleft()
            self._bytes -= block.bytes
            self._arrived(block)
        if self._again and time.monotonic() >= self._again_at:
            again, self._again = self._again, deque()
            for one in again:
                self._produce(*one)

    def _discard(self) -> None:
        """Replace the producer: an idempotent producer cannot continue after a fatal error. The new one sends what was not
        acknowledged."""
        producer, self._producer, self._fatal = self._producer, None, False
        producer.purge()
        producer.flush(5)

    def close(self) -> None:
        if self._producer is not None:
            self._producer.purge()
            self._producer.flush(1)
            self._producer = None

    def abandon(self) -> None:
        """Abandon the producer in a forked child process, where its threads do not exist and its destructor would wait for
        them."""
        if self._producer is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._producer))
