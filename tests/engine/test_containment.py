"""What a stage cannot process becomes a dead letter, found by halving; everything else counts as if it had not come."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.driver import flatten, numbers
from support.events import START, prediction
from tidegauge.engine.containment import ContainedStage
from tidegauge.engine.refusals import UNPROCESSABLE
from tidegauge.engine.stage import DEAD_LETTERS, METRICS, PREDICTIONS, PROFILES, MemoryStore, Output, Record
from tidegauge.errors import StateError
from tidegauge.join.stage import JoinStage
from tidegauge.models.registry import Registry
from tidegauge.monitor.stage import MonitorStage
from tidegauge.offline.replay import Lines, Replay

FINE, AT_ONCE, AT_CHECKPOINT = range(3)


class Summing:
    """Adds its records up in its store. Some cannot be added at once, some not at the checkpoint."""

    unfinished = False

    def __init__(self, store, counted):
        self._store, self._counted, self._taken = store, counted, []

    def process(self, topic, records):
        for record in records:
            self._counted["events", topic] += 1
            number, kind = json.loads(record.value)
            # What was written before it failed must not stay.
            self._store.put(b"latest", record.value)
            if kind == AT_ONCE:
                raise KeyError(f"no {number}")
            self._taken.append((number, kind))

    def checkpoint(self, now, *, idle=False, behind=()):
        outputs = []
        total = int(self._store.get(b"total") or 0)
        for number, kind in self._taken:
            total += number
            self._store.put(b"total", b"%d" % total)
            outputs.append(Output(METRICS, None, b"%d" % number))
            if kind == AT_CHECKPOINT:
                raise ZeroDivisionError("all in vain")
        self._taken.clear()
        return outputs

    def kept(self, value):
        return value

    def expired(self, pairs):
        return []


records = st.lists(st.tuples(st.integers(0, 100), st.sampled_from([FINE] * 6 + [AT_ONCE, AT_CHECKPOINT])), max_size=30)


@given(chunks=st.lists(st.tuples(st.sampled_from(["a", "b"]), records, st.booleans()), max_size=8))
def test_all_but_the_poison_counts_in_order(chunks):
    store, counters = MemoryStore(), Counter()
    stage = ContainedStage(Summing, store, 3, counters)
    outputs, offset, expected = [], 0, []
    for topic, given_records, settled in chunks:
        if given_records:
            stage.process(topic, [Record(offset + i, -1, None, json.dumps(r).encode()) for i, r in enumerate(given_records)])
        expected += [(topic, offset + i, *r) for i, r in enumerate(given_records)]
        offset += len(given_records)
        if settled:
            outputs += stage.checkpoint(0.0)
            store.freeze()
    outputs += stage.checkpoint(0.0)
    fine = [number for _, _, number, kind in expected if kind == FINE]
    bad = [(topic, str(place), kind) for topic, place, _, kind in expected if kind != FINE]
    assert [int(o.value) for o in outputs if o.topic == METRICS] == fine
    assert int(store.get(b"total") or 0) == sum(fine)
    letters = [dict(o.headers) for o in outputs if o.topic == DEAD_LETTERS]
    assert [(h["topic"].decode(), h["offset"].decode()) for h in letters] == [(topic, place) for topic, place, _ in bad]
    words = {AT_ONCE: b"KeyError", AT_CHECKPOINT: b"ZeroDivisionError: all in vain"}
    assert all(words[kind] in h["message"] for h, (_, _, kind) in zip(letters, bad, strict=True))
    assert all(h["partition"] == b"3" and h["reason"].decode() == UNPROCESSABLE for h in letters)
    assert counters["dead_lettered", UNPROCESSABLE] == len(bad)
    assert counters["events", "a"] + counters["events", "b"] == len(expected)


class Unreadable(MemoryStore):
    def get(self, key):
        raise StateError("the disk is gone")


def test_the_log_quotes_no_record_whose_value_is_not_kept(caplog):
    class Withholding(Summing):
        def kept(self, value):
            return None

    stage = ContainedStage(Withholding, MemoryStore(), 3, Counter())
    stage.process("a", [Record(0, -1, None, json.dumps([1, AT_CHECKPOINT]).encode())])
    (letter,) = stage.checkpoint(0.0)
    assert "cannot be processed: ZeroDivisionError\n" in caplog.text
    assert "in checkpoint" in caplog.text, "where it was raised"
    assert "ZeroDivisionError: all in vain" not in caplog.text + str(letter)


def test_what_is_no_record_s_fault_is_raised():
    stage = ContainedStage(Summing, Unreadable(), 0, Counter())
    stage.process("a", [Record(0, -1, None, b"[1, 0]")])
    with pytest.raises(StateError, match="the disk is gone"):
        stage.checkpoint(0.0)


def test_a_delta_the_monitor_cannot_read_is_a_dead_letter_and_the_others_count():
    registry = Registry()
    counters = Counter()
    monitor = ContainedStage(lambda store, counted: MonitorStage(store, registry, 1, counted), MemoryStore(), 0, counters)
    join = JoinStage(0, MemoryStore(), registry, 1, counters)
    deltas = [b"\x00", b"", b"\xc1\xff"]
    for number in range(20):
        event = prediction(number, START + number, prediction=1, score=0.5, features={"a": 1.0})
        join.process(PREDICTIONS, [Record(number, -1, None, json.dumps(event).encode())])
        deltas += [o.value for o in join.checkpoint(0.0) if o.topic == PROFILES]
    monitor.process(PROFILES, [Record(i, -1, b"churn", value) for i, value in enumerate(deltas)])
    outputs = monitor.checkpoint(0.0) + monitor.stage.finish()
    assert [int(dict(o.headers)["offset"]) for o in outputs if o.topic == DEAD_LETTERS] == [0, 1, 2]
    whole = [json.loads(o.value) for o in outputs if o.topic == METRICS]
    assert max(r["predictions"] for r in whole if r["window"] == "5m") == 20
    assert counters["dead_lettered", UNPROCESSABLE] == 3


def replayed(tmp_path, values):
    path = tmp_path / "predictions.jsonl"
    path.write_bytes(b"\n".join(values) + b"\n")
    found, letters = {}, []

    def sink(output):
        if output.topic == METRICS:
            found[output.key] = json.loads(output.value)
        elif output.topic == DEAD_LETTERS:
            letters.append(output)

    Replay(Registry(), sink).run(Lines(path), Lines(None))
    return found, letters


def test_a_poisoned_file_is_replayed_as_if_the_poison_were_not_there(tmp_path, monkeypatch):
    """A fault in the columns that nobody knows of yet: an event with such a feature cannot be counted."""
    from tidegauge.join import pane_profiles

    columns = pane_profiles.data_columns

    def faulty(events, spec, schema, counted):
        if any("poison" in event.features for event in events):
            raise LookupError("nobody thought of that")
        return columns(events, spec, schema, counted)

    monkeypatch.setattr(pane_profiles, "data_columns", faulty)
    good = [
        json.dumps(prediction(i, START + i, prediction=i % 2, score=0.5, features={"a": float(i)})).encode() for i in range(100)
    ]
    bad = [json.dumps(prediction(1000 + i, START + 13 * i, features={"poison": 1})).encode() for i in range(5)]
    expected, none = replayed(tmp_path, good)
    found, letters = replayed(tmp_path, good + bad)
    assert not none
    assert sorted(letter.value for letter in letters) == sorted(bad)
    assert {b"LookupError: nobody thought of that" in dict(letter.headers)["message"] for letter in letters} == {True}
    assert found.keys() == expected.keys()
    for key, record in expected.items():
        mine = flatten(numbers(found[key]))
        for name, value in flatten(numbers(record)).items():
            assert mine[name] == (pytest.approx(value) if isinstance(value, float) else value), (key, name)
