"""The view over `metrics`: what it answers is what the topic holds, whatever comes, in bounded memory."""

from __future__ import annotations

import json
import random
import tracemalloc
from itertools import islice, pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.serving import fed, metrics_by_key, outputs
from tidegauge.console import answers
from tidegauge.console.published_windows import PublishedWindows
from tidegauge.console.replay_directory import Line
from tidegauge.console.view import View

SAID = outputs()
REVISIONS = metrics_by_key(SAID)


def record(start: str, revision: int = 1, segment: dict[str, str] | None = None, **members: Any) -> tuple[bytes, bytes]:
    value = {
        "model": "m", "model_version": "m:1", "segment": segment or {}, "window": "1m", "window_start": start,
        "window_end": start, "revision": revision, "closed": True, "reason": "closed", "predictions": 1, "labels": 1,
    }  # fmt: skip
    key = ["m", "m:1", segment or {}, "1m", start]
    return msgspec.json.encode(key), msgspec.json.encode(value | members)


def minute(number: int) -> str:
    return f"2025-09-{1 + number // 1440:02}T{number // 60 % 24:02}:{number % 60:02}:00Z"


def test_every_window_is_answered_as_the_topic_has_it() -> None:
    view = fed(View(), SAID)
    found = {}
    for series in view.windows.series("churn"):
        answer = json.loads(answers.windows(series, "", ""))
        assert answer["left_off"] == 0
        starts = [r["window_start"] for r in answer["records"]]
        assert starts == sorted(starts)
        for said in answer["records"]:
            key = [said[m] for m in ("model", "model_version", "segment", "window", "window_start")]
            found[msgspec.json.encode(key)] = said
    assert found == {key: revisions[-1] for key, revisions in REVISIONS.items()}
    assert view.windows.memory.unreadable == view.windows.memory.dropped == 0


def test_every_revision_of_the_whole_model_is_remembered() -> None:
    view = fed(View(), SAID)
    moved = 0
    for revisions in REVISIONS.values():
        newest = revisions[-1]
        if newest["segment"]:
            continue
        series = view.windows.find("churn", newest["model_version"], newest["window"])
        assert series is not None
        held = series.revisions(newest["window_start"])
        assert [(r.revision, r.labels, r.performance) for r in held] == [
            (r["revision"], r["labels"], r.get("performance", {})) for r in revisions
        ]
        moved += len(revisions) > 1
    assert moved > 10
    whole = view.windows.find("churn", "churn_xgb:3", "1m")
    assert whole is not None
    restated = answers.restatements(whole, "", "")["windows"]
    assert [w["window_start"] for w in restated] == sorted(
        r[-1]["window_start"] for r in REVISIONS.values()
        if len(r) > 1 and r[-1]["window"] == "1m" and not r[-1]["segment"] and r[-1]["model_version"] == "churn_xgb:3"
    )  # fmt: skip


def test_an_older_revision_that_is_read_again_changes_nothing_but_the_record() -> None:
    windows = PublishedWindows()
    for revision in (1, 2, 2):
        windows.take(*record(minute(0), revision))
    series = windows.find("m", "m:1", "1m")
    assert series is not None
    assert [r.revision for r in series.revisions(minute(0))] == [1, 2]


def test_from_and_to_and_members() -> None:
    windows = PublishedWindows()
    for number in range(10):
        windows.take(*record(minute(number), performance={"accuracy": 0.5}))
    series = windows.find("m", "m:1", "1m")
    assert series is not None
    said = json.loads(answers.windows(series, minute(3), minute(7), ["performance"], limit=3))
    assert [r["window_start"] for r in said["records"]] == [minute(4), minute(5), minute(6)]
    assert said["left_off"] == 1
    assert "model" not in said["records"][0]
    assert said["records"][0]["performance"] == {"accuracy": 0.5}


def test_fractions_of_a_second_are_in_order() -> None:
    windows = PublishedWindows()
    for start in ("2025-09-01T00:00:00.500Z", "2025-09-01T00:00:01Z", "2025-09-01T00:00:00Z"):
        windows.take(*record(start))
    series = windows.find("m", "m:1", "1m")
    assert series is not None
    assert series.starts() == ["2025-09-01T00:00:00Z", "2025-09-01T00:00:00.500Z", "2025-09-01T00:00:01Z"]


def test_a_tombstone_removes_its_window() -> None:
    windows = PublishedWindows()
    key, value = record(minute(0))
    windows.take(*record(minute(1)))
    empty = windows.memory.size
    windows.take(key, value)
    windows.take(key, None)
    assert windows.memory.windows == 1
    assert windows.memory.size == empty


@pytest.mark.parametrize("key", [None, b"", b"[]", b'["m"]', b"\xff\xfe", b'["m","v",[],"1m","x"]', b'{"a":1,"b":2}'])
def test_what_cannot_be_read_is_counted(key: bytes | None) -> None:
    windows = PublishedWindows()
    windows.take(key, b"{}")
    assert (windows.memory.unreadable, windows.memory.windows) == (1, 0)


@pytest.mark.parametrize("shuffled", [False, True])
def test_memory_is_bounded_and_the_newest_windows_stay(shuffled: bool) -> None:
    windows = PublishedWindows(budget=2_000_000)
    records = [record(minute(n), segment=s, pad="x" * 500) for n in range(3000) for s in ({}, {"region": "eu"})]
    if shuffled:
        random.Random(3).shuffle(records)
    for key, value in records:
        windows.take(key, value)
        assert windows.memory.size <= windows.memory.budget
    whole, part = (windows.find("m", "m:1", "1m", segment) for segment in ("", "region=eu"))
    assert whole is not None
    assert part is not None
    assert windows.memory.dropped == 6000 - windows.memory.windows
    assert len(whole.raw) > len(part.raw) >= 5
    if not shuffled:
        assert whole.starts() == [minute(n) for n in range(3000 - len(whole.raw), 3000)]
    assert windows.memory.size == 2 * 1500 + sum(len(raw) + 250 for series in (whole, part) for raw in series.raw.values())


def test_memory_is_bounded_however_many_models_there_are() -> None:
    """What it takes is measured: the budget is a promise about the process, not about the sum of the records."""
    tracemalloc.start()
    try:
        windows = PublishedWindows(budget=8_000_000)
        for number in range(60_000):
            key, value = record(minute(number % 6), number, pad=str(number) * 60)
            windows.take(key.replace(b'"m"', b'"m%d"' % (number // 12)), value)
            assert windows.memory.size <= windows.memory.budget + 10_000
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert windows.memory.dropped
    assert 0.4 * windows.memory.budget < held < 1.1 * windows.memory.budget


def _state(windows: PublishedWindows) -> dict[Any, Any]:
    return {
        (series.segment, start): [raw, [(r.revision, r.predictions) for r in series.revisions(start)]]
        for series in windows.series("m")
        for start, raw in series.raw.items()
    }


WRITTEN = st.lists(
    st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 9)).map(
        lambda of: (of[0], {"region": "eu"} if of[1] else {}, of[2])
    ),
    max_size=40,
)


@given(WRITTEN, st.lists(st.integers(0, 40), max_size=4), st.randoms(use_true_random=False))
def test_the_newest_first_ends_as_all_in_order_does(
    written: list[tuple[int, dict[str, str], int]], cuts: list[int], chance: random.Random
) -> None:
    """Blocks backwards, each in its order, while what is newest comes in between; a window deleted (0) now and then."""
    records = []
    for number, (start, segment, value) in enumerate(written, 1):
        key, raw = record(minute(start), number, segment, predictions=number)
        records.append((key, raw if value else None))
    plain = PublishedWindows()
    for one in records:
        plain.take(*one)
    ends = sorted({min(cut, len(records)) for cut in cuts} | {0, len(records)})
    blocks = [records[a:b] for a, b in pairwise(ends)]
    newest, older = (blocks[-1], blocks[:-1]) if blocks else ([], [])
    first = chance.randint(0, len(newest))
    windows = PublishedWindows()
    for one in newest[:first]:
        windows.take(*one)
    late = iter(newest[first:])
    for place, block in reversed(list(enumerate(older))):
        for one in block:
            windows.take_older(*one)
            if chance.random() < 0.3:
                for new in islice(late, 1):
                    windows.take(*new)
        windows.end_of_block(place == 0)
    for new in late:
        windows.take(*new)
    assert _state(windows) == _state(plain)
    assert (windows.memory.size, windows.memory.windows) == (plain.memory.size, plain.memory.windows)
    assert windows.memory.windows == sum(len(series.raw) for series in windows.series("m"))


@given(WRITTEN, st.sets(st.integers(1, 39)), st.integers(1, 7))
def test_several_records_at_once_are_as_one_by_one(
    written: list[tuple[int, dict[str, str], int]], cuts: set[int], size: int
) -> None:
    records = []
    for number, (start, segment, value) in enumerate(written, 1):
        key, raw = record(minute(start), number, segment, predictions=number)
        records.append(Line(key, raw if value else None))
    ends = sorted({min(cut, len(records)) for cut in cuts} | {0, len(records)})
    one_by_one, at_once = PublishedWindows(), PublishedWindows()
    for place, (a, b) in reversed(list(enumerate(pairwise(ends)))):
        models = {one_by_one.take_older(of.key, of.value) for of in records[a:b]} - {None}
        told = set().union(*(at_once.take_older_all(records[part : min(part + size, b)]) for part in range(a, b, size)))
        assert told <= models
        for windows in (one_by_one, at_once):
            windows.end_of_block(place == 0)
    assert _state(at_once) == _state(one_by_one)
    assert (at_once.memory.size, at_once.memory.windows, at_once.records) == (
        one_by_one.memory.size,
        one_by_one.memory.windows,
        one_by_one.records,
    )


def test_revisions_beyond_what_is_kept() -> None:
    plain, newest_first = PublishedWindows(), PublishedWindows()
    records = [record(minute(0), number, predictions=number) for number in range(1, 161)]
    for one in records:
        plain.take(*one)
    for one in records[100:]:
        newest_first.take(*one)
    for block in (records[40:100], records[:40]):
        for one in block:
            newest_first.take_older(*one)
        newest_first.end_of_block(block[0] is records[0])
    assert _state(plain) == _state(newest_first)
    assert plain.memory.size == newest_first.memory.size
    (told,) = _state(plain).values()
    assert [revision for revision, _ in told[1]] == [1, *range(111, 161)]


def test_older_records_of_windows_that_were_given_up_do_not_bring_them_back() -> None:
    windows = PublishedWindows(budget=200_000)
    records = [record(minute(n), pad="x" * 500) for n in range(3000)]
    for key, value in records[1500:]:
        windows.take(key, value)
    (series,) = windows.series("m")
    kept = series.starts()
    for key, value in records[:1700]:
        windows.take_older(key, value)
    windows.end_of_block(True)
    assert windows.memory.size <= windows.memory.budget
    assert set(series.starts()) <= set(kept)
    assert series.dropped >= 3000 - len(kept)
