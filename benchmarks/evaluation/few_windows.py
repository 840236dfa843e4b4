"""Part of `make evaluate`: false alarms and recall where a baseline spans few windows, or none, and rows remember each other.

Writes ``docs/evaluation/few-windows.json`` and the tables of it in ``docs/evaluation.md``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tidegauge_arm
from streams import EPISODE, PHI, Scenario, draw
from tables import PAGE, ROOT, fill, share, table

ROWS, FEATURES, WINDOWS, SHIFT = 250, 10, 20, 0.5
SPANS = (3, 4, 8, 30)
"""Windows that a reference file spans."""
LEARNED = 20
"""Windows in which a baseline is learned from the stream: 5,000 rows, the default."""
CORRELATIONS = (0.0, 0.3, 0.5, 0.7, PHI)


@dataclass(frozen=True)
class Cell:
    """One kind of baseline on one kind of stream."""

    span: int
    learned: bool
    phi: float

    @property
    def name(self) -> str:
        return "learned from 5,000 rows" if self.learned else f"{self.span} windows"

    def scenario(self, seed: int, features: int = FEATURES) -> Scenario:
        return Scenario(
            "few", "autocorrelated", features, ROWS, self.span, WINDOWS, not self.learned, "mean", SHIFT, seed, self.phi
        )


CELLS = [Cell(span, False, phi) for span in SPANS for phi in CORRELATIONS]
CELLS += [Cell(LEARNED, True, phi) for phi in CORRELATIONS]


def measure(cell: Cell, scenario: Scenario, directory: Path) -> dict[str, list[int]]:
    """Calm windows, drifting windows and drifting episodes in which any monitor fired, of how many; a performance monitor
    knows nothing of the feature that drifts, and counts in calm windows alone."""
    reference, watched = draw(scenario)
    spec = tidegauge_arm.spec_of(scenario, learned=cell.learned)
    if cell.learned:
        said = tidegauge_arm.run(scenario, spec, None, watched, reference)
    else:
        baseline = tidegauge_arm.build_baseline(spec, reference, scenario.labels, directory / "reference.jsonl")
        said = tidegauge_arm.run(scenario, spec, baseline, watched)
    calm = said.fired(tuple(said.breached), scenario.windows)[~scenario.drifting]
    drifting = said.fired(("feature-drift",), scenario.windows)[scenario.drifting]
    found = drifting.reshape(-1, EPISODE).any(axis=1)
    return {name: [int(of.sum()), len(of)] for name, of in (("calm", calm), ("drifting", drifting), ("episodes", found))}


def _run(task: tuple[int, int]) -> tuple[int, dict[str, list[int]]]:
    place, seed = task
    with tempfile.TemporaryDirectory() as directory:
        return place, measure(CELLS[place], CELLS[place].scenario(seed), Path(directory))


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    cells: dict[str, dict[float, Any]] = {}
    for of in results["cells"]:
        cells.setdefault(of["baseline"], {})[of["phi"]] = of
    head = ["", *(f"φ = {phi:g}" for phi in CORRELATIONS)]

    def rows(member: str, *, interval: bool) -> list[list[str]]:
        out = [[name, *(share(of[phi][member], interval) for phi in CORRELATIONS)] for name, of in cells.items()]
        sums = [np.sum([of[phi][member] for of in cells.values()], axis=0).tolist() for phi in CORRELATIONS]
        return [*out, ["all of them", *map(share, sums)]]

    return {
        "few-windows-calm": table(head, rows("calm", interval=True)),
        "few-windows-recall": table(head, rows("drifting", interval=False)),
        "few-windows-episodes": table(head, rows("episodes", interval=False)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--references", type=int, default=8, help="references a cell, each with 20 windows to watch")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    tasks = [(place, seed) for place in range(len(CELLS)) for seed in range(options.references)]
    sums: dict[int, dict[str, list[int]]] = {}
    with multiprocessing.Pool(options.jobs) as pool:
        for place, found in pool.imap_unordered(_run, tasks):
            held = sums.setdefault(place, {name: [0, 0] for name in found})
            sums[place] = {name: [a + b for a, b in zip(held[name], of, strict=True)] for name, of in found.items()}
    cells = [{"baseline": cell.name, "phi": cell.phi, **sums[place]} for place, cell in enumerate(CELLS)]
    results = {"references": options.references, "rows": ROWS, "features": FEATURES, "shift": SHIFT, "cells": cells}
    out = ROOT / "docs" / "evaluation"
    (out / "few-windows.json").write_text(json.dumps(results, indent=1) + "\n")
    fill(tables(results), PAGE)


if __name__ == "__main__":
    main()
