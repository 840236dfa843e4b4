"""Estimates how far the rows of a learned baseline depend on each other, from the windows in which they came, and gives the
baseline the labels of these windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tidegauge.baseline.baseline import BLOCK, TWO_BLOCKS, Baseline, count_in_bins
from tidegauge.baseline.scored import is_scored
from tidegauge.baseline.spread import Spread
from tidegauge.metrics.block_spreads import Block, block_count, block_spreads, spread_over
from tidegauge.metrics.record import outcome_side
from tidegauge.monitor.window_headers import Header
from tidegauge.monitor.windows import Windows
from tidegauge.profile.data import DataProfile
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.spec import ModelSpec, duration


def reference_windows(windows: Windows, model: str, version: str, spec: ModelSpec) -> list[Header]:
    """The shortest windows of a version, ordered by time."""
    shortest = min(spec.windows, key=duration)
    named = (model, version, shortest)
    return sorted(
        (header for header in windows.headers.values() if (header.model, header.version, header.window) == named),
        key=lambda of: of.start,
    )


def learned_spreads(
    windows: Windows, headers: Sequence[Header], baseline: Baseline, spec: ModelSpec
) -> dict[str, dict[str, Spread]]:
    """The spread of standard scores over blocks of time. ``headers``: the windows with the rows of the baseline, ordered by
    time. {} if the rows came in too few windows. Windows do not depend on the partitioning of the stream, so the result does
    not, either."""
    places = _block_places(windows, headers)
    if not places:
        return {}
    blocks, doubled = (_together(windows, headers, [place // length for place in places], baseline) for length in (1, 2))
    return block_spreads(blocks, doubled, spec, baseline)


def add_labels(windows: Windows, headers: Sequence[Header], baseline: Baseline, spec: ModelSpec) -> bool:
    """Add the labels of these windows to a learned ``baseline``, and what follows from them: performance, calibration, and how
    much both differ from block to block. ``headers``: as in ``learned_spreads``. Returns whether there were any labels."""
    for segment, part in {(): baseline, **baseline.parts}.items():
        for header in headers:
            if segment in header.records:
                part.outcome.merge(windows.outcome(header, segment))
        part.outcome.examples.clear()
        said = outcome_side(part.outcome, part.data.predictions, spec, None)
        part.metrics |= {name: of for name, of in said.items() if name != "coverage"}
    if not baseline.outcome.labels:
        return False
    places = _block_places(windows, headers)
    for name, length in ((BLOCK, 1), (TWO_BLOCKS, 2)) if places else ():
        held: dict[int, OutcomeProfile] = {}
        rows = dict.fromkeys((place // length for place in places), 0)
        for header, place in zip(headers, places, strict=True):
            held.setdefault(place // length, OutcomeProfile()).merge(windows.outcome(header, ()))
            rows[place // length] += header.records[()].predictions
        numbers: list[dict[str, Any]] = [
            outcome_side(of, rows[place], spec, baseline) | {"predictions": rows[place]} for place, of in held.items()
        ]
        found = spread_over(numbers, baseline.data.predictions)
        known = baseline.spread.setdefault(name, {})
        known |= {path: of for path, of in found.items() if is_scored(path) and path not in known}
    return True


def _block_places(windows: Windows, headers: Sequence[Header]) -> list[int]:
    """The number of the block that each window belongs to. A block consists of successive windows, so many that all blocks have
    about the same number of rows. [] if the rows came in too few windows."""
    rows = np.array([windows.data(header, ()).predictions for header in headers])
    count = block_count(int(rows.sum()), int((rows > 0).sum()))
    places: list[int] = ((np.cumsum(rows) - rows / 2) / rows.sum() * count).astype(int).tolist() if count else []
    return places


def _together(windows: Windows, headers: Sequence[Header], places: list[int], baseline: Baseline) -> list[Block]:
    """One block of all windows that have the same number in ``places``, counted in the baseline's bins."""
    blocks: dict[int, DataProfile] = {}
    for header, place in zip(headers, places, strict=True):
        data = windows.data(header, ())
        blocks.setdefault(place, DataProfile()).merge(data.read_otherwise() if baseline.confidence_is == "predicted" else data)
    for block in blocks.values():
        count_in_bins(block, baseline.schema)
        block.drop_sketches()
    return [Block(block, OutcomeProfile()) for block in blocks.values()]
