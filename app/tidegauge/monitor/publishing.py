"""Publishes windows: a new revision of each record that has changed, and the verdicts on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from tidegauge.engine.delta import Segment
from tidegauge.engine.stage import METRICS, Output
from tidegauge.judge.conditions import is_counted, is_early
from tidegauge.metrics.grading import estimate_error
from tidegauge.metrics.members import NOT_COMPUTED, computed, united
from tidegauge.metrics.published import published
from tidegauge.metrics.recent import RECENT
from tidegauge.metrics.record import iso
from tidegauge.monitor.fresh_windows import Features
from tidegauge.monitor.judging import BuiltRecords, WindowJudge
from tidegauge.monitor.open_windows import OpenWindowRecords
from tidegauge.monitor.settling import label_members, performance_note
from tidegauge.monitor.versions import Versions
from tidegauge.monitor.window_baselines import WindowBaselines
from tidegauge.monitor.window_headers import Header, record_key
from tidegauge.monitor.window_records import Numbers, WindowRecords
from tidegauge.monitor.windows import Windows
from tidegauge.spec import ModelSpec

FAIRNESS_MIN_COUNT = 100


class NewestRecord(NamedTuple):
    """A published record as JSON, and the ``start`` of its window."""

    start: float
    encoded: bytes


class Publisher:
    """Publishes the windows of one monitor task."""

    def __init__(
        self, windows: Windows, records: WindowRecords, baselines: WindowBaselines, judge: WindowJudge, versions: Versions
    ) -> None:
        self._windows, self._records, self._baselines = windows, records, baselines
        self._judge, self._versions = judge, versions
        self._open_windows = OpenWindowRecords(windows)
        self._newest: dict[tuple[str, str, str, Segment], NewestRecord] = {}

    @property
    def newest_records(self) -> Iterator[bytes]:
        """The record, as JSON, of the newest closed window of each model, version, window length and segment."""
        return (of.encoded for of in self._newest.values())

    def publish(self, header: Header, segments: Iterable[Segment], now: float, reason: str | None = None) -> list[Output]:
        """Publish a new revision of the records of these ``segments`` of a closed window, and the verdicts on them.
        ``reason``: None if it is what has changed in each of them."""
        spec = self._baselines.spec(header)
        outcomes: dict[Segment, Numbers] = {}
        changed: dict[Segment, bool] = {}
        window = self._of_window(header, now)
        segments = list(segments)
        outputs = self._open_windows.take_back(header)
        self._windows.count(header, "data", segments)
        self._records.prepare_outcome_sides(header, segments)
        mixes = self._records.label_mixes(header, segments, spec)
        for segment in segments:
            state = header.records[segment]
            changed[segment] = _is_fresh(header, segment)
            state.revision += 1
            why = reason or ("data" if state.data else "labels" if state.outcome else "before")
            outcomes[segment] = self._outcomes(header, segment, spec, window | {"reason": why}, mixes.get(segment))
        self._grade(header, outcomes, spec)
        for segment, record in outcomes.items():
            encoded = self._encode(header, segment, spec, record)
            outputs.append(Output(METRICS, record_key(header, segment), encoded))
            self._note_newest(header, segment, encoded)
        built = BuiltRecords(
            header.segments,
            lambda of: outcomes[of] if of in outcomes else self._outcomes(header, of, spec, window),
            lambda of: self._records.data_side(header, of, spec),
        )
        outputs.extend(self._judge.closed(header, built, changed, now))
        if () in outcomes:
            self._outdate_next(header, spec)
        self._windows.published(header, outcomes, now)
        return outputs

    def prepare(self, header: Header, segments: Sequence[Segment], most: float) -> list[int]:
        """Compute the data sides of the records of the first of these ``segments`` of a closed window, up to ``most`` bytes of
        these and of profiles that change, and hold them until the window is published. Returns the bytes of each, 0 where
        nothing is needed."""
        spec = self._baselines.spec(header)
        done: list[int] = []
        for piece in self._windows.in_pieces(header, segments):
            if sum(done) >= most:
                break
            wanted = [of.segment for of in piece]
            self._windows.count(header, "data", wanted)
            encoded: list[int] = []
            while len(encoded) < len(wanted) and sum(done) + sum(encoded) < most:
                encoded.extend(self._records.prepare(header, wanted[len(encoded) :], spec))
            done.extend(size + of.bytes for size, of in zip(encoded, piece, strict=False))
            if len(encoded) < len(wanted):
                break
        return done

    @property
    def holds_much(self) -> bool:
        """Whether so much is prepared that no other window should be begun."""
        return self._records.holds_much

    def release(self, header: Header) -> None:
        """Drop what was prepared of a window."""
        self._records.release(header)

    def recall(self, header: Header, now: float) -> None:
        """Note a closed window as the newest one after a restart, without publishing it."""
        spec = self._baselines.spec(header)
        window = self._of_window(header, now) | {"reason": "closed"}
        for segment in header.segments:
            record = self._outcomes(header, segment, spec, window)
            self._note_error(header, spec, segment, record)
            self._note_newest(header, segment, self._encode(header, segment, spec, record))

    def early(self, header: Header, sound: Features | None, now: float) -> list[Output]:
        """Judge an open window, by the monitors that do not wait for it to close, and say how it stands where it is beyond a
        limit. ``sound``: of its new predictions, as in ``Fresh``."""
        spec = self._baselines.spec(header)
        monitors = [m for m in self._baselines.monitors(header, spec) if m.window == header.window and is_early(m)]
        if not monitors:
            return []
        if self._judge.stays_calm(header, monitors, sound):
            return []
        wanted = header.segments if any(m.segments for m in monitors) else [()]
        window = self._of_window(header, now)
        counted = all(is_counted(m.metric) for m in monitors)
        built = BuiltRecords(
            wanted,
            lambda of: {**window, "segment": dict(of), **self._records.early(header, of, spec, counted)},
            lambda of: {},
        )
        judged = self._judge.early(header, built, now)
        return judged.outputs + self._open_windows.tell(header, spec, built, judged.beyond, now)

    def forget(self, header: Header) -> None:
        """Drop what is kept of a window that is deleted."""
        self._judge.forget(header)

    def _of_window(self, header: Header, now: float) -> Numbers:
        """The members that the records of all segments share."""
        delays = self._versions.get(header.model, header.version).delays
        return {
            "model": header.model,
            "model_version": header.version,
            "window": header.window,
            "window_start": iso(header.start),
            "window_end": iso(header.end),
            "closed": header.closed,
            **label_members(delays, header.start, header.end, now, header.settled),
        }

    def _outcomes(
        self, header: Header, segment: Segment, spec: ModelSpec, window: Numbers, mix: Numbers | None = None
    ) -> Numbers:
        """A segment's record without its data side. ``mix``: its member ``label_mix`` if it is known."""
        state = header.records[segment]
        record = {**window, "segment": dict(segment), "revision": state.revision, "predictions": state.predictions}
        record |= self._records.outcome_side(header, segment, spec, mix)
        note = performance_note(record)
        if note is not None:
            record["performance_note"] = note
        if segment:
            return record
        return united(record, computed({
            "fairness": lambda: self._records.fairness(header, spec, FAIRNESS_MIN_COUNT),
            RECENT: lambda: self._records.recent(header, spec),
        }))  # fmt: skip

    def _grade(self, header: Header, outcomes: Mapping[Segment, Numbers], spec: ModelSpec) -> None:
        """Note the error of the window's performance estimate for the whole model, and add to each record the error of its own
        estimate or, while that is unknown, the mean error of such estimates so far."""
        version = self._versions.get(header.model, header.version)
        if () in outcomes:
            errors = self._errors(header, spec, (), outcomes[()])
            if errors != header.graded:
                version.grades.replace(header.window, header.graded, errors)
                header.graded = errors
                self._versions.changed(version)
        for segment, record in outcomes.items():
            self._note_error(header, spec, segment, record)

    def _errors(self, header: Header, spec: ModelSpec, segment: Segment, record: Numbers) -> dict[str, float]:
        if not record["settled"]:
            return {}
        return estimate_error(record | {"estimated": self._estimated(header, spec, segment)})

    def _estimated(self, header: Header, spec: ModelSpec, segment: Segment) -> dict[str, Any]:
        raw = self._records.encoded_data_side(header, segment, spec).get("estimated")
        return {} if raw is None else msgspec.json.decode(raw, type=dict[str, Any])

    def _note_error(self, header: Header, spec: ModelSpec, segment: Segment, record: Numbers) -> None:
        errors = self._errors(header, spec, segment, record)
        if errors:
            record["estimate_error"] = errors
            return
        so_far = self._versions.get(header.model, header.version).grades.mean_absolute_error(header.window)
        if so_far and "estimated" in self._records.encoded_data_side(header, segment, spec):
            record["estimate_mean_absolute_error"] = so_far

    def _encode(self, header: Header, segment: Segment, spec: ModelSpec, record: Numbers) -> bytes:
        said = published(record, segment=bool(segment))
        data_side: dict[str, Any] = {**self._records.encoded_data_side(header, segment, spec)}
        if NOT_COMPUTED in data_side:
            data_side[NOT_COMPUTED] = msgspec.json.decode(data_side[NOT_COMPUTED])
        return msgspec.json.encode(united(said, data_side))

    def _outdate_next(self, header: Header, spec: ModelSpec) -> None:
        """If this window has changed, the next one, which was judged together with it, must be judged again."""
        later = self._windows.find(header.model, header.version, header.window, header.end)
        state = header.records[()]
        changed = state.data or (state.outcome and later is not None and later.settled)
        if later is not None and later.closed and changed and self._records.remembers(header, spec):
            self._windows.outdate(later)

    def _note_newest(self, header: Header, segment: Segment, encoded: bytes) -> None:
        if not header.closed:
            return
        key = (header.model, header.version, header.window, segment)
        newest = self._newest.get(key)
        if newest is None or newest.start <= header.start:
            self._newest[key] = NewestRecord(header.start, encoded)


def _is_fresh(header: Header, segment: Segment) -> bool:
    """Whether the data side of a segment's next record is another than that of its last. A window that has just closed is
    judged by every monitor."""
    state = header.records[segment]
    return state.data or not state.revision or (header.stale and not segment)
