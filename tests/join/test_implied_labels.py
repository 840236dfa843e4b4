"""Where only positives make events, what has no label in time had the other outcome, until a label says otherwise."""

import json
import random

import pytest

from support.driver import Pipeline, flatten, numbers
from support.events import START
from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.errors import SpecError
from tidegauge.models.read import load_file
from tidegauge.spec import ImpliedLabelSpec, ModelSpec

DAY = 86400.0
SPEC = ModelSpec(
    "clicks", task="binary", segments=(("region",),), windows=("1d",), grace=0.0, label_horizon=20 * DAY, retention=100 * DAY,
    labels=ImpliedLabelSpec(3 * DAY, "0"),
)  # fmt: skip
DAYS = 12


def clicks(seed=0, count=600):
    """Scores that are right on average over twelve days; a label comes only where somebody clicked, some of them late."""
    rng = random.Random(seed)
    events = []
    for number in range(count):
        ts = START + number * DAYS * DAY / count
        score = rng.random()
        for version in ("1", "2") if rng.random() < 0.2 else ("1",):
            made = {
                "request_id": f"r{number}", "ts": ts, "model": "clicks", "model_version": f"clicks:{version}", "score": score,
                "prediction": int(score > 0.5), "segments": {"region": rng.choice(["eu", "us"])},
            }  # fmt: skip
            events.append((ts, PREDICTIONS, made))
        if rng.random() < score:
            known = ts + rng.choice([0.01, 0.5, 2.0, 5.0]) * DAY
            events.append((known, LABELS, {"request_id": f"r{number}", "ts": known, "label": 1, "business": {"revenue": 2.0}}))
    return [(topic, event) for _, topic, event in sorted(events, key=lambda event: event[0])]


def run(events, seed=None, chunk=50, partitions=1):
    pipeline = Pipeline(SPEC, partitions)
    rng = random.Random(seed)
    if seed is not None:
        rng.shuffle(events)
    pipeline.play([(topic, json.dumps(event).encode()) for topic, event in events], chunk, rng)
    return pipeline


def whole(pipeline, version="clicks:1"):
    found = [r for r in pipeline.records().values() if not r["segment"] and r["model_version"] == version]
    return sorted(found, key=lambda record: record["window_start"])


def test_unlabelled_predictions_get_the_implied_outcome_once_it_is_due():
    events = clicks()
    end = max(event["ts"] for _, event in events)
    labels = {event["request_id"]: event["ts"] for topic, event in events if topic == LABELS}
    checked = 0
    for day, record in enumerate(whole(run(events))):
        rows = [
            e for topic, e in events
            if topic == PREDICTIONS
            and e["model_version"] == "clicks:1"
            and START + day * DAY <= e["ts"] < START + (day + 1) * DAY
        ]  # fmt: skip
        told = [e for e in rows if e["request_id"] in labels]
        implied = [e for e in rows if e["request_id"] not in labels and e["ts"] + 3 * DAY <= end]
        right = sum(e["prediction"] == 1 for e in told) + sum(e["prediction"] == 0 for e in implied)
        assert record["labels"] == len(told) + len(implied)
        assert record.get("implied_labels", 0) == len(implied)
        assert record["coverage"] == pytest.approx(len(told) / len(rows))
        assert record["performance"]["accuracy"] == pytest.approx(right / (len(told) + len(implied)))
        assert record["business"]["revenue"]["count"] == len(told)
        checked += bool(implied)
    assert checked == DAYS


@pytest.mark.parametrize(("seed", "chunk", "partitions"), [(1, 7, 1), (2, 100, 3), (3, 1000, 2)])
def test_any_order_and_partitioning_ends_in_the_same_numbers(seed, chunk, partitions):
    # Event time comes to the end of the stream in every partition.
    end = [
        (PREDICTIONS, {"request_id": f"end{n}", "ts": START + 30 * DAY, "model": "clicks", "model_version": "clicks:3"})
        for n in range(64)
    ]
    events = clicks(seed, 200)
    found = run(events + end, seed, chunk, partitions), run(clicks(seed, 200) + end)
    mine, theirs = (
        {key: flatten(numbers(r)) for key, r in of.records().items() if r["model_version"] != "clicks:3"} for of in found
    )
    assert mine.keys() == theirs.keys()
    for key, record in theirs.items():
        for path, value in record.items():
            if "delay" not in path:
                assert mine[key][path] == (pytest.approx(value) if isinstance(value, float) else value), (key, path)


def test_a_label_that_comes_later_takes_the_implied_one_back():
    made = {"request_id": "a", "ts": START, "model": "clicks", "model_version": "clicks:1", "prediction": 1, "score": 0.9}
    later = made | {"request_id": "b", "ts": START + 4 * DAY}
    pipeline = run([(PREDICTIONS, made), (PREDICTIONS, later)], chunk=1)
    first = whole(pipeline)[0]
    assert (first["labels"], first["implied_labels"], first["performance"]["accuracy"]) == (1, 1, 0.0)
    pipeline.send(LABELS, [json.dumps({"request_id": "a", "ts": START + 5 * DAY, "label": 1}).encode()])
    pipeline.finish()
    first = whole(pipeline)[0]
    assert (first["labels"], first["performance"]["accuracy"], first["coverage"]) == (1, 1.0, 1.0)
    assert "implied_labels" not in first
    assert first["label_delay_seconds"]["p50"] == pytest.approx(5 * DAY, rel=0.04)


def test_a_spec_leaves_room_for_labels_after_the_implied_ones(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text("model: m\nlabels: {missing_after: 30d, means: 0}\n")
    spec = load_file(path)
    assert (spec.labels, spec.label_horizon) == (ImpliedLabelSpec(30 * DAY, "0"), 37 * DAY)
    path.write_text("model: m\nlabel_horizon: 7d\nlabels: {missing_after: 30d, means: 0}\n")
    with pytest.raises(SpecError, match="missing_after is longer than label_horizon, 1w; raise that"):
        load_file(path)
