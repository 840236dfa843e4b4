"""Attributions: how much each feature contributed to each prediction, as sent by the service (such as SHAP values)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegauge.profile.numeric import NumericBlock, NumericColumns


class AttributionColumns:
    """The attributions of a chunk of ``size`` events. ``rows`` (k, ascending): the rows that have any; ``values``: their
    attributions as columns."""

    __slots__ = ("rows", "size", "values")

    def __init__(self, rows: NDArray[np.intp], values: NumericColumns, size: int) -> None:
        self.rows, self.values, self.size = rows, values, size

    def group(self, order: NDArray[np.intp], starts: NDArray[np.intp]) -> list[AttributionBlock]:
        """One block for each run of rows (as in ``NumericColumns.group``); empty where none of them carries attributions."""
        place = np.full(self.size, -1)
        place[self.rows] = np.arange(len(self.rows))
        rows = place[order]
        group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(order))))[rows >= 0]
        rows = rows[rows >= 0]
        blocks = [AttributionBlock() for _ in starts]
        if not len(rows):
            return blocks
        found, begins, counts = np.unique(group, return_index=True, return_counts=True)
        magnitudes = np.add.reduceat(np.abs(np.nan_to_num(self.values.x[:, rows])), begins, axis=1)
        groups = zip(found.tolist(), counts.tolist(), self.values.group(rows, begins, False), magnitudes.T, strict=True)
        for g, count, values, sums in groups:
            block = blocks[g]
            block.explained, block.values = count, values
            block.magnitudes = dict(zip(self.values.names, sums.tolist(), strict=True))
        return blocks


class AttributionBlock:
    """The attributions of some predictions. ``explained``: how many had any; ``values``: the attributions by feature;
    ``magnitudes``: the sums of absolute values by feature."""

    __slots__ = ("explained", "magnitudes", "values")

    def __init__(self) -> None:
        self.explained = 0
        self.values = NumericBlock()
        self.magnitudes: dict[str, float] = {}

    def merge(self, other: AttributionBlock) -> None:
        self.values.merge(other.values, self.explained, other.explained)
        self.explained += other.explained
        for name, total in other.magnitudes.items():
            self.magnitudes[name] = self.magnitudes.get(name, 0.0) + total

    def mean_abs(self) -> dict[str, float]:
        """The mean absolute attribution of each feature that has any."""
        counts = zip(self.values.names, self.values.count.tolist(), strict=True)
        return {name: self.magnitudes.get(name, 0.0) / count for name, count in counts if count}

    def pack(self) -> list[Any]:
        return [self.explained, self.values.pack(), self.magnitudes]

    @classmethod
    def unpack(cls, packed: Sequence[Any]) -> AttributionBlock:
        block = cls()
        block.explained, block.magnitudes = packed[0], packed[2]
        block.values = NumericBlock.unpack(packed[1])
        return block
