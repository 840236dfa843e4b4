"""The grid of event time on which a model's windows are judged, so that verdicts do not depend on the lag of a stage.

A stage that lags behind reads hours of events at once. The join stage marks each part of a delta with the quantum of event time
in which it arrived. The monitor stage merges the parts quantum by quantum, and closes, settles and judges windows between two
quanta by what had arrived until then. Without lag it does the same, only at the pace of the events.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegauge.spec import ModelSpec, duration


class QuantumGrid:
    """The quanta of one model. They divide its panes and are shifted by the grace, so that windows close between two quanta.

    >>> grid = QuantumGrid(ModelSpec("m", windows=("1m", "1h"), grace=5.0))
    >>> grid.length, grid.start(grid.index(126.0)), QuantumGrid(ModelSpec("m", windows=("1d",))).length
    (10.0, 125.0, 3600.0)
    """

    def __init__(self, spec: ModelSpec) -> None:
        shortest = min(map(duration, spec.windows))
        self.length = spec.pane / math.ceil(spec.pane / spec.published_every(shortest))
        self._shift = spec.grace

    def index(self, moment: float) -> int:
        """The number of the quantum that contains the event time ``moment``."""
        return math.floor((moment - self._shift) / self.length)

    def indexes(self, moments: NDArray[np.float64]) -> NDArray[np.int64]:
        """The numbers (n) of the quanta that contain the event times ``moments`` (n)."""
        return np.floor((moments - self._shift) / self.length).astype(np.int64)

    def start(self, index: int) -> float:
        """The event time at which a quantum starts."""
        return index * self.length + self._shift


class ArrivalPlace(NamedTuple):
    """The number of a ``pane``, and the start (event time) of the quantum of ``arrival``."""

    pane: int
    arrival: float


class ArrivingRows(NamedTuple):
    """The indices ``rows`` (k) of the rows that arrive in the quantum that starts at ``arrival``."""

    arrival: float
    rows: NDArray[np.intp]


class ArrivalPlaces:
    """The pane and the quantum of arrival of each of n rows. ``codes`` (n): equal for rows with the same pane and quantum."""

    def __init__(self, spec: ModelSpec, made: NDArray[np.float64], arrived: NDArray[np.float64]) -> None:
        """``made``, ``arrived`` (n): the event times of each row's prediction and of its arrival."""
        panes = np.floor(made / spec.pane).astype(np.int64)
        self._grid = QuantumGrid(spec)
        quanta = self._grid.indexes(arrived)
        self._pane, self._width = int(panes.min()), int(panes.max() - panes.min()) + 1
        self._quantum = int(quanta.min())
        self.codes = (quanta - self._quantum) * self._width + (panes - self._pane)

    def of(self, code: int) -> ArrivalPlace:
        """The pane and quantum that a code stands for."""
        quanta, pane = divmod(code, self._width)
        return ArrivalPlace(pane + self._pane, self._grid.start(quanta + self._quantum))

    def by_quantum(self) -> Iterator[ArrivingRows]:
        """The rows of each quantum, ordered by time."""
        quanta = self.codes // self._width
        for quantum in sorted(set(quanta.tolist())):
            yield ArrivingRows(self._grid.start(quantum + self._quantum), np.flatnonzero(quanta == quantum))
