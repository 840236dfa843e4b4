"""Ids in the names of KPIs, free text as classes: bounded, counted, told; what was counted is taken back as ever."""

import json
import logging
import random

import pytest
from sklearn.metrics import accuracy_score, precision_score

from support.driver import Pipeline
from support.events import START
from support.schemas import mistakes
from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.join.stage import JoinStage
from tidegauge.profile.kpi import MAX_NAMES
from tidegauge.profile.outcome import MAX_CLASSES
from tidegauge.spec import Condition, ModelSpec, MonitorSpec

MARGIN = MonitorSpec("margin", "business.margin.mean", "1h", Condition("below", low=-100.0))
SPEC = ModelSpec("m", task="binary", windows=("1h",), monitors=(MARGIN,))


def labels(count, kpis):
    for number in range(count):
        yield {"request_id": f"r{number}", "ts": START + 60 + number / 10, "label": 1, "business": kpis(number)}


def sent(pipe, values):
    pipe.send(LABELS, [json.dumps(value).encode() for value in values])
    pipe.checkpoint()


def started(partitions=1, count=400):
    pipe = Pipeline(SPEC, partitions)
    event = {"model_version": "m:1", "prediction": 1}
    pipe.send(PREDICTIONS, [json.dumps(event | {"request_id": f"r{n}", "ts": START + n / 10}).encode() for n in range(count)])
    return pipe


def the_record(pipe):
    (record,) = pipe.records().values()
    assert mistakes("metrics-record", record) == []
    return record


def test_ids_in_names_are_left_out_and_told(caplog):
    pipe = started()
    with caplog.at_level(logging.WARNING):
        sent(pipe, labels(400, lambda n: {"revenue": 2.0, f"order_{n}": 1.0, "margin": 1.0} if n > 200 else
                          {"revenue": 2.0, f"order_{n}": 1.0}))  # fmt: skip
        pipe.finish()
    record = the_record(pipe)
    # What the spec names is counted however late it comes.
    assert record["business"]["margin"]["count"] == 199
    assert record["business"]["revenue"]["count"] == 400
    assert len(record["business"]) == MAX_NAMES
    # Of 101 names that are counted the record shows those with most values.
    assert record["kpi_values_left_out"] == 400 - (MAX_NAMES - 2)
    assert pipe.counters["kpi_values_left_out", "m"] == 400 - (MAX_NAMES - 1)
    assert sum("more than 100 names of kpi" in r.getMessage() for r in caplog.records) == 1


@pytest.mark.parametrize("seed", range(3))
def test_corrections_are_exact_over_restarts_and_partitions(seed):
    rng = random.Random(seed)
    pipe = started(partitions=3)
    first = list(labels(400, lambda n: {"revenue": float(n), f"order_{n}": 1.0}))
    rng.shuffle(first)
    sent(pipe, first[:200])
    # A task that is taken over knows the names that were counted.
    pipe.joins = [JoinStage(p, old._store, pipe.registry, 1, pipe.counters) for p, old in enumerate(pipe.joins)]
    sent(pipe, first[200:])
    later = [{"ts": of["ts"] + 600, "business": {name: 5.0 for name in of["business"]}} for of in first]
    sent(pipe, [of | change for of, change in zip(first, later, strict=True)])
    pipe.finish()
    record = the_record(pipe)
    assert record["business"]["revenue"]["sum"] == 5.0 * 400
    assert len(record["business"]) == MAX_NAMES
    assert {of["sum"] for name, of in record["business"].items() if name != "revenue"} == {5.0}
    assert record["kpi_values_left_out"] == 400 - (MAX_NAMES - 1)


def test_few_names_are_all_there():
    pipe = started()
    sent(pipe, labels(400, lambda n: {f"kpi_{n % MAX_NAMES}": 1.0}))
    pipe.finish()
    record = the_record(pipe)
    assert {of["count"] for of in record["business"].values()} == {400 // MAX_NAMES}
    assert len(record["business"]) == MAX_NAMES
    assert "kpi_values_left_out" not in record


def test_free_text_as_classes_is_counted_exactly_with_bounded_names(caplog):
    """4,000 texts that are mostly met once: accuracy as scikit-learn says, as many classes as there may be."""
    rng = random.Random(4)
    pipe = Pipeline(ModelSpec("m", task="multiclass", windows=("1h",), monitors=()), partitions=2)
    texts = [f"answer {rng.randrange(3000)}" if rng.random() < 0.9 else "yes" for _ in range(4000)]
    truth = [text if rng.random() < 0.7 else f"answer {rng.randrange(3000)}" for text in texts]
    base = {"model_version": "m:1"}
    for topic, values in (
        (
            PREDICTIONS,
            [base | {"request_id": f"r{n}", "ts": START + n / 10, "prediction": text} for n, text in enumerate(texts)],
        ),
        (LABELS, [{"request_id": f"r{n}", "ts": START + 500 + n / 10, "label": text} for n, text in enumerate(truth)]),
    ):
        for begin in range(0, 4000, 500):
            pipe.send(topic, [json.dumps(value).encode() for value in values[begin : begin + 500]])
            pipe.checkpoint()
    with caplog.at_level(logging.WARNING):
        sent(pipe, [{"request_id": f"r{n}", "ts": START + 1000 + n / 10, "label": texts[n]} for n in range(0, 4000, 5)])
    pipe.finish()
    truth[::5] = texts[::5]
    record = the_record(pipe)
    assert record["performance"]["accuracy"] == pytest.approx(accuracy_score(truth, texts))
    assert len(record["performance"]["classes"]) == len(record["performance_interval"]["classes"]) == MAX_CLASSES
    yes = precision_score(truth, texts, labels=["yes"], average=None, zero_division=0)[0]
    assert record["performance"]["classes"]["yes"]["precision"] == pytest.approx(yes)
    assert 1000 < record["further_classes"] < 4000
    (profile,) = (pipe.monitor.windows.outcome(header, ()) for header in pipe.monitor.windows.headers.values())
    names = {name for cell in profile.confusion for name in cell.split("\x1f")}
    assert len(names) <= 2 * MAX_CLASSES + 2
