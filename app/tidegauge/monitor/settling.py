"""Decides when enough labels are in to judge a window, by the label delays and coverage learned from a version's own labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.profile.delay_grid import DELAY_BINS, delay_of_bin, quantile_of_delays
from tidegauge.spec import ModelSpec

SHARE = 0.95
"""A window has settled once this share of its eventual labels is in."""
MIN_LABELS = 30
FEW_LABELS = 200
"""A window with fewer labels is marked in texts for people, and is not judged by monitors unless their min_count is lower."""
_EDGES = np.array([delay_of_bin(b) for b in range(DELAY_BINS)])


class LabelDelays(msgspec.Struct):
    """The label delays of one version. ``first``: the earliest ``ts`` of a prediction; ``raw``: the packed counts of delays
    (DELAY_BINS) over all outcomes so far; ``mature_predictions``, ``mature_labels``: totals over settled windows."""

    first: float = 0.0
    raw: bytes = b""
    mature_predictions: int = 0
    mature_labels: int = 0

    @property
    def counts(self) -> NDArray[np.int64]:
        return np.frombuffer(self.raw, np.int64) if self.raw else np.zeros(DELAY_BINS, np.int64)

    def add(self, delays: NDArray[np.int64]) -> None:
        self.raw = (self.counts + delays).tobytes()

    def settle_after(self, spec: ModelSpec, now: float) -> float:
        """How many seconds after its end a window has settled, as far as is known at event time ``now``.

        This is the 95 % quantile of the observed delays, provided the stream is more than twice as old as that; a young stream
        can only have seen short delays. Until then it is the label horizon. If missing labels are implied after some time, it
        is at least that time.
        """
        implied = 0.0 if spec.labels is None else spec.labels.missing_after
        counts = self.counts
        if counts.sum() >= MIN_LABELS:
            quantile = quantile_of_delays(counts, SHARE)
            if quantile is not None and now - self.first >= 2 * quantile:
                return max(min(quantile, spec.label_horizon), implied)
        return spec.label_horizon

    def arrived_share(self, start: float, end: float, now: float) -> float | None:
        """The expected share of a window's eventual labels that are in at event time ``now``: the distribution function of the
        delays, averaged over predictions spread evenly from ``start`` to ``end``. None if too few delays are known."""
        counts = self.counts
        total = counts.sum()
        if total < MIN_LABELS:
            return None
        ages = now - (start + (np.arange(16) + 0.5) / 16 * (end - start))
        within = np.cumsum(counts)
        places = np.searchsorted(_EDGES, ages, side="right") - 1
        return float(np.where(places >= 0, within[np.maximum(places, 0)], 0).mean() / total)

    def mature(self, predictions: int, labels: int) -> None:
        """Add a settled window to the totals that the eventual coverage is computed from."""
        self.mature_predictions += predictions
        self.mature_labels += labels

    @property
    def eventual_coverage(self) -> float | None:
        """The share of predictions that eventually get a label; None if too few are known."""
        return self.mature_labels / self.mature_predictions if self.mature_predictions else None


def label_members(delays: LabelDelays, start: float, end: float, now: float, settled: bool) -> dict[str, Any]:
    """The members ``settled`` and, if it is known, ``expected_coverage`` of a record."""
    members: dict[str, Any] = {"settled": settled}
    arrived, eventual = delays.arrived_share(start, end, now), delays.eventual_coverage
    if arrived is not None and eventual is not None:
        members["expected_coverage"] = arrived * eventual
    return members


def performance_note(record: Mapping[str, Any]) -> str | None:
    """A warning for readers of a record's performance that its labels are few or only the early ones; None if they are not.

    >>> performance_note({"predictions": 1000, "labels": 40, "settled": False, "expected_coverage": 0.05})
    'not settled, 40 labels of 1000 predictions (5.0 % expected by now): those that come early are not like the rest'
    """
    labels, predictions = record["labels"], record["predictions"]
    if record["settled"] and labels >= FEW_LABELS:
        return None
    expected = record.get("expected_coverage")
    known = "" if expected is None else f" ({100 * expected:.1f} % expected by now)"
    if record["settled"]:
        return f"few: {labels} labels of {predictions} predictions{known}"
    early = ": those that come early are not like the rest" if labels else ""
    return f"not settled, {labels} labels of {predictions} predictions{known}{early}"
