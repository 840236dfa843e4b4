"""Single values on their way to the online detectors: held until every partition has come as far, then fed in order.

A detector sees one stream although the join is partitioned. One fetch may hand over hours of one partition, so values
wait until event time (of labels or of predictions) has passed them, and are fed sorted by their own time and a tie-break
that follows from the request id: the order does not depend on the partitioning.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.delta import Samples, Segment
from tidegauge.streams import OUTCOMES

MAX_WAITING = 200_000
"""Values of one stream that may wait; beyond it the earliest half is fed without waiting longer."""

StreamKey = tuple[str, Segment, str]
_ROW = np.dtype([("time", np.float64), ("tie", np.uint32), ("value", np.float64), ("hour", np.uint8)])
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[str, Segment, str, bytes]]).decode


class Waiting:
    """The values of one model that wait, by (version, segment, stream)."""

    def __init__(self, packed: bytes | None = None) -> None:
        self._rows: dict[StreamKey, NDArray[np.void]] = {}
        if packed:
            for version, segment, stream, raw in _decode(packed):
                self._rows[version, segment, stream] = np.frombuffer(raw, _ROW)

    def pack(self) -> bytes:
        return _encode([(*key, rows.tobytes()) for key, rows in self._rows.items() if len(rows)])

    def add(self, samples: Samples) -> None:
        times = np.frombuffer(samples.times, np.float64)
        rows = np.empty(len(times), _ROW)
        rows["time"], rows["tie"] = times, np.frombuffer(samples.ties, np.uint32)
        rows["value"], rows["hour"] = np.frombuffer(samples.values, np.float64), np.frombuffer(samples.hours, np.uint8)
        key = (samples.version, samples.segment, samples.stream)
        held = self._rows.get(key)
        self._rows[key] = rows if held is None else np.concatenate((held, rows))

    def ready(self, predictions: float, labels: float) -> list[tuple[StreamKey, NDArray[np.void]]]:
        """Take out the values that event time has passed, in the order to feed them."""
        out = []
        for key, rows in self._rows.items():
            reached = labels if key[2] in OUTCOMES else predictions
            rows = rows[np.lexsort((rows["tie"], rows["time"]))]
            cut = int(np.searchsorted(rows["time"], reached, side="right"))
            if len(rows) - cut > MAX_WAITING:
                cut = len(rows) - MAX_WAITING // 2
            if cut:
                out.append((key, rows[:cut]))
                self._rows[key] = rows[cut:]
        return out
