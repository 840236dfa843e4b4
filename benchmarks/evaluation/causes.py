"""Part of `make evaluate`: how often an incident is named by a wrong cause, on streams whose cause is known.

Writes ``docs/evaluation/causes.json`` and the table of it in ``docs/evaluation.md``.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

import tidegauge_arm
from by_kind import counts_by_kind, options_of
from streams import CALM, EPISODE, POSITIVE, VICTIM, Rows, Scenario, draw
from tables import PAGE, ROOT, fill, share, table

ROWS, FEATURES, REFERENCE, WINDOWS = 1000, 10, 30, CALM + EPISODE
NUMBER, CATEGORY = f"x{VICTIM}", "c0"


@dataclass(frozen=True)
class Kind:
    """What goes wrong in an episode. ``truth``: the causes, as concern and feature ("" is the model as a whole) of the alerts
    that are about it; ``labels_lost``: the share of the labels of the episode that know nothing of the features, beside the
    drift."""

    name: str
    drift: str
    size: float
    truth: frozenset[tuple[str, str]]
    labels_lost: float = 0.0


def _drift(name: str, drift: str, size: float, concern: str, feature: str = NUMBER) -> Kind:
    return Kind(name, drift, size, frozenset({(concern, feature)}))


LOST = ("performance", "")
KINDS = [
    _drift("mean of a feature", "mean", 0.5, "feature drift"),
    _drift("variance of a feature", "variance", 1.5, "feature drift"),
    _drift("tail of a feature", "tail", 1.0, "feature drift"),
    _drift("shares of a category", "category", 0.15, "feature drift", CATEGORY),
    _drift("values missing", "missing", 0.2, "values"),
    _drift("another relation to the outcome", "concept", 0.5, *LOST),
    Kind("values missing and another relation", "missing", 0.2, frozenset({("values", NUMBER), LOST}), 0.5),
    Kind("mean of a feature and another relation", "mean", 0.5, frozenset({("feature drift", NUMBER), LOST}), 0.5),
]


def drawn(kind: Kind, scenario: Scenario) -> tuple[Rows, Rows]:
    """Reference and watched rows of the stream."""
    reference, watched = draw(scenario)
    if kind.labels_lost:
        rng = np.random.default_rng([scenario.seed, 9])
        lost = np.repeat(scenario.drifting, scenario.rows) & (rng.random(len(watched.label)) < kind.labels_lost)
        label = np.where(lost, rng.random(len(lost)) < POSITIVE, watched.label)
        watched = replace(watched, label=label)
    return reference, watched


def about(alert: Mapping[str, Any]) -> tuple[str, str]:
    """What an alert, or an incident's cause, concerns."""
    return alert["concern"], alert["feature"]


def measure(kind: Kind, seed: int, directory: Path) -> Counter[str]:
    """Counts over one stream, which ends with an episode. Of what began in it: ``causes`` that an incident is named by, of
    all ``true`` ones; ``incidents``, and those that are named by something ``wrong``; ``alerts``, and those that are in an
    incident of another cause than theirs, ``misplaced``."""
    scenario = Scenario("causes", "independent", FEATURES, ROWS, REFERENCE, WINDOWS, True, kind.drift, kind.size, seed)
    reference, watched = drawn(kind, scenario)
    spec = tidegauge_arm.spec_of(scenario)
    baseline = tidegauge_arm.build_baseline(spec, reference, True, directory / "reference.jsonl")
    said = tidegauge_arm.run(scenario, spec, baseline, watched)
    counts: Counter[str] = Counter()
    begun = [of for of in said.incidents.values() if _window(of, scenario) >= CALM]
    named = [about(of["cause"]) for of in begun]
    counts["true"] += len(kind.truth)
    counts["causes"] += len(kind.truth & set(named))
    counts["incidents"] += len(begun)
    counts["wrong"] += sum(cause not in kind.truth for cause in named)
    for incident, cause in zip(begun, named, strict=True):
        counts["alerts"] += len(incident["alerts"])
        own = [about(alert) if about(alert) in kind.truth else None for alert in incident["alerts"]]
        counts["misplaced"] += len(own) if cause not in kind.truth else sum(of not in (None, cause) for of in own)
    return counts


def _window(incident: Mapping[str, Any], scenario: Scenario) -> int:
    began = datetime.fromisoformat(incident["starts_at"]).timestamp()
    return round(began / scenario.seconds) - scenario.reference


def _run(task: tuple[int, int]) -> tuple[int, Counter[str]]:
    place, seed = task
    with tempfile.TemporaryDirectory() as directory:
        return place, measure(KINDS[place], seed, Path(directory))


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    head = [
        "what goes wrong",
        "true causes named, %",
        "incidents",
        "named by a wrong cause, %",
        "alerts",
        "in a wrong incident, %",
    ]
    kinds = results["kinds"]
    total = {name: sum(of[name] for of in kinds) for name in ("true", "causes", "incidents", "wrong", "alerts", "misplaced")}
    rows = [
        [
            of["kind"], share([of["causes"], of["true"]]), str(of["incidents"]), share([of["wrong"], of["incidents"]]),
            str(of["alerts"]), share([of["misplaced"], of["alerts"]]),
        ]
        for of in (*kinds, {"kind": "all of them", **total})
    ]  # fmt: skip
    return {"causes": table(head, rows)}


def main() -> None:
    options = options_of(__doc__ or "", streams=6)
    sums = counts_by_kind(_run, len(KINDS), options)
    names = ("true", "causes", "incidents", "wrong", "alerts", "misplaced")
    kinds = [{"kind": kind.name, **{name: sums[place][name] for name in names}} for place, kind in enumerate(KINDS)]
    results = {"streams": options.streams, "rows": ROWS, "features": FEATURES, "kinds": kinds}
    (ROOT / "docs" / "evaluation" / "causes.json").write_text(json.dumps(results, indent=1) + "\n")
    fill(tables(results), PAGE)


if __name__ == "__main__":
    main()
