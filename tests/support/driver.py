"""Drives the pure stages without Kafka: any number of join partitions, any order, any chunking."""

from __future__ import annotations

import json
import random
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tidegauge.engine.stage import (
    LABELS,
    METRICS,
    MODELS,
    NOTHING,
    PREDICTIONS,
    PROFILES,
    Behind,
    MemoryStore,
    Output,
    Record,
)  # fmt: skip
from tidegauge.join.stage import JoinStage
from tidegauge.models.registry import ModelRecord, Registry, encode
from tidegauge.monitor.stage import MonitorStage
from tidegauge.spec import ModelSpec

SPEC = ModelSpec("churn", task="binary", segments=(("region",),), windows=("1m", "5m"), grace=0.0)


class Pipeline:
    """``partitions`` join tasks and one monitor task; ``outputs`` gathers everything they say."""

    def __init__(self, spec: ModelSpec | None = SPEC, partitions: int = 1) -> None:
        self.registry = Registry()
        if spec is not None:
            self.registry.apply(spec.model.encode(), encode(ModelRecord(spec.model, spec)))
        self.counters: Counter[tuple[str, str]] = Counter()
        self.joins = [JoinStage(p, MemoryStore(), self.registry, 1, self.counters) for p in range(partitions)]
        self.monitor = MonitorStage(MemoryStore(), self.registry, partitions, self.counters)
        self.outputs: list[Output] = []
        self._offset = 0

    def restart_monitor(self) -> None:
        """A new monitor task on what the one before has stored."""
        self.monitor = MonitorStage(self.monitor._store, self.registry, len(self.joins), self.counters)

    def partition_of(self, value: bytes) -> int:
        try:
            key = str(json.loads(value)["request_id"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return 0
        return zlib.crc32(key.encode("utf-8", "replace")) % len(self.joins)

    def send(self, topic: str, values: Sequence[bytes], partition: int | None = None) -> None:
        """One chunk to one join partition (each value's own if None)."""
        by_partition: dict[int, list[Record]] = {}
        for value in values:
            place = self.partition_of(value) if partition is None else partition
            by_partition.setdefault(place, []).append(Record(self._offset, -1, None, value))
            self._offset += 1
        for place, records in by_partition.items():
            self.joins[place].process(topic, records)

    def checkpoint(self, *places: int, behind: Behind = NOTHING, now: float = 0.0) -> None:
        for place in places or range(len(self.joins)):
            for output in self.joins[place].checkpoint(now, behind=behind):
                if output.topic == PROFILES:
                    self.monitor.process(PROFILES, [Record(0, -1, output.key, output.value)])
                else:
                    self.outputs.append(output)
        self._take(self.monitor.checkpoint(now))

    def play(self, events: Sequence[tuple[str, bytes]], chunk: int, rng: random.Random) -> None:
        """All of ``events`` (topic, value) in chunks, with a checkpoint of one partition after every other chunk, by chance."""
        for start in range(0, len(events), chunk):
            for topic in (PREDICTIONS, LABELS):
                values = [value for kind, value in events[start : start + chunk] if kind == topic]
                if values:
                    self.send(topic, values)
            if rng.random() < 0.5:
                self.checkpoint(rng.randrange(len(self.joins)))
        self.finish()

    def finish(self) -> None:
        self.checkpoint()
        self._take(self.monitor.finish())

    def _take(self, outputs: list[Output]) -> None:
        for output in outputs:
            if output.topic == MODELS and output.key is not None:
                self.registry.apply(output.key, output.value)
            self.outputs.append(output)

    def records(self) -> dict[bytes, dict[str, Any]]:
        """The newest revision of each metrics record, as the compacted topic has it, but for comparisons."""
        return {key: record for key, record in self._newest().items() if "kind" not in record}

    def comparisons(self) -> dict[bytes, dict[str, Any]]:
        """The newest revision of each comparison record."""
        return {key: record for key, record in self._newest().items() if record.get("kind") == "comparison"}

    def _newest(self) -> dict[bytes, dict[str, Any]]:
        return {o.key: json.loads(o.value) for o in self.outputs if o.topic == METRICS and o.key and o.value}

    def of(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(o.value) for o in self.outputs if o.topic == topic and o.value]


def numbers(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what depends on when it was published: its revision and why, and what was expected then."""
    dropped = {
        "revision",
        "reason",
        "expected_coverage",
        "estimate_mean_absolute_error",
        "settled",
        "closed",
        "performance_note",
    }
    return {name: value for name, value in record.items() if name not in dropped}


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(node, dict):
        return {k: v for name, child in node.items() for k, v in flatten(child, f"{prefix}.{name}").items()}
    return {prefix: node}
