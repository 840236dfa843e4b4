"""Quantiles of many numeric features at once: the values themselves while they are few, KLL sketches (Apache DataSketches)
then.

Most profiles hold a handful of events of one segment, for which sketches would take more time and memory than the values. A
window merges hundreds of such profiles, so it collects their values and adds them to its sketches from time to time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from datasketches import kll_doubles_sketch
from numpy.typing import NDArray

KLL_K = 200
MAX_ROWS = 200
"""The most events whose values are kept. A sketch of this many values is exact as well, so results do not depend on which is
used."""

SKETCH_BYTES = 15
"""The bytes of memory of a sketch, by its k, if it has seen several times as many values."""


class Quantiles:
    """The values of F numeric features. ``_rows`` (F, n): values that are not in a sketch yet, NaN for a missing value;
    ``_sketches`` (F): the sketch of each feature, None as long as it has few values; ``_k``: the parameter k of new
    sketches."""

    __slots__ = ("_k", "_rows", "_sketches")

    def __init__(self, rows: NDArray[np.float64], k: int = KLL_K) -> None:
        self._rows, self._k = rows, k
        self._sketches: list[Any] | None = None
        if rows.shape[1] > MAX_ROWS:
            self._feed()

    @classmethod
    def none(cls, numbers: int) -> Quantiles:
        """Quantiles of F = ``numbers`` features and no events."""
        return cls(np.zeros((numbers, 0)))

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory the values take."""
        return self._rows.nbytes + (0 if self._sketches is None else len(self._sketches) * self._k * SKETCH_BYTES)

    @property
    def is_empty(self) -> bool:
        """Whether there are no values, because there were none or they were dropped."""
        return self._sketches is None and not self._rows.shape[1]

    def _feed(self) -> None:
        """Move the values into the sketches."""
        # Missing values are NaN and come last. Adding sorted values takes less than half the time, sorting included, and the
        # error of a sketch does not depend on the order.
        ordered = np.sort(self._rows, axis=1)
        counts = np.count_nonzero(~np.isnan(ordered), axis=1).tolist()
        if self._sketches is None:
            self._sketches = [None] * len(counts)
        for row, count in enumerate(counts):
            if count:
                if self._sketches[row] is None:
                    self._sketches[row] = kll_doubles_sketch(self._k)
                self._sketches[row].update(ordered[row, :count])
        self._rows = np.zeros((len(counts), 0))

    def sketch(self, row: int) -> Any:
        """The KLL sketch of one feature; None if it has no value."""
        if self._sketches is not None:
            if self._rows.shape[1]:
                self._feed()
            return self._sketches[row]
        values = self._few(row)
        if not len(values):
            return None
        sketch = kll_doubles_sketch(self._k)
        sketch.update(values)
        return sketch

    def at(self, row: int, shares: Sequence[float]) -> list[float]:
        """The quantiles of one feature at these shares: for each share the smallest value that at least this share of the
        values does not exceed. Empty if the feature has no value."""
        if self._sketches is not None:
            sketch = self.sketch(row)
            return [] if sketch is None else sketch.get_quantiles(shares, True)
        values = self._few(row)
        n = len(values)
        return [float(values[max(int(np.ceil(share * n)) - 1, 0)]) for share in shares] if n else []

    def medians(self) -> list[float]:
        """The medians (F); NaN for a feature without values."""
        if self._sketches is not None:
            return [(self.at(row, (0.5,)) or [math.nan])[0] for row in range(len(self._sketches))]
        if not self._rows.shape[1]:
            return [math.nan] * len(self._rows)
        counts = np.count_nonzero(~np.isnan(self._rows), axis=1)
        places = np.maximum((counts + 1) // 2 - 1, 0)
        found: list[float] = np.sort(self._rows, axis=1)[np.arange(len(places)), places].tolist()
        return found

    def _few(self, row: int) -> NDArray[np.float64]:
        values = np.sort(self._rows[row])
        return values[: np.count_nonzero(~np.isnan(values))]

    def merge(self, other: Quantiles) -> None:
        """Add the values of ``other``, which must have the same number of features."""
        self.merge_all((other,))

    def merge_all(self, others: Sequence[Quantiles]) -> None:
        """Add the values of several others."""
        for other in others:
            if self._sketches is None and not self._rows.shape[1]:
                self._k = other._k
            if other._sketches is not None:
                self._merge_sketches(other._sketches)
        rows = [of._rows for of in (self, *others) if of._rows.shape[1]]
        if rows:
            self._rows = np.concatenate(rows, axis=1) if len(rows) > 1 else rows[0]
        if self._rows.shape[1] > MAX_ROWS:
            self._feed()

    def _merge_sketches(self, others: Sequence[Any]) -> None:
        if self._sketches is None:
            self._sketches = [None] * len(others)
        for row, theirs in enumerate(others):
            if theirs is not None:
                if self._sketches[row] is None:
                    self._sketches[row] = kll_doubles_sketch(theirs.k)
                self._sketches[row].merge(theirs)

    def aligned(self, places: NDArray[np.intp]) -> Quantiles:
        """The same quantiles for another list of features: ``places`` gives each feature's row here, -1 for one without values.
        Both share their sketches, so nothing may be merged into either of them."""
        found = Quantiles.none(len(places))
        found._k = self._k
        if self._rows.shape[1]:
            found._rows = np.where((places >= 0)[:, None], self._rows[places], np.nan)
        if self._sketches is not None:
            found._sketches = [None if place < 0 else self._sketches[place] for place in places.tolist()]
        return found

    def pack(self) -> tuple[Any, ...]:
        sketches = self._sketches
        return (
            self._k,
            len(self._rows),
            np.ascontiguousarray(self._rows).tobytes(),
            None if sketches is None else [None if of is None else of.serialize() for of in sketches],
        )

    @classmethod
    def unpack(cls, packed: Sequence[Any]) -> Quantiles:
        k, numbers, rows, sketches = packed
        found = cls.none(numbers)
        found._k = k
        if rows:
            found._rows = np.frombuffer(rows, np.float64).reshape(numbers, -1)
        if sketches is not None:
            found._sketches = [None if raw is None else kll_doubles_sketch.deserialize(raw) for raw in sketches]
        return found
