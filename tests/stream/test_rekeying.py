"""Where a record belongs by what it says, and where one came from that was re-keyed."""

import json

import pytest
from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from tidegauge.engine.refusals import dead_letter
from tidegauge.engine.stage import PREDICTIONS, Record
from tidegauge.errors import StateError
from tidegauge.stream.partitioning import partitions_of
from tidegauge.stream.rekeyed_origins import take
from tidegauge.stream.rekeying import content, given_back, origin, place

TS = 1_758_931_200.0
NOW = int(TS * 1000)
keys = st.none() | st.binary(max_size=40)
request_ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256)
garbage = st.sampled_from([None, b"", b"{", b"[1]", b"\xff\xfe", b'{"ts": 5}', b'{"request_id": 7, "ts": 1.0}', b"[" * 100_000])
# Everything a decoder takes: NaN tokens, whole and written times, escapes or none.
extras = st.fixed_dictionaries(
    {}, optional={"score": st.sampled_from([0.5, float("nan"), None]), "features": st.just({"a": 1})}
)
times = st.sampled_from([TS, int(TS), "2025-09-27T00:00:00Z"])


def record(value, offset=0, key=None):
    return Record(offset, NOW, key, value)


@given(keys=st.lists(st.binary(max_size=50), max_size=60), partitions=st.integers(1, 100))
def test_many_keys_are_hashed_as_kafka_hashes_one(keys, partitions):
    assert partitions_of(keys, partitions) == [(murmur2(key) & 0x7FFFFFFF) % partitions for key in keys]


@given(
    request_id=request_ids, ts=times, extra=extras, ascii_only=st.booleans(), key=keys, other_key=keys, source=st.integers(0, 9)
)
def test_a_label_comes_to_its_prediction_whatever_the_keys(request_id, ts, extra, ascii_only, key, other_key, source):
    prediction = json.dumps({"request_id": request_id, "ts": ts, "model_version": "m:1", **extra}, ensure_ascii=ascii_only)
    label = json.dumps({"ts": TS + 5, "label": 1, "request_id": request_id})
    belongs = (murmur2(request_id.encode()) & 0x7FFFFFFF) % 7
    assert place([record(prediction.encode(), key=key)], source, 7) == ([belongs], TS)
    assert place([record(label.encode(), key=other_key)], 3, 7) == ([belongs], TS + 5)


@given(st.lists(st.tuples(garbage | st.builds(lambda i: json.dumps({"request_id": i, "ts": TS}).encode(), request_ids), keys)))
def test_a_chunk_is_placed_as_its_records_are_one_by_one(pairs):
    records = [record(value, offset, key) for offset, (value, key) in enumerate(pairs)]
    alone = [place([one], 2, 5) for one in records]
    if records:
        together = place(records, 2, 5)
        assert together.partitions == [partition for one in alone for partition in one.partitions]
        assert together.reached == max(one.reached for one in alone)


@given(value=garbage, key=st.binary(min_size=1, max_size=40), sources=st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_what_says_no_request_id_stays_with_its_key(value, key, sources):
    if b"request_id" not in (value or b""):
        one, other = (place([record(value, key=key)], source, 7).partitions for source in sources)
        assert one == other == [(murmur2(key) & 0x7FFFFFFF) % 7]


def test_times_that_make_dead_letters_move_nothing():
    for ts in (True, None, [], -1.0, 1e300, "yesterday", TS + 2 * 86400):
        events = [{"request_id": "a", "ts": ts}, {"request_id": "b", "ts": TS}]
        assert place([record(json.dumps(event).encode()) for event in events], 0, 4).reached == TS


def test_kpis_that_belong_to_no_request_meet_those_of_their_model_and_segment():
    def kpis(model, segment, **form):
        event = {"kpi": {"tickets": 3}, "model": model, "ts": TS, "segment": segment}
        return record(json.dumps(event, **form).encode(), key=None)

    same = [kpis("churn", {"region": "eu"}), kpis("churn", {"region": "eu"}, indent=2)]
    assert len({place([one], source, 64).partitions[0] for source, one in enumerate(same)}) == 1
    assert len({place([kpis(f"m{number}", None)], 0, 64).partitions[0] for number in range(50)}) > 10


@given(key=keys, partition=st.integers(0, 500), offset=st.integers(0, 2**62))
def test_a_dead_letter_is_given_back_as_it_was(key, partition, offset):
    original = record(b"{", offset, key)
    rekeyed = Record(3, NOW, origin(original, partition), b"{")
    letter = given_back(dead_letter("predictions", 1, rekeyed, "not_json", "no", b"{"))
    assert letter == dead_letter("predictions", partition, original, "not_json", "no", b"{")


@pytest.mark.parametrize("size", [10, 1 << 20, (1 << 20) + 1, 40 << 20])
def test_what_is_too_large_to_be_an_event_is_cut_and_so_is_its_dead_letter(size):
    whole = b"{" + b"x" * (size - 1)
    original = record(whole, key=b"k" * 90_000)
    value, headers = content(original)
    rekeyed = Record(3, NOW, origin(original, 5), value, tuple(headers))
    assert len(value) + len(rekeyed.key) < (1 << 20) + 200_000
    direct = dead_letter("predictions", 5, original, "too_large", "no", whole)
    assert given_back(dead_letter("predictions", 1, rekeyed, "too_large", "no", value)) == direct


@given(data=st.data(), places=st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=8)), min_size=1, max_size=40))
def test_a_record_that_is_re_keyed_twice_is_noticed(data, places):
    """Whatever other records come between, of other partitions or of nobody's, in one chunk or in another."""
    copies = [record(b"{", key=origin(record(b"{", offset, key), of)) for offset, (of, key) in enumerate(places)]
    strangers = [record(b"{", key=key) for key in (None, b"", b"order-7", b"x:1:2")]
    cut = data.draw(st.integers(0, len(copies)))
    reached = {}
    take(PREDICTIONS, copies[:cut] + strangers, reached)
    again = data.draw(st.sampled_from(copies))
    with pytest.raises(StateError, match="tidegauge state rebuild"):
        take(PREDICTIONS, [*copies[cut:], again], dict(reached))
    take(PREDICTIONS, copies[cut:], reached)
    assert reached == {(PREDICTIONS, of): offset + 1 for offset, (of, _) in enumerate(places)}
