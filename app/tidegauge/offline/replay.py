"""The same stages over files: `tidegauge replay`, and the pass over reference data that a baseline is built with.

Events are taken in ``ts`` order of both files together, a label at its own ``ts``, unless asked for file order. There is
one partition; verdicts fall where they would have fallen live, since the stages step through event time however much they
are given at once.
"""

from __future__ import annotations

import mmap
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
    MemoryStore,
    Output,
    Record,
)
from tidegauge.errors import EventError, TidegaugeError
from tidegauge.join.stage import JoinStage
from tidegauge.models.registry import Registry
from tidegauge.monitor.stage import MonitorStage

CHUNK = 10_000


class _Time(msgspec.Struct, gc=False):
    ts: float | str = 0.0


_time = msgspec.json.Decoder(_Time).decode


class Lines:
    """The non-empty lines of a JSONL file: where each begins and ends, and its ``ts`` (a bad line has its predecessor's).

    Raises TidegaugeError where the file cannot be read.
    """

    def __init__(self, path: Path | None) -> None:
        self._raw: mmap.mmap | bytes = b""
        bounds: list[int] = []
        times: list[float] = []
        if path is not None:
            try:
                with path.open("rb") as file:
                    if path.stat().st_size:
                        self._raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except OSError as error:
                raise TidegaugeError(f"{path}: cannot be read: {error.strerror}") from error
        raw, start, last = self._raw, 0, 0.0
        size = len(raw)
        while start < size:
            end = raw.find(b"\n", start)
            end = size if end < 0 else end
            line = raw[start:end]
            if line.strip():
                try:
                    ts = _time(line).ts
                    last = ts if type(ts) is float else timestamp(ts)
                except (msgspec.MsgspecError, EventError, UnicodeError, RecursionError):
                    pass
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


class Replay:
    """Both stages joined head to tail, one partition each; outputs go to ``sink`` as they come."""

    def __init__(self, registry: Registry, sink: Callable[[Output], None]) -> None:
        self.registry, self._sink = registry, sink
        self.counters: Counter[tuple[str, str]] = Counter()
        self._stores = MemoryStore(), MemoryStore()
        self._join = ContainedStage(
            lambda store, counted: JoinStage(0, store, registry, 1, counted), self._stores[0], 0, self.counters
        )
        self._monitor = ContainedStage(
            lambda store, counted: MonitorStage(0, store, registry, 1, counted), self._stores[1], 0, self.counters
        )
        self._offset = 0

    def run(self, predictions: Lines, labels: Lines, file_order: bool = False) -> None:
        """Feed everything, then close, settle and publish what is open."""
        for topic_chunks in self._chunks(predictions, labels, file_order):
            for topic, records in topic_chunks:
                if records:
                    self._join.process(topic, records)
            self._checkpoint()
        for output in self._monitor.stage.finish():
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
        self._sink(output)


class Files:
    """A sink that writes ``metrics.jsonl``, ``alerts.jsonl``, ``incidents.jsonl`` and ``dead-letters.jsonl`` in a directory."""

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
    """A dead letter as one line of JSON; the value as text, with what is not UTF-8 escaped."""
    members: dict[str, Any] = {name: value.decode("utf-8", "replace") for name, value in output.headers}
    members["value"] = (output.value or b"").decode("utf-8", "backslashreplace")
    return msgspec.json.encode(members)
