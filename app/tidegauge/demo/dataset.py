"""The demo's events, which are made once and cached: reference data for the baseline, and April to December in sending
order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from tidegauge.demo import incidents
from tidegauge.engine.stage import LABELS, PREDICTIONS

FORMAT = 3
"""The version of the cached files. Increase it whenever their content changes, so that an older cache is not used."""
FIRST_DAY = incidents._day("2013-04-01")
DAY = 86400.0


_encode = msgspec.json.Encoder().encode


class TimedEvent(NamedTuple):
    """An event as JSON in ``value``, the logical topic it goes to, and the event time (seconds) at which it is sent."""

    time: float
    topic: str
    value: bytes


class DemoData(msgspec.Struct, frozen=True):
    """The files with the demo's data. ``reference``: JSON lines with labels; ``events``: MessagePack, in sending order."""

    reference: Path
    events: Path

    def stream(self, days: int) -> list[TimedEvent]:
        """The events of the first ``days`` days from 1 April on."""
        end = FIRST_DAY + days * DAY
        found = msgspec.msgpack.decode(self.events.read_bytes(), type=list[TimedEvent])
        return [event for event in found if event.time < end]


def prepare(cache: Path, progress: Callable[[str], None]) -> DemoData:
    """The demo's data, from the directory ``cache`` or made anew, which takes half a minute."""
    directory = cache / f"flights-{FORMAT}"
    data = DemoData(directory / "reference.jsonl", directory / "events.msgpack")
    if data.events.exists():
        return data
    directory.mkdir(parents=True, exist_ok=True)
    _make(data, progress)
    return data


def _make(data: DemoData, progress: Callable[[str], None]) -> None:
    # Importing this takes a second, which a start with cached data saves.
    from tidegauge.demo import flights

    began = time.monotonic()
    progress("reading 336,776 flights")
    rows = flights.table()
    progress("training on January to March")
    model = flights.DelayModel(rows)
    reference = rows[rows["predicted"] < flights.TRAINED_UNTIL].copy()
    reference["score"] = model.out_of_fold(reference)
    progress("predicting April to December")
    live = rows[rows["predicted"] >= flights.TRAINED_UNTIL].copy()
    _break_features(live)
    live["score"] = model.score(live)
    data.reference.write_bytes(b"".join(event + b"\n" for event in _reference(reference, flights)))
    events = sorted(_events(live, flights), key=lambda event: event[0])
    unfinished = data.events.with_suffix(".part")
    unfinished.write_bytes(msgspec.msgpack.encode(events))
    unfinished.rename(data.events)
    progress(f"{len(events)} events made in {time.monotonic() - began:.0f} s")


def _seconds(times: Any) -> Any:
    return times.astype("int64").to_numpy() / 1e9


def _break_features(live: Any) -> None:
    """Remove a third of the values of ``hour`` before the model sees them."""
    ts = _seconds(live["predicted"].dt.as_unit("ns"))
    hit = (ts >= incidents.MISSING.start) & (ts < incidents.MISSING.end) & (np.arange(len(live)) % 3 == 0)
    live["hour"] = live["hour"].astype(float).where(~hit)


def _predictions(rows: Any, flights: Any) -> Iterator[tuple[float, dict[str, Any]]]:
    columns = {name: rows[name].tolist() for name in (*flights.NUMBERS, *flights.CATEGORIES)}
    times = _seconds(rows["predicted"].dt.as_unit("ns")).tolist()
    for i, (request_id, ts, score) in enumerate(zip(rows["request_id"].tolist(), times, rows["score"].tolist(), strict=True)):
        features = {name: _plain(values[i]) for name, values in columns.items()}
        yield (
            ts,
            {
                "request_id": request_id,
                "ts": ts,
                "model": flights.MODEL,
                "model_version": flights.LIVE,
                "prediction": int(score >= flights.THRESHOLD),
                "score": round(score, 6),
                "features": features,
                "segments": {"origin": features["origin"], "carrier": features["carrier"]},
            },
        )


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value


def _reference(rows: Any, flights: Any) -> Iterator[bytes]:
    for (_, event), late, delay in zip(
        _predictions(rows, flights), rows["late"].tolist(), rows["arr_delay"].tolist(), strict=True
    ):
        if late == late:
            event |= {"label": int(late), "business": {"delay_minutes": delay}}
        yield _encode(event)


def _events(live: Any, flights: Any) -> Iterator[TimedEvent]:
    landed = _seconds(live["landed"].dt.as_unit("ns")).tolist()
    known = live["late"].notna().tolist()
    late, delay = live["late"].tolist(), live["arr_delay"].tolist()
    for i, (ts, event) in enumerate(_predictions(live, flights)):
        if incidents.STRING.start <= ts < incidents.STRING.end:
            event["features"]["distance"] = str(event["features"]["distance"])
        yield TimedEvent(ts, PREDICTIONS, _encode(event))
        if incidents.OVERCONFIDENT.start <= ts < incidents.OVERCONFIDENT.end:
            yield TimedEvent(ts, PREDICTIONS, _encode(_overconfident(event, flights)))
        if known[i]:
            yield from _labels(event["request_id"], landed[i], int(late[i]), delay[i])


def _overconfident(event: dict[str, Any], flights: Any) -> dict[str, Any]:
    """The same request answered by the shadow version, whose logit is 2.5 times as large."""
    score = float(np.clip(event["score"], 1e-6, 1 - 1e-6))
    sharp = 1 / (1 + ((1 - score) / score) ** 2.5)
    prediction = int(sharp >= flights.THRESHOLD)
    version = {"model_version": flights.SHADOW, "role": "shadow"}
    return event | version | {"score": round(sharp, 6), "prediction": prediction}


def _labels(request_id: str, landed: float, late: int, delay: float) -> Iterator[TimedEvent]:
    """The label events of one flight as they are sent: delayed while the label feed is down, and wrong and later corrected
    while the labelling job is wrong."""
    business = {"delay_minutes": delay}
    ts = landed
    if incidents.FEED.start <= landed < incidents.FEED.end:
        # The feed needs an hour to catch up.
        share = (landed - incidents.FEED.start) / (incidents.FEED.end - incidents.FEED.start)
        ts = incidents.FEED.end + share * 3600
    wrong = incidents.SWAPPED.start <= landed < incidents.SWAPPED.end
    label = {"request_id": request_id, "ts": ts, "label": 1 - late if wrong else late, "business": business}
    yield TimedEvent(ts, LABELS, _encode(label))
    if wrong:
        ts += incidents.CORRECTED_AFTER
        yield TimedEvent(ts, LABELS, _encode(label | {"ts": ts, "label": late}))
