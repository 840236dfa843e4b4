"""However far input partitions are behind each other while they are re-keyed, event time waits for them and nothing else."""

from __future__ import annotations

import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from support.rekeyed import TOPICS, RekeyedInputs
from tidegauge.engine.stage import LABELS, PREDICTIONS


def play(inputs, rng):
    """One thing that may happen, by chance, but for what is written."""
    topic = rng.choice(TOPICS)
    number = rng.randrange(len(inputs.sources[topic]))
    what = rng.choice(["rekey", "rekey", "commit", "commit", "look", "join", "join", "forget"])
    if what == "rekey":
        inputs.rekey(topic, number, rng.choice([1, 5, 100]))
    elif what == "commit":
        inputs.commit(topic, number)
    elif what == "look":
        inputs.look()
    elif what == "join":
        inputs.join(topic, rng.randrange(len(inputs.followed)), rng.choice([1, 5, 100]))
    elif rng.random() < 0.05:
        inputs.forget()
    inputs.step += 1


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32), sources=st.tuples(st.integers(1, 3), st.integers(1, 3)), partitions=st.integers(1, 3),
    writes=st.sampled_from([0.05, 0.5, 1.0]),
)  # fmt: skip
def test_nothing_older_is_missing_than_is_told(seed, sources, partitions, writes):
    rng = random.Random(seed)
    inputs = RekeyedInputs(sources, partitions)
    predicted: dict[int, float] = {0: 0.0}
    for number in range(300):
        if rng.random() < writes:
            topic = rng.choice(TOPICS)
            # Labels may speak of what was long before.
            ts = number + 1.0 if topic == PREDICTIONS else max(number - 100.0, 0.5)
            value = json.dumps({"request_id": f"{topic}{number}"}).encode()
            inputs.write(topic, rng.randrange(len(inputs.sources[topic])), ts, value)
            if topic == PREDICTIONS:
                predicted[inputs.step] = ts
        play(inputs, rng)
        for partition, followed in enumerate(inputs.followed):
            if followed.last is None:
                assert followed.behind == {PREDICTIONS: 0.0, LABELS: 0.0}
                continue
            at = next(at for at, look in inputs.looks if look is followed.last)
            for topic in TOPICS:
                for event in inputs.unread(topic, partition):
                    assert event.at >= followed.last.whole
                    if event.at < at:
                        came = max(ts for step, ts in predicted.items() if step <= event.at)
                        latest = event.ts if topic == PREDICTIONS else max(event.ts, came)
                        assert followed.behind[topic] <= latest


@given(seed=st.integers(0, 2**32), sources=st.tuples(st.integers(1, 3), st.integers(1, 3)), partitions=st.integers(1, 3))
def test_once_all_is_read_event_time_is_that_of_the_latest_prediction(seed, sources, partitions):
    rng = random.Random(seed)
    inputs = RekeyedInputs(sources, partitions)
    for number in range(60):
        topic = PREDICTIONS if number % 2 == 0 else LABELS
        value = json.dumps({"request_id": f"{topic}{number}"}).encode()
        inputs.write(topic, rng.randrange(len(inputs.sources[topic])), number - 500.0 * (topic == LABELS), value)
    while not inputs.done:
        play(inputs, rng)
    inputs.look()
    for partition, followed in enumerate(inputs.followed):
        inputs.join(PREDICTIONS, partition, 1)
        assert followed.behind == {PREDICTIONS: 58.0, LABELS: 58.0}
        assert followed.silence(inputs.step - 7.0) == 7.0


def test_labels_that_are_years_old_do_not_hold_event_time_back():
    """Some always wait, as they always come: it goes on as far as predictions had come when those came that are now read."""
    inputs = RekeyedInputs((1, 1), 1)
    for number in range(50):
        for topic, ts in ((PREDICTIONS, 1000.0 + number), (LABELS, float(number))):
            inputs.write(topic, 0, ts, json.dumps({"request_id": f"{topic}{number}"}).encode())
            inputs.rekey(topic, 0, 10)
        inputs.look()
        for topic in TOPICS:
            inputs.commit(topic, 0)
            inputs.join(topic, 0, 10)
        inputs.step += 1
    assert inputs.followed[0].behind[PREDICTIONS] >= 1045
    assert inputs.followed[0].behind[LABELS] >= 1045
