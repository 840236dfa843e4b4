"""Rows that wait in the monitor stage say, whenever they are counted, what profiles made at once say; none is lost or counted
twice by a restart, and none is kept once all have taken it."""

from __future__ import annotations

import json
import random
import tracemalloc
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from support.driver import Pipeline, flatten, numbers
from support.events import START, prediction
from tidegauge.engine import delta
from tidegauge.engine.stage import LABELS, PREDICTIONS, PROFILES, MemoryStore
from tidegauge.join import pane_profiles
from tidegauge.models.registry import ModelRecord, encode
from tidegauge.monitor import learning, row_log, window_profiles, window_rows, windows
from tidegauge.spec import BaselineSpec, ModelSpec

HOUR = 3600.0
SPEC = ModelSpec(
    "churn", task="binary", segments=(("region",), ("device",)), windows=("1h", "2h"), grace=0.0, label_horizon=12 * HOUR,
    retention=14 * HOUR, baseline=BaselineSpec(first=150),
)  # fmt: skip


def events() -> list[tuple[str, bytes]]:
    """400 requests of five hours in a dozen segments, of whose labels some are corrected, some features missing or odd. No
    window has more than 200, beyond which sketches are random."""
    rng = random.Random(3)
    found: list[tuple[float, str, dict[str, Any]]] = []
    for number in range(400):
        ts, score = START + 5 * HOUR * number / 400, rng.random()
        features: dict[str, Any] = {"x": rng.gauss(0, 1), "plan": rng.choice("abc")}
        if rng.random() < 0.1:
            features["x"] = rng.choice([None, "text"])
        event = prediction(number, ts, prediction=int(score > 0.5), score=score, features=features)
        segments = {"region": rng.choice(["eu", "us", "ap"]), "device": f"d{rng.randrange(9)}"}
        found.append((ts, PREDICTIONS, event | {"segments": segments}))
        for _ in range(1 + (rng.random() < 0.1)):
            known = ts + rng.expovariate(1 / HOUR)
            found.append((known, LABELS, {"request_id": f"r{number}", "ts": known, "label": int(rng.random() < score)}))
    return [(topic, json.dumps(event).encode()) for _, topic, event in sorted(found, key=lambda of: of[0])]


def played(restarts: float = 0.0, partitions: int = 1, sizes: list[int] | None = None) -> Pipeline:
    """All events, with a restart after a share of the checkpoints. ``sizes``: takes the bytes of rows after each checkpoint."""
    rng, pipeline, all_events = random.Random(5), Pipeline(SPEC, partitions), events()
    for start in range(0, len(all_events), 7):
        for topic, value in all_events[start : start + 7]:
            pipeline.send(topic, [value])
        pipeline.checkpoint()
        if sizes is not None:
            sizes.append(pipeline.monitor.windows.log.size)
        if rng.random() < restarts:
            pipeline.restart_monitor()
    pipeline.finish()
    return pipeline


def said(pipeline: Pipeline) -> dict[tuple[bytes, str], Any]:
    """Every number of the newest records."""
    return {
        name: pytest.approx(value, rel=1e-5, abs=1e-9) if isinstance(value, float | int) else value
        for name, value in leaves(pipeline).items()
    }


def leaves(pipeline: Pipeline) -> dict[tuple[bytes, str], Any]:
    found: dict[tuple[bytes, str], Any] = {}
    for key, record in pipeline.records().items():
        for path, value in flatten(numbers(record)).items():
            for place, of in enumerate(value if isinstance(value, list) else [value]):
                found[key, f"{path}[{place}]"] = of
    return found


@pytest.fixture(scope="module")
def by_rows() -> Pipeline:
    return played()


def test_rows_say_what_profiles_say(by_rows: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pane_profiles, "MIN_ROWS", 0)
    assert leaves(played()) == said(by_rows)


@pytest.mark.parametrize("kept", [0, 20_000, windows.MAX_ROWS_BYTES])
def test_restarts_lose_and_repeat_nothing(by_rows: Pipeline, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "MAX_ROWS_BYTES", kept)
    monkeypatch.setattr(learning, "MAX_ROWS_BYTES", kept)
    assert leaves(played(restarts=0.3)) == said(by_rows)


def test_caches_without_room_change_nothing(by_rows: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (window_profiles, "MAX_DATA_BYTES"), (window_profiles, "MAX_OUTCOME_BYTES"), (window_profiles, "MAX_ARRIVED_BYTES"),
        (window_rows, "MAX_TOGETHER"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, 1)
    for module in (windows, learning):
        monkeypatch.setattr(module, "MAX_ROWS_BYTES", 40_000)
    sizes: list[int] = []
    assert leaves(played(restarts=0.1, sizes=sizes)) == said(by_rows)
    come = max(after - before for before, after in pairwise(sizes))
    assert 40_000 < max(sizes) < 40_000 + (windows.COUNTED_UNASKED + 2) * come
    assert len(sizes) > 5 * windows.COUNTED_UNASKED


def test_what_all_have_taken_is_not_kept(by_rows: Pipeline) -> None:
    monitor = by_rows.monitor
    for header in list(monitor.windows.headers.values()):
        monitor.windows.count(header, "data")
        monitor.windows.count(header, "outcome")
    assert monitor.versions["churn", "churn_xgb:3"].learned
    assert not monitor.windows.log.rows
    assert monitor.windows.log.size == 0
    monitor.checkpoint(0.0)
    assert not [key for key, _ in monitor._store.scan(row_log.ROWS)]


def test_rows_of_a_forgotten_window_are_let_go() -> None:
    pipeline = Pipeline(msgspec.structs.replace(SPEC, baseline=BaselineSpec(file="elsewhere.json")))
    for topic, value in events()[:50]:
        pipeline.send(topic, [value])
    pipeline.checkpoint()
    windows_ = pipeline.monitor.windows
    assert windows_.log.rows
    for header in list(windows_.headers.values()):
        windows_.forget(header)
    assert not windows_.log.rows


def test_rows_that_a_new_spec_does_not_learn_from_are_let_go_at_a_restart() -> None:
    pipeline = Pipeline(SPEC)
    for topic, value in events()[:50]:
        pipeline.send(topic, [value])
    pipeline.checkpoint()
    for header in pipeline.monitor.windows.headers.values():
        pipeline.monitor.windows.count(header, "data")
        pipeline.monitor.windows.count(header, "outcome")
    pipeline.checkpoint()
    assert [key for key, _ in pipeline.monitor._store.scan(row_log.ROWS)]
    spec = msgspec.structs.replace(SPEC, baseline=BaselineSpec(file="elsewhere.json"))
    pipeline.registry.apply(b"churn", encode(ModelRecord("churn", spec)))
    pipeline.restart_monitor()
    assert not pipeline.monitor.windows.log.rows


def parts_of(count: int, numbers: int, id_length: int) -> list[bytes]:
    """Encoded parts of deltas of about ``count`` predictions with so many numbers as features, and of their labels."""
    spec = msgspec.structs.replace(SPEC, windows=("1h",))
    pipeline, rng, found = Pipeline(spec), random.Random(1), []
    for minute in range(12):
        names = [f"{rng.getrandbits(4 * id_length):0{id_length}x}" for _ in range(count)]
        for name in names:
            features = {f"feature_{of}": rng.random() for of in range(numbers)}
            event = prediction(0, START + 60 * minute, prediction=1, score=rng.random(), features=features)
            segments = {"region": rng.choice(["eu", "us", "ap"]), "device": f"d{rng.randrange(9)}"}
            pipeline.send(PREDICTIONS, [json.dumps(event | {"request_id": name, "segments": segments}).encode()])
        labels = [{"request_id": name, "ts": START + 60 * minute + 1, "label": 1} for name in names]
        pipeline.send(LABELS, [json.dumps(label).encode() for label in labels])
        for output in pipeline.joins[0].checkpoint(float(minute)):
            if output.topic == PROFILES:
                found += [msgspec.msgpack.encode(of) for of in delta.decode(output.value or b"").parts]
    return found


@pytest.mark.parametrize(("count", "numbers"), [(2, 8), (5, 50), (50, 50), (100, 16), (20, 200)])
@pytest.mark.parametrize("side", ["data", "outcome"])
def test_rows_take_about_as_much_memory_as_they_are_said_to(count: int, numbers: int, side: str) -> None:
    decode = msgspec.msgpack.Decoder(delta.RowsDelta).decode
    encoded = [raw for raw in parts_of(count, numbers, 32) if getattr(decode(raw), side) is not None] * 10
    log = row_log.RowLog(MemoryStore())
    tracemalloc.start()
    try:
        for raw in encoded:
            log.add("churn", SPEC, decode(raw))
        log.flush()
        with_rows, _ = tracemalloc.get_traced_memory()
        log.rows.clear()
        without, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.9 < log.size / (with_rows - without) < 1.3
