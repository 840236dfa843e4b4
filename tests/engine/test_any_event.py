"""Whatever JSON is sent, through both stages to the records: nothing raises, every event is accounted for, and the events
beside it count as if it had not come."""

import json
from collections import Counter

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from support.driver import Pipeline, flatten, numbers
from support.events import START, prediction
from tidegauge.engine.refusals import REASONS, UNPROCESSABLE
from tidegauge.engine.stage import DEAD_LETTERS, LABELS, METRICS, PREDICTIONS
from tidegauge.spec import (
    BaselineSpec,
    Condition,
    DetectorSpec,
    FeatureSpec,
    ImpliedLabelSpec,
    KpiRatio,
    KpiSpec,
    ModelSpec,
    MonitorSpec,
    WinsorLimits,
)

NASTY = [
    "",
    " ",
    "a",
    "plan",
    "\0",
    "\0score",
    "\0class",
    "a\0b",
    "x" * 300,
    "\x1f",
    "a@b",
    "kpi@0",
    "é",
    "\ud800",
    ".",
    "*",
    "a.b",
]
names = st.sampled_from(NASTY) | st.text(max_size=6)
values = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=4) | names
    | st.sampled_from([2**53 + 1, -(2**63), 10**30, 10**400, 5e-324, 1.7e308, -0.0, "1e999", "0.10", "y" * 5000])
)  # fmt: skip
nested = st.recursive(
    values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=5
)
maps = st.dictionaries(names, nested, max_size=5)
scalars = st.dictionaries(names, values, max_size=5)
MEMBERS = {
    "prediction": values, "score": st.floats(0, 1) | values, "confidence": st.floats(0, 1) | values,
    "features": maps, "features_summary": maps, "segments": scalars | names, "segment": scalars | names,
    "latency_ms": values, "error": values, "cost": values, "role": values, "attributions": scalars, "probabilities": scalars,
    "model": names, "model_version": names | st.sampled_from(["fuzz:1", "fuzz:2", ":", "fuzz:"]),
    "label": values, "business": scalars,
    "ts": st.floats(START - 100, START + 1e5) | values,
}  # fmt: skip
SPECS = [
    None,
    ModelSpec("fuzz", task="binary", segments=(("region",), ("", "a")), windows=("1m", "5m"), baseline=BaselineSpec(first=3)),
    ModelSpec(
        "fuzz", task="multiclass", windows=("1m",), baseline=BaselineSpec(first=2),
        features={"a": FeatureSpec(type="category"), "plan": FeatureSpec(pii="hash"), "": FeatureSpec(min=0.0)},
    ),
    ModelSpec(
        "fuzz", task="regression", windows=("1m",),
        kpis={"a": KpiSpec(winsorise=WinsorLimits(0.0, 1.0)), "r": KpiSpec(ratio=KpiRatio("a", "a@b"))},
        detectors=(DetectorSpec("d", "abs_error", "adwin"),),
    ),
]  # fmt: skip


@st.composite
def event(draw):
    request = draw(st.sampled_from(["f1", "f2", "f3", "f4"]))
    made = {"request_id": request, "ts": START + draw(st.integers(0, 90)), "model": "fuzz", "model_version": "fuzz:1"}
    topic = draw(st.sampled_from([PREDICTIONS, PREDICTIONS, LABELS]))
    if topic == LABELS:
        made = {"request_id": request, "ts": START + draw(st.integers(0, 90)), "label": draw(values)}
    for name in draw(st.lists(st.sampled_from(sorted(MEMBERS)), max_size=4, unique=True)):
        made[name] = draw(MEMBERS[name])
    return topic, json.dumps(made).encode()


GOOD = [
    (PREDICTIONS, json.dumps(prediction(i, START + 7 * i, prediction=i % 2, score=0.25, features={"a": 1.5})).encode())
    for i in range(8)
] + [(LABELS, json.dumps({"request_id": f"r{i}", "ts": START + 60.0 + i, "label": 1}).encode()) for i in range(8)]


def run(spec, events, chunk=5):
    pipeline = Pipeline(spec)
    for start in range(0, len(events), chunk):
        for topic in (PREDICTIONS, LABELS):
            sent = [value for kind, value in events[start : start + chunk] if kind == topic]
            if sent:
                pipeline.send(topic, sent)
        pipeline.checkpoint()
    pipeline.finish()
    return pipeline


def good(pipeline):
    return {key: flatten(numbers(r)) for key, r in pipeline.records().items() if r["model"] == "churn"}


CLEAN = good(run(None, GOOD))


def with_members(topic=PREDICTIONS, **members):
    return topic, json.dumps({"request_id": "f9", "ts": START, "model": "fuzz", "model_version": "fuzz:1"} | members).encode()


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(st.lists(event(), min_size=1, max_size=12), st.sampled_from(SPECS))
@example([with_members(features={"": 17, "x": 0.3})] * 4, SPECS[1])
@example([with_members(features={"\0score": 17.0, "\0class": "b"})] * 4, SPECS[1])
@example([with_members(features={"a": 10**400, "b": 10**400})] * 4, SPECS[1])
@example(
    [with_members(prediction=1.0), with_members(LABELS, label=2, business={"a": 1}), with_members(LABELS, business={"a@b": 2})],
    SPECS[3],
)
def test_anything_is_accounted_for_and_leaves_the_others_alone(events, spec):
    mixed = [pair for place, one in enumerate(GOOD) for pair in (one, *events[place::16])]
    pipeline = run(spec, mixed)
    assert good(pipeline) == CLEAN
    letters = Counter(dict(o.headers)["reason"].decode() for o in pipeline.outputs if o.topic == DEAD_LETTERS)
    assert letters.keys() <= REASONS.keys() - {UNPROCESSABLE}
    counted = pipeline.counters
    assert letters == {reason: n for (name, reason), n in counted.items() if name == "dead_lettered"}
    assert all(json.loads(o.value) for o in pipeline.outputs if o.topic == METRICS)
    # Predictions of windows that are past their retention are counted by window.
    if not any(count for (name, _), count in counted.items() if name == "late_windows"):
        shortest = {"fuzz": "5m" if spec is None else "1m"}
        found = [r for r in pipeline.records().values() if not r["segment"] and r["window"] == shortest.get(r["model"], "5m")]
        dead = sum(o.topic == DEAD_LETTERS and dict(o.headers)["topic"] == b"predictions" for o in pipeline.outputs)
        sent = sum(topic == PREDICTIONS for topic, _ in mixed)
        assert sum(r["predictions"] for r in found) + counted["duplicate", PREDICTIONS] + dead == sent


METRICS_JUDGED = st.sampled_from([
    *(f"data.features.*.{name}" for name in (
        "psi", "shift", "mix_shift", "mean", "p50", "ks", "tail_psi", "missing_ratio", "missing_shift", "unseen_ratio",
        "out_of_range_ratio", "type_mismatch_ratio",
    )),
    *(f"prediction.{name}" for name in ("psi", "shift", "mean_score", "positive_ratio", "mix_shift")),
    *(f"performance.{name}" for name in ("accuracy", "f1", "roc_auc", "brier", "ece", "mae", "rmse", "r2", "log_loss")),
    "data.unexpected_features", "data.missing_features", "business.*.mean", "fairness.*.accuracy_gap", "system.error_ratio",
    "system.latency_ms.p95", "system.cost.mean", "attributions.*.psi", "estimated.accuracy", "label_mix.psi", "coverage",
])  # fmt: skip
CONDITIONS = st.sampled_from([
    Condition("above", high=0.0), Condition("below", low=1e9), Condition("outside", low=0.2, high=0.3),
    Condition("above", high=0.02, relative_to_baseline=True, percent=True),
    Condition("below", low=0.01, relative_to_baseline=True),
    Condition("above", auto=True), Condition("outside", auto=True), Condition("outside", auto=True, level=0.01),
])  # fmt: skip


@st.composite
def specs(draw):
    """Monitors that judge from one value on, of every kind, and all that a spec can ask for beside."""
    monitors = tuple(
        MonitorSpec(
            f"m{number}", metric, "1m", draw(CONDITIONS), min_count=draw(st.sampled_from([1, 2])), segments=draw(st.booleans()),
            significance=draw(st.sampled_from([None, 0.01, 0.5])), confidence=draw(st.sampled_from([None, 0.95])),
            early=draw(st.sampled_from([None, True])), critical_with_performance=draw(st.booleans()),
        )
        for number, metric in enumerate(draw(st.lists(METRICS_JUDGED, max_size=8)))
    )  # fmt: skip
    streams = draw(st.lists(st.sampled_from(["error", "abs_error", "score", "latency_ms"]), max_size=2, unique=True))
    return ModelSpec(
        "fuzz", task=draw(st.sampled_from([None, "binary", "multiclass", "regression"])), grace=0.0,
        segments=draw(st.sampled_from([(), (("region",), ("", "a"))])), windows=draw(st.sampled_from([("1m",), ("1m", "5m")])),
        baseline=draw(st.sampled_from([BaselineSpec(first=2), BaselineSpec(first=4), BaselineSpec(previous=3600.0)])),
        monitors=draw(st.sampled_from([monitors, None])), confidence_is=draw(st.sampled_from([None, "predicted"])),
        detectors=tuple(DetectorSpec(f"d{number}", stream, "adwin") for number, stream in enumerate(streams)),
        labels=draw(st.sampled_from([None, ImpliedLabelSpec(30.0, "0")])),
    )  # fmt: skip


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(event(), min_size=4, max_size=25), specs())
def test_under_any_spec_every_number_is_computed_and_every_monitor_judges(events, spec):
    pipeline = run(spec, [pair for place, one in enumerate(GOOD) for pair in (one, *events[place::16])])
    assert good(pipeline) == CLEAN
    assert [record["not_computed"] for record in pipeline.of(METRICS) if "not_computed" in record] == []
