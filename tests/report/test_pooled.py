"""What a report pools over windows is what scikit-learn says of the rows, whatever failed, had no score or was unreadable."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    log_loss,
    mean_absolute_error,
    mean_absolute_percentage_error,
    root_mean_squared_error,
)

from support.driver import Pipeline
from support.events import START, prediction
from support.schemas import mistakes
from tidegauge.engine.stage import LABELS, METRICS, PREDICTIONS
from tidegauge.report.archive import Archive
from tidegauge.report.build import build
from tidegauge.report.page import render
from tidegauge.report.period import DAY, Period
from tidegauge.spec import ModelSpec

SPECS = {
    task: ModelSpec("churn", task=task, segments=(("region",),), windows=("6h",), grace=0.0, monitors=())
    for task in ("binary", "multiclass", "regression")
}


def report(task, rows):
    """``rows``: of each request its event's members and its label, None if it has none; four windows of six hours."""
    pipeline = Pipeline(SPECS[task])
    for topic in (PREDICTIONS, LABELS):
        events = []
        for number, (members, label) in enumerate(rows):
            ts = START + (number + 0.5) / len(rows) * DAY
            if topic == PREDICTIONS:
                events.append(prediction(number, ts, segments={"region": "eu" if number % 97 == 0 else "us"}, **members))
            elif label is not None:
                events.append({"request_id": f"r{number}", "ts": ts + 1, "label": label})
        pipeline.send(topic, [json.dumps(event).encode() for event in events])
    pipeline.finish()
    archive = Archive("churn", START, START + DAY)
    for output in pipeline.outputs:
        if output.topic == METRICS:
            assert mistakes("metrics-record", json.loads(output.value)) == []
            archive.add_metric(output.value)
    made = build(archive, "churn", Period(START, START + DAY), None)
    return made["versions"][0], render(made)


def values(performance, *names):
    assert all(performance[name]["exact"] for name in names)
    return pytest.approx([performance[name]["value"] for name in names], rel=1e-9, abs=1e-12)


def bursts(rng, share):
    """Whether each of 1,200 requests fails: most of one window, few of the others."""
    return [bool(rng.random() < (0.8 if 300 <= number < 600 else share)) for number in range(1200)]


@pytest.mark.parametrize("seed", range(3))
def test_pooled_classes_and_scores_equal_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    failed, unscored = bursts(rng, 0.05), bursts(rng, 0.02)
    p = rng.random(1200)
    # Where requests fail the model would have been wrong more often.
    y = [int(rng.random() < (0.5 if failed[n] else p[n])) for n in range(1200)]
    rows = [
        ({"error": "gone"} if failed[n] else {"prediction": int(p[n] > 0.5), **({} if unscored[n] else {"score": p[n]})}, y[n])
        for n in range(1200)
    ]
    version, _ = report("binary", rows)
    answered = [n for n in range(1200) if not failed[n]]
    scored = [n for n in answered if not unscored[n]]
    assert values(version["performance"], "accuracy", "brier", "log_loss") == [
        accuracy_score([y[n] for n in answered], [int(p[n] > 0.5) for n in answered]),
        brier_score_loss([y[n] for n in scored], p[scored]),
        log_loss([y[n] for n in scored], p[scored]),
    ]
    assert version["prediction"]["positive_ratio"] == pytest.approx(np.mean([p[n] > 0.5 for n in answered]))


def test_the_loss_of_several_classes():
    rng = np.random.default_rng(4)
    q = rng.dirichlet(np.ones(3), 1200)
    y = [int(rng.choice(3, p=of)) for of in q]
    bare = bursts(rng, 0.1)
    rows = []
    for n in range(1200):
        told = {} if bare[n] else {"probabilities": dict(zip("abc", q[n], strict=True))}
        rows.append(({"prediction": "abc"[int(q[n].argmax())], **told}, "abc"[y[n]]))
    version, _ = report("multiclass", rows)
    told = [n for n in range(1200) if not bare[n]]
    assert values(version["performance"], "accuracy", "log_loss") == [
        accuracy_score(y, q.argmax(axis=1)), log_loss([y[n] for n in told], q[told], labels=[0, 1, 2]),
    ]  # fmt: skip


@pytest.mark.parametrize("where", ["labels", "predictions"])
def test_texts_in_a_regression_are_left_out_and_told(where):
    rng = np.random.default_rng(5)
    q = rng.lognormal(3, 1, 1200)
    y = q + rng.normal(0, 3, 1200)
    odd = bursts(rng, 0.1)
    wrong = ["n/a", "12,5", "12 EUR", True, "1e999"]

    def said(value, n, of):
        return wrong[n % 5] if odd[n] and where == of else f"{value:.3f}" if n % 3 else round(value, 3)

    rows = [({"prediction": said(q[n], n, "predictions")}, said(y[n], n, "labels")) for n in range(1200)]
    version, page = report("regression", rows)
    read = [n for n in range(1200) if not odd[n]]
    truth, found = np.round(y[read], 3), np.round(q[read], 3)
    assert values(version["performance"], "mae", "rmse", "mape", "bias") == [
        mean_absolute_error(truth, found), root_mean_squared_error(truth, found),
        mean_absolute_percentage_error(truth, found), np.mean(found - truth),
    ]  # fmt: skip
    if where == "labels":
        assert version["traffic"]["unreadable_labels"] == sum(odd)
        assert f"{sum(odd)} of 1,200 labels are no numbers" in page
    else:
        assert version["prediction"]["type_mismatch_ratio"] == pytest.approx(np.mean(odd))
        assert "of the predictions are no numbers" in page


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=4, max_size=40), st.integers(0, 3))
def test_intervals_stay_where_the_number_can_be(rows, seed):
    """Tiny segments too: one row in 97 is of the region eu."""
    made, _ = report("binary", [({"prediction": int(p > 0.5), "score": p}, int(y)) for p, y in rows])
    for part in (made, *made["segments"]):
        for name, of in part["performance"].items():
            if "low" in of:
                assert 0 <= of["low"] <= of["value"] <= of["high"], name
                assert of["high"] <= 1 or name == "log_loss", name
