"""Joins requests with their responses, and makes prediction events of the two.

They arrive in any order. The messages that wait are bounded in bytes; the oldest are dropped first. If there is no response by
the timeout, the request has failed or its response was lost, and its events have ``error: "no response"``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from tidegauge.engine.refusals import UNPROCESSABLE
from tidegauge.engine.stage import PREDICTIONS
from tidegauge.errors import EventError
from tidegauge.ingest import bodies
from tidegauge.ingest.event_rows import Event, EventRecord, encoded, of_request, of_response, version_of
from tidegauge.ingest.messages import Message, bad
from tidegauge.spec import ModelSpec

log = logging.getLogger(__name__)
NO_RESPONSE, CANARY = "no response", "canary"
MAX_EVENT_BYTES = 1_000_000
"""An event has to fit into a topic with Kafka's default ``max.message.bytes``."""
OVERHEAD_BYTES = 1000
"""About how much memory a message takes beside its body."""
SpecOf = Callable[[str], ModelSpec]
"""The spec of a model by its name at the server."""


class ExchangeKey(NamedTuple):
    """What a request and its response have in common; see ``Message``."""

    server: str
    component: str
    id: str


class PartitionId(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class RecordPlace(NamedTuple):
    """A partition, and the offset of a record in it."""

    place: PartitionId
    offset: int


class JoinedPlaces(NamedTuple):
    """The places of a request and its response that were joined."""

    request: RecordPlace
    response: RecordPlace


class ReceivedMessage(msgspec.Struct, frozen=True):
    """A message and where it was read. ``stamp``: its record's timestamp, Unix seconds."""

    message: Message
    place: PartitionId
    offset: int
    stamp: float

    @property
    def bytes(self) -> int:
        """About how much memory it takes."""
        return len(self.message.body) + OVERHEAD_BYTES


class Refused(NamedTuple):
    """A record that did not become an event. ``reason``: one of ``refusals.REASONS``; ``why``: the reason in words."""

    place: PartitionId
    offset: int
    key: bytes | None
    reason: str
    why: str


ExchangeResult = list[EventRecord] | Refused
"""The prediction events of an exchange, or why there are none."""


class Exchanges:
    """The messages that wait for their counterpart, the request or response of the same exchange. ``max_bytes``: of waiting
    messages; if there are more, the oldest are dropped."""

    def __init__(self, spec_of: SpecOf, max_bytes: int) -> None:
        self._spec_of, self._max_bytes = spec_of, max_bytes
        self._waiting: dict[ExchangeKey, ReceivedMessage] = {}
        self._joined_places: list[JoinedPlaces] = []
        """Those of joined exchanges whose two offsets are not both committed yet."""
        self._versions: dict[str, str] = {}
        """Model → the version of its newest response; a request without a response is counted for this version."""
        self.bytes = 0
        self.dropped = 0
        """How many messages were dropped for lack of memory."""
        self.unmatched = 0
        """How many responses had no request by the timeout."""
        self.unanswered = 0
        """How many requests had no response by the timeout."""

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self._waiting)

    def take(self, received: ReceivedMessage) -> ExchangeResult | None:
        """The result of the exchange that a message completes; None if its counterpart has not been received yet. A message
        that is received again replaces the first one."""
        key = _key(received.message)
        other = self._waiting.get(key)
        if other is None or other.message.kind == received.message.kind:
            self._remove(key)
            self._waiting[key] = received
            self.bytes += received.bytes
            while self.bytes > self._max_bytes and len(self._waiting) > 1:
                self._remove(next(iter(self._waiting)))
                self.dropped += 1
            return None
        self._remove(key)
        request, response = (other, received) if other.message.kind == "request" else (received, other)
        if request.place != response.place or request.offset > response.offset:
            asked, answered = (RecordPlace(of.place, of.offset) for of in (request, response))
            self._joined_places.append(JoinedPlaces(asked, answered))
        return self._joined(request, response)

    def give_up(self, before: float) -> Iterator[ExchangeResult]:
        """Give up the messages whose records are older than ``before`` (Unix seconds): requests become events without a
        response, responses are dropped."""
        late = [key for key, waiting in self._waiting.items() if waiting.stamp < before]
        for key in late:
            removed = self._remove(key)
            assert removed is not None
            if removed.message.kind == "response":
                self.unmatched += 1
                continue
            self.unanswered += 1
            yield self._joined(removed, None)

    def forget(self, places: Iterable[PartitionId]) -> None:
        """Forget the messages of partitions that another process reads from now on, beginning at the committed offsets."""
        gone = set(places)
        for key in [key for key, waiting in self._waiting.items() if waiting.place in gone]:
            self._remove(key)
        self._joined_places = [pair for pair in self._joined_places if not gone & {of.place for of in pair}]

    def committable(self, read: Mapping[PartitionId, int]) -> dict[PartitionId, int]:
        """The offset of each partition below which no record is needed any more. ``read``: the offset behind the last record
        read. If a request would be read again after a crash, so is the response it was joined with."""
        found = dict(read)
        for waiting in self._waiting.values():
            found[waiting.place] = min(found.get(waiting.place, waiting.offset), waiting.offset)
        moved = True
        while moved:
            moved = False
            for request, response in self._joined_places:
                if request.offset >= found.get(request.place, 0) and response.offset < found.get(response.place, 0):
                    found[response.place], moved = response.offset, True
        self._joined_places = [pair for pair in self._joined_places if any(of.offset >= found.get(of.place, 0) for of in pair)]
        return {place: offset for place, offset in found.items() if place in read}

    def _joined(self, request: ReceivedMessage, response: ReceivedMessage | None) -> ExchangeResult:
        at = request
        try:
            asked = bodies.read(request.message)
            at = response or request
            answered = None if response is None else bodies.read(response.message)
            name = request.message.server or (None if answered is None else answered.model) or asked.model
            if name is None:
                raise EventError("missing_member", "neither the messages nor their bodies say which model this is")
            spec = self._spec_of(name)
            at = request
            events = of_request(spec.inputs, request.message.request_id or request.message.id, asked)
            at = response or request
            if answered is not None:
                if answered.count != asked.count:
                    raise bad(f"the response has {answered.count} rows, its request has {asked.count}")
                for event, said in zip(events, of_response(spec.inputs, answered), strict=True):
                    event.update(said)
            version = version_of(spec, None if answered is None else answered.version)
            around: Event = {"ts": _time(request), "model": spec.model, "model_version": version}
            if response is None:
                around["error"] = NO_RESPONSE
                around["model_version"] = self._versions.get(spec.model, version)
            else:
                self._versions[spec.model] = version
                around |= _latency(request, response)
            if request.message.endpoint == CANARY:
                around["role"] = CANARY
            return [_record({**event, **around}) for event in events]
        except EventError as error:
            return Refused(at.place, at.offset, at.message.id.encode(), error.reason, str(error))
        except Exception as error:
            # A fault in this program costs one exchange; if it were raised, it would cost all later ones.
            log.exception("exchange %s could not be processed", request.message.id)
            return Refused(at.place, at.offset, at.message.id.encode(), UNPROCESSABLE, f"{type(error).__name__}: {error}")

    def _remove(self, key: ExchangeKey) -> ReceivedMessage | None:
        removed = self._waiting.pop(key, None)
        if removed is not None:
            self.bytes -= removed.bytes
        return removed


def _key(message: Message) -> ExchangeKey:
    return ExchangeKey(message.server or "", message.component, message.id)


def check(message: Message, spec_of: SpecOf) -> None:
    """Raises EventError for a message that cannot become an event, whatever its counterpart is."""
    body = bodies.read(message)
    name = message.server or body.model
    if name is None:
        # The model of a V2 request is in the path of its URL, so perhaps only the response names it.
        return
    inputs = spec_of(name).inputs
    if message.kind == "request":
        of_request(inputs, message.request_id or message.id, body)
    else:
        of_response(inputs, body)


def _record(event: Event) -> EventRecord:
    """The record of an event. Raises EventError if it is too large for a topic."""
    value = encoded(event)
    if len(value) > MAX_EVENT_BYTES:
        raise EventError("too_large", f"the event of a row would have {len(value)} bytes, at most {MAX_EVENT_BYTES}")
    return EventRecord(PREDICTIONS, event["request_id"].encode(), value)


def _time(received: ReceivedMessage) -> float:
    """Unix seconds: the message's own time, else its record's."""
    return received.stamp if received.message.time is None else received.message.time


def _latency(request: ReceivedMessage, response: ReceivedMessage) -> Event:
    """The member ``latency_ms``: the milliseconds between the two, if both times are of one clock, the sender's or Kafka's."""
    if (request.message.time is None) != (response.message.time is None):
        return {}
    milliseconds = round((_time(response) - _time(request)) * 1000, 3)
    return {"latency_ms": milliseconds} if milliseconds >= 0 else {}
