"""Work on earlier records that fails is set aside; all else is as if it had not failed, and nothing stops."""

import json
from collections import Counter

import pytest

from support.driver import SPEC
from support.events import START, prediction
from tidegauge.engine import containment
from tidegauge.engine.containment import ContainedStage
from tidegauge.engine.refusals import SET_ASIDE, UNPROCESSABLE
from tidegauge.engine.stage import ALERTS, DEAD_LETTERS, LABELS, METRICS, PREDICTIONS, PROFILES, MemoryStore, Record
from tidegauge.join import pane_profiles
from tidegauge.join.implied_labels import ImpliedLabels
from tidegauge.join.stage import JoinStage
from tidegauge.models.registry import ModelRecord, Registry, encode
from tidegauge.monitor import judging, publishing
from tidegauge.monitor.detector_feed import DetectorFeed
from tidegauge.monitor.learning import BaselineLearning
from tidegauge.monitor.rollouts import Rollouts
from tidegauge.monitor.stage import MonitorStage
from tidegauge.monitor.windows import Windows
from tidegauge.spec import Condition, ImpliedLabelSpec, ModelSpec, MonitorSpec

MONITORS = (
    MonitorSpec("errors", "system.error_ratio", "1m", Condition("above", high=0.1), min_count=1),
    MonitorSpec("accuracy", "performance.accuracy", "1m", Condition("below", low=0.9), min_count=1),
)


def specs():
    return [ModelSpec(name, task="binary", windows=("1m", "5m"), grace=0.0, monitors=MONITORS) for name in ("churn", "fraud")]


def events():
    """Two models in step, for ten minutes: every third prediction is wrong, every fourth request fails."""
    for number in range(200):
        for model in ("churn", "fraud"):
            made = prediction(number, START + 3 * number, prediction=1, score=0.7, features={"a": float(number % 7)})
            made |= {"request_id": f"{model}{number}", "model": model, "error": "timeout" if number % 4 == 0 else None}
            yield PREDICTIONS, made
            yield LABELS, {"request_id": made["request_id"], "ts": made["ts"] + 1, "label": int(number % 3 > 0)}


class Tasks:
    """One join task and one monitor task on stores of their own, as a worker has them."""

    def __init__(self, given=None):
        self.registry = Registry()
        for spec in given or specs():
            self.registry.apply(spec.model.encode(), encode(ModelRecord(spec.model, spec)))
        self.counters = Counter()
        self.stores = MemoryStore(), MemoryStore()
        self.outputs = []
        self.start()

    def start(self):
        """Again, upon what is stored."""
        registry, (joins, monitors) = self.registry, self.stores
        self.join = ContainedStage(lambda s, c: JoinStage(0, s, registry, 1, c), joins, 0, self.counters)
        self.monitor = ContainedStage(lambda s, c: MonitorStage(s, registry, 1, c), monitors, 0, self.counters)

    def play(self, stream, chunk=20):
        stream = list(stream)
        for start in range(0, len(stream), chunk):
            for topic in (PREDICTIONS, LABELS):
                of = [json.dumps(event).encode() for kind, event in stream[start : start + chunk] if kind == topic]
                if of:
                    self.join.process(topic, [Record(start + i, -1, None, value) for i, value in enumerate(of)])
            self.checkpoint()

    def checkpoint(self, idle=False):
        deltas = []
        for output in self.join.checkpoint(0.0, idle=idle):
            (deltas if output.topic == PROFILES else self.outputs).append(output)
        if deltas:
            self.monitor.process(PROFILES, [Record(i, -1, o.key, o.value) for i, o in enumerate(deltas)])
        self.outputs += self.monitor.checkpoint(0.0, idle=idle)
        for store in self.stores:
            store.freeze()

    def finish(self):
        self.outputs += self.monitor.finish()

    def records(self):
        newest = {o.key: json.loads(o.value) for o in self.outputs if o.topic == METRICS}
        return {key: record for key, record in newest.items() if "kind" not in record}

    def alerts(self):
        return [json.loads(o.value)["data"] for o in self.outputs if o.topic == ALERTS]

    def letters(self):
        return [dict(o.headers) for o in self.outputs if o.topic == DEAD_LETTERS]

    def set_aside(self):
        assert {letter["reason"] for letter in self.letters()} <= {SET_ASIDE.encode()}
        assert self.counters["dead_lettered", SET_ASIDE] == len(self.letters())
        return [letter["message"].decode().removeprefix("set_aside: ") for letter in self.letters()]


def run(given=None, stream=None):
    tasks = Tasks(given)
    tasks.play(stream or events())
    tasks.finish()
    return tasks


def faulty(monkeypatch, where, name, when):
    """The real thing, but that it raises where ``when`` says of its arguments that it should."""
    real = getattr(where, name)

    def failing(*args, **kwargs):
        if when(*args, **kwargs):
            raise LookupError("nobody thought of that")
        return real(*args, **kwargs)

    monkeypatch.setattr(where, name, failing)


@pytest.fixture(scope="module")
def sound():
    tasks = run()
    assert {alert["labels"]["alertname"] for alert in tasks.alerts()} == {"errors", "accuracy"}
    assert not tasks.letters()
    return tasks


def alerts_but(tasks, name, model):
    """What alerts said, but one; their ids, in a common sequence, aside."""
    said = [a for a in tasks.alerts() if (a["labels"]["alertname"], a["labels"]["model"]) != (name, model)]
    return [(a["status"], a["labels"], a["window"], a["value"]) for a in said]


def test_a_monitor_that_fails_costs_its_verdicts_on_the_windows_it_fails_on(monkeypatch, sound):
    def when(records, monitor, *rest):
        return monitor.name == "accuracy" and records[()]["model"] == "fraud"

    faulty(monkeypatch, judging, "judge_with_few", when)
    tasks = run()
    said = tasks.set_aside()
    assert said
    assert all(word.startswith("the monitor accuracy on the window of 1m from ") for word in said)
    assert all(word.endswith(" of fraud churn_xgb:3 is set aside: LookupError: nobody thought of that") for word in said)
    assert len(set(said)) == len(said), "each is told once"
    assert tasks.records() == sound.records()
    assert alerts_but(tasks, "accuracy", "fraud") == alerts_but(sound, "accuracy", "fraud")


def minutes(tasks, model="churn"):
    """Predictions in a model's windows of a minute, by their start."""
    return {
        r["window_start"]: r["predictions"] for r in tasks.records().values() if r["window"] == "1m" and r["model"] == model
    }


def unpublished(monkeypatch, start):
    """The window of a minute of churn that starts then cannot be published."""

    def when(record, **_):
        return (record["model"], record["window"], record["window_start"]) == ("churn", "1m", start)

    faulty(monkeypatch, publishing, "published", when)


def test_a_window_that_cannot_be_published_costs_that_window(monkeypatch, sound):
    start = sorted(minutes(sound))[3]
    unpublished(monkeypatch, start)
    tasks = run()
    (said,) = tasks.set_aside()
    assert said.startswith(f"publishing the window of 1m from {start} of churn")
    assert minutes(tasks) == {of: count for of, count in minutes(sound).items() if of != start}
    assert minutes(tasks, "fraud") == minutes(sound, "fraud")
    longer = [{key: r for key, r in of.records().items() if r["window"] == "5m"} for of in (tasks, sound)]
    assert longer[0] == longer[1]


def test_what_is_set_aside_stays_so_after_a_restart_and_is_tried_again_by_another_version(monkeypatch, sound):
    start = min(minutes(sound))
    stream = list(events())
    with monkeypatch.context() as patch:
        unpublished(patch, start)
        tasks = Tasks()
        tasks.play(stream[:200])
        tasks.start()
        tasks.play(stream[200:300])
    assert len(tasks.set_aside()) == 1
    tasks.start()
    tasks.play(stream[300:])
    tasks.finish()
    assert len(tasks.letters()) == 1
    assert minutes(tasks) == {of: count for of, count in minutes(sound).items() if of != start}
    monkeypatch.setattr("tidegauge.engine.set_aside.VERSION", b"another")
    tasks.start()
    tasks.play([(PREDICTIONS, prediction(10**6, START, prediction=1, score=0.7) | {"model": "churn"})])
    tasks.finish()
    assert start in minutes(tasks)


def test_counts_that_cannot_be_taken_into_windows_are_dead_letters_by_themselves(monkeypatch, sound):
    for name in ("add", "take_rows"):
        faulty(monkeypatch, Windows, name, lambda windows, of, *rest, **_: (of if isinstance(of, str) else of.model) == "churn")
    tasks = run()
    assert all(said.startswith("a part of what was counted of churn churn_xgb:3 is set aside") for said in tasks.set_aside())
    assert all(o.value for o in tasks.outputs if o.topic == DEAD_LETTERS)
    assert {r["model"] for r in tasks.records().values()} == {"fraud"}
    assert tasks.records() == {key: r for key, r in sound.records().items() if r["model"] == "fraud"}


@pytest.mark.parametrize(
    ("where", "name", "words"),
    [
        (BaselineLearning, "learn", "learning the baselines of churn"),
        (DetectorFeed, "feed", "feeding the detectors of churn"),
        (Rollouts, "advance", "comparing the versions of churn"),
    ],
)
def test_what_is_done_for_a_model_as_a_whole_fails_for_that_model_alone(monkeypatch, sound, where, name, words):
    faulty(monkeypatch, where, name, lambda self, model, *rest, **_: model == "churn")
    tasks = run()
    assert tasks.set_aside() == [f"{words} is set aside: LookupError: nobody thought of that"]
    assert tasks.records() == sound.records()
    assert alerts_but(tasks, None, None) == alerts_but(sound, None, None)


def test_labels_that_are_implied_and_cannot_be_counted_stop_nothing(monkeypatch):
    spec = ModelSpec("churn", task="binary", windows=("1m",), grace=0.0, monitors=(), labels=ImpliedLabelSpec(30.0, "0"))
    stream = [(topic, event) for topic, event in events() if topic == PREDICTIONS and event["model"] == "churn"]
    sound = run([spec], stream)
    faulty(monkeypatch, ImpliedLabels, "_imply", lambda self, second, context, request_id: request_id == b"churn17")
    tasks = run([spec], stream)
    (said,) = tasks.set_aside()
    assert "predictions are taken to have is set aside: LookupError" in said
    assert {key: r["predictions"] for key, r in tasks.records().items()} == {
        key: r["predictions"] for key, r in sound.records().items()
    }
    lost = sum(r["labels"] for r in sound.records().values()) - sum(r["labels"] for r in tasks.records().values())
    assert 0 < lost <= 20


def test_stored_pairs_that_cannot_be_read_do_not_keep_others_from_expiring(monkeypatch, sound):
    tasks = run()
    stage = tasks.join.stage
    pairs = dict(tasks.stores[0].items())
    stage._oldest = b"\xff" * 4
    monkeypatch.setattr(stage._expiry, "cutoff", lambda model: 1e12)
    expected = set(stage.expired(pairs))
    assert expected
    key = min(expected)
    found = tasks.join.expired(pairs | {key: pairs[key][:4] + b"\x00\xc1"})
    assert set(found) == expected - {key}


def test_a_flood_of_records_that_cannot_be_processed_is_not_halved_for_ever(monkeypatch):
    builds = Counter()

    class Counting(JoinStage):
        def __init__(self, *args):
            builds["stage"] += 1
            super().__init__(*args)

    faulty(
        monkeypatch, pane_profiles, "data_columns", lambda events, *rest: any("poison" in event.features for event in events)
    )
    registry = Registry()
    registry.apply(b"churn", encode(ModelRecord("churn", SPEC)))
    stage = ContainedStage(lambda s, c: Counting(0, s, registry, 1, c), MemoryStore(), 0, Counter())
    made = [prediction(i, START + i, prediction=1, score=0.5, features={"poison" if i % 3 else "a": 1.0}) for i in range(6000)]
    stage.process(PREDICTIONS, [Record(i, -1, None, json.dumps(event).encode()) for i, event in enumerate(made)])
    letters = [dict(o.headers) for o in stage.checkpoint(0.0) if o.topic == DEAD_LETTERS]
    assert builds["stage"] < containment.MAX_TRIALS + 4 * containment.COARSE
    assert {letter["reason"].decode() for letter in letters} == {UNPROCESSABLE}
    offsets = [int(letter["offset"]) for letter in letters]
    assert {i for i in range(6000) if i % 3} <= set(offsets)
    assert len(offsets) == len(set(offsets))
    assert any(b"of very many that failed" in letter["message"] for letter in letters)
    # Before they were very many each was found by itself.
    assert [i for i in offsets if i < 100] == [i for i in range(100) if i % 3]
