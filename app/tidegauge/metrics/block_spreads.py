"""The variation of a baseline's numbers over its own windows, and of its standard scores over blocks of its rows. The
baseline's dispersions are computed from these."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tidegauge.baseline.baseline import BLOCK, TWO_BLOCKS, Baseline
from tidegauge.baseline.blocks import BLOCKS, MIN_BLOCK_ROWS, MIN_BLOCKS
from tidegauge.baseline.scored import PERFORMANCE, SCORES, is_scored
from tidegauge.baseline.spread import Spread
from tidegauge.metrics.prediction_limits import out_of_sample
from tidegauge.metrics.record import numbers
from tidegauge.profile.data import DataProfile
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.spec import ModelSpec


class Block(NamedTuple):
    """The profile, with both sides, of a block of a baseline's rows."""

    data: DataProfile
    outcome: OutcomeProfile


def block_count(rows: int, most: int = BLOCKS) -> int:
    """The number of blocks, at most ``most``, that ``rows`` rows are divided into: an even number, or 0 if there are too few
    rows.

    >>> block_count(1000), block_count(300), block_count(100)
    (32, 14, 0)
    """
    count = min(BLOCKS, most, rows // MIN_BLOCK_ROWS) // 2 * 2
    return count if count >= MIN_BLOCKS else 0


def block_spreads(
    blocks: Sequence[Block], doubled: Sequence[Block], spec: ModelSpec, baseline: Baseline
) -> dict[str, dict[str, Spread]]:
    """The spread of standard scores over ``blocks`` of the baseline's rows, ordered by time, and over ``doubled`` blocks of
    twice the length, by the names under which ``Baseline.spread`` keeps them."""
    spreads = {}
    for name, held in ((BLOCK, blocks), (TWO_BLOCKS, doubled)):
        found = spread_over([numbers(*of, spec, baseline, None, None) for of in held], baseline.data.predictions)
        spreads[name] = {path: of for path, of in found.items() if is_scored(path)}
    return spreads


def spread_over(windows: Sequence[Mapping[str, Any]], whole: int, overlap: float = 1.0) -> dict[str, Spread]:
    """Mean and standard deviation of every number over ``windows``, by metric path. ``windows``: their numbers, nested as in a
    record; ``whole``: the number of predictions in all windows together; ``overlap``: if windows overlap, how many of them
    contain as much information as an independent one."""
    values: dict[str, list[float]] = {}
    for found in windows:
        for path, value in _leaves(found):
            head, _, name = path.rpartition(".")
            name = SCORES if head.endswith((SCORES, PERFORMANCE)) else name
            values.setdefault(path, []).append(out_of_sample(name, value, found["predictions"], whole))
    return {
        path: Spread(float(np.mean(of)), float(np.std(of, ddof=1)), int(len(of) / overlap))
        for path, of in values.items()
        if len(of) >= 2 * overlap
    }


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, child in node.items():
        if isinstance(child, dict):
            yield from _leaves(child, f"{prefix}{name}.")
        elif isinstance(child, int | float) and not isinstance(child, bool) and math.isfinite(child):
            yield f"{prefix}{name}", float(child)
