"""What a record becomes in Prometheus: intervals as two ends, good names, bounded labels."""

from __future__ import annotations

import json
import re

import numpy as np

from support.driver import Pipeline
from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.prometheus.window_samples import BASE, window_samples
from tidegauge.spec import BaselineSpec, KpiRatio, KpiSpec, ModelSpec, WinsorLimits

NAME = re.compile(r"tidegauge_[a-z0-9_]+")


def test_intervals_calibration_fairness_and_kpis_are_exported() -> None:
    spec = ModelSpec(
        "shop", task="binary", segments=(("region",),), windows=("1h",), grace=0.0, baseline=BaselineSpec(first=500),
        kpis={"basket": KpiSpec(ratio=KpiRatio("revenue", "orders")), "revenue": KpiSpec(winsorise=WinsorLimits(0, 50))},
    )  # fmt: skip
    pipeline = Pipeline(spec)
    rng = np.random.default_rng(1)
    for i in range(1200):
        score = rng.random()
        event = {"request_id": str(i), "ts": float(i), "model_version": "shop:1", "score": score,
                 "prediction": int(score > 0.5), "segments": {"region": "en"[i % 2]}}  # fmt: skip
        pipeline.send(PREDICTIONS, [json.dumps(event).encode()])
        label = {"request_id": str(i), "ts": i + 1.0, "label": int(rng.random() < score),
                 "business": {"orders": i % 3, "revenue": (i % 3) * rng.lognormal(2, 1)}}  # fmt: skip
        pipeline.send(LABELS, [json.dumps(label).encode()])
    pipeline.finish()
    seen: dict[str, set[tuple[tuple[str, str], ...]]] = {}
    for record in pipeline.records().values():
        for sample in window_samples(record):
            assert NAME.fullmatch(sample.name)
            assert tuple(sample.labels)[: len(BASE)] == BASE
            place = tuple(sample.labels.items())
            assert place not in seen.setdefault(sample.name, set()), "one value each"
            seen[sample.name].add(place)
        interval = record["performance_interval"]["roc_auc"]
        values = {sample.name: sample.value for sample in window_samples(record)}
        assert [values[f"tidegauge_performance_roc_auc_{end}"] for end in ("low", "high")] == interval
        assert interval[0] < values["tidegauge_performance_roc_auc"] < interval[1]
    for name in (
        "tidegauge_calibration_reliability", "tidegauge_calibration_bin_positive_ratio", "tidegauge_business_ratio",
        "tidegauge_business_ratio_high", "tidegauge_business_mean_low", "tidegauge_business_winsorised_mean_low",
        "tidegauge_fairness_selection_rate_gap", "tidegauge_fairness_selection_rate_gap_p_value",
        "tidegauge_fairness_disparate_impact_ratio",
    ):  # fmt: skip
        assert name in seen, name
    bins = {dict(labels)["scores"] for labels in seen["tidegauge_calibration_bin_positive_ratio"]}
    assert bins == {f"{k / 10:g}-{(k + 1) / 10:g}" for k in range(10)}
