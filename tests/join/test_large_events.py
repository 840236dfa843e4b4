"""However large events are, a bounded part of them is decoded at a time; what is counted does not depend on it."""

import json
import random
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.driver import Pipeline
from support.events import START, prediction
from tidegauge.engine.input_bytes import bytes_of, pieces
from tidegauge.engine.stage import LABELS, PREDICTIONS, PROFILES, Record
from tidegauge.join import stage

EVENTS, FEATURES = 200, 1000


@given(st.lists(st.one_of(st.none(), st.binary(max_size=30)), max_size=40), st.integers(0, 60))
def test_pieces_are_all_records_in_order_and_no_larger_than_asked(values, most):
    records = [Record(place, -1, None, value) for place, value in enumerate(values)]
    made = list(pieces(records, most))
    found = [piece.records for piece in made]
    assert [piece.size for piece in made] == list(map(bytes_of, found))
    assert [record for piece in found for record in piece] == records
    assert all(piece and (bytes_of(piece) <= most or len(piece) == 1) for piece in found)
    # None could have taken the first record of the next one as well.
    assert all(bytes_of([*one, other[0]]) > most for one, other in pairwise(found))


def large_events():
    rng = random.Random(1)
    for number in range(EVENTS):
        features = {f"feature_{of}": rng.gauss(0.0, 1.0) for of in range(FEATURES)}
        yield json.dumps(prediction(number, START + number, prediction=1, score=rng.random(), features=features)).encode()


@pytest.fixture(scope="module")
def chunks():
    labels = [{"request_id": f"r{number}", "ts": START + number + 5, "label": number % 2} for number in range(EVENTS)]
    return {
        topic: [Record(offset, -1, None, value) for offset, value in enumerate(values)]
        for topic, values in ((PREDICTIONS, large_events()), (LABELS, [json.dumps(label).encode() for label in labels]))
    }


def taken(chunks):
    """The most bytes of memory that a chunk of predictions takes while it is processed, and the records of all events."""
    pipeline = Pipeline()
    join = pipeline.joins[0]
    tracemalloc.start()
    try:
        join.process(PREDICTIONS, chunks[PREDICTIONS])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    join.process(LABELS, chunks[LABELS])
    for output in join.checkpoint(0.0):
        if output.topic == PROFILES:
            pipeline.monitor.process(PROFILES, [Record(0, -1, output.key, output.value)])
    pipeline.finish()
    return most, pipeline.records()


def test_a_chunk_of_large_events_is_decoded_a_part_at_a_time(chunks, monkeypatch):
    at_once, expected = taken(chunks)
    size = bytes_of(chunks[PREDICTIONS])
    monkeypatch.setattr(stage, "MAX_BYTES", size // 20)
    divided, records = taken(chunks)
    assert at_once > 2 * size
    assert divided < 1.2 * size
    assert records == expected
    assert (
        sum(record["predictions"] for record in records.values() if not record["segment"] and record["window"] == "1m")
        == EVENTS
    )
