"""Chooses the windows that one scrape shows, so that it stays within a bound however many segments and versions there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tidegauge.prometheus.window_samples import WindowSample, window_samples

MAX_SAMPLES = 200_000
"""The most samples of windows in one scrape."""


class Scrape(NamedTuple):
    """The samples of a scrape, and the number of windows that it has no room for."""

    samples: list[WindowSample]
    left_out: int


def scrape(records: Iterable[Mapping[str, Any]], most: int = MAX_SAMPLES) -> Scrape:
    """The samples of metrics records, at most ``most``. Windows of whole models and versions come first, then those of segments
    with the most predictions; a window is shown as a whole or left out.

    >>> windows = [{"model": "m", "model_version": "m:1", "window": "1h", "segment": segment, "predictions": count}
    ...            for segment, count in (({"region": "eu"}, 5), ({"region": "us"}, 9), ({}, 14))]
    >>> [sample.value for sample in scrape(windows, most=2).samples], scrape(windows, most=2).left_out
    ([14.0, 9.0], 1)
    """
    samples: list[WindowSample] = []
    left_out = 0
    for record in sorted(records, key=lambda record: (bool(record.get("segment")), -record.get("predictions", 0))):
        found = list(window_samples(record)) if len(samples) < most else None
        if found is None or len(samples) + len(found) > most:
            left_out += 1
        else:
            samples += found
    return Scrape(samples, left_out)
