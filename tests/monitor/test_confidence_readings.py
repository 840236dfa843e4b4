"""The well-known recipe: `confidence` is `predict_proba(x).max()`, the predicted class's, and nobody says so."""

import json
import logging
import random

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from support.driver import Pipeline
from support.events import START
from support.schemas import mistakes
from tidegauge.cli.main import main
from tidegauge.engine.stage import ALERTS, LABELS, PREDICTIONS
from tidegauge.join.stage import JoinStage
from tidegauge.metrics.record import iso
from tidegauge.spec import BaselineSpec, ModelSpec

DAY = 86400.0
LEARNED = "baseline: {first: 1500}\n"


def recipe(seed, count, start, days, threshold=0.5, confidence="predicted", hours=24.0):
    """(prediction, label) events, and the probability of the positive class of each: in the first ``hours`` of each day."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        truth = rng.betavariate(1.2, 1.8)
        score = round(truth, 4)
        predicted = int(score > threshold)
        said = score if confidence == "positive" or predicted else round(1 - score, 4)
        day, part = divmod((number + 0.5) / count * days, 1.0)
        ts = start + day * DAY + part * hours * 3600.0
        event = {"request_id": f"r{number}", "ts": ts, "model_version": "m:1", "prediction": predicted, "confidence": said}
        label = {"request_id": f"r{number}", "ts": ts + 60, "label": int(rng.random() < truth)}
        found.append((event, label, score))
    return found


def replayed(directory, rows, spec=None):
    models = directory / "models"
    models.mkdir(exist_ok=True)
    if spec is None:
        (models / "other.yaml").write_text("model: other\n")
    else:
        (models / "m.yaml").write_text("model: m\nwindows: [1d]\n" + spec)
    for name, place in (("p", 0), ("l", 1)):
        (directory / f"{name}.jsonl").write_text("\n".join(json.dumps(row[place]) for row in rows))
    out = directory / "out"
    files = [f"--{name}={directory / name[0]}.jsonl" for name in ("predictions", "labels")]
    assert main(["replay", f"--models={models}", *files, f"--output={out}"]) == 0
    read = {
        name: [json.loads(line) for line in (out / f"{name}.jsonl").read_text().splitlines()] for name in ("metrics", "alerts")
    }
    for name, lines in read.items():
        found = [mistake for line in lines for mistake in mistakes(_kind(line, name), line)]
        assert found == []
    newest = {}
    for record in read["metrics"]:
        if record.get("window") == "1d" and not record["segment"]:
            newest[record["window_start"]] = record
    return [newest[start] for start in sorted(newest)], read["alerts"]


def _kind(line, name):
    return "alert" if name == "alerts" else "comparison-record" if line.get("kind") == "comparison" else "metrics-record"


@pytest.mark.parametrize("spec", ["task: binary\nbaseline: {first: 1500}\n", "task: binary\nconfidence_is: predicted\n"])
def test_versions_that_answer_the_same_requests_are_compared_by_the_right_reading(tmp_path, spec):
    live = recipe(3, 4000, START, 1)
    rng = np.random.default_rng(4)
    shadow = []
    for event, label, score in live:
        blurred = round(float(np.clip(score + rng.normal(0, 0.15), 0.001, 0.999)), 4)
        predicted = int(blurred > 0.5)
        said = blurred if predicted else round(1 - blurred, 4)
        other = {**event, "model_version": "m:2", "prediction": predicted, "confidence": said, "role": "shadow"}
        shadow.append((other, label, blurred))
    replayed(tmp_path, live + shadow, spec)
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    compared = [line for line in lines if line.get("kind") == "comparison"][-1]
    truth = np.array([row[1]["label"] for row in live])
    for measure, of in (("brier", brier_score_loss), ("log_loss", log_loss)):
        window = compared["metrics"][f"performance.{measure}"]["window"]
        assert window["champion"] == pytest.approx(of(truth, [row[2] for row in live]), abs=1e-9)
        assert window["challenger"] == pytest.approx(of(truth, [row[2] for row in shadow]), abs=1e-9)


def close(record, rows, exact):
    y, p = np.array([row[1]["label"] for row in rows]), np.array([row[2] for row in rows])
    said = record["performance"]
    assert said["roc_auc"] == pytest.approx(roc_auc_score(y, p), abs=1e-3)
    assert said["brier"] == pytest.approx(brier_score_loss(y, p), abs=1e-9 if exact else 1e-6)
    assert said["log_loss"] == pytest.approx(log_loss(y, p), abs=1e-9 if exact else 1e-6)
    tenth = np.minimum((np.round(p, 12) * 10).astype(int), 9)
    ece = sum(abs(p[tenth == t].sum() - y[tenth == t].sum()) for t in range(10)) / len(y)
    # Confidences of one tenth and the like fall on the borders of bins, here or there by rounding.
    assert said["ece"] == pytest.approx(ece, abs=2e-3)
    assert record["prediction"]["mean_score"] == pytest.approx(p.mean(), abs=1e-6)


def misreadings(alerts):
    return [a["data"] for a in alerts if a["data"]["labels"]["alertname"] == "misread-confidence"]


@pytest.mark.parametrize("spec", [None, LEARNED, "task: binary\n" + LEARNED], ids=["no spec", "spec", "task"])
def test_a_learned_baseline_chooses_the_reading_of_all_windows_and_says_so(tmp_path, caplog, spec):
    # Without a spec a baseline is learned from 5,000; the last day is the one in which it is.
    count = 1600 if spec is None else 1200
    rows = recipe(1, 4 * count, START - START % DAY, 4, hours=2.0)
    with caplog.at_level(logging.WARNING):
        records, alerts = replayed(tmp_path, rows, spec)
    assert len(records) == 4
    for day, record in enumerate(records):
        close(record, rows[day * count : (day + 1) * count], exact=True)
        negatives = sum(row[0]["prediction"] == 0 for row in rows[day * count : (day + 1) * count])
        assert record["prediction"]["misread_confidence"] == pytest.approx(negatives, abs=2)
        assert record["prediction"]["confidence_is"] == "predicted"
    assert records[-1]["prediction"]["psi"] < 0.1
    assert {a["data"]["labels"]["alertname"] for a in alerts} == {"misread-confidence"}
    (told,) = misreadings(alerts)
    assert told["status"] == "firing"
    assert told["annotations"]["runbook_url"].endswith("misread-confidence.md")
    assert "say confidence_is: predicted; until then it is read so by itself" in told["annotations"]["description"]
    assert len([r for r in caplog.records if "say confidence_is: predicted" in r.getMessage()]) == 1


def test_a_spec_that_insists_is_obeyed_and_told(tmp_path):
    records, alerts = replayed(tmp_path, recipe(2, 4000, START - START % DAY, 4), "confidence_is: positive\n" + LEARNED)
    assert "confidence_is" not in records[-1]["prediction"]
    assert records[-1]["performance"]["roc_auc"] < 0.6
    (told,) = misreadings(alerts)
    assert "by itself" not in told["annotations"]["description"]


def test_a_baseline_that_is_built_reads_it_rightly_too(tmp_path, capsys):
    start = START - START % DAY
    lines = [event | {"label": label["label"]} for event, label, _ in recipe(5, 3000, start - 20 * DAY, 20)]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, lines)))
    models = tmp_path / "models"
    models.mkdir()
    spec, held = models / "m.yaml", models / "m.baseline.json"
    spec.write_text("model: m\ntask: binary\nwindows: [1d]\nbaseline: m.baseline.json\n")
    build = ["baseline", "build", f"--spec={spec}", "--version=m:1", f"--input={tmp_path / 'r.jsonl'}", f"--output={held}"]
    assert main(build) == 0
    assert "say confidence_is: predicted; until then it is read so by itself" in capsys.readouterr().err
    assert mistakes("baseline", json.loads(held.read_text())) == []
    rows = recipe(6, 2000, start, 4)
    records, alerts = replayed(tmp_path, rows, "task: binary\nbaseline: m.baseline.json\n")
    for day, record in enumerate(records):
        close(record, rows[day * 500 : (day + 1) * 500], exact=True)
        assert record["prediction"]["psi"] < 0.15
        assert record["estimated"]["roc_auc"] == pytest.approx(record["performance"]["roc_auc"], abs=0.05)
    assert {a["data"]["labels"]["alertname"] for a in alerts} == {"misread-confidence"}


@pytest.mark.parametrize(
    ("confidence", "threshold", "spec"),
    [("positive", 0.5, LEARNED), ("positive", 0.8, LEARNED), ("predicted", 0.5, "confidence_is: predicted\n" + LEARNED)],
)
def test_what_is_read_rightly_is_left_alone(tmp_path, confidence, threshold, spec):
    rows = recipe(3, 4000, START - START % DAY, 4, threshold, confidence)
    records, alerts = replayed(tmp_path, rows, spec)
    for day, record in enumerate(records):
        close(record, rows[day * 1000 : (day + 1) * 1000], exact=True)
        assert record["prediction"].get("misread_confidence", 0) == 0
        assert "confidence_is" not in record["prediction"]
    assert misreadings(alerts) == []


@pytest.mark.parametrize("seed", range(4))
def test_however_the_stream_is_cut_and_corrected_the_numbers_are_those_of_the_right_spec(seed):
    """Three partitions, chunks and checkpoints by chance, every fourth label corrected: as with `confidence_is: predicted`."""
    rng = random.Random(seed)
    rows = recipe(seed, 1500, START - START % DAY, 0.2)
    found = []
    for confidence_is in (None, "predicted"):
        spec = ModelSpec(
            "m", windows=("1h",), confidence_is=confidence_is, baseline=BaselineSpec(first=400), segments=(("half",),)
        )
        pipe = Pipeline(spec, partitions=3)
        events = []
        for event, label, _ in rows:
            events.append((event["ts"], PREDICTIONS, event | {"segments": {"half": event["request_id"][-1] < "5"}}))
            events.append((label["ts"], LABELS, label))
            if int(event["request_id"][1:]) % 4 == 0:
                later = {"ts": label["ts"] + 30, "label": 1 - label["label"]}
                events.append((later["ts"], LABELS, label | later))
        events.sort(key=lambda of: of[0])
        pipe.play([(topic, json.dumps(event).encode()) for _, topic, event in events], rng.choice([7, 60, 400]), rng)
        found.append(pipe.records())
        fired = {json.loads(o.value)["data"]["labels"]["alertname"] for o in pipe.outputs if o.topic == ALERTS}
        assert fired == ({"misread-confidence"} if confidence_is is None else set())
    assert found[0].keys() == found[1].keys()
    for key, record in found[0].items():
        right = found[1][key]
        assert record["performance"] == pytest.approx(right["performance"], abs=1e-12), key
        assert record.get("calibration", {}).get("bins") == right.get("calibration", {}).get("bins"), key
        for member in ("mean_score", "positive_ratio"):
            assert record["prediction"][member] == pytest.approx(right["prediction"][member], abs=1e-6)


@pytest.mark.parametrize("seed", range(2))
def test_windows_of_few_predictions_and_tasks_that_start_again(seed):
    """Five minutes hold too few predictions to say it by themselves; half way all tasks go on from what they have stored."""
    rows = recipe(seed, 1500, START - START % DAY, 0.2)
    found = []
    for confidence_is in (None, "predicted"):
        pipe = Pipeline(
            ModelSpec("m", windows=("5m", "1h"), confidence_is=confidence_is, baseline=BaselineSpec(first=100_000)), 2
        )
        for begin in range(0, 1500, 50):
            for topic, place in ((PREDICTIONS, 0), (LABELS, 1)):
                pipe.send(topic, [json.dumps(row[place]).encode() for row in rows[begin : begin + 50]])
            pipe.checkpoint()
            if begin == 750:
                pipe.joins = [JoinStage(p, of._store, pipe.registry, 1, pipe.counters) for p, of in enumerate(pipe.joins)]
                pipe.restart_monitor()
        pipe.finish()
        found.append(pipe.records())
    assert found[0].keys() == found[1].keys()
    told = 0
    for key, record in found[0].items():
        # The first windows close before enough is known.
        if record["window"] == "1h" or record["window_start"] >= iso(START - START % DAY + 3600):
            assert record["performance"] == pytest.approx(found[1][key]["performance"], abs=1e-12), key
            told += record["window"] == "5m"
    assert told > 40
