"""Categories of many rare values: chance alone is no drift, ids are not called unseen, and what has changed is found."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest

import tidegauge as tg
from support.events import START
from tidegauge.metrics.drift import category_drift
from tidegauge.profile.category import MAX_NEW, OTHER, CategorySummary

RNG = np.random.default_rng(6)


def summary(values: list[str], known: set[str] | None = None) -> CategorySummary:
    """The counts of ``values``; apart of those that are not ``known`` (None: all are), of which few keep their names."""
    made = CategorySummary()
    for value, count in Counter(values).items():
        (made.counts if known is None or value in known else made.new)[value] = count
    further = sorted(made.new, key=lambda value: -made.new[value])[MAX_NEW:]
    if further:
        made.new[OTHER] = sum(made.new.pop(value) for value in further)
    return made


def p_value(reference: list[str], window: list[str]) -> float:
    known = set(reference)
    found = category_drift(summary(window, known), 0, summary(reference), sorted(known), "data.features.x", None)
    return float(found["mix_p_value"])


def zipf(n: int, shift: int = 0) -> list[str]:
    return [str(value) for value in (RNG.zipf(1.5, n) + shift) % 500]


def test_rare_values_that_come_and_go_are_chance() -> None:
    p_values = np.array([p_value(zipf(3000), zipf(600)) for _ in range(400)])
    assert np.mean(p_values < 0.05) < 0.08
    assert np.mean(p_values < 0.01) < 0.025
    assert np.mean([p_value(zipf(3000), zipf(600, 3)) < 1e-4 for _ in range(20)]) == 1
    assert p_value(zipf(3000), [*zipf(540), *["new"] * 60]) < 1e-6


def frame(values: list[str], days: float, first: float) -> pd.DataFrame:
    n = len(values)
    return pd.DataFrame(
        {"request_id": [f"{first}-{i}" for i in range(n)], "ts": first + np.arange(n) * days * 86400 / n,
         "model_version": "m:1", "score": RNG.random(n), "prediction": RNG.integers(0, 2, n), "x": values}
    )  # fmt: skip


@pytest.mark.parametrize("learned", [False, True])
def test_ids_are_always_new_and_that_is_no_alert(learned: bool) -> None:
    spec = {"model": "m", "task": "binary", "windows": ["1d"]} | ({"baseline": {"first": 1500}} if learned else {})
    ids = [f"user-{i}" for i in range(6000)]
    before, after = frame(ids[:3000], 6, START), frame(ids[3000:], 6, START + 6 * 86400)
    baseline = None if learned else tg.build_baseline(before, spec)
    run = tg.replay(pd.concat([before, after]) if learned else after, spec=spec, baseline=baseline)
    assert max(record["data"]["features"]["x"].get("unseen_ratio", 0) for record in run.records) == 1
    assert run.alerts.empty
    # Of a value that was always known it is one.
    known = [*["a", "b", "c"] * 1000]
    changed = [*["a", "b", "d"] * 1000]
    before, after = frame(known, 6, START), frame(changed, 6, START + 6 * 86400)
    baseline = None if learned else tg.build_baseline(before, spec)
    run = tg.replay(pd.concat([before, after]) if learned else after, spec=spec, baseline=baseline)
    assert "unseen-values" in set(run.alerts.alertname)
