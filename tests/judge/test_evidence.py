"""What an alert says in its support, against the same worked out by hand from the events."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest

from support.driver import Pipeline
from support.events import START
from tidegauge.baseline.baseline import Baseline
from tidegauge.engine.stage import ALERTS, LABELS, PREDICTIONS
from tidegauge.judge import evidence
from tidegauge.judge.conditions import Verdict
from tidegauge.models.registry import ModelRecord, encode
from tidegauge.offline import reference
from tidegauge.profile.data import DataProfile
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.schema import Schema
from tidegauge.spec import Condition, ModelSpec, MonitorSpec

MONITORS = (
    MonitorSpec("accuracy", "performance.accuracy", "1m", Condition("below", low=0.8), "critical", min_count=50),
    MonitorSpec(
        "drift", "data.features.*.psi", "1m", Condition("above", high=0.3), min_count=50, keep_firing_for=2,
        critical_with_performance=True,
    ),
)  # fmt: skip
SPEC = ModelSpec("churn", task="binary", segments=(("region",),), windows=("1m",), grace=0.0, monitors=MONITORS)
REGIONS = ("eu", "us", "asia")
A_MINUTE = 300
DRIFT, CONCEPT = (4, 5), (10,)


def rows(rng: np.random.Generator, minute: int) -> list[dict[str, Any]]:
    """A minute of events with their labels. In minutes DRIFT ``y`` moves and most of ``eu`` comes out wrong, in CONCEPT
    most of ``us`` does, though no feature moves."""
    found = []
    for number in range(A_MINUTE):
        region = REGIONS[number % 3]
        moved = minute in DRIFT and region == "eu"
        wrong = rng.random() < (0.7 if moved or (minute in CONCEPT and region == "us") else 0.1)
        found.append(
            {
                "request_id": f"m{minute}-{number}", "ts": START + 60.0 * minute + number / 5, "model": "churn",
                "model_version": "churn_xgb:3", "prediction": 1, "score": 0.9, "segments": {"region": region},
                "features": {"x": float(rng.normal()), "y": float(rng.normal(3.0 * moved))}, "label": int(not wrong),
            }
        )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], list[dict[str, Any]], Baseline]:
    """The alerts of 14 minutes, their rows, and the baseline."""
    path = tmp_path_factory.mktemp("evidence") / "reference.jsonl"
    past = [row for minute in range(30, 50) for row in rows(np.random.default_rng(minute), minute)]
    path.write_text("".join(json.dumps(row) + "\n" for row in past))
    baseline = reference.build(SPEC, "churn_xgb:3", path)
    pipeline = Pipeline(None)
    record = ModelRecord("churn", SPEC, {"churn_xgb:3": msgspec.Raw(baseline.to_json())})
    pipeline.registry.apply(b"churn", encode(record))
    live = [row for minute in range(14) for row in rows(np.random.default_rng(minute), minute)]
    for first in range(0, len(live), A_MINUTE):
        chunk = live[first : first + A_MINUTE]
        pipeline.send(PREDICTIONS, [json.dumps({k: v for k, v in row.items() if k != "label"}).encode() for row in chunk])
        labels = [{"request_id": row["request_id"], "ts": row["ts"] + 2.0, "label": row["label"]} for row in chunk]
        pipeline.send(LABELS, [json.dumps(label).encode() for label in labels])
        pipeline.checkpoint()
    pipeline.finish()
    return pipeline.of(ALERTS), live, baseline


def firing(alerts: list[dict[str, Any]], name: str, minute: int, severity: str) -> dict[str, Any]:
    start = START + 60.0 * minute
    found = [
        a["data"]
        for a in alerts
        if a["data"]["labels"]["alertname"] == name and a["data"]["status"] == "firing" and a["data"]["severity"] == severity
        and evidence_start(a["data"]) == start
    ]  # fmt: skip
    assert len(found) == 1, (name, minute, [(a["data"]["labels"], a["data"]["window"]) for a in alerts])
    return found[0]


def evidence_start(data: dict[str, Any]) -> float:
    from datetime import datetime

    return datetime.fromisoformat(data["window"]["start"]).timestamp()


def test_segments_carry_their_share_of_the_drop(run: Any) -> None:
    alerts, live, baseline = run
    data = firing(alerts, "accuracy", DRIFT[0], "critical")
    window = [row for row in live if row["request_id"].startswith(f"m{DRIFT[0]}-")]
    lost = {}
    for region in REGIONS:
        mine = [row["label"] for row in window if row["segments"]["region"] == region]
        before = baseline.parts[("region", region),].metrics["performance"]["accuracy"]
        lost[region] = sum(before - right for right in mine)
    whole = sum(of for of in lost.values() if of > 0)
    said = {of["segment"]["region"]: of for of in data["evidence"]["segments"]}
    assert data["evidence"]["segments"][0]["segment"] == {"region": "eu"}
    assert said.keys() == {region for region, of in lost.items() if of > 0}
    for region, entry in said.items():
        assert entry["share"] == pytest.approx(lost[region] / whole, abs=1e-9)
    assert said["eu"]["share"] > 0.8


def test_request_ids_are_wrong_ones_of_the_segment_that_carries_the_drop(run: Any) -> None:
    alerts, live, _ = run
    by_id = {row["request_id"]: row for row in live}
    for minute, region in ((DRIFT[0], "eu"), (CONCEPT[0], "us")):
        examples = firing(alerts, "accuracy", minute, "critical")["evidence"]["request_ids"]
        assert len(examples) == evidence.MAX_EVIDENCE
        for name in examples:
            row = by_id[name]
            assert name.startswith(f"m{minute}-")
            assert (row["segments"]["region"], row["label"]) == (region, 0)


def test_features_are_ranked_by_how_far_they_moved_for_them(run: Any) -> None:
    alerts, _, baseline = run
    features = firing(alerts, "accuracy", DRIFT[0], "critical")["evidence"]["features"]
    assert [of["feature"] for of in features] == ["y", "x"]
    mean, deviation, _ = baseline.spread["1m"]["data.features.y.psi"]
    assert features[0]["effect"] == pytest.approx((features[0]["psi"] - mean) / deviation)
    assert features[0]["effect"] > 10 > abs(features[1]["effect"])


def test_drift_and_drop_that_coincide_are_said_to_and_are_critical(run: Any) -> None:
    alerts, _, _ = run
    early = firing(alerts, "drift", DRIFT[0], "warning")
    assert early["labels"]["feature"] == "y"
    assert early["evidence"]["segments"][0]["segment"] == {"region": "eu"}
    assert early["evidence"]["segments"][0]["share"] > 0.8
    both = [a["data"] for a in alerts if a["data"]["labels"]["alertname"] == "drift" and a["data"]["severity"] == "critical"]
    assert both[0]["evidence"]["performance"]["breached"] == ["accuracy"]
    assert "; performance dropped with it: accuracy" in both[0]["annotations"]["description"]
    drop = firing(alerts, "accuracy", DRIFT[0], "critical")
    assert drop["evidence"]["drifted_features"] == ["y"]
    assert "; y drifted in the same window" in drop["annotations"]["description"]


def test_a_drop_without_drift_says_that_the_concept_may_have_changed(run: Any) -> None:
    alerts, _, _ = run
    drop = firing(alerts, "accuracy", CONCEPT[0], "critical")
    assert drop["evidence"]["drifted_features"] == []
    assert "; no feature drifted with it" in drop["annotations"]["description"]
    assert drop["evidence"]["segments"][0]["segment"] == {"region": "us"}


def test_segments_that_moved_the_other_way_have_no_share() -> None:
    """Accuracy from 0.9 to 0.75: eu lost 0.4 on 100 labels, us 0.1 on 200, asia gained. 40 : 20 of what was lost."""
    schema = Schema("s", {}, {}, frozenset())

    def held(accuracy: float) -> Baseline:
        baseline = Baseline("m", "m:1", DataProfile(), OutcomeProfile(), schema)
        baseline.metrics = {"performance": {"accuracy": accuracy}}
        return baseline

    whole = held(0.9)
    whole.parts = {(("region", region),): held(0.9) for region in REGIONS}
    now = {"eu": (0.5, 100), "us": (0.8, 200), "asia": (0.95, 100)}
    records = {
        (("region", region),): {"labels": labels, "performance": {"accuracy": accuracy}}
        for region, (accuracy, labels) in now.items()
    }
    verdict = Verdict(MONITORS[0], "performance.accuracy", 0.75, True, "below 0.8", 400, 0.9)
    assert evidence.carrying_segments(verdict, records, whole) == [
        {"segment": {"region": "eu"}, "value": 0.5, "share": pytest.approx(2 / 3)},
        {"segment": {"region": "us"}, "value": 0.8, "share": pytest.approx(1 / 3)},
    ]
