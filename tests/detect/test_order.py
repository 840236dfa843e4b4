"""A detector is fed in the order of event time, in whatever order the partitions' topics are read."""

from __future__ import annotations

import json

import numpy as np
import pytest

from support.driver import Pipeline
from support.events import START
from tidegauge.detect.detectors import Detector
from tidegauge.engine.stage import AS_TAKEN, LABELS, PREDICTIONS, PROFILES, Record
from tidegauge.spec import DetectorSpec, ModelSpec

SHIFT = DetectorSpec("shift", "error", "page_hinkley")
SPEC = ModelSpec("m", task="binary", windows=("1m",), detectors=(SHIFT,), label_horizon=86400.0)
COUNT, STEP = 600, 50


def events() -> tuple[list[bytes], list[tuple[float, bytes]]]:
    """A prediction a second; (ts, label) of each, up to a minute later, in the order of their time."""
    rng = np.random.default_rng(6)
    predictions, labels = [], []
    for number in range(COUNT):
        ts = START + number
        event = {"request_id": f"r{number}", "ts": ts, "model_version": "m:1", "prediction": 1, "score": 0.9}
        predictions.append(json.dumps(event).encode())
        known = ts + float(rng.uniform(1, 60))
        label = {"request_id": f"r{number}", "ts": known, "label": int(rng.random() < 0.7)}
        labels.append((known, json.dumps(label).encode()))
    return predictions, sorted(labels)


def fed(partitions: int, labels_ahead: float) -> bytes:
    """State of the detector at the end, where labels are read so many seconds before their predictions."""
    pipeline = Pipeline(SPEC, partitions)
    predictions, labels = events()
    taken = 0
    for begin in range(0, COUNT + 200, STEP):
        until = START + begin + labels_ahead
        due = [value for ts, value in labels[taken:] if ts < until]
        taken += len(due)
        if due:
            pipeline.send(LABELS, due)
        more = predictions[begin : begin + STEP]
        pipeline.checkpoint(behind={PREDICTIONS: AS_TAKEN} if labels_ahead > 0 and begin < COUNT else {})
        if more:
            pipeline.send(PREDICTIONS, more)
            pipeline.checkpoint(behind={LABELS: AS_TAKEN} if labels_ahead < 0 else {})
    pipeline.finish()
    (detector,) = pipeline.monitor._detectors._detectors.values()
    return detector.dump()


def expected() -> bytes:
    """Of a detector that gets the values in the order of their labels' time."""
    detector = Detector(SHIFT)
    detector.update(np.array([1.0 - json.loads(value)["label"] for _, value in events()[1]]))
    return detector.dump()


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("labels_ahead", [-60.0, 0.0, 60.0, 200.0])
def test_values_are_fed_in_the_order_of_event_time(partitions: int, labels_ahead: float) -> None:
    assert fed(partitions, labels_ahead) == expected()


def test_values_of_a_partition_that_was_idle_come_behind_later_ones() -> None:
    """Why order is not promised: an idle partition no longer holds event time back, and detectors have gone on without it."""
    predictions, labels = events()
    half = START + COUNT / 2

    def sent(pipeline: Pipeline, place: int, since: float, until: float) -> None:
        """What one partition gets in this time, with a checkpoint."""
        mine = [value for ts, value in labels if pipeline.partition_of(value) == place and since <= ts < until]
        made = [value for value in predictions if pipeline.partition_of(value) == place]
        pipeline.send(PREDICTIONS, [value for value in made if since <= json.loads(value)["ts"] < until], place)
        pipeline.send(LABELS, mine, place)
        pipeline.checkpoint(place)

    states = {}
    for idle in (False, True):
        pipeline = Pipeline(SPEC, 2)
        for place in (0, 1):
            sent(pipeline, place, START, half)
        if idle:
            for output in pipeline.joins[1].checkpoint(0.0, idle=True):
                pipeline.monitor.process(PROFILES, [Record(0, -1, output.key, output.value)])
        for place in (0, 1):
            sent(pipeline, place, half, START + COUNT + 60)
        pipeline.finish()
        (detector,) = pipeline.monitor._detectors._detectors.values()
        states[idle] = detector.dump()

    # What the labels of the busy partition say, as far as its predictions go, was fed before the other one came back.
    last = max(json.loads(value)["ts"] for value in predictions if pipeline.partition_of(value) == 0)
    early = [ts < half or (ts <= last and pipeline.partition_of(value) == 0) for ts, value in labels]
    errors = np.array([1.0 - json.loads(value)["label"] for _, value in labels])
    late = Detector(SHIFT)
    late.update(errors[early])
    late.update(errors[np.logical_not(early)])
    assert states[False] == expected()
    assert states[True] == late.dump() != expected()
