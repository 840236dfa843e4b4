"""A drop that a range of a feature carries: the incident's page says so, and the evidence leads to the feature."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np

from support.driver import Pipeline
from support.page import Browser
from support.serving import fed, running
from tidegauge.console.view import View
from tidegauge.engine.stage import INCIDENTS, LABELS, PREDICTIONS
from tidegauge.models.registry import ModelRecord, encode
from tidegauge.offline.reference import build
from tidegauge.spec import BaselineSpec, Condition, ModelSpec, MonitorSpec

START, ROWS = 1_758_931_200.0, 4000
SPEC = ModelSpec(
    "churn", task="binary", windows=("1d",), grace=0.0, label_horizon=86400.0, baseline=BaselineSpec(file="churn.json"),
    monitors=(MonitorSpec("brier", "performance.brier", "1d", Condition("above", high=0.25), min_count=50),),
)  # fmt: skip


def test_the_incident_says_which_requests_carry_the_drop(browser: Browser, tmp_path: Path) -> None:
    rng = np.random.default_rng(12)
    score, wind = rng.beta(2, 3, ROWS), rng.gamma(3.0, 4.0, ROWS)
    label = (rng.random(ROWS) < score).astype(int)
    label = np.where((np.arange(ROWS) >= 3000) & (wind >= 12), 1 - label, label)
    events = [
        {"request_id": f"r{i}", "ts": START + i * 86.4, "model_version": "churn:1", "prediction": int(s > 0.5), "score": s,
         "features": {"wind_speed": w}}
        for i, (s, w) in enumerate(zip(score.tolist(), wind.tolist(), strict=True))
    ]  # fmt: skip
    said = [
        {"request_id": e["request_id"], "ts": e["ts"] + 600.0, "label": y} for e, y in zip(events, label.tolist(), strict=True)
    ]
    reference = tmp_path / "reference.jsonl"
    reference.write_text("\n".join(json.dumps(e | {"label": y["label"]}) for e, y in zip(events[:3000], said, strict=False)))
    baseline = build(SPEC, "churn:1", reference)
    pipeline = Pipeline(None)
    record = ModelRecord("churn", SPEC, {"": msgspec.Raw(baseline.to_json())})
    pipeline.registry.apply(b"churn", encode(record))
    pipeline.send(PREDICTIONS, [json.dumps(event).encode() for event in events[3000:]])
    pipeline.send(LABELS, [json.dumps(event).encode() for event in said[3000:]])
    pipeline.finish()
    incident = pipeline.of(INCIDENTS)[-1]["data"]
    text = incident["carried_by"]["text"].replace("`", "")
    assert text.startswith("carried by requests with wind_speed of 1")
    with running(fed(View(), pipeline.outputs)) as console:
        browser.open(f"{console.address}/#/incidents/{incident['incident']}")
        browser.has(text)
        (row, *_) = browser.rows("#evidence-carriers")
        assert row[0] == f"wind_speed: {incident['carried_by']['segment']['wind_speed']}"
        browser.click("#evidence-carriers tbody a")
        browser.wait(lambda: "feature=wind_speed" in browser.driver.current_url)
        browser.leave()
