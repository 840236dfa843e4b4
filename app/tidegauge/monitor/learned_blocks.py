"""Estimates how far the rows of a learned baseline depend on each other, from the windows in which they came."""

from __future__ import annotations

import numpy as np

from tidegauge.baseline.baseline import Baseline, count_in_bins
from tidegauge.baseline.spread import Spread
from tidegauge.metrics.block_spreads import Block, block_count, block_spreads
from tidegauge.monitor.window_headers import Header
from tidegauge.monitor.windows import Windows
from tidegauge.profile.data import DataProfile
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.spec import ModelSpec, duration


def learned_spreads(windows: Windows, baseline: Baseline, spec: ModelSpec) -> dict[str, dict[str, Spread]]:
    """The spread of standard scores over blocks of time. A block consists of successive shortest windows with rows of the
    baseline, so many that all blocks have about the same number of rows. {} if the rows came in too few windows. Windows do not
    depend on the partitioning of the stream, so the result does not, either."""
    shortest = min(spec.windows, key=duration)
    headers = [
        header
        for header in windows.headers.values()
        if (header.model, header.version, header.window) == (baseline.model, baseline.version, shortest)
    ]
    held = [(header, windows.data(header, ()).predictions) for header in sorted(headers, key=lambda of: of.start)]
    held = [(header, rows) for header, rows in held if rows]
    count = block_count(sum(rows for _, rows in held), len(held))
    if not count:
        return {}
    rows = np.array([of for _, of in held])
    places = ((np.cumsum(rows) - rows / 2) / rows.sum() * count).astype(int).tolist()
    blocks, doubled = (
        _together(windows, [header for header, _ in held], [place // length for place in places], baseline) for length in (1, 2)
    )
    return block_spreads(blocks, doubled, spec, baseline)


def _together(windows: Windows, headers: list[Header], places: list[int], baseline: Baseline) -> list[Block]:
    """One block of all windows that have the same number in ``places``, counted in the baseline's bins."""
    blocks: dict[int, DataProfile] = {}
    for header, place in zip(headers, places, strict=True):
        data = windows.data(header, ())
        blocks.setdefault(place, DataProfile()).merge(data.read_otherwise() if baseline.confidence_is == "predicted" else data)
    for block in blocks.values():
        count_in_bins(block, baseline.schema)
        block.drop_sketches()
    return [Block(block, OutcomeProfile()) for block in blocks.values()]
