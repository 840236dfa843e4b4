"""Windows to records and verdicts: what the monitor stage publishes of one window, and what it concludes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from tidegauge.alert.book import AlertBook, Support
from tidegauge.alert.labels import Subject
from tidegauge.baseline.baseline import Baseline, schema_of
from tidegauge.engine.delta import Segment
from tidegauge.engine.stage import METRICS, Output
from tidegauge.judge import evidence
from tidegauge.judge.conditions import Intervals, Verdict, expand, is_early, judge, needs_settled
from tidegauge.judge.evidence import Beside, Performance
from tidegauge.metrics import record as records
from tidegauge.metrics.bin_counts import add_bin_counts
from tidegauge.metrics.fairness import fairness
from tidegauge.metrics.grading import Grades, estimate_error
from tidegauge.metrics.performance import performance
from tidegauge.metrics.recent import RECENT
from tidegauge.metrics.record import iso
from tidegauge.metrics.segment_mix import segment_mix
from tidegauge.models.default_monitors import default_monitors
from tidegauge.models.registry import Registry
from tidegauge.monitor.missing_values import MissingValueAlerts, is_rise, is_share
from tidegauge.monitor.recent_windows import RecentWindows
from tidegauge.monitor.settling import LabelDelays, label_members, performance_note
from tidegauge.monitor.windows import Header, Windows
from tidegauge.profile.outcome import OutcomeProfile, most_wrong
from tidegauge.spec import ModelSpec, MonitorSpec, span_name, watches

FAIRNESS_MIN_COUNT = 100
MAX_CACHED = 2000
COINCIDENT_WINDOWS = 7
"""Drift and a drop of performance coincide if both are there in a window at most this many from the drift's start."""


class Judge:
    """Builds, publishes and judges the records of one monitor task's windows."""

    def __init__(self, windows: Windows, alerts: AlertBook, registry: Registry) -> None:
        self._windows, self._alerts, self._registry = windows, alerts, registry
        self._revision = -1
        self._monitors: dict[tuple[str, str], tuple[MonitorSpec, ...]] = {}
        self._previous: dict[tuple[bytes, int], Baseline] = {}
        self._data: dict[tuple[bytes, Segment], tuple[tuple[int, str | None], dict[str, Any]]] = {}
        self._recents = RecentWindows(windows)
        self._missing_alerts = MissingValueAlerts(windows, alerts, self._baseline)
        self.newest: dict[tuple[str, str, str, Segment], dict[str, Any]] = {}

    def publish(self, header: Header, delays: LabelDelays, grades: Grades, now: float, reason: str) -> list[Output]:
        """A new revision of a window, whole model and segments, and the verdicts on it."""
        spec = self._registry.spec(header.model)
        header.revision += 1
        built: dict[Segment, dict[str, Any]] = {}
        for segment in header.segments:
            built[segment] = self._record(header, segment, spec, delays, now, reason, drift=True)
        if () in built:
            gaps = self._fairness(header, spec, FAIRNESS_MIN_COUNT)
            if gaps:
                built[()]["fairness"] = gaps
            recent = self._recent(header, spec, built[()])
            if recent:
                built[()][RECENT] = recent
        whole = estimate_error(built[()]) if () in built else {}
        grades.replace(header.window, header.graded, whole)
        header.graded = whole
        self._grade(header, built, grades)
        outputs = [
            Output(METRICS, record_key(header, segment), msgspec.json.encode(record)) for segment, record in built.items()
        ]
        outputs.extend(self._verdicts(header, spec, built, now, early=False))
        self._outdate_next(header, spec)
        header.published, header.dirty, header.data_dirty, header.stale = now, False, False, False
        self._windows.published(header)
        if header.closed:
            self._note_newest(header, built)
        return outputs

    def _recent(self, header: Header, spec: ModelSpec, record: dict[str, Any]) -> dict[str, Any]:
        """The numbers of a closed window together with the one before, where the baseline says how much these vary."""
        baseline = self._baseline(header, spec) if header.closed and self._remembers(header, spec) else None
        before = self._windows.before(header)
        if baseline is None or before is None or not before.closed or not baseline.spreads(header.window, recent=True):
            return {}
        earlier = partial(self._data_part, before, (), spec, baseline, True)
        return self._recents.numbers(header, before, record, earlier, spec, baseline)

    def _remembers(self, header: Header, spec: ModelSpec) -> bool:
        """Whether a monitor judges windows of this length together with the one before."""
        return any(m.condition.auto and m.window == header.window for m in self._monitors_of(header, spec))

    def _outdate_next(self, header: Header, spec: ModelSpec) -> None:
        """A window that was judged together with this one must be so anew, if this one has changed."""
        later = self._windows.find(header.model, header.version, header.window, header.end)
        changed = header.data_dirty or (header.dirty and later is not None and later.settled)
        if later is not None and later.closed and changed and self._remembers(header, spec):
            self._windows.outdate(later)

    def recall(self, header: Header, delays: LabelDelays, grades: Grades, now: float) -> None:
        """Hold a closed window as the newest one again, after a restart, without publishing it."""
        spec = self._registry.spec(header.model)
        records = {s: self._record(header, s, spec, delays, now, "closed", drift=True) for s in header.segments}
        self._grade(header, records, grades)
        self._note_newest(header, records)

    def early(self, header: Header, delays: LabelDelays, now: float) -> list[Output]:
        """Verdicts on an open window, by the monitors that do not wait."""
        spec = self._registry.spec(header.model)
        monitors = [m for m in self._monitors_of(header, spec) if m.window == header.window and is_early(m)]
        if not monitors:
            return []
        wanted = header.segments if any(m.segments for m in monitors) else [()]
        built = {s: self._record(header, s, spec, delays, now, "early", drift=False) for s in wanted}
        return self._verdicts(header, spec, built, now, early=True)

    # -- records -------------------------------------------------------------------------------------------------

    def _record(
        self, header: Header, segment: Segment, spec: ModelSpec, delays: LabelDelays, now: float, reason: str, *,
        drift: bool,
    ) -> dict[str, Any]:  # fmt: skip
        data, outcome = self._windows.data(header, segment), self._windows.outcome(header, segment)
        whole = self._baseline(header, spec) if drift or self._has_schema(header, spec) else None
        baseline = None if whole is None else whole.part(segment)
        record: dict[str, Any] = {
            "model": header.model,
            "model_version": header.version,
            "segment": dict(segment),
            "window": header.window,
            "window_start": iso(header.start),
            "window_end": iso(header.end),
            "revision": header.revision,
            "closed": header.closed,
            "reason": reason,
        }
        record |= label_members(delays, header.start, header.end, now, header.settled)
        if drift:
            record["compared_with"] = self._compared_with(header, spec, baseline)
        record |= records.numbers(
            data, outcome, spec, baseline, header.end - header.start,
            None if whole is None else whole.calibration_for(segment),
            self._data_part(header, segment, spec, baseline, drift), outcomes=drift, window=header.window,
        )  # fmt: skip
        if drift and baseline is not None and not segment:
            predictions = {of: self._windows.data(header, of).predictions for of in header.segments}
            mix = segment_mix(predictions, baseline, spec.segments)
            if mix:
                record["data"] = record["data"] | {"segments": mix}
        note = performance_note(record)
        if note is not None:
            record["performance_note"] = note
        return record

    def _grade(self, header: Header, built: dict[Segment, dict[str, Any]], grades: Grades) -> None:
        """Say of each record how far its estimate was off, or while that is not known how far such estimates were."""
        so_far = grades.mean_absolute_error(header.window)
        for record in built.values():
            errors = estimate_error(record)
            if errors:
                record["estimate_error"] = errors
            elif so_far and "estimated" in record:
                record["estimate_mean_absolute_error"] = so_far

    def _compared_with(self, header: Header, spec: ModelSpec, baseline: Baseline | None) -> dict[str, str]:
        source = spec.baseline_for(header.version)
        if baseline is None:
            if source.previous is not None:
                reason = f"nothing is known of the window {span_name(source.previous)} earlier: the first period is silent"
            elif source.first is not None:
                reason = f"a baseline is learned from the first {source.first} predictions, and of the segments in them"
            else:
                reason = "the baseline does not know this version, or this segment"
            return {"source": "none", "reason": reason}
        if source.previous is not None:
            return {"source": "previous", "window_start": iso(header.start - source.previous)}
        return {"source": baseline.source}

    def _data_part(
        self, header: Header, segment: Segment, spec: ModelSpec, baseline: Baseline | None, drift: bool
    ) -> dict[str, Any]:
        """The data side of a record: it is costly and late labels do not change it, so it is kept."""
        profile = self._windows.data(header, segment)
        if not drift:
            return records.data_members(profile, spec, baseline, drift=False)
        key = (header.key, segment)
        mark = (profile.predictions, None if baseline is None else baseline.schema.id)
        found = self._data.get(key)
        if found is None or found[0] != mark:
            while len(self._data) >= MAX_CACHED:
                del self._data[next(iter(self._data))]
            members = records.data_members(profile, spec, baseline, header.window)
            if baseline is not None and not segment:
                add_bin_counts(members, profile, baseline)
            found = self._data[key] = (mark, members)
        return found[1]

    def _has_schema(self, header: Header, spec: ModelSpec) -> bool:
        return spec.baseline_for(header.version).previous is None

    def _baseline(self, header: Header, spec: ModelSpec) -> Baseline | None:
        """What this window is compared with: its version's baseline, or the same window one period earlier."""
        period = spec.baseline_for(header.version).previous
        if period is None:
            return self._registry.baseline(header.model, header.version)
        before = self._windows.find(header.model, header.version, header.window, header.start - period)
        if before is None or not before.closed:
            return None
        key = (before.key, before.revision)
        if key not in self._previous:
            while len(self._previous) >= 100:
                del self._previous[next(iter(self._previous))]
            bins = self._registry.baseline(header.model, header.version)
            parts = {segment: self._earlier(before, segment, spec, bins) for segment in before.segments}
            baseline = parts.pop(())
            baseline.parts = parts
            self._previous[key] = baseline
        return self._previous[key]

    def _earlier(self, before: Header, segment: Segment, spec: ModelSpec, bins: Baseline | None) -> Baseline:
        """An earlier window, as the baseline of a later one."""
        data, outcome = self._windows.data(before, segment), self._windows.outcome(before, segment)
        schema = schema_of(data) if bins is None else bins.schema
        baseline = Baseline(before.model, before.version, data, outcome, schema, source="previous")
        baseline.metrics = records.numbers(data, outcome, spec, None, before.end - before.start, baseline.calibration)
        return baseline

    def _fairness(self, header: Header, spec: ModelSpec, min_count: int) -> dict[str, dict[str, Any]]:
        gaps = {}
        for breakdown in spec.segments:
            outcomes: dict[str, OutcomeProfile] = {
                ",".join(value for _, value in segment): self._windows.outcome(header, segment)
                for segment in header.segments
                if tuple(d for d, _ in segment) == breakdown
            }
            found = fairness(outcomes, spec.task, spec.positive_label, min_count)
            if found:
                gaps["+".join(breakdown)] = found
        return gaps

    def _note_newest(self, header: Header, built: dict[Segment, dict[str, Any]]) -> None:
        for segment, record in built.items():
            key = (header.model, header.version, header.window, segment)
            held = self.newest.get(key)
            if held is None or held["window_start"] <= record["window_start"]:
                self.newest[key] = record

    # -- verdicts ------------------------------------------------------------------------------------------------

    def _monitors_of(self, header: Header, spec: ModelSpec) -> tuple[MonitorSpec, ...]:
        if spec.monitors is not None:
            return spec.monitors
        if self._revision != self._registry.revision:
            self._monitors.clear()
            self._revision = self._registry.revision
        name = (header.model, header.version)
        if name not in self._monitors:
            self._monitors[name] = default_monitors(spec, self._registry.baseline(*name))
        return self._monitors[name]

    def _verdicts(
        self, header: Header, spec: ModelSpec, built: dict[Segment, dict[str, Any]], now: float, *, early: bool
    ) -> list[Output]:
        outputs: list[Output] = []
        baseline = self._baseline(header, spec)
        # Performance first: what the drift monitors say depends on it. A rise of missing values last: it may be told already.
        for monitor in sorted(
            self._monitors_of(header, spec),
            key=lambda m: (not evidence.is_performance(m.metric), is_rise(m.metric)),
        ):
            if monitor.window != header.window or (early and not is_early(monitor)):
                continue
            if needs_settled(monitor.metric) and not self._settled(monitor, header, now):
                continue
            wanted = {segment: record for segment, record in built.items() if watches(monitor.segments, segment)}
            if () in built and monitor.metric.startswith("fairness."):
                # Which values of a dimension are large enough to be compared is for each monitor to say.
                wanted = {(): built[()] | {"fairness": self._fairness(header, spec, monitor.min_count)}}
            for segment, verdict in judge(wanted, monitor, baseline, header.window, self._intervals(header, spec, baseline)):
                subject = Subject(header.model, header.version, segment)
                if verdict.breached and is_rise(verdict.path):
                    verdict = self._missing_alerts.unless_alerted_already(
                        header, spec, subject, verdict, self._monitors_of(header, spec)
                    )
                support = self._support(header, spec, subject, built | wanted, verdict, baseline)
                severity = self._severity(header, subject, verdict)
                outputs.extend(
                    self._alerts.verdict(subject, verdict, header.span, header.closed, header.revision, now, support, severity)
                )
        return outputs

    def _intervals(self, header: Header, spec: ModelSpec, baseline: Baseline | None) -> Intervals:
        def intervals(segment: Segment, level: float) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
            own = None if baseline is None else baseline.part(segment)
            now = records.intervals(self._windows.outcome(header, segment), spec, None if own is None else own.outcome, level)
            part = own or baseline
            return now, {} if part is None else records.intervals(part.outcome, spec, None, level)

        return intervals

    def _settled(self, monitor: MonitorSpec, header: Header, now: float) -> bool:
        return header.settled if monitor.settle == "auto" else header.closed and now >= header.end + monitor.settle

    def _support(
        self, header: Header, spec: ModelSpec, subject: Subject, built: dict[Segment, dict[str, Any]], verdict: Verdict,
        baseline: Baseline | None,
    ) -> Support:  # fmt: skip
        def support(status: str) -> tuple[dict[str, Any], str]:
            beside = self._beside(header, spec, subject, verdict)
            clause = evidence.sentence(verdict.path, beside, ended=status == "resolved")
            if status == "resolved":
                return evidence.NO_EVIDENCE, clause
            own = built[subject.segment]
            clause = evidence.direction(verdict.path, own[RECENT] if verdict.recent else own) + clause
            clause += evidence.estimate(verdict.path, built[subject.segment])
            clause += evidence.extremes(verdict.path, built[subject.segment])
            examples = {segment: self._examples(header, segment) for segment in built}
            return evidence.gather(verdict, subject.segment, built, baseline, header.window, examples, beside), clause

        return support

    def _examples(self, header: Header, segment: Segment) -> Mapping[str, Sequence[str]]:
        wrong = self._windows.outcome(header, segment).examples
        return {**self._windows.data(header, segment).examples, "performance": list(most_wrong(wrong.items()))}

    def _beside(self, header: Header, spec: ModelSpec, subject: Subject, verdict: Verdict) -> Beside:
        if evidence.is_performance(verdict.path):
            drifts = {m.name for m in self._monitors_of(header, spec) if evidence.is_drift(m.metric) or is_share(m.metric)}
            return Beside(drifted=tuple(self._alerts.breached_features(subject, drifts, header.start)))
        if not evidence.is_drift(verdict.path):
            return Beside()
        settled = self._windows.newest_settled(header)
        if settled is None:
            return Beside()
        monitors = [m for m in self._performance_monitors(header, spec) if "*" not in m.metric]
        outcome = self._windows.outcome(settled, subject.segment)
        numbers = {"performance": performance(outcome, spec.task, spec.positive_label)}
        values = {m.metric: value for m in monitors for _, value in expand(numbers, m.metric)}
        breached = tuple(m.name for m in monitors if self._coincide(header, subject, verdict, m))
        return Beside(Performance(iso(settled.start), values, breached))

    def _performance_monitors(self, header: Header, spec: ModelSpec) -> list[MonitorSpec]:
        return [m for m in self._monitors_of(header, spec) if m.window == header.window and evidence.is_performance(m.metric)]

    def _coincide(self, header: Header, subject: Subject, verdict: Verdict, monitor: MonitorSpec) -> bool:
        """Whether a performance monitor was breached in a window in which the verdict's alert was, around its start."""
        state = self._alerts.state(subject, verdict)
        drifted = {header.start} | (set(state.breached) if state is not None else set())
        began = state.starts_at if state is not None and state.firing else header.start
        near = COINCIDENT_WINDOWS * (header.end - header.start)
        return any(start in drifted and abs(start - began) <= near for start in self._alerts.breached(subject, monitor))

    def _severity(self, header: Header, subject: Subject, verdict: Verdict) -> str:
        """A monitor's severity, raised where drift and a drop of performance coincide, for as long as the alert fires."""
        monitor = verdict.monitor
        if not monitor.critical_with_performance or not verdict.breached:
            return monitor.severity
        state = self._alerts.state(subject, verdict)
        if state is not None and state.firing and state.severity == "critical":
            return "critical"
        spec = self._registry.spec(header.model)
        dropped = any(self._coincide(header, subject, verdict, m) for m in self._performance_monitors(header, spec))
        return "critical" if dropped else monitor.severity


def record_key(header: Header, segment: Segment) -> bytes:
    """Key of a metrics record: the newest revision of a window stands in the compacted topic."""
    return msgspec.json.encode([header.model, header.version, dict(segment), header.window, iso(header.start)])
