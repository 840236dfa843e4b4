"""What is published of the features of many segments at once is what is published of each segment by itself."""

import json

import numpy as np
import pytest
from msgspec.structs import replace

from support.driver import SPEC, Pipeline
from support.events import START, prediction
from tidegauge.baseline.baseline import Baseline
from tidegauge.engine.stage import PREDICTIONS
from tidegauge.metrics.drift import Against, number_drift
from tidegauge.metrics.published import published
from tidegauge.metrics.record import data_numbers
from tidegauge.metrics.segment_columns import Features, SegmentData, number_features, score_drifts
from tidegauge.profile.data import DataProfile
from tidegauge.profile.schema import SCORE_FEATURE
from tidegauge.spec import BaselineSpec, FeatureSpec

MINUTES, A_MINUTE = 7, 120


def played() -> Pipeline:
    """Numbers of few values, of many, with gaps, of other types and out of bounds, of which one appears late and one is never
    there, in a busy segment, a quiet one and one that comes after the baseline is learned."""
    rng = np.random.default_rng(11)
    bounds = {"size": FeatureSpec("number", max=4.0)}
    pipeline = Pipeline(replace(SPEC, windows=("1m", "1h"), baseline=BaselineSpec(first=300), features=bounds))
    for minute in range(MINUTES):
        values = []
        for number in range(A_MINUTE):
            at = 60 * minute + number / 2
            features = {
                "flag": int(rng.random() < 0.3), "size": rng.exponential(), "count": int(rng.poisson(2.0 + minute)),
                "tiny": rng.normal() * 1e-30, "huge": rng.normal(3.0) * 1e25, "same": 2.5, "never": None,
                "gaps": None if rng.random() < 0.1 else 0.0 if rng.random() < 0.6 else rng.normal(minute / 10),
                "mistyped": "many" if rng.random() < 0.05 else rng.normal(),
                "plan": "free" if rng.random() < 0.5 else "paid",
            }  # fmt: skip
            if minute > 4:
                features["late"] = rng.normal()
            region = "new" if minute > 5 and number % 3 else "eu" if number % 8 else "us"
            score = float(rng.beta(2, 3 + minute))
            event = prediction(1000 * minute + number, START + at, prediction=1, score=score, features=features)
            values.append(json.dumps(event | {"segments": {"region": region}}).encode())
        pipeline.send(PREDICTIONS, values)
        pipeline.checkpoint()
    pipeline.finish()
    return pipeline


def alone(data: DataProfile, baseline: Baseline | None, window: str) -> Features:
    against = None if baseline is None else Against(baseline, window, data.predictions)
    record = published({"data": data_numbers(data, baseline, against)}, segment=True)
    found: Features = record["data"]["features"]
    return {name: of for name, of in found.items() if name in data.features.names}


def test_features_of_many_segments_are_published_as_those_of_each() -> None:
    pipeline = played()
    whole = pipeline.registry.baseline("churn", "churn_xgb:3")
    assert whole is not None
    members: set[str] = set()
    together = 0
    for length in ("1m", "1h"):
        windows = [header for header in pipeline.monitor.windows.headers.values() if header.window == length]
        segments = [
            SegmentData(pipeline.monitor.windows.data(header, segment), baseline)
            for header in windows
            for segment in header.segments
            if segment
            for baseline in (whole.part(segment), None)
        ]
        for of, found in zip(segments, number_features(segments, length), strict=True):
            if found is None:
                continue
            together += 1
            expected = alone(of.data, of.baseline, length)
            assert found == expected
            assert [list(found[name]) for name in expected] == [list(numbers) for numbers in expected.values()]
            members |= {member for numbers in found.values() for member in numbers}
    assert together >= 20
    drifts = {"psi", "p_value", "ks", "ks_p_value", "shift", "shift_in", "shift_p_value"}
    assert members == drifts | {"count", "missing_ratio", "type_mismatch_ratio", "out_of_range_ratio", "mean", "std", "p50"}


def test_the_drift_of_scores_of_many_segments_is_that_of_each() -> None:
    pipeline = played()
    whole = pipeline.registry.baseline("churn", "churn_xgb:3")
    assert whole is not None
    windows = pipeline.monitor.windows
    segments = [
        SegmentData(windows.data(header, segment), whole.part(segment))
        for header in windows.headers.values()
        if header.window == "1m"
        for segment in header.segments
        if segment
    ]
    compared = 0
    for of, found in zip(segments, score_drifts(segments, "1m"), strict=True):
        if found is not None and of.baseline is not None:
            against = Against(of.baseline, "1m", of.data.predictions)
            results, row = of.data.results, of.data.results.names.index("score")
            reference = of.baseline.data.results
            alone = number_drift(results, row, reference, "score", against, SCORE_FEATURE, "prediction")
            assert list(found) == list(alone)
            for member, value in alone.items():
                assert found[member] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-7, abs=1e-12)), member
            compared += 1
    assert 4 < compared < len(segments)


def test_a_segment_whose_features_hold_other_values_too_is_left_to_be_computed_alone() -> None:
    pipeline = played()
    windows = pipeline.monitor.windows
    header = max((of for of in windows.headers.values() if of.window == "1m"), key=lambda of: of.start)
    data = windows.data(header, (("region", "eu"),))
    assert number_features([SegmentData(data, None)], "1m")[0] is not None
    data.categories["size"] = data.categories["plan"]
    assert number_features([SegmentData(data, None)], "1m") == [None]


@pytest.mark.parametrize("count", [0, 1])
def test_few_segments_are_as_many(count: int) -> None:
    pipeline = played()
    windows = pipeline.monitor.windows
    header = max((of for of in windows.headers.values() if of.window == "1m"), key=lambda of: of.start)
    segments = [SegmentData(windows.data(header, of), None) for of in header.segments if of]
    assert None not in number_features(segments, "1h")
    assert number_features(segments[:count], "1h") == number_features(segments, "1h")[:count]
