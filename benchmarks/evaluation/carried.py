"""Part of `make evaluate`: whether alerts on performance name the requests that carry a drop, on streams where these are known.

Writes ``docs/evaluation/carried.json`` and the table of it in ``docs/evaluation.md``.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tidegauge_arm
from by_kind import counts_by_kind, options_of
from streams import CALM, CATEGORIES, EPISODE, Rows, Scenario, draw
from tables import PAGE, ROOT, fill, share, table

ROWS, FEATURES, REFERENCE, WINDOWS = 1000, 10, 30, CALM + EPISODE
OVERLAP = 0.5
"""A range is the right one if it has this share of the requests that are in it or in the true one."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Kind:
    """A drop in an episode: a share ``rate`` of the labels ``where`` it strikes is turned around. ``feature``: the one whose
    range this is, "" if it is every request."""

    name: str
    feature: str
    rate: float
    where: Callable[[Rows, Rows], Mask]


def _between(column: int, low: float, high: float) -> Callable[[Rows, Rows], Mask]:
    def where(rows: Rows, reference: Rows) -> Mask:
        first, last = np.nanquantile(reference.numbers[:, column], (low, high))
        return np.asarray((rows.numbers[:, column] >= first) & (rows.numbers[:, column] < last if high < 1 else True))

    return where


KINDS = [
    Kind("upper fifth of a feature the score does not know", "x5", 0.4, _between(5, 0.8, 1.0)),
    Kind("middle third of a skewed one", "x6", 0.4, _between(6, 0.33, 0.67)),
    Kind("lower tenth of one the score knows", "x0", 0.6, _between(0, 0.0, 0.1)),
    Kind("a value of a category", "c1", 0.6, lambda rows, _: rows.categories[:, 1] == 2),
    Kind("every request", "", 0.15, lambda rows, _: np.ones(len(rows.label), bool)),
]


def named(carrier: Mapping[str, Any], rows: Rows) -> Mask:
    """Which requests a carrier is about."""
    feature = carrier["feature"]
    if feature.startswith("c"):
        values = [f"v{code}" for code in range(len(CATEGORIES[int(feature[1:])]))]
        wanted = [values.index(value) for value in carrier["segment"][feature].split(", ") if value in values]
        return np.isin(rows.categories[:, int(feature[1:])], wanted)
    column = rows.numbers[:, int(feature[1:])]
    if "low" not in carrier and "high" not in carrier:
        return np.isnan(column)
    return np.asarray((column >= carrier.get("low", -np.inf)) & (column < carrier.get("high", np.inf)))


def measure(kind: Kind, seed: int, directory: Path) -> Counter[str]:
    """Counts over one stream. Of the ``drops``, which are windows with alerts on performance: those where ``none`` is named;
    those whose first carrier is a range of the right ``feature``, and the right ``range`` of it; ``false``: all that are named
    but are of another feature, of ``all`` that are named."""
    scenario = Scenario("carried", "independent", FEATURES, ROWS, REFERENCE, WINDOWS, True, "concept", 0.0, seed)
    reference, watched = draw(scenario)
    rng = np.random.default_rng([seed, 11])
    struck = kind.where(watched, reference)
    hit = np.repeat(scenario.drifting, ROWS) & struck & (rng.random(len(struck)) < kind.rate)
    watched = replace(watched, label=np.where(hit, 1 - watched.label, watched.label))
    spec = tidegauge_arm.spec_of(scenario)
    baseline = tidegauge_arm.build_baseline(spec, reference, True, directory / "reference.jsonl")
    counts: Counter[str] = Counter()
    # All alerts of a window name the same.
    said_of = tidegauge_arm.run(scenario, spec, baseline, watched).carriers
    for carriers in {json.dumps(carriers): carriers for carriers in said_of}.values():
        counts["drops"] += 1
        counts["none"] += not carriers
        counts["all"] += len(carriers)
        counts["false"] += sum(of["feature"] != kind.feature for of in carriers)
        if carriers and carriers[0]["feature"] == kind.feature:
            counts["feature"] += 1
            said = named(carriers[0], watched)
            counts["range"] += int((said & struck).sum() >= OVERLAP * (said | struck).sum())
    return counts


def _run(task: tuple[int, int]) -> tuple[int, Counter[str]]:
    place, seed = task
    with tempfile.TemporaryDirectory() as directory:
        return place, measure(KINDS[place], seed, Path(directory))


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    head = [
        "the drop is in",
        "drops alerted of",
        "right feature first, %",
        "right range of it, %",
        "none named, %",
        "named",
        "of another feature, %",
    ]
    rows = [
        [
            of["kind"], str(of["drops"]), share([of["feature"], of["drops"]]), share([of["range"], of["drops"]]),
            share([of["none"], of["drops"]]), str(of["all"]), share([of["false"], of["all"]]),
        ]
        for of in results["kinds"]
    ]  # fmt: skip
    return {"carried": table(head, rows)}


def main() -> None:
    options = options_of(__doc__ or "", streams=10)
    sums = counts_by_kind(_run, len(KINDS), options)
    names = ("drops", "feature", "range", "none", "all", "false")
    kinds = [{"kind": kind.name, **{name: int(sums[place][name]) for name in names}} for place, kind in enumerate(KINDS)]
    results = {"streams": options.streams, "rows": ROWS, "features": FEATURES, "kinds": kinds}
    (ROOT / "docs" / "evaluation" / "carried.json").write_text(json.dumps(results, indent=1) + "\n")
    fill(tables(results), PAGE)


if __name__ == "__main__":
    main()
