"""Holds single values for the online detectors until event time has passed them in every partition, and then releases them in
order.

A detector reads one stream although the join is partitioned, and one fetch may return hours of a single partition. Values
therefore wait until event time (of labels or of predictions) has passed them. They are sorted by their own time and then by a
tie-break that is computed from the request id, so the order does not depend on the partitioning.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegauge.detect.value_streams import OUTCOMES
from tidegauge.engine.delta import Samples, Segment
from tidegauge.engine.event_time import EventTimes

MAX_WAITING = 200_000
"""The most values of one stream that wait; beyond it the earliest ones are released so that half as many are left."""

_ROW = np.dtype([("time", np.float64), ("tie", np.uint32), ("value", np.float64), ("hour", np.uint8)])


class StreamKey(NamedTuple):
    """A stream of single values of one segment. ``stream``: the name of the stream (``detect/value_streams.py``)."""

    version: str
    segment: Segment
    stream: str


class WaitingValues:
    """The waiting values of one model by stream."""

    def __init__(self) -> None:
        self._rows: dict[StreamKey, NDArray[np.void]] = {}
        self._unsorted: set[StreamKey] = set()
        self._changed: set[StreamKey] = set()

    def load(self, key: StreamKey, raw: bytes) -> None:
        """Add values of a stream in the packed form that ``changes`` returns."""
        self._rows[key] = np.frombuffer(raw, _ROW)
        self._unsorted.add(key)

    def changes(self) -> Iterator[tuple[StreamKey, bytes]]:
        """The packed values of each stream that has changed since the last call; empty bytes if none are left."""
        for key in self._changed:
            yield key, self._rows[key].tobytes()
            if not len(self._rows[key]):
                del self._rows[key]
        self._changed.clear()

    def add(self, samples: Samples) -> None:
        times = np.frombuffer(samples.times, np.float64)
        rows = np.empty(len(times), _ROW)
        rows["time"], rows["tie"] = times, np.frombuffer(samples.ties, np.uint32)
        rows["value"], rows["hour"] = np.frombuffer(samples.values, np.float64), np.frombuffer(samples.hours, np.uint8)
        key = StreamKey(samples.version, samples.segment, samples.stream)
        held = self._rows.get(key)
        self._rows[key] = rows if held is None else np.concatenate((held, rows))
        self._unsorted.add(key)
        self._changed.add(key)

    def ready(self, reached: EventTimes) -> dict[StreamKey, NDArray[np.void]]:
        """Take out the values that event time has passed, by stream, in the order in which detectors are to read them."""
        out = {}
        for key in self._unsorted:
            rows = self._rows[key]
            self._rows[key] = rows[np.lexsort((rows["tie"], rows["time"]))]
        self._unsorted.clear()
        for key, rows in sorted(self._rows.items(), key=lambda item: item[0]):
            until = reached.labels if key.stream in OUTCOMES else reached.predictions
            cut = int(np.searchsorted(rows["time"], until, side="right"))
            if len(rows) - cut > MAX_WAITING:
                cut = len(rows) - MAX_WAITING // 2
            if cut:
                out[key] = rows[:cut]
                self._rows[key] = rows[cut:]
                self._changed.add(key)
        return out
