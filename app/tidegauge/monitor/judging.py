"""Judges windows: decides which monitors judge a window, and adds evidence and severity to their verdicts."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from tidegauge.alert.book import AlertBook, AlertDetails, JudgedWindow, SupportOf
from tidegauge.alert.labels import Subject
from tidegauge.baseline.baseline import Baseline
from tidegauge.engine.delta import Segment
from tidegauge.engine.set_aside import SetAside
from tidegauge.engine.stage import Output
from tidegauge.judge import evidence
from tidegauge.judge.conditions import (
    IntervalsAt,
    KnownIntervals,
    Verdict,
    expand,
    heeds_labels,
    heeds_predictions,
    is_calm,
    is_early,
    needs_settled,
    only_falls,
)
from tidegauge.judge.evidence import Coincidences, Performance
from tidegauge.judge.few_values import judge_with_few
from tidegauge.metrics import record as records
from tidegauge.metrics.carriers import MIN_LABELS, carriers, loss_of
from tidegauge.metrics.explained import expected_losses
from tidegauge.metrics.performance import performance
from tidegauge.metrics.range_search import RangeLosses
from tidegauge.metrics.recent import RECENT
from tidegauge.metrics.record import iso
from tidegauge.monitor.fresh_windows import Features
from tidegauge.monitor.missing_values import MissingValueAlerts, is_rise, is_share
from tidegauge.monitor.window_baselines import BaselineMark, WindowBaselines
from tidegauge.monitor.window_headers import Header
from tidegauge.monitor.window_records import WindowRecords
from tidegauge.monitor.windows import Windows
from tidegauge.monitor.work_pieces import judging_of
from tidegauge.profile.outcome import OutcomeProfile, most_wrong
from tidegauge.spec import ModelSpec, MonitorSpec, watches

COINCIDENT_WINDOWS = 7
"""Drift and a drop of performance coincide if both are found in one window, at most this many windows from the drift's
start."""


class BuiltRecords(Mapping[Segment, Mapping[str, Any]]):
    """The records of a window's ``segments`` while the window is judged. ``outcomes``, ``predictions``: compute the sides of a
    segment's record that follow from labels and from predictions, when they are needed, since the latter takes much time."""

    def __init__(
        self, segments: Sequence[Segment], outcomes: Callable[[Segment], dict[str, Any]],
        predictions: Callable[[Segment], dict[str, Any]],
    ) -> None:  # fmt: skip
        self._segments, self._outcomes, self._predictions = segments, outcomes, predictions
        self._sides: dict[Segment, dict[str, Any]] = {}
        self._whole: dict[Segment, dict[str, Any]] = {}

    def __getitem__(self, segment: Segment) -> dict[str, Any]:
        """The whole record of a segment."""
        if segment not in self._whole:
            self._whole[segment] = self._predictions(segment) | self.outcomes(segment)
        return self._whole[segment]

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._segments)

    def __len__(self) -> int:
        return len(self._segments)

    def outcomes(self, segment: Segment) -> dict[str, Any]:
        """The record of a segment without what follows from predictions alone."""
        if segment not in self._sides:
            self._sides[segment] = self._outcomes(segment)
        return self._sides[segment]


class Judged(NamedTuple):
    """What comes of judging: the ``outputs`` to publish, and the segments of which a number is ``beyond`` a limit."""

    outputs: list[Output]
    beyond: set[Segment]


class WindowJudge:
    """Judges the windows of one monitor task."""

    def __init__(
        self, windows: Windows, records: WindowRecords, baselines: WindowBaselines, alerts: AlertBook, aside: SetAside
    ) -> None:
        self._windows, self._records, self._baselines, self._alerts = windows, records, baselines, alerts
        self._aside = aside
        self._missing_alerts = MissingValueAlerts(windows, alerts, baselines.of, records.earlier)
        self._judged: dict[bytes, BaselineMark] = {}
        # Open windows without any early verdict: the mark of what they were compared with, and their features.
        self._calm: dict[bytes, tuple[BaselineMark, Features]] = {}

    def closed(self, header: Header, built: BuiltRecords, published: Mapping[Segment, bool], now: float) -> list[Output]:
        """Judge a closed window. ``published``: by segment whose record was published, whether more than its outcomes has
        changed."""
        self._calm.pop(header.key, None)
        spec = self._baselines.spec(header)
        mark = self._baselines.mark(header, spec)
        anew = self._judged.get(header.key) != mark
        self._judged[header.key] = mark
        outputs: list[Output] = []
        for monitor in self._in_order(header, spec):
            if needs_settled(monitor.metric) and not self._settled(monitor, header, now):
                continue
            labels, changed = heeds_labels(monitor.metric), anew or self._heeds_alerts(monitor, header)
            wanted = {of for of, data in published.items() if watches(monitor.segments, of) and (labels or data or changed)}
            if wanted:
                work = partial(self._verdicts, header, spec, monitor, built, wanted, now)
                found = self._aside.attempt(judging_of(header, monitor.name), work, None)
                outputs.extend(() if found is None else found.outputs)
        return outputs

    def stays_calm(self, header: Header, monitors: Sequence[MonitorSpec], sound: Features | None) -> bool:
        """Whether an open window need not be judged early: there was no early verdict before, and the new predictions, which
        are without fault if ``sound`` (see ``Fresh``) is not None, can only lower the numbers of these ``monitors``."""
        if sound is None or self._calm.get(header.key) != (self._baselines.mark(header, self._baselines.spec(header)), sound):
            return False
        subject = Subject(header.model, header.version)
        return all(only_falls(m.metric) and not self._alerts.ever_breached(m.name, subject) for m in monitors)

    def early(self, header: Header, built: BuiltRecords, now: float) -> Judged:
        """Judge an open window, by the monitors that do not wait for it to close."""
        spec = self._baselines.spec(header)
        judged = Judged([], set())
        calm = True
        for monitor in self._in_order(header, spec):
            if is_early(monitor) and not needs_settled(monitor.metric):
                work = partial(self._verdicts, header, spec, monitor, built, built, now)
                found = self._aside.attempt(judging_of(header, monitor.name), work, None)
                if found is not None:
                    calm = False
                    judged.outputs.extend(found.outputs)
                    judged.beyond.update(found.beyond)
        if calm:
            self._calm[header.key] = self._baselines.mark(header, spec), frozenset(built[()]["data"]["features"])
        else:
            self._calm.pop(header.key, None)
        return judged

    def forget(self, header: Header) -> None:
        self._judged.pop(header.key, None)

    def _in_order(self, header: Header, spec: ModelSpec) -> list[MonitorSpec]:
        """The monitors of the window's length, in the order in which they judge. Those on performance come first, since the
        alerts of drift monitors depend on them; those on a rise of missing values last, since another alert may cover it."""
        found = [monitor for monitor in self._baselines.monitors(header, spec) if monitor.window == header.window]
        return sorted(found, key=lambda m: (not evidence.is_performance(m.metric), is_rise(m.metric)))

    def _heeds_alerts(self, monitor: MonitorSpec, header: Header) -> bool:
        """Whether a monitor must judge again although its numbers are the same, because its alert is firing and becomes
        critical if performance drops."""
        return monitor.critical_with_performance and self._alerts.fires(monitor.name, Subject(header.model, header.version))

    def _verdicts(
        self, header: Header, spec: ModelSpec, monitor: MonitorSpec, built: BuiltRecords, wanted: Container[Segment], now: float
    ) -> Judged | None:
        """What comes of one monitor's verdicts on the ``wanted`` segments, which are tested as one family with all other
        segments that it watches. None if no number can be beyond a limit, and none ever was."""
        baseline = self._baselines.of(header, spec)
        family = [of for of in built if watches(monitor.segments, of)]
        predictions = heeds_predictions(monitor.metric)
        numbers = {of: built[of] if predictions else built.outcomes(of) for of in family}
        if () in numbers and monitor.metric.startswith("fairness."):
            # Each monitor has its own minimum of labels for values of a dimension to be compared.
            numbers = {(): built.outcomes(()) | {"fairness": self._records.fairness(header, spec, monitor.min_count)}}
        if not self._alerts.ever_breached(monitor.name, Subject(header.model, header.version)) and is_calm(numbers, monitor):
            return None
        judged = Judged([], set())
        intervals, earlier = self._intervals(header, spec, baseline), partial(self._records.earlier, header, spec)
        for segment, verdict in judge_with_few(numbers, monitor, baseline, header.window, intervals, earlier):
            if segment not in wanted:
                continue
            subject = Subject(header.model, header.version, segment)
            if verdict.breached and is_rise(verdict.path):
                monitors = self._baselines.monitors(header, spec)
                verdict = self._missing_alerts.unless_alerted_already(header, spec, subject, verdict, monitors)
            if verdict.breached:
                judged.beyond.add(segment)
            support = self._support(header, spec, subject, built, verdict, numbers)
            severity = self._severity(header, spec, subject, verdict)
            window = JudgedWindow(header.span, header.closed, header.records[segment].revision, now)
            judged.outputs.extend(self._alerts.verdict(subject, verdict, window, support, severity))
        return judged

    def _intervals(self, header: Header, spec: ModelSpec, baseline: Baseline | None) -> IntervalsAt:
        def intervals(segment: Segment, level: float) -> KnownIntervals:
            own = None if baseline is None else baseline.part(segment)
            now = records.intervals(self._windows.outcome(header, segment), spec, None if own is None else own.outcome, level)
            part = own or baseline
            return KnownIntervals(now, {} if part is None else records.intervals(part.outcome, spec, None, level))

        return intervals

    def _settled(self, monitor: MonitorSpec, header: Header, now: float) -> bool:
        return header.settled if monitor.settle == "auto" else header.closed and now >= header.end + monitor.settle

    def _support(
        self, header: Header, spec: ModelSpec, subject: Subject, built: BuiltRecords, verdict: Verdict,
        judged: Mapping[Segment, Mapping[str, Any]],
    ) -> SupportOf:  # fmt: skip
        def support(status: str) -> AlertDetails:
            beside = self._coincidences(header, spec, subject, verdict)
            clause = evidence.coincidence_clause(verdict.path, beside, ended=status == "resolved")
            if status == "resolved":
                return AlertDetails(evidence.NO_EVIDENCE, clause)
            of = {segment: {**built[segment], **judged.get(segment, {})} for segment in built}
            own = of[subject.segment]
            clause = evidence.direction_clause(verdict.path, own[RECENT] if verdict.recent else own) + clause
            clause += evidence.estimate_clause(verdict.path, own) + evidence.misreading_clause(verdict.path, own)
            clause += evidence.extremes_clause(verdict.path, own)
            examples = {segment: self._examples(header, segment) for segment in built}
            baseline = self._baselines.of(header, spec)
            found = evidence.gather(verdict, subject.segment, of, baseline, header.window, examples, beside)
            if upstream := evidence.sources(verdict, spec):
                found["sources"] = upstream
            if evidence.is_performance(verdict.path):
                binary = spec.task == "binary" and "estimated" in own
                calibration = baseline.calibration_for(subject.segment) if baseline is not None and binary else None
                losses = expected_losses(self._windows.data(header, subject.segment).scores, calibration)
                why = evidence.explanation(verdict, own, losses)
                clause += evidence.explanation_text(why)
                found |= {} if why is None else {"explained": why._asdict()}
                if baseline is not None and not subject.segment:
                    found["carriers"], said = self._carriers(header, spec, baseline, built)
                    clause += said
                part = None if baseline is None else baseline.part(subject.segment)
                found["faulty_values"] = evidence.faulty_values(own, part or baseline)
            return AlertDetails(found, clause)

        return support

    def _carriers(
        self, header: Header, spec: ModelSpec, baseline: Baseline, segments: Iterable[Segment]
    ) -> tuple[list[dict[str, Any]], str]:
        """The segments and ranges of features that carry a drop of performance, as evidence and for the figures."""

        def before(segment: Segment) -> OutcomeProfile | None:
            part = baseline.part(segment)
            return None if part is None else part.outcome

        outcomes = {segment: self._windows.outcome(header, segment) for segment in segments}
        ranges, now = baseline.ranges, outcomes[()].ranges
        losses = None
        if ranges.id in now and ranges.id in baseline.outcome.ranges:
            losses = RangeLosses(ranges, now[ranges.id], baseline.outcome.ranges[ranges.id])
        found = carriers(outcomes, before, loss_of(spec.task), losses)
        features = 0 if losses is None else losses.testable(MIN_LABELS)
        clause = evidence.carriers_clause(found, len(outcomes) - 1, features)
        return [of.as_evidence() for of in found], clause

    def _examples(self, header: Header, segment: Segment) -> Mapping[str, Sequence[str]]:
        wrong = self._windows.outcome(header, segment).examples
        return {**self._windows.data(header, segment).examples, "performance": list(most_wrong(wrong))}

    def _coincidences(self, header: Header, spec: ModelSpec, subject: Subject, verdict: Verdict) -> Coincidences:
        monitors = self._baselines.monitors(header, spec)
        if evidence.is_performance(verdict.path):
            drifts = {m.name for m in monitors if evidence.is_drift(m.metric) or is_share(m.metric)}
            return Coincidences(drifted=tuple(self._alerts.breached_features(subject, drifts, header.start)))
        if not evidence.is_drift(verdict.path):
            return Coincidences()
        settled = self._windows.newest_settled(header)
        if settled is None:
            return Coincidences()
        single = [m for m in self._performance_monitors(header, spec) if "*" not in m.metric]
        outcome = self._windows.outcome(settled, subject.segment)
        numbers = {"performance": performance(outcome, spec.task, spec.positive_label)}
        values = {m.metric: value for m in single for _, value in expand(numbers, m.metric)}
        breached = tuple(m.name for m in single if self._coincide(header, subject, verdict, m))
        return Coincidences(Performance(iso(settled.start), values, breached))

    def _performance_monitors(self, header: Header, spec: ModelSpec) -> list[MonitorSpec]:
        return [m for m in self._in_order(header, spec) if evidence.is_performance(m.metric)]

    def _coincide(self, header: Header, subject: Subject, verdict: Verdict, monitor: MonitorSpec) -> bool:
        """Whether a performance monitor was breached in the same window as the verdict's alert, near the start of that
        alert."""
        state = self._alerts.state(subject, verdict)
        drifted = {header.start} | (set(state.breached) if state is not None else set())
        began = state.starts_at if state is not None and state.firing else header.start
        near = COINCIDENT_WINDOWS * (header.end - header.start)
        return any(start in drifted and abs(start - began) <= near for start in self._alerts.breached(subject, monitor))

    def _severity(self, header: Header, spec: ModelSpec, subject: Subject, verdict: Verdict) -> str:
        """A monitor's severity, or critical once drift and a drop of performance have coincided, for as long as the alert
        fires."""
        monitor = verdict.monitor
        if not monitor.critical_with_performance or not verdict.breached:
            return monitor.severity
        state = self._alerts.state(subject, verdict)
        if state is not None and state.firing and state.severity == "critical":
            return "critical"
        dropped = any(self._coincide(header, subject, verdict, m) for m in self._performance_monitors(header, spec))
        return "critical" if dropped else monitor.severity
