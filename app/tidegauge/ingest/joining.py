"""Reads messages from their topics and writes prediction events. Offsets are committed once the events are in Kafka, so a crash
loses nothing: messages that were not committed are read again and become the same events, which the join drops as duplicates.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge

from tidegauge.client import Client
from tidegauge.engine.refusals import dead_letter
from tidegauge.engine.stage import DEAD_LETTERS, Record
from tidegauge.errors import EventError
from tidegauge.ingest import topic_records
from tidegauge.ingest.exchanges import ExchangeResult, Exchanges, PartitionId, ReceivedMessage, Refused
from tidegauge.stream.endpoint import RetryPauses
from tidegauge.stream.failures import KafkaError
from tidegauge.stream.shared_feed import PartitionRecord, SharedFeed

log = logging.getLogger(__name__)
MAX_RECORDS, WAIT_SECONDS = 500, 0.5


class Joining:
    """Reads messages, and writes the events they become. ``timeout``: for how many seconds a request waits for its response."""

    def __init__(self, exchanges: Exchanges, client: Client, timeout: float, registry: CollectorRegistry) -> None:
        self.exchanges, self._client, self._timeout = exchanges, client, timeout
        self._patience = RetryPauses("Kafka")
        made = registry
        self._messages = Counter("tidegauge_ingest_messages", "Requests and responses read", ["kind"], registry=made)
        self._events = Counter("tidegauge_ingest_events", "Prediction events written", registry=made)
        self._refused = Counter(
            "tidegauge_ingest_refused", "Messages that can become no event, in dead-letters", ["reason"], registry=made
        )
        self._lost = {
            name: Counter(f"tidegauge_ingest_{name}", text, registry=made)
            for name, text in (
                ("unanswered", "Requests without a response by the timeout"),
                ("unmatched", "Responses without a request by the timeout"),
                ("dropped", "Messages dropped because too many waited"),
            )
        }
        self._told = dict.fromkeys(self._lost, 0)
        waiting = Gauge("tidegauge_ingest_waiting_messages", "Messages that wait for their other half", registry=made)
        waiting.set_function(lambda: exchanges.waiting)
        held = Gauge("tidegauge_ingest_waiting_bytes", "What these take", registry=made)
        held.set_function(lambda: exchanges.bytes)

    async def run(self, feed: SharedFeed) -> None:
        """Run until cancelled. Raises what reading raises."""
        while True:
            records = await feed.take(WAIT_SECONDS, MAX_RECORDS)
            # Nothing is awaited between taking records and noting those that wait: if a partition went to another process in
            # between, its requests would stay here until they time out.
            outcomes = self._outcomes(records)
            outcomes += self.exchanges.give_up(feed.reached() - self._timeout)
            read = dict(feed.read)
            self._tell()
            await self._write(outcomes)
            await feed.commit(self.exchanges.committable(read))

    def _outcomes(self, records: Sequence[PartitionRecord]) -> list[ExchangeResult]:
        found: list[ExchangeResult] = []
        for place, record in records:
            at = PartitionId(*place)
            try:
                message = topic_records.message(at.topic, record)
            except EventError as error:
                found.append(Refused(at, record.offset, record.key, error.reason, str(error)))
                continue
            self._messages.labels(message.kind).inc()
            outcome = self.exchanges.take(ReceivedMessage(message, at, record.offset, record.timestamp / 1000))
            if outcome is not None:
                found.append(outcome)
        return found

    def _tell(self) -> None:
        """Report on /metrics what was lost since the last call, and in the log what was dropped for lack of memory."""
        for name, counter in self._lost.items():
            new = getattr(self.exchanges, name) - self._told[name]
            counter.inc(new)
            self._told[name] += new
            if name == "dropped" and new:
                log.error("%d messages were dropped: more wait for their other half than --waiting-mib holds", new)

    async def _write(self, outcomes: Sequence[ExchangeResult]) -> None:
        """Write all events and dead letters, trying again for as long as Kafka is away."""
        wanted = [record for outcome in outcomes for record in _records(outcome)]
        while wanted:
            try:
                sent = [await self._client.send(*record) for record in wanted]
                await asyncio.gather(*sent)
                break
            except KafkaError as error:
                # Records that Kafka already has become duplicates, which the join drops.
                await self._patience.failed(error)
        self._patience.worked()
        for outcome in outcomes:
            if isinstance(outcome, Refused):
                self._refused.labels(outcome.reason).inc()
            else:
                self._events.inc(len(outcome))


class _RecordToSend(NamedTuple):
    """The arguments of ``Client.send``; ``topic`` is a logical one."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: dict[str, str]


def _records(outcome: ExchangeResult) -> Iterator[_RecordToSend]:
    """The records to write for a result: its events, or a dead letter."""
    if not isinstance(outcome, Refused):
        for event in outcome:
            yield _RecordToSend(*event, {})
        return
    # The letter has no value, since a body may have personal data anywhere. The letter says where the record is.
    record = Record(outcome.offset, -1, outcome.key, None)
    letter = dead_letter(outcome.place.topic, outcome.place.partition, record, outcome.reason, outcome.why, None)
    headers = {name: value.decode("utf-8", "replace") for name, value in letter.headers}
    yield _RecordToSend(DEAD_LETTERS, letter.key, None, headers)
