"""Part of `make evaluate`: how soon faults are told of a model with a few requests in five minutes, and false alarms meanwhile.

Writes ``docs/evaluation/few-requests.json`` and the tables of it in ``docs/evaluation.md``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec
import numpy as np

from streams import VICTIM, Scenario, draw
from tables import PAGE, ROOT, fill, share, table
from tidegauge.baseline.baseline import Baseline
from tidegauge.engine.stage import ALERTS, PREDICTIONS, PROFILES, MemoryStore, Record
from tidegauge.join.stage import JoinStage
from tidegauge.models.default_monitors import default_monitors
from tidegauge.models.registry import ModelRecord, Registry, encode
from tidegauge.monitor.stage import MonitorStage
from tidegauge.spec import BaselineSpec, ModelSpec
from tidegauge_arm import MODEL, Verdicts, build_baseline, listen, predictions

RATES = (5, 15, 50)
"""Requests in a window of five minutes, on average."""
REFERENCE_ROWS, FEATURES, SECONDS = 5000, 10, 300.0
CALM_WINDOWS, BEFORE, LASTS, AFTER = 144, 12, 12, 12
"""Windows of a stream without a fault; and of one with a fault, the windows before it, of it, and after it."""
SILENT_STREAMS = 2
"""How many streams are judged from 200 values on, which never says anything."""
Event = dict[str, Any]


SPEC = ModelSpec(MODEL, task="binary", windows=("5m", "1d"), baseline=BaselineSpec(file="m.baseline.json"))


@dataclass(frozen=True)
class Stream(Scenario):
    """A stream of requests at random times, with windows of five minutes."""

    @property
    def window(self) -> str:
        return "5m"

    @property
    def seconds(self) -> float:
        return SECONDS


def _victim(event: Event, value: Any) -> Event:
    return event | {"features": event["features"] | {f"x{VICTIM}": value}}


def _gone(event: Event, rng: np.random.Generator) -> Event:
    return event | {"features": {name: of for name, of in event["features"].items() if name != f"x{VICTIM}"}}


def _half(event: Event, rng: np.random.Generator) -> Event:
    return _victim(event, None) if rng.random() < 0.5 else event


def _text(event: Event, rng: np.random.Generator) -> Event:
    return _victim(event, str(event["features"][f"x{VICTIM}"]))


def _failed(event: Event, rng: np.random.Generator) -> Event:
    return {name: of for name, of in event.items() if name not in ("prediction", "score")} | {"error": "timeout"}


def _unseen(event: Event, rng: np.random.Generator) -> Event:
    return event | {"features": event["features"] | {"c0": event["features"]["c0"].upper()}}


FAULTS: dict[str, tuple[Callable[[Event, np.random.Generator], Event], frozenset[str]]] = {
    "a feature is gone": (_gone, frozenset({"missing-feature", "missing-values"})),
    "half of its values are missing": (_half, frozenset({"missing-values"})),
    "its numbers come as text": (_text, frozenset({"type-mismatch"})),
    "every request fails": (_failed, frozenset({"error-ratio"})),
    "the values of a category are unseen": (_unseen, frozenset({"unseen-values"})),
}
"""What goes wrong, and the monitors that may tell it."""


class Case(NamedTuple):
    """One kind of stream, and whether windows of few values are judged (``few``). ``fault`` "": none."""

    rate: int
    family: str
    fault: str
    few: bool


class Told(NamedTuple):
    """One event of an alert: the monitor, the feature ("" for none), firing or resolved, and the event time (Unix seconds)."""

    monitor: str
    feature: str
    status: str
    time: float


class Heard(NamedTuple):
    """What a stream brought: the windows in which any monitor of five minutes was breached, and the events of alerts."""

    breached: set[int]
    told: list[Told]


def events(stream: Stream, fault: str, seed: int) -> tuple[list[list[Event]], float, float]:
    """The events window by window, and when the fault begins and ends (Unix seconds)."""
    _, watched = draw(stream)
    rng = np.random.default_rng([seed, 9])
    first = stream.reference * SECONDS
    watched.ts[:] = first + np.sort(rng.random(len(watched.ts))) * stream.windows * SECONDS
    begins = first + (BEFORE + rng.random()) * SECONDS
    ends = begins + LASTS * SECONDS
    windows: list[list[Event]] = [[] for _ in range(stream.windows)]
    for event in predictions(watched, 0):
        if fault and begins <= event["ts"] < ends:
            event = FAULTS[fault][0](event, rng)
        windows[min(int((event["ts"] - first) // SECONDS), stream.windows - 1)].append(event)
    return windows, begins, ends


def listen_to(stream: Stream, spec: ModelSpec, baseline: bytes, windows: list[list[Event]]) -> Heard:
    registry = Registry()
    registry.apply(MODEL.encode(), encode(ModelRecord(MODEL, spec, {"": msgspec.Raw(baseline)})))
    counters: Counter[tuple[str, str]] = Counter()
    join = JoinStage(0, MemoryStore(), registry, 1, counters)
    monitor = MonitorStage(MemoryStore(), registry, 1, counters)
    verdicts, told = Verdicts(), []
    listen(monitor, verdicts, SECONDS, stream.reference)
    place = 0
    for window in windows:
        join.process(PREDICTIONS, [Record(place + i, -1, None, msgspec.json.encode(of)) for i, of in enumerate(window)])
        place += len(window)
        monitor.process(PROFILES, [Record(0, -1, o.key, o.value) for o in join.checkpoint(0.0) if o.topic == PROFILES])
        told += [_told(json.loads(o.value)) for o in monitor.checkpoint(0.0) if o.topic == ALERTS and o.value is not None]
    short = [of.name for of in spec.monitors or () if of.window == stream.window]
    return Heard({w for name in short for w, paths in verdicts.breached.get(name, {}).items() if paths}, told)


def _told(event: dict[str, Any]) -> Told:
    data, time = event["data"], datetime.fromisoformat(event["time"]).timestamp()
    return Told(data["labels"]["alertname"], data["labels"].get("feature", ""), data["status"], time)


@cache
def _baseline(stream: Stream) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        return build_baseline(SPEC, draw(stream)[0], False, Path(directory) / "reference.jsonl")


def measure(case: Case, seed: int) -> dict[str, Any]:
    """Of a stream without a fault: ``calm``, the windows with a false alarm, of how many. Of one with a fault, in seconds:
    ``told``, from its begin to the first alert on it, and ``over``, from its end to the last one's; None if there is none.
    ``again``: how often an alert on it fired that had fired before."""
    windows = BEFORE + LASTS + AFTER if case.fault else CALM_WINDOWS
    stream = Stream("few-requests", case.family, FEATURES, case.rate, REFERENCE_ROWS // case.rate, windows, False, seed=seed)
    baseline = _baseline(replace(stream, windows=1))
    monitors = default_monitors(SPEC, Baseline.from_json(baseline))
    if not case.few:
        monitors = tuple(msgspec.structs.replace(of, few_values=None) for of in monitors)
    said, begins, ends = events(stream, case.fault, seed)
    heard = listen_to(stream, msgspec.structs.replace(SPEC, monitors=monitors), baseline, said)
    if not case.fault:
        return {"calm": [len(heard.breached), windows]}
    about = {"", f"x{VICTIM}", "c0"}
    named = [of for of in heard.told if of.monitor in FAULTS[case.fault][1] and of.feature in about and of.time >= begins]
    firing = [of for of in named if of.status == "firing"]
    over = [of.time for of in named if of.status == "resolved"]
    return {
        "told": firing[0].time - begins if firing else None,
        "over": over[-1] - ends if over else None,
        "again": len(firing) - len({of.monitor for of in firing}),
    }


CASES = [Case(rate, "independent", fault, few) for fault in FAULTS for few in (True, False) for rate in RATES]
CASES += [Case(rate, family, "", True) for family in ("independent", "autocorrelated") for rate in RATES]


def _run(task: tuple[Case, int]) -> tuple[Case, dict[str, Any]]:
    return task[0], measure(*task)


def _minutes(found: list[dict[str, Any]], member: str) -> str:
    """The median and the largest of these times in minutes, and of how many streams there is one."""
    times = [of[member] / 60 for of in found if of[member] is not None]
    text = f"{median(times):.0f}, at most {max(times):.0f}" if times else "–"
    return f"{text} ({len(times)}/{len(found)})"


def tables(found: Mapping[Case, list[dict[str, Any]]]) -> dict[str, str]:
    head = ["", *(f"{rate} requests in 5 minutes" for rate in RATES)]

    def row(name: str, fault: str, few: bool, member: str) -> list[str]:
        return [name, *(_minutes(found[Case(rate, "independent", fault, few)], member) for rate in RATES)]

    told = [row(fault, fault, True, "told") for fault in FAULTS]
    silent = [row(f"{fault}, judged from 200 values on", fault, False, "told") for fault in FAULTS]
    over = [row(fault, fault, True, "over") for fault in FAULTS]
    calm = [
        [f"{family} rows", *(share(_calm(found[Case(rate, family, "", True)])) for rate in RATES)]
        for family in ("independent", "autocorrelated")
    ]
    return {
        "few-requests-told": table(head, told + silent),
        "few-requests-over": table(head, over),
        "few-requests-calm": table(head, calm),
    }


def _calm(found: list[dict[str, Any]]) -> list[int]:
    return [sum(of["calm"][place] for of in found) for place in (0, 1)]


def write(found: Mapping[Case, list[dict[str, Any]]]) -> None:
    cells = [{**case._asdict(), "streams": of} for case, of in found.items()]
    out = ROOT / "docs" / "evaluation"
    (out / "few-requests.json").write_text(json.dumps({"windows": CALM_WINDOWS, "cells": cells}) + "\n")
    fill(tables(found), PAGE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=10, help="streams of each kind")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    found: dict[Case, list[dict[str, Any]]] = {case: [] for case in CASES}
    silent = min(SILENT_STREAMS, options.streams)
    tasks = [(case, seed) for case in CASES for seed in range(options.streams if case.few else silent)]
    with multiprocessing.Pool(options.jobs) as pool:
        for case, of in pool.imap(_run, tasks):
            found[case].append(of)
    write(found)


if __name__ == "__main__":
    main()
