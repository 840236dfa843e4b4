"""Truth values and 1 and 0 are the same two classes, however predictions, labels, probabilities and the spec spell them."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss, precision_score, roc_auc_score

from support.driver import Pipeline
from support.events import START
from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.models.read import load_to_build
from tidegauge.spec import BaselineSpec, ModelSpec

PAIRS = [(0, 1), (False, True), (0.0, 1.0), ("0", "1"), ("False", "True"), ("false", "true"), ("FALSE", "TRUE"), ("0.0", "1.0")]
KEYS = [pair for pair in PAIRS if isinstance(pair[0], str)]


def rows(seed, count=240):
    rng = random.Random(seed)
    scores = [round(rng.random(), 3) for _ in range(count)]
    return [(score, int(score > 0.5), int(rng.random() < score)) for score in scores]


def record(spec, seed, predicted, actual, keys):
    """The last window's record; each event spells as one of the pairs allowed to it."""
    rng = random.Random(seed)
    pipe = Pipeline(spec)
    predictions, labels = [], []
    for number, (score, prediction, label) in enumerate(rows(seed)):
        request = {"request_id": f"r{number}"}
        said = {"ts": START + number, "model_version": "m:1", "prediction": rng.choice(predicted)[prediction]}
        if keys:
            negative, positive = rng.choice(keys)
            said["probabilities"] = {negative: round(1 - score, 3), positive: score}
        else:
            said["score"] = score
        predictions.append(request | said)
        labels.append(request | {"ts": START + 300 + number, "label": rng.choice(actual)[label]})
    pipe.send(PREDICTIONS, [json.dumps(event).encode() for event in predictions])
    pipe.send(LABELS, [json.dumps(event).encode() for event in labels])
    pipe.finish()
    (found,) = pipe.records().values()
    return found


some = st.lists(st.sampled_from(PAIRS), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(
    predicted=some, actual=some, keys=st.lists(st.sampled_from(KEYS), max_size=4), positive=st.sampled_from(PAIRS),
    task=st.sampled_from([None, "binary"]), seed=st.integers(0, 1000),
)  # fmt: skip
def test_all_spellings_of_two_classes_give_the_same_metrics(tmp_path_factory, predicted, actual, keys, positive, task, seed):
    path = tmp_path_factory.mktemp("spec") / "m.yaml"
    path.write_text(f"model: m\nwindows: [1h]\npositive_label: {json.dumps(positive[1])}\n" + (f"task: {task}" if task else ""))
    found = record(load_to_build(path), seed, predicted, actual, keys)
    said = rows(seed)
    y, p = [row[2] for row in said], [row[0] for row in said]
    performance = found["performance"]
    assert performance["accuracy"] == pytest.approx(accuracy_score(y, [row[1] for row in said]))
    assert performance["precision"] == pytest.approx(precision_score(y, [row[1] for row in said]))
    assert performance["log_loss"] == pytest.approx(log_loss(y, p))
    assert performance["roc_auc"] == pytest.approx(roc_auc_score(y, p), abs=1e-3)
    assert found["prediction"]["positive_ratio"] == sum(row[1] for row in said) / len(said)


def test_a_positive_label_of_ones_own_makes_a_model_binary(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text('model: m\npositive_label: "yes"\n')
    assert load_to_build(path).task == "binary"


@pytest.mark.parametrize("given_by", ["score", "confidence", "probabilities"])
def test_no_binary_number_is_shown_of_several_classes_before_the_task_is_known(given_by):
    """Fifteen of 16 windows come before the baseline is learned; the first holds two classes only, which are named 0 and 1."""
    rng = random.Random(3)
    pipe = Pipeline(ModelSpec("m", windows=("5m",), grace=0.0, baseline=BaselineSpec(first=900)))
    truth = {}
    for number in range(960):
        window, classes = number // 60, "01" if number < 50 else "0123"
        weights = [rng.random() ** 2 for _ in classes]
        q = {name: weight / sum(weights) for name, weight in zip(classes, weights, strict=True)}
        predicted, label = max(q, key=q.get), rng.choices(classes, list(q.values()))[0]
        truth.setdefault(window, []).append((predicted, label))
        ts = START + number * 5
        said = {"score": q[predicted], "confidence": q[predicted], "probabilities": q}[given_by]
        event = {"request_id": f"r{number}", "ts": ts, "model_version": "m:1", "prediction": predicted, given_by: said}
        pipe.send(PREDICTIONS, [json.dumps(event).encode()])
        pipe.send(LABELS, [json.dumps({"request_id": f"r{number}", "ts": ts + 1, "label": label}).encode()])
        if number % 60 == 59:
            pipe.checkpoint()
    pipe.finish()
    shown = [json.loads(o.value) for o in pipe.outputs if o.topic == "metrics"]
    assert len(shown) >= 16
    for one in shown:
        assert not {"roc_auc", "brier", "ece"} & one.get("performance", {}).keys()
        assert "positive_ratio" not in one["prediction"]
        assert "calibration" not in one
        assert set(one["prediction"]["class_ratio"]) <= set("0123")
    for one, pairs in zip(sorted(pipe.records().values(), key=lambda of: of["window_start"]), truth.values(), strict=True):
        assert one["performance"]["accuracy"] == pytest.approx(sum(p == a for p, a in pairs) / len(pairs))
        assert one["performance"]["f1"] == pytest.approx(_macro_f1(pairs))


def _macro_f1(pairs):
    names = sorted({name for pair in pairs for name in pair})
    scores = []
    for name in names:
        hit = sum(p == a == name for p, a in pairs)
        either = sum(p == name for p, _ in pairs) + sum(a == name for _, a in pairs)
        scores.append(2 * hit / either)
    return sum(scores) / len(names)
