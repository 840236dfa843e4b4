"""Part of `make evaluate`: how often alerts on performance come and go while it is near its limit, and how soon they end.

Writes ``docs/evaluation/near-limit.json`` and the table of it in ``docs/evaluation.md``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

import tidegauge_arm
from streams import Scenario, draw
from tables import PAGE, ROOT, fill, table
from tidegauge.baseline.baseline import Baseline
from tidegauge.models.default_monitors import default_monitors

ROWS, FEATURES, REFERENCE = 500, 6, 30
BEFORE, LASTS, AFTER = 4, 40, 16
"""Calm windows, windows near the limit, and calm windows again."""
SIZES = (0.15, 0.2)
"""Shares of the labels that know nothing of the features any more."""
MONITORS = ("brier", "roc-auc")


@dataclass(frozen=True)
class Near(Scenario):
    """A stream whose windows drift once, for long."""

    @property
    def drifting(self) -> NDArray[np.bool_]:
        place = np.arange(self.windows)
        return (place >= BEFORE) & (place < BEFORE + LASTS)


def measure(size: float, steady: bool, seed: int) -> dict[str, Any]:
    """Of each monitor: how often its alert ``fired`` while performance was bad, in how many of these windows it was breached,
    and after how many more windows it was ``over``; None if it was before. ``steady``: with the default monitors
    as they are; else resolved by the first window within the limit."""
    stream = Near("near", "independent", FEATURES, ROWS, REFERENCE, BEFORE + LASTS + AFTER, True, "concept", size, seed)
    reference, watched = draw(stream)
    spec = tidegauge_arm.spec_of(stream)
    with tempfile.TemporaryDirectory() as directory:
        baseline = tidegauge_arm.build_baseline(spec, reference, True, Path(directory) / "reference.jsonl")
    monitors = [of for of in default_monitors(spec, Baseline.from_json(baseline)) if of.name in MONITORS]
    if not steady:
        monitors = [msgspec.structs.replace(of, keep_firing_for=1, recovery_margin=None) for of in monitors]
    said = tidegauge_arm.run(stream, msgspec.structs.replace(spec, monitors=tuple(monitors)), baseline, watched)
    ends = BEFORE + LASTS
    found: dict[str, Any] = {"fired": [], "breached": [], "over": []}
    for name in MONITORS:
        told = [(status, window) for monitor, status, window in said.alerts if monitor == name]
        fired = sum(status == "firing" and BEFORE <= window < ends for status, window in told)
        last = next((window for status, window in reversed(told) if status == "resolved"), None)
        found["fired"].append(fired)
        found["breached"].append(sum(bool(of) and BEFORE <= w < ends for w, of in said.breached.get(name, {}).items()))
        found["over"].append(last - ends + 1 if last is not None and last >= ends else None)
    return found


def _run(task: tuple[float, bool, int]) -> tuple[float, bool, dict[str, Any]]:
    return *task[:2], measure(*task)


def tables(found: Mapping[tuple[float, bool], list[dict[str, Any]]]) -> dict[str, str]:
    rows = []
    for size in SIZES:
        steady, plain = found[size, True], found[size, False]
        breached = mean(count / LASTS for of in steady for count in of["breached"])
        row = [f"{size:g}", f"{100 * breached:.0f}"]
        for of in (plain, steady):
            over = [windows for one in of for windows in one["over"] if windows is not None]
            row.append(f"{mean(count for one in of for count in one['fired']):.1f}")
            row.append(f"{mean(over):.1f}, at most {max(over)}" if over else "–")
        rows.append(row)
    head = [
        "labels without relation",
        "windows beyond the limit, %",
        "fired, window by window",
        "over after",
        "fired",
        "over after",
    ]
    return {"near-limit": table(head, rows)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=4, help="streams of each kind")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    tasks = [(size, steady, seed) for size in SIZES for steady in (True, False) for seed in range(options.streams)]
    found: dict[tuple[float, bool], list[dict[str, Any]]] = {}
    with multiprocessing.Pool(options.jobs) as pool:
        for size, steady, of in pool.imap(_run, tasks):
            found.setdefault((size, steady), []).append(of)
    write(found)


def write(found: Mapping[tuple[float, bool], list[dict[str, Any]]]) -> None:
    cells = [{"size": size, "steady": steady, "streams": of} for (size, steady), of in found.items()]
    (ROOT / "docs" / "evaluation" / "near-limit.json").write_text(json.dumps({"windows": LASTS, "cells": cells}) + "\n")
    fill(tables(found), PAGE)


if __name__ == "__main__":
    main()
