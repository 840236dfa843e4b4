"""The checks of `tidegauge doctor` on the newest records: the partitioner of their producers, wrong clocks, ids that
name several requests, and scores that are no probabilities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, TypeVar

import msgspec

from tidegauge.engine.stage import PREDICTIONS, SCHEMA_ID, RefusedRecord
from tidegauge.join.prediction_matching import SAME_REQUEST_SECONDS
from tidegauge.profile.outcome import MAX_OUTSIDE
from tidegauge.stream.finding import Finding, judged
from tidegauge.stream.key_placement import MISTAKES, placement
from tidegauge.stream.newest_records import PlacedRecord
from tidegauge.stream.settings import Settings

MAX_SKEW = 60.0
"""The most seconds that clocks may differ."""


class _Timed(msgspec.Struct):
    ts: float


class _Named(_Timed):
    request_id: str
    model_version: str = ""


class _Scored(msgspec.Struct):
    model_version: str
    score: float | None = None
    confidence: float | None = None


_timed = msgspec.json.Decoder(_Timed).decode
_named = msgspec.json.Decoder(_Named).decode
_scored = msgspec.json.Decoder(_Scored).decode


def partitioner(found: Mapping[str, Sequence[PlacedRecord]], settings: Settings, counts: Mapping[str, int]) -> Finding:
    """Check that records are in the partitions they belong in. ``found``: the newest records by logical topic; ``counts``:
    partition counts by the topic's name in Kafka."""
    wrong, seen = [], 0
    for topic, records in found.items():
        name = settings.topic(topic)
        looked = placement(topic, counts[name], records)
        seen += looked.checked[topic]
        wrong += [
            f"{of.records} of the newest {of.checked} records of {name} are {MISTAKES[of.mistake]}" for of in looked.found()
        ]
    if wrong:
        wrong.append("or have workers bring events to their partitions themselves (--rekey)")
    return judged(
        "partitioner", wrong, f"{seen} records lie where murmur2 of their request_id says" if seen else "no records yet"
    )


def schemas_needed(found: Mapping[str, Sequence[PlacedRecord]]) -> Finding | None:
    """Without a schema registry: whether these records of inputs, by the topic's own name, need one."""
    wrong = []
    for name, records in found.items():
        framed = sum(record.value is not None and record.value[:1] == b"\0" for _, record in records)
        if framed:
            wrong.append(f"{framed} of the newest {len(records)} records of {name} are in a schema registry's format: start "
                         "workers, and this command, with --schema-registry URL")  # fmt: skip
    return judged("schemas", wrong, "") if wrong else None


def schemas(found: Mapping[str, Sequence[PlacedRecord]], url: str) -> Finding:
    """``found``: records as the schemas of the registry at ``url`` say to read them."""
    wrong, read = [], 0
    for name, records in found.items():
        refused = [record for _, record in records if isinstance(record, RefusedRecord)]
        read += sum(any(header == SCHEMA_ID for header, _ in record.headers) for _, record in records)
        if refused:
            wrong.append(f"{len(refused)} of the newest {len(records)} records of {name} cannot be read: {refused[-1].message}")
    return judged("schemas", wrong, f"{url} answers; {read} of the newest records were read by its schemas")


def clock(found: Mapping[str, Sequence[PlacedRecord]], now: float) -> Finding:
    """Check the times of records and events. ``found``: as in ``partitioner``; ``now``: this machine's clock (Unix seconds)."""
    wrong, ahead = [], 0.0
    for name, records in found.items():
        if not records:
            continue
        # The time is the broker's if the topic has LogAppendTime, otherwise the producer's.
        skew = max(record.timestamp for _, record in records) / 1000 - now
        ahead = max(ahead, skew)
        if skew > MAX_SKEW:
            wrong.append(f"the newest record of {name} is {skew:.0f} s in this machine's future: set the clocks of this "
                         "machine, of the brokers and of the producers by NTP")  # fmt: skip
        leads = [event.ts - record.timestamp / 1000 for _, record in records if (event := _read(_timed, record)) is not None]
        lead = median(leads) if leads else 0.0
        if lead > MAX_SKEW:
            wrong.append(f"ts in {name} is {lead:.0f} s ahead of the records' own time: a service's clock is wrong, or ts is "
                         "not Unix seconds in UTC")  # fmt: skip
    return judged("clock", wrong, f"no record is more than {max(ahead, 0.0):.0f} s in the future")


def request_ids(found: Sequence[PlacedRecord]) -> Finding:
    """Check that each id names one request. ``found``: the newest records of predictions."""
    times: dict[tuple[str, str], float] = {}
    again: list[str] = []
    for _, record in found:
        event = _read(_named, record)
        if event is None:
            continue
        first = times.setdefault((event.request_id, event.model_version), event.ts)
        if abs(event.ts - first) > SAME_REQUEST_SECONDS:
            again.append(event.request_id)
    if not again:
        return Finding("request_ids", f"{len(times)} different ones" if times else "no predictions yet")
    said = f"{len(again)} of the newest {len(found)} {PREDICTIONS} have the request_id of an earlier request (as {again[0]!r})"
    return Finding("request_ids", wrong=f"{said} and are not counted: give each request an id of its own")


def scores(found: Sequence[PlacedRecord]) -> Finding:
    """Check that scores are probabilities. ``found``: as in ``request_ids``."""
    total: Counter[str] = Counter()
    outside: dict[str, list[float]] = {}
    for _, record in found:
        event = _read(_scored, record)
        score = None if event is None else event.confidence if event.score is None else event.score
        if event is not None and score is not None:
            total[event.model_version] += 1
            if not 0.0 <= score <= 1.0:
                outside.setdefault(event.model_version, []).append(score)
    wrong = [
        f"{len(odd)} of the newest {total[version]} predictions of {version} have a score outside 0 to 1 (as {odd[0]:g}): "
        "score and confidence are probabilities; send percent divided by 100, a logit x as 1 / (1 + exp(-x))"
        for version, odd in outside.items() if len(odd) > MAX_OUTSIDE * total[version]
    ]  # fmt: skip
    return judged("scores", wrong, f"{total.total()} lie between 0 and 1" if total else "no predictions with a score yet")


T = TypeVar("T")


def _read(decode: Callable[[bytes], T], record: Any) -> T | None:
    try:
        return decode(record.value or b"")
    except (msgspec.MsgspecError, RecursionError):
        return None
