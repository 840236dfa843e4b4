"""What a model version has predicted since its task began: counters that only grow, for rates and burn rates in Prometheus."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidegauge.profile.data import DataColumns, DataProfile

LATENCY_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LATENCY_MS = [1000 * bound for bound in LATENCY_SECONDS]


class TrafficTotals:
    """``within`` (11): predictions no slower than each of ``LATENCY_SECONDS``; ``timed``: those that said how long they
    took, ``seconds`` in total. Counts are exact, those by latency as good as the sketch they come from: exact below 200
    predictions a checkpoint, within 1.65 % of them beyond. ``failed``: trace id of one that failed of late."""

    __slots__ = ("errors", "failed", "predictions", "seconds", "timed", "within")

    def __init__(self) -> None:
        self.predictions = self.errors = self.timed = 0
        self.seconds = 0.0
        self.failed: str | None = None
        self.within: NDArray[np.float64] = np.zeros(len(LATENCY_SECONDS))

    def add(self, data: DataProfile) -> None:
        """Count a delta's predictions."""
        self.predictions += data.predictions
        self.errors += data.errors
        row = data.results.index("latency_ms")
        if row is None or not data.results.count[row]:
            return
        timed = int(data.results.count[row])
        self.timed += timed
        self.seconds += float(data.results.mean[row]) * timed / 1000
        self.within += np.rint(np.array(data.results.values.sketch(row).get_cdf(_LATENCY_MS, True))[:-1] * timed)

    def add_rows(self, columns: DataColumns) -> None:
        """Count predictions row by row."""
        latency = columns.results.x[columns.results.names.index("latency_ms")]
        latency = latency[~np.isnan(latency)]
        self.predictions += len(columns.error)
        self.errors += int(columns.error.sum())
        self.timed += len(latency)
        self.seconds += float(latency.sum()) / 1000
        self.within += np.searchsorted(np.sort(latency), _LATENCY_MS, side="right")

    def buckets(self) -> dict[str, float]:
        """The cumulative counts of a Prometheus histogram by upper bound in seconds, in ascending order."""
        found = {str(bound): float(count) for bound, count in zip(LATENCY_SECONDS, self.within, strict=True)}
        return {**found, "+Inf": float(self.timed)}
