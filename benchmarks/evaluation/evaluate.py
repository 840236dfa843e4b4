"""`make evaluate`: false alarms without drift, recall and delay with it, of tidegauge and of the others on the same streams.

Writes ``docs/evaluation/results.json``; ``report.py`` makes the page and its plots of it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from arms import FAMILIES, Fired, Peers, evaluate
from report import write
from streams import CALM, EPISODE, Scenario

ROOT = Path(__file__).parents[2]
LEVEL = 0.01
SIZES = {
    "mean": (0.15, 0.3),
    "variance": (1.15, 1.3),
    "tail": (0.5, 1.0),
    "missing": (0.02, 0.05),
    "category": (0.05, 0.1),
    "concept": (0.15, 0.3),
    "prior": (0.05, 0.1),
}
EVIDENTLY_WINDOWS = {10: 100, 100: 20}
"""By features: of how many windows without drift Evidently is asked at most."""


def null_scenarios(quick: bool) -> list[Scenario]:
    """Streams without drift: family, features, rows a window, reference windows, windows, labels."""
    plan = [
        ("independent", 10, 500, 30, 300, True),
        ("independent", 10, 50, 100, 300, False),
        ("independent", 10, 5000, 12, 40, False),
        ("independent", 10, 50_000, 8, 8, False),
        ("independent", 100, 500, 30, 60, False),
        ("autocorrelated", 10, 500, 30, 300, True),
        ("autocorrelated", 10, 5000, 12, 40, False),
        ("autocorrelated", 100, 500, 30, 60, False),
        ("weekly", 10, 500, 56, 210, True),
        ("weekly", 10, 5000, 28, 42, False),
    ]
    if quick:
        plan = [(*of[:3], min(of[3], 28), 40, of[5]) for of in plan if of[1:3] == (10, 500)]
    return [
        Scenario(f"{family}-{features}-{rows}", family, features, rows, reference, windows, labels, seed=seed)
        for seed, (family, features, rows, reference, windows, labels) in enumerate(plan)
    ]


def drift_scenarios(quick: bool) -> list[Scenario]:
    episodes = 6 if quick else 15
    return [
        Scenario(f"{kind}-{size:g}", "independent", 10, 500, 30, episodes * (CALM + EPISODE), True, kind, size, 100 + seed)
        for seed, (kind, size) in enumerate((kind, size) for kind, sizes in SIZES.items() for size in sizes[quick:])
    ]


def rates(fired: dict[str, Fired]) -> dict[str, Any]:
    return {name: {"windows": [int(of.windows.sum()), len(of.windows)], "features": of.features} for name, of in fired.items()}


def level_factors(fired: dict[str, Fired]) -> dict[str, dict[str, float]]:
    """What each threshold of a method must be multiplied by for its family to fire in LEVEL of the windows without drift."""
    return {
        name: {family: float(np.quantile(scores, 1 - LEVEL)) for family, scores in of.scores.items()}
        for name, of in fired.items()
        if of.scores is not None
    }


def recalls(fired: dict[str, Fired], factors: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Windows, first windows and whole episodes: how many of how many; delay: mean number of windows until found, where it
    was."""
    levelled = {
        f"{name}_levelled": Fired(np.any([of.scores[f] > factors[name][f] for f in FAMILIES if f in factors[name]], axis=0))
        for name, of in fired.items()
        if of.scores is not None
    }
    out = {}
    for name, of in (fired | levelled).items():
        episodes = of.windows.reshape(-1, EPISODE)
        found = episodes.any(axis=1)
        out[name] = {
            "windows": [int(episodes.sum()), episodes.size],
            "first": [int(episodes[:, 0].sum()), len(episodes)],
            "episode": [int(found.sum()), len(episodes)],
            "delay": float(episodes[found].argmax(axis=1).mean()) + 1 if found.any() else None,
        }
    return out


_job: dict[str, Any] = {}


def _begin(python: Path, scratch: Path) -> None:
    directory = scratch / str(os.getpid())
    directory.mkdir()
    _job.update(peers=Peers(python, directory), directory=directory)


def _run(scenario: Scenario) -> tuple[Scenario, dict[str, Fired], str, float]:
    began = time.monotonic()
    fired = evaluate(scenario, _job["peers"], _job["directory"], EVIDENTLY_WINDOWS[scenario.features], scenario.seed == 0)
    return scenario, fired, _job["peers"].versions, time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a look, in some minutes; writes to build/evaluation")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-peers" / "bin" / "python", help="Python of the peers")
    parser.add_argument("--jobs", type=int, default=1, help="scenarios at a time; each takes two processes")
    options = parser.parse_args()
    out = ROOT / "build" / "evaluation" if options.quick else ROOT / "docs" / "evaluation"
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    scenarios = [*null_scenarios(options.quick), *drift_scenarios(options.quick)]
    # The longest first, so that none is left alone at the end.
    order = sorted(scenarios, key=lambda of: -of.windows * of.rows * of.features)
    found: dict[str, tuple[Scenario, dict[str, Fired]]] = {}
    told = ""
    with (
        tempfile.TemporaryDirectory() as scratch,
        multiprocessing.Pool(options.jobs, _begin, (options.peers, Path(scratch))) as pool,
    ):
        for scenario, fired, versions, took in pool.imap_unordered(_run, order):
            found[scenario.name], told = (scenario, fired), versions
            print(f"{scenario.name}: {took:.0f} s", file=sys.stderr, flush=True)
    results = summary([found[scenario.name] for scenario in scenarios])
    results |= {"peers": told, "seconds": round(time.monotonic() - began), "quick": options.quick}
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    write(results, out)


def summary(found: list[tuple[Scenario, dict[str, Fired]]]) -> dict[str, Any]:
    """All counts; the first scenario's windows, without drift, are what thresholds are levelled on."""
    factors = level_factors(found[0][1])
    results: dict[str, Any] = {"level": LEVEL, "factors": factors, "null": [], "drift": []}
    for scenario, fired in found:
        told = {name: getattr(scenario, name) for name in ("name", "family", "features", "rows", "windows", "reference")}
        if scenario.drift:
            told |= {"kind": scenario.drift, "size": scenario.size, "methods": recalls(fired, factors)}
            results["drift"].append(told)
        else:
            results["null"].append(told | {"methods": rates(fired)})
    return results


if __name__ == "__main__":
    main()
