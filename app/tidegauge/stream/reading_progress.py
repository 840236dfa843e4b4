"""The progress of the stream: lag and throughput of the workers' group, and the event time reached."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tidegauge.engine.delta import DeltaHead

if TYPE_CHECKING:
    from tidegauge.stream.key_placement import PlacementMistake

SAMPLES_KEPT = 720
"""How many measurements of lag and throughput are kept: an hour, at one every five seconds."""
MODELS_KEPT = 10_000
LATELY = 6.0
"""A measurement is valid for this many seconds."""


class StageInput(NamedTuple):
    """One partition of an input topic of a stage."""

    stage: str
    topic: str
    partition: int


class GroupPosition(msgspec.Struct, frozen=True):
    """The progress of the workers' group in one partition of an input topic. ``committed``: the committed offset; ``end``: the
    end offset; ``reached``: the event time that a re-keying task has reached there."""

    stage: str
    topic: str
    partition: int
    committed: int
    end: int
    reached: float = 0.0

    @property
    def lag(self) -> int:
        return max(self.end - self.committed, 0)

    @property
    def input(self) -> StageInput:
        return StageInput(self.stage, self.topic, self.partition)


class StalledPartitions:
    """Finds partitions with records that nobody processes, because no task owns them or their task makes no progress."""

    def __init__(self) -> None:
        self._since: dict[StageInput, tuple[int, float]] = {}
        self._at = 0.0

    def measured(self, at: float, places: Sequence[GroupPosition]) -> None:
        """Take in a measurement of the group at ``at``: seconds of any clock that is never set back."""
        before = self._since
        self._since = {}
        for place in places:
            committed, since = before.get(place.input, (-1, at))
            if place.lag:
                self._since[place.input] = (place.committed, since if committed == place.committed else at)
        self._at = at

    def all_go_on(self, stages: Collection[str], now: float) -> bool:
        """Whether, in a measurement that is still valid, every partition of the stages was processed or had no records."""
        return now - self._at <= LATELY and not any(of.stage in stages for of in self.seconds())

    def seconds(self) -> dict[StageInput, float]:
        """For how many seconds no progress has been measured in a partition that has records, by partition.

        >>> standing = StalledPartitions()
        >>> for at in (0.0, 10.0, 20.0):
        ...     stands, moves = GroupPosition("join", "labels", 3, 7, 9), GroupPosition("join", "labels", 4, int(at), 99)
        ...     standing.measured(at, [stands, moves])
        >>> standing.seconds()
        {StageInput(stage='join', topic='labels', partition=3): 20.0}
        """
        return {key: self._at - since for key, (_, since) in self._since.items() if since < self._at}


class Sample(msgspec.Struct, frozen=True):
    """One measurement: wall clock, records not yet processed by each stage, and records written and processed per second."""

    at: float
    lag: dict[str, int]
    written_per_second: float | None
    processed_per_second: float | None


_head = msgspec.msgpack.Decoder(DeltaHead).decode


class JoinTaskReport(msgspec.Struct):
    """The last report of a join task: its wall clock, and whether its input is exhausted."""

    now: float = 0.0
    idle: bool = False


class LastEvent(NamedTuple):
    """The largest ``ts`` of a model's predictions and of its labels; None if there are none."""

    prediction: float | None
    label: float | None


class Progress:
    """Takes in measurements of the group and the reports of join tasks in the internal topic ``tidegauge-profiles``."""

    def __init__(self) -> None:
        self.places: list[GroupPosition] = []
        self.standstills = StalledPartitions()
        self.samples: deque[Sample] = deque(maxlen=SAMPLES_KEPT)
        self.tasks: dict[int, JoinTaskReport] = {}
        self.reachable = True
        self.misplaced: list[PlacementMistake] = []
        self._seen: dict[str, dict[int, tuple[float, float]]] = {}

    def measured(self, at: float, places: Sequence[GroupPosition]) -> None:
        """Take in a measurement of the group at wall clock ``at``. Rates are those of the join stage, which reads the
        events."""
        written = processed = None
        if self.samples and at > self.samples[-1].at and self.places:
            before = {(place.topic, place.partition): place for place in self.places}
            pairs = [(before.get((p.topic, p.partition)), p) for p in places if p.stage == "join"]
            span = at - self.samples[-1].at
            written = sum(max(new.end - old.end, 0) for old, new in pairs if old is not None) / span
            processed = sum(max(new.committed - old.committed, 0) for old, new in pairs if old is not None) / span
        lag: dict[str, int] = {}
        for place in places:
            lag[place.stage] = lag.get(place.stage, 0) + place.lag
        self.standstills.measured(at, places)
        self.places = sorted(places, key=lambda p: (p.stage, p.topic, p.partition))
        self.samples.append(Sample(at, lag, written, processed))

    def take(self, value: bytes | None) -> str | None:
        """Take in one message of a join task; return the model it is about, None for a heartbeat."""
        try:
            head = _head(value or b"")
        except msgspec.MsgspecError:
            return None
        standing = self.tasks.setdefault(head.partition, JoinTaskReport())
        standing.now, standing.idle = max(standing.now, head.now), head.idle
        if not head.model or (head.model not in self._seen and len(self._seen) >= MODELS_KEPT):
            return None
        seen = self._seen.setdefault(head.model, {})
        predicted, labelled = seen.get(head.partition, (0.0, 0.0))
        seen[head.partition] = (max(predicted, head.watermark), max(labelled, head.label_watermark))
        return head.model

    def last_event(self, model: str) -> LastEvent:
        """The last event of a model, as reported by the join tasks."""
        pairs = self._seen.get(model, {}).values()
        newest = [max((pair[which] for pair in pairs), default=0.0) for which in (0, 1)]
        return LastEvent(newest[0] or None, newest[1] or None)

    def watermark(self, model: str) -> float | None:
        """The event time of the model's predictions: the minimum over the join tasks that are not idle, or over all if all
        are."""
        told = self._seen.get(model, {})
        busy = [w for p, (w, _) in told.items() if w and not self.tasks[p].idle]
        times = busy or [w for w, _ in told.values() if w]
        return min(times) if busy else max(times, default=None)

    def watermarks(self) -> list[dict[str, Any]]:
        """For each model the watermark and the newest prediction and label (Unix seconds)."""
        said = []
        for model in sorted(self._seen):
            prediction, label = self.last_event(model)
            said.append({"model": model, "watermark": self.watermark(model), "prediction": prediction, "label": label})
        return said
