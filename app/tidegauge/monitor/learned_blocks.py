"""What a baseline that was learned from the stream knows of dependent rows: from the windows in which its rows came."""

from __future__ import annotations

import numpy as np

from tidegauge.baseline.baseline import Baseline, count_in_bins
from tidegauge.baseline.spread import Spread
from tidegauge.metrics.block_spreads import block_count, block_spreads
from tidegauge.monitor.windows import Header, Windows
from tidegauge.profile.data import DataProfile
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.spec import ModelSpec, duration


def learned_spreads(windows: Windows, baseline: Baseline, spec: ModelSpec) -> dict[str, dict[str, Spread]]:
    """The spread of scores over blocks of time: the shortest windows in which the baseline's rows came, as many together as
    make blocks of about as many rows. {} where they came in too few windows to say anything. However the stream was
    partitioned, the same rows lie in the same windows."""
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


def _together(
    windows: Windows, headers: list[Header], places: list[int], baseline: Baseline
) -> list[tuple[DataProfile, OutcomeProfile]]:
    """Profiles of the windows that share a place, counted in the baseline's bins."""
    blocks: dict[int, DataProfile] = {}
    for header, place in zip(headers, places, strict=True):
        data = windows.data(header, ())
        blocks.setdefault(place, DataProfile()).merge(data.read_otherwise() if baseline.confidence_is == "predicted" else data)
    for block in blocks.values():
        count_in_bins(block, baseline.schema)
        block.drop_sketches()
    return [(block, OutcomeProfile()) for block in blocks.values()]
