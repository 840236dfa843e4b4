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
from numpy.typing import NDArray

from arms import Fired, Peers, evaluate
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
REFERENCES = 4
EVIDENTLY_WINDOWS = {10: 300, 100: 20}
"""By features: of how many windows without drift Evidently is asked at most."""


def null_scenarios(quick: bool) -> list[Scenario]:
    """Streams without drift: family, features, rows a window, reference windows, windows, labels, and how many of them."""
    plan = [
        ("independent", 10, 500, 30, 300, True, 6),
        ("independent", 10, 50, 100, 300, False, 1),
        ("independent", 10, 5000, 12, 40, False, 5),
        ("independent", 10, 50_000, 8, 8, False, 1),
        ("independent", 100, 500, 30, 60, False, 4),
        ("autocorrelated", 10, 500, 30, 300, True, 4),
        ("autocorrelated", 10, 5000, 12, 40, False, 5),
        ("autocorrelated", 100, 500, 30, 60, False, 4),
        ("weekly", 10, 500, 56, 210, True, 4),
        ("weekly", 10, 5000, 28, 42, False, 3),
    ]
    if quick:
        plan = [(*of[:3], min(of[3], 28), 40, of[5], 1) for of in plan if of[1:3] == (10, 500)]
    return [
        Scenario(f"{family}-{features}-{rows}", family, features, rows, reference, windows, labels, seed=seed + 1000 * again)
        for seed, (family, features, rows, reference, windows, labels, times) in enumerate(plan)
        for again in range(times)
    ]


def drift_scenarios(quick: bool) -> list[Scenario]:
    """Each kind and size of drift, against REFERENCES references: how well a method knows one decides what it finds."""
    episodes = 6
    return [
        Scenario(
            f"{kind}-{size:g}", "independent", 10, 500, 30, episodes * (CALM + EPISODE), True, kind, size,
            100 + seed + 1000 * again,
        )
        for seed, (kind, size) in enumerate((kind, size) for kind, sizes in SIZES.items() for size in sizes[quick:])
        for again in range(1 if quick else REFERENCES)
    ]  # fmt: skip


def merged(found: list[dict[str, Fired]]) -> dict[str, Fired]:
    """The same methods on several streams of a kind, as if they were one."""
    return {name: Fired.together([of[name] for of in found]) for name in found[0]}


def rates(fired: dict[str, Fired]) -> dict[str, Any]:
    return {name: {"windows": [int(of.windows.sum()), len(of.windows)], "features": of.features} for name, of in fired.items()}


def level_factors(fired: dict[str, Fired]) -> dict[str, dict[str, float]]:
    """What the thresholds of each method that has scores must be multiplied by, by family, so that without drift it fires as
    often as tidegauge does, LEVEL at least (``_levelled``: each family as often as the others), or LEVEL in each family
    (``_families``)."""
    level = max(LEVEL, float(fired["tidegauge"].windows.mean()))
    factors = {}
    for name, of in fired.items():
        if of.scores is not None:
            factors[f"{name}_levelled"] = together(of.scores, level)
            if len(of.scores) > 1:
                factors[f"{name}_families"] = {f: float(np.quantile(scores, 1 - LEVEL)) for f, scores in of.scores.items()}
    return factors


def together(scores: dict[str, NDArray[np.float64]], level: float) -> dict[str, float]:
    """The lowest factors, as many windows above each, with which no more than ``level`` of the windows fire in any family."""
    ordered = {family: np.sort(of)[::-1] for family, of in scores.items()}
    factors = {family: float(of[0]) for family, of in ordered.items()}
    for rank in range(1, len(next(iter(ordered.values())))):
        lower = {family: float(of[rank]) for family, of in ordered.items()}
        if np.any([of > lower[family] for family, of in scores.items()], axis=0).mean() > level:
            break
        factors = lower
    return factors


def levelled(fired: dict[str, Fired], factors: dict[str, dict[str, float]]) -> dict[str, Fired]:
    """The methods with their thresholds moved."""
    out = {}
    for name, by_family in factors.items():
        scores = fired[name.rpartition("_")[0]].scores
        assert scores is not None
        out[name] = Fired(np.any([scores[f] > factor for f, factor in by_family.items()], axis=0))
    return out


def recalls(fired: dict[str, Fired], factors: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Windows, first windows and whole episodes: how many of how many; delay: mean number of windows until found, where it
    was."""
    out = {}
    for name, of in (fired | levelled(fired, factors)).items():
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
    found: dict[tuple[str, int], tuple[Scenario, dict[str, Fired]]] = {}
    told = ""
    with (
        tempfile.TemporaryDirectory() as scratch,
        multiprocessing.Pool(options.jobs, _begin, (options.peers, Path(scratch))) as pool,
    ):
        for scenario, fired, versions, took in pool.imap_unordered(_run, order):
            found[scenario.name, scenario.seed], told = (scenario, fired), versions
            print(f"{scenario.name}: {took:.0f} s", file=sys.stderr, flush=True)
    results = summary([found[scenario.name, scenario.seed] for scenario in scenarios])
    results |= {"peers": told, "seconds": round(time.monotonic() - began), "quick": options.quick}
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    write(results, out)


def summary(found: list[tuple[Scenario, dict[str, Fired]]]) -> dict[str, Any]:
    """All counts; the windows of the first kind of stream, without drift, are what thresholds are levelled on."""
    kinds: dict[str, list[tuple[Scenario, dict[str, Fired]]]] = {}
    for scenario, fired in found:
        kinds.setdefault(scenario.name, []).append((scenario, fired))
    together = [(same[0][0], merged([fired for _, fired in same])) for same in kinds.values()]
    factors = level_factors(together[0][1])
    levels = rates(levelled(together[0][1], factors))
    results: dict[str, Any] = {"level": LEVEL, "factors": factors, "levels": levels, "null": [], "drift": []}
    for scenario, fired in together:
        told = {name: getattr(scenario, name) for name in ("name", "family", "features", "rows", "windows", "reference")}
        if scenario.drift:
            told |= {"kind": scenario.drift, "size": scenario.size, "methods": recalls(fired, factors)}
            results["drift"].append(told)
        else:
            results["null"].append(told | {"methods": rates(fired)})
    return results


if __name__ == "__main__":
    main()
