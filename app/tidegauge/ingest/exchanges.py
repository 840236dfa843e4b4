"""Requests that wait for their responses, and the prediction events that the two become.

Both come in any order. What waits is bounded in bytes; the oldest goes first. A request without a response by the timeout
failed, or its response was lost: its events say ``error: "no response"``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from tidegauge.engine.refusals import UNPROCESSABLE
from tidegauge.errors import EventError
from tidegauge.ingest import bodies
from tidegauge.ingest.event_rows import Event, encoded, of_request, of_response, version_of
from tidegauge.ingest.messages import Message, bad
from tidegauge.spec import ModelSpec

log = logging.getLogger(__name__)
NO_RESPONSE, CANARY = "no response", "canary"
MAX_EVENT_BYTES = 1_000_000
"""An event has to fit into a topic with Kafka's default ``max.message.bytes``."""
OVERHEAD_BYTES = 1000
"""What a message costs beside its body, about."""
Key = tuple[str, str, str]
SpecOf = Callable[[str], ModelSpec]
"""The spec of a model by its name at the server."""


class Place(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class Arrived(msgspec.Struct, frozen=True):
    """A message and the record it came in. ``stamp``: the record's timestamp, Unix seconds."""

    message: Message
    place: Place
    offset: int
    stamp: float

    @property
    def bytes(self) -> int:
        return len(self.message.body) + OVERHEAD_BYTES


class Refused(NamedTuple):
    """A record that became no event, and why."""

    place: Place
    offset: int
    key: bytes | None
    reason: str
    why: str


Outcome = list[tuple[bytes, bytes]] | Refused
"""Keys and values of prediction events, or why there are none."""


class Exchanges:
    """What waits for its other half. ``max_bytes``: of bodies, beyond which the oldest are dropped."""

    def __init__(self, spec_of: SpecOf, max_bytes: int) -> None:
        self._spec_of, self._max_bytes = spec_of, max_bytes
        self._waiting: dict[Key, Arrived] = {}
        self._links: list[tuple[tuple[Place, int], tuple[Place, int]]] = []
        """Partition and offset of the request and of the response of what was joined, until both are committed."""
        self._versions: dict[str, str] = {}
        """By model the version that its newest response was of: a request without a response is taken for one to that."""
        self.bytes = 0
        self.dropped = 0
        """Messages that had to go for want of memory."""
        self.unmatched = 0
        """Responses whose request never came."""
        self.unanswered = 0
        """Requests without a response by the timeout."""

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def take(self, arrived: Arrived) -> Outcome | None:
        """The events of the exchange that ``arrived`` completes; None where its other half has not come. One that comes again
        takes the place of the first."""
        key = _key(arrived.message)
        other = self._waiting.get(key)
        if other is None or other.message.kind == arrived.message.kind:
            self._remove(key)
            self._waiting[key] = arrived
            self.bytes += arrived.bytes
            while self.bytes > self._max_bytes and len(self._waiting) > 1:
                self._remove(next(iter(self._waiting)))
                self.dropped += 1
            return None
        self._remove(key)
        request, response = (other, arrived) if other.message.kind == "request" else (arrived, other)
        if request.place != response.place or request.offset > response.offset:
            self._links.append(((request.place, request.offset), (response.place, response.offset)))
        return self._joined(request, response)

    def give_up(self, before: float) -> Iterator[Outcome]:
        """The events of requests whose records are older than ``before`` (Unix seconds). Responses as old are let go."""
        late = [key for key, arrived in self._waiting.items() if arrived.stamp < before]
        for key in late:
            arrived = self._remove(key)
            assert arrived is not None
            if arrived.message.kind == "response":
                self.unmatched += 1
                continue
            self.unanswered += 1
            yield self._joined(arrived, None)

    def forget(self, places: Iterable[Place]) -> None:
        """Somebody else reads these partitions now, from where they were committed."""
        gone = set(places)
        for key in [key for key, arrived in self._waiting.items() if arrived.place in gone]:
            self._remove(key)
        self._links = [link for link in self._links if not gone & {place for place, _ in link}]

    def committable(self, read: Mapping[Place, int]) -> dict[Place, int]:
        """Up to which offsets nothing is needed any more, of partitions that were ``read`` up to these. No request is read
        again without the response that it had."""
        found = dict(read)
        for arrived in self._waiting.values():
            found[arrived.place] = min(found.get(arrived.place, arrived.offset), arrived.offset)
        moved = True
        while moved:
            moved = False
            for (asked, request), (answered, response) in self._links:
                if request >= found.get(asked, 0) and response < found.get(answered, 0):
                    found[answered], moved = response, True
        self._links = [link for link in self._links if any(offset >= found.get(place, 0) for place, offset in link)]
        return {place: offset for place, offset in found.items() if place in read}

    def _joined(self, request: Arrived, response: Arrived | None) -> Outcome:
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
            events = of_request(spec.inputs, request.message.id, asked)
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
            # A fault of ours costs one exchange; raised, it would cost all those behind it.
            log.exception("exchange %s could not be processed", request.message.id)
            return Refused(at.place, at.offset, at.message.id.encode(), UNPROCESSABLE, f"{type(error).__name__}: {error}")

    def _remove(self, key: Key) -> Arrived | None:
        arrived = self._waiting.pop(key, None)
        if arrived is not None:
            self.bytes -= arrived.bytes
        return arrived


def _key(message: Message) -> Key:
    return (message.server or "", message.component, message.id)


def check(message: Message, spec_of: SpecOf) -> None:
    """Raises EventError for a message that can become no event, whatever its other half is."""
    body = bodies.read(message)
    name = message.server or body.model
    if name is None:
        # The model of a V2 request stands in its path: only the response may name it.
        return
    inputs = spec_of(name).inputs
    if message.kind == "request":
        of_request(inputs, message.id, body)
    else:
        of_response(inputs, body)


def _record(event: Event) -> tuple[bytes, bytes]:
    """Key and value of an event's record. Raises EventError where it fits into no topic."""
    value = encoded(event)
    if len(value) > MAX_EVENT_BYTES:
        raise EventError("too_large", f"the event of a row would have {len(value)} bytes, at most {MAX_EVENT_BYTES}")
    return event["request_id"].encode(), value


def _time(arrived: Arrived) -> float:
    return arrived.stamp if arrived.message.time is None else arrived.message.time


def _latency(request: Arrived, response: Arrived) -> Event:
    """``latency_ms``: milliseconds between the two, where both have the time of one clock: the sender's, or the records'."""
    if (request.message.time is None) != (response.message.time is None):
        return {}
    milliseconds = round((_time(response) - _time(request)) * 1000, 3)
    return {"latency_ms": milliseconds} if milliseconds >= 0 else {}
