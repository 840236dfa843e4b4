"""Runs the stages over files: `tidegauge replay`, and the pass over reference data that a baseline is built with.

Events of both files are merged by ``ts``, with labels at their own ``ts``, unless file order is requested. There is one
partition. Verdicts are the same as in live operation, since the stages step through event time however many events they get at
once.
"""

from __future__ import annotations

import json
import mmap
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.engine.containment import ContainedStage
from tidegauge.engine.events import timestamp
from tidegauge.engine.stage import (
    ALERTS,
    DEAD_LETTERS,
    INCIDENTS,
    LABELS,
    METRICS,
    MODELS,
    PREDICTIONS,
    PROFILES,
    Counters,
    MemoryStore,
    Output,
    Record,
)
from tidegauge.errors import EventError, SourceError
from tidegauge.join.request_state import predicted
from tidegauge.join.requests import REQUEST
from tidegauge.join.stage import JoinStage
from tidegauge.models.registry import Registry
from tidegauge.monitor.stage import MonitorStage
from tidegauge.offline.sources import event_lines, plain_lines
from tidegauge.offline.tables import EVENTS, Columns

CHUNK = 10_000


class _Time(msgspec.Struct, gc=False):
    ts: float | str = 0.0


_time = msgspec.json.Decoder(_Time).decode


def time_of(line: bytes) -> float | None:
    """The ``ts`` of an event's line as the stages read it; None if they would refuse the line.

    >>> time_of(b'{"ts": 5, "score": NaN}'), time_of(b'{"ts": "1970-01-01T00:01:00Z"}'), time_of(b"oops")
    (5.0, 60.0, None)
    """
    try:
        ts: Any = _time(line).ts
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        try:
            ts = json.loads(line)["ts"]
        except (ValueError, LookupError, TypeError, RecursionError):
            return None
    try:
        return ts if type(ts) is float else timestamp(ts)
    except (EventError, TypeError):
        return None


def _has_label(line: bytes | None) -> bool:
    try:
        return "label" in json.loads(line or b"")
    except (ValueError, TypeError):
        return False


class Lines:
    """The non-empty lines of a file of events (see ``offline/sources.py``): the positions at which each begins and ends, and
    its ``ts`` (that of the previous line if the line will be refused).

    Raises SourceError if the file cannot be read.
    """

    def __init__(self, path: Path | None, columns: Columns = EVENTS, note: Callable[[str], None] = lambda text: None) -> None:
        self._raw: mmap.mmap | bytes = b"" if path is None else _mapped(path, columns, note)
        bounds: list[int] = []
        times: list[float] = []
        raw, start, last = self._raw, 0, 0.0
        size = len(raw)
        while start < size:
            end = raw.find(b"\n", start)
            end = size if end < 0 else end
            line = raw[start:end]
            if line.strip():
                ts = time_of(line)
                last = last if ts is None else ts
                bounds += (start, end)
                times.append(last)
            start = end + 1
        self._bounds = np.array(bounds, np.int64).reshape(-1, 2)
        self.times: NDArray[np.float64] = np.array(times)

    def __len__(self) -> int:
        return len(self.times)

    def records(self, numbers: NDArray[np.int64]) -> list[Record]:
        raw = self._raw
        return [
            Record(number, -1, None, raw[start:end])
            for number, (start, end) in zip(numbers.tolist(), self._bounds[numbers].tolist(), strict=True)
        ]


def _mapped(path: Path, columns: Columns, note: Callable[[str], None]) -> mmap.mmap | bytes:
    """The file's lines, memory-mapped: from the file itself if it has JSON lines, else from a copy converted to JSON lines."""
    try:
        plain = plain_lines(path)
        with tempfile.TemporaryFile() if plain is None else plain.open("rb") as file:
            if plain is None:
                file.writelines(line + b"\n" for line in event_lines(path, columns, note))
                file.flush()
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if os.fstat(file.fileno()).st_size else b""
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error


class Replay:
    """Both stages connected, with one partition each. ``sink``: called with each output."""

    def __init__(self, registry: Registry, sink: Callable[[Output], None]) -> None:
        self.registry, self._sink = registry, sink
        self._specified, self._seen = set(registry.models()), set[str]()
        self.counters: Counters = Counter()
        self._stores = MemoryStore(), MemoryStore()
        self._join = ContainedStage(
            lambda store, counted: JoinStage(0, store, registry, 1, counted), self._stores[0], 0, self.counters
        )
        self._monitor = ContainedStage(
            lambda store, counted: MonitorStage(store, registry, 1, counted), self._stores[1], 0, self.counters
        )
        self.refused: Counter[tuple[str, str]] = Counter()
        """Dead letters by topic and reason."""
        self._said: dict[str, str] = {}
        self._offset = 0

    @property
    def unmatched(self) -> int:
        """The number of requests with labels whose prediction has not come."""
        return sum(key[:1] == REQUEST and not predicted(raw) for key, raw in self._stores[0].items())

    def require_read(self, topic: str, count: int, source: str) -> None:
        """Raises SourceError, with the first reason in full, if all of the ``count`` events of ``topic``, which came from
        ``source``, were refused."""
        refused = {reason: number for (of, reason), number in self.refused.items() if of == topic}
        if sum(refused.values()) == count and (count or topic == PREDICTIONS):
            reasons = ", ".join(f"{reason} {number}" for reason, number in sorted(refused.items()))
            first = f"; the first: {self._said[topic]}" if topic in self._said else ""
            raise SourceError(f"{source}: no event of the topic {topic} could be read ({reasons or 'it is empty'}){first}")

    def likely_mistakes(self, predictions: Lines, labels: Lines) -> list[str]:
        """Likely mistakes in the input, one sentence each: a spec without events, labels inside of prediction events."""
        found = []
        for model in sorted(self._specified - self._seen):
            seen = ", ".join(sorted(self._seen)[:5]) or "no model"
            found.append(f"no prediction is of model {model}, which a spec is for; the predictions are of {seen}")
        if len(predictions) and not len(labels) and _has_label(predictions.records(np.array([0]))[0].value):
            found.append("predictions have a member label, which is read of labels alone: give the same data as labels, too")
        return found

    def run(self, predictions: Lines, labels: Lines, file_order: bool = False) -> None:
        """Process everything, then close, settle and publish all open windows."""
        for topic_chunks in self._chunks(predictions, labels, file_order):
            for topic, records in topic_chunks:
                if records:
                    self._join.process(topic, records)
            self._checkpoint()
        for output in self._monitor.finish():
            self._emit(output)

    def _chunks(self, predictions: Lines, labels: Lines, file_order: bool) -> Iterator[list[tuple[str, list[Record]]]]:
        times = np.concatenate((predictions.times, labels.times))
        kinds = np.repeat([0, 1], [len(predictions), len(labels)])
        numbers = np.concatenate((np.arange(len(predictions)), np.arange(len(labels))))
        order = np.arange(len(times)) if file_order else np.lexsort((kinds, times))
        for start in range(0, len(order), CHUNK):
            chosen = order[start : start + CHUNK]
            yield [
                (topic, lines.records(numbers[chosen[kinds[chosen] == kind]]))
                for kind, (topic, lines) in enumerate(((PREDICTIONS, predictions), (LABELS, labels)))
            ]

    def _checkpoint(self) -> None:
        deltas: list[Record] = []
        for output in self._join.checkpoint(0.0):
            if output.topic == PROFILES:
                deltas.append(Record(self._offset, -1, output.key, output.value))
                self._offset += 1
            else:
                self._emit(output)
        if deltas:
            self._monitor.process(PROFILES, deltas)
            for output in self._monitor.checkpoint(0.0):
                self._emit(output)

        for store in self._stores:
            store.freeze()

    def _emit(self, output: Output) -> None:
        if output.topic == MODELS and output.key is not None:
            self.registry.apply(output.key, output.value)
        if output.topic == METRICS and output.key is not None:
            self._seen.add(msgspec.json.decode(output.key)[0])
        if output.topic == DEAD_LETTERS:
            said = dict(output.headers)
            topic = said["topic"].decode()
            self.refused[topic, said["reason"].decode()] += 1
            self._said.setdefault(topic, said["message"].decode("utf-8", "replace"))
        self._sink(output)


_DROPPED = {
    ("duplicate", PREDICTIONS): "predictions that were there already",
    ("duplicate", LABELS): "labels that were there already",
    ("expired", LABELS): "labels past the label horizon",
}


def not_counted(replay: Replay) -> str:
    """The numbers of events that were read but not counted, with reasons, as the end of a sentence; "" if all were counted."""
    found = Counter({f"dead letters ({reason})": count for (_, reason), count in sorted(replay.refused.items())})
    found.update({words: replay.counters[name] for name, words in _DROPPED.items()})
    found["predictions too late for their windows"] = sum(
        count for (name, _), count in replay.counters.items() if name == "late_predictions"
    )
    found["labels without a prediction"] = replay.unmatched
    reused = sum(count for (name, _), count in replay.counters.items() if name == "reused_id")
    found["predictions whose request_id an earlier request had (an id must name one request)"] = reused
    found[_DROPPED["duplicate", PREDICTIONS]] -= reused
    told = [f"{count} {what}" for what, count in found.items() if count]
    return f"; not counted: {', '.join(told)}" if told else ""


class Files:
    """A sink that writes ``metrics.jsonl``, ``alerts.jsonl``, ``incidents.jsonl`` and ``dead-letters.jsonl`` to a directory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._files = {name: (directory / f"{name}.jsonl").open("wb") for name in (METRICS, ALERTS, INCIDENTS, DEAD_LETTERS)}
        self.counts: Counter[str] = Counter()

    def __call__(self, output: Output) -> None:
        file = self._files.get(output.topic)
        if file is None or output.value is None:
            return
        self.counts[output.topic] += 1
        file.write(dead_letter_json(output) if output.topic == DEAD_LETTERS else output.value)
        file.write(b"\n")

    def close(self) -> None:
        for file in self._files.values():
            file.close()


def dead_letter_json(output: Output) -> bytes:
    """A dead letter as one line of JSON. Its value is text, in which bytes that are not UTF-8 are escaped."""
    members: dict[str, Any] = {name: value.decode("utf-8", "replace") for name, value in output.headers}
    members["value"] = (output.value or b"").decode("utf-8", "backslashreplace")
    return msgspec.json.encode(members)
