"""Which segments carry a drop: on streams where that is known, at the level that is promised where none does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control

import tidegauge as tg
from support.outcomes import outcomes
from tidegauge.engine.delta import Segment
from tidegauge.engine.stage import ALERTS
from tidegauge.metrics.carriers import LEVEL, benjamini_hochberg, carriers, error, squared_error
from tidegauge.profile.outcome import OutcomeProfile

DIMENSIONS = {"region": 6, "device": 4, "plan": 10}


def drawn(
    rng: np.random.Generator, n: int, wrong: dict[str, int] | None = None, rate: float = 0.5
) -> dict[Segment, OutcomeProfile]:
    """Outcomes of the whole and of each segment of a model that knows how likely its outcomes are, but for the segment
    ``wrong`` (dimension and value): there a share ``rate`` of the labels is turned around."""
    score = rng.beta(2, 3, n)
    actual = (rng.random(n) < score).astype(int)
    values = {name: rng.integers(0, size, n) for name, size in DIMENSIONS.items()}
    if wrong is not None:
        hit = np.logical_and.reduce([values[name] == value for name, value in wrong.items()]) & (rng.random(n) < rate)
        actual = np.where(hit, 1 - actual, actual)
    predicted = (score > 0.5).astype(int)
    found = {(): outcomes(predicted, actual, score)}
    for name, column in values.items():
        for value in range(DIMENSIONS[name]):
            rows = column == value
            found[((name, str(value)),)] = outcomes(predicted[rows], actual[rows], score[rows])
    return found


BEFORE = drawn(np.random.default_rng(0), 60_000)


@pytest.mark.parametrize("loss", [squared_error, error])
def test_the_segment_that_carries_it_is_named_first_with_its_share(loss: Any) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        found = carriers(drawn(rng, 4000, {"region": 3}), BEFORE.get, loss)
        assert found[0].segment == {"region": "3"}
        assert found[0].share > 0.6
        assert found[0].excess > 0.05 > abs(found[0].elsewhere)


def test_a_drop_that_is_everywhere_is_carried_by_none_beyond_the_level() -> None:
    """Half of all labels are turned around in every segment: whoever is named is named wrongly."""
    rng = np.random.default_rng(2)
    wrong = [bool(carriers(drawn(rng, 2000, {}, 0.15), BEFORE.get, squared_error)) for _ in range(300)]
    # Where all hypotheses are true the false discovery rate is the chance of naming any; three standard errors above it.
    assert np.mean(wrong) <= LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / len(wrong))


def test_of_what_is_named_beside_a_true_carrier_few_are_false() -> None:
    rng = np.random.default_rng(3)
    shares = []
    for _ in range(100):
        found = carriers(drawn(rng, 4000, {"plan": 7}), BEFORE.get, squared_error)
        named = [of.segment for of in found]
        shares.append(sum(name != {"plan": "7"} for name in named) / max(len(named), 1))
    assert np.mean(shares) <= 2 * LEVEL


def test_nothing_carries_an_improvement_and_unknown_or_small_segments_are_not_tested() -> None:
    rng = np.random.default_rng(4)
    now = drawn(rng, 4000, {"region": 3})
    assert carriers(now, now.get, squared_error) == []
    assert carriers(now, lambda segment: BEFORE[()] if not segment else None, squared_error) == []
    assert carriers(now, lambda _: None, squared_error) == []
    small = {(): now[()], (("region", "3"),): outcomes([1] * 5, [0] * 5, [0.9] * 5)}
    assert carriers(small, BEFORE.get, squared_error) == []


def test_the_rejections_are_those_of_scipy() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        p_values = np.concatenate((rng.random(10), rng.random(5) / 100))
        assert benjamini_hochberg(p_values.tolist(), 0.05) == (false_discovery_control(p_values) <= 0.05).tolist()
    assert benjamini_hochberg([], 0.05) == []


SPEC = """
model: churn
task: binary
segments: [region, [region, device]]
windows: [1d]
grace: 0s
label_horizon: 1d
monitors:
  - {name: brier, metric: performance.brier, window: 1d, above_baseline: 0.02, min_count: 50}
"""


def test_an_alert_says_who_carries_it() -> None:
    rng = np.random.default_rng(6)
    n, day = 6000, 86400.0
    score, region, device = rng.beta(2, 3, n), rng.choice(list("abc"), n), rng.choice(["ios", "web"], n)
    label = (rng.random(n) < score).astype(int)
    last = np.arange(n) >= 4000
    label = np.where(last & (region == "b") & (device == "web"), 1 - label, label)
    predictions = pd.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(n)], "ts": 1_758_931_200.0 + np.arange(n) * day / 2000,
            "model_version": "churn:1", "prediction": (score > 0.5).astype(int), "score": score, "x": score,
            "segments.region": region, "segments.device": device,
        }
    )  # fmt: skip
    labels = pd.DataFrame({"request_id": predictions["request_id"], "ts": predictions["ts"] + 600.0, "label": label})
    baseline = tg.build_baseline(predictions[:4000].assign(label=label[:4000]), SPEC)
    run = tg.replay(predictions, labels, spec=SPEC, baseline=baseline)
    (data,) = (event["data"] for event in run._decoded(ALERTS))
    first = data["evidence"]["carriers"][0]
    assert first["segment"] in ({"region": "b", "device": "web"}, {"region": "b"})
    assert {"region": "b", "device": "web"} in [of["segment"] for of in data["evidence"]["carriers"]]
    assert "carries" in data["annotations"]["description"]
