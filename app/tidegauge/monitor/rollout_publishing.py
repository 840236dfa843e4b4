"""Publishes comparisons of versions: a record of each window that changed, and the alert on a worse challenger."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

import msgspec

from tidegauge.alert.book import AlertBook, AlertDetails, JudgedWindow, SupportOf
from tidegauge.alert.labels import Subject
from tidegauge.engine.stage import METRICS, Output
from tidegauge.judge.evidence import MAX_EVIDENCE, NO_EVIDENCE
from tidegauge.metrics.comparison import Side
from tidegauge.monitor.rollout_windows import RolloutWindows
from tidegauge.profile.outcome import most_wrong
from tidegauge.rollout.compared_versions import Rollout, SeenVersion, add_contrasts, champion_of
from tidegauge.rollout.comparison_record import ended, record, record_key, switches_in, verdict
from tidegauge.rollout.verdict import judge
from tidegauge.spec import ModelSpec, RolloutSpec

MAX_AT_ONCE = 50
"""The most records that a restated window may cause without waiting for the publish interval of its length."""
EVIDENCE = ("champion", "verdict", "since", "windows", "metrics")
"""The members of a comparison record that its alert shows as evidence."""


def is_due(rollout: Rollout, spec: ModelSpec, now: float) -> bool:
    """Whether a comparison has changed and must be published at event time ``now``. If that is few records, it is due at
    once."""
    if rollout.dirty is None:
        return False
    records = len(rollout.starts) - bisect_left(rollout.starts, rollout.dirty)
    return records <= MAX_AT_ONCE or now >= rollout.published + spec.published_every(rollout.length)


class RolloutPublisher:
    """Publishes the comparisons of one monitor task, and updates their alerts."""

    def __init__(self, windows: RolloutWindows, alerts: AlertBook) -> None:
        self._windows, self._alerts = windows, alerts

    def publish(
        self, rollout: Rollout, spec: ModelSpec, monitor: RolloutSpec, versions: Mapping[str, SeenVersion], now: float
    ) -> list[Output]:
        """The records of all windows from the earliest changed one on, since each includes the windows before it."""
        changed_from = rollout.dirty
        assert changed_from is not None, "only what has changed is due"
        outputs: list[Output] = []
        total = dict(rollout.carried)
        rollout.revision += 1
        for number, start in enumerate(rollout.starts, rollout.carried_windows + 1):
            contrasts = self._windows.contrasts(rollout, spec.task, start)
            add_contrasts(total, contrasts)
            then = {name: versions[name].just_before(start + rollout.length) for name in (rollout.champion, rollout.challenger)}
            # Windows with another champion count, but were published under that champion.
            if start < changed_from or champion_of(spec, then) != rollout.champion:
                continue
            finding = judge(total, monitor, spec.task, rollout.champion)
            shared = self._windows.shared(rollout, start)
            role = then[rollout.challenger].role
            said = record(rollout, shared, number, role, spec.task, finding, contrasts)
            if switches := switches_in(rollout, versions, start):
                said["switches"] = switches
            rollout.record = msgspec.json.encode(said)
            outputs.append(Output(METRICS, record_key(rollout, start), rollout.record))
            if not rollout.ended and (spec.rollouts or spec.monitors is None):
                severity = monitor.severity or ("warning" if role == "shadow" else "critical")
                judged = JudgedWindow(rollout.window_at(start), True, rollout.revision, now)
                support = _support_of(said, shared.challenger)
                outputs.extend(
                    self._alerts.verdict(_subject(rollout), verdict(rollout, monitor, finding), judged, support, severity)
                )
        rollout.published, rollout.dirty = now, None
        return outputs

    def end(self, rollout: Rollout, monitor: RolloutSpec, now: float) -> list[Output]:
        """Resolve the alert, since the two versions are no longer seen together."""
        rollout.ended = True
        judged = JudgedWindow(rollout.window_at(rollout.starts[-1] + rollout.length), True, rollout.revision, now)
        return self._alerts.verdict(
            _subject(rollout), ended(rollout, monitor), judged, lambda status: AlertDetails(NO_EVIDENCE)
        )


def _subject(rollout: Rollout) -> Subject:
    return Subject(rollout.model, rollout.challenger)


def _support_of(said: Mapping[str, Any], challenger: Side) -> SupportOf:
    """Evidence for an alert on a comparison record: what it compared, and what the challenger got most wrong."""

    def support(status: str) -> AlertDetails:
        if status == "resolved":
            return AlertDetails(NO_EVIDENCE)
        examples = list(most_wrong(challenger.outcome.examples))[:MAX_EVIDENCE]
        return AlertDetails(NO_EVIDENCE | {"request_ids": examples, "comparison": {name: said[name] for name in EVIDENCE}})

    return support
