"""The same events as plain JSON, Avro, Protobuf and in a JSON Schema's frame end in the same metrics, and as JSON again when
they are dead letters."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import framed
from support.driver import Pipeline
from support.events import START, prediction, stream
from tidegauge.engine.stage import LABELS, PREDICTIONS, Record

KINDS = ("AVRO", "PROTOBUF", "JSON")
text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
value = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | text
moment = st.integers(0, 600_000_000).map(lambda micros: START + micros / 1e6)
predictions = st.builds(
    lambda number, ts, **members: prediction(number, round(ts, 6), **members),
    st.integers(0, 5), moment,
    prediction=st.booleans() | st.integers(-5, 5) | text | st.floats(-1e6, 1e6),
    score=st.none() | st.floats(0, 1), latency_ms=st.none() | st.floats(0, 1e5),
    role=st.sampled_from(["live", "shadow"]),
    features=st.dictionaries(st.sampled_from(["age", "plan", "ü"]), value),
    segments=st.dictionaries(st.just("region"), text, max_size=1),
)  # fmt: skip
labels = st.builds(
    lambda number, ts, **members: {"request_id": f"r{number}", "ts": round(ts, 6)} | members,
    st.integers(0, 5), moment, label=st.integers(-5, 5),
    business=st.dictionaries(st.sampled_from(["revenue", "clicks"]), st.floats(-1e6, 1e6), min_size=1),
)  # fmt: skip


def outcome(events, kind=None):
    """Of (topic, event): the final records, and what is refused, by request id."""
    pipeline = Pipeline(partitions=1)
    for offset, (topic, event) in enumerate(events):
        record = Record(offset, int(START * 1000) + 86_400_000, b"", json.dumps(event).encode())
        if kind is not None:
            written = framed.writers(kind)[topic == LABELS](event)
            record = Record(offset, record.timestamp, b"", written)
            (record,) = decoding(kind).decoded([record])
        pipeline.joins[0].process(topic, [record])
    pipeline.finish()
    return pipeline.records(), pipeline.counters


_known = {}


def decoding(kind):
    if kind not in _known:
        _known[kind] = framed.knowing(*framed.schemas(kind))
    return _known[kind]


@given(st.lists(predictions.map(lambda e: (PREDICTIONS, e)) | labels.map(lambda e: (LABELS, e)), max_size=12))
def test_any_events_in_any_format(events):
    wanted, counted = outcome(events)
    for kind in KINDS:
        found, counts = outcome(events, kind)
        assert found == wanted, kind
        assert counts == counted, kind


@pytest.mark.parametrize("kind", KINDS)
def test_plain_json_and_another_format_may_alternate_in_one_topic(kind):
    """Every second event is plain JSON: the magic byte tells them apart."""
    rng = random.Random(7)
    events = [(topic, json.loads(value)) for topic, value in stream(3)]
    for _, event in events:
        event["ts"] = round(event["ts"], 6)
    plain, mixed = Pipeline(), Pipeline()
    write = framed.writers(kind)
    for offset, (topic, event) in enumerate(events):
        value = json.dumps(event).encode()
        plain.joins[0].process(topic, [Record(offset, -1, None, value)])
        as_sent = value if rng.random() < 0.5 else write[topic == LABELS](event)
        mixed.joins[0].process(topic, decoding(kind).decoded([Record(offset, -1, None, as_sent)]))
    plain.finish()
    mixed.finish()
    assert mixed.records() == plain.records()
    assert len(plain.records()) > 10
