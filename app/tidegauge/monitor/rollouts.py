"""Versions of a model that are seen together: which are compared, what of it is published, and the alert on a worse one.

What windows say of two versions adds up (``metrics.sequential``), so that a comparison is the sum over the windows that are
kept, made anew from those that changed, and of what was left of those that are not: late labels restate it exactly.

    g<model>\\0<monitor>\\0<window>\\0<champion>\\0<challenger>     Rollout
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tidegauge.alert.book import AlertBook, Support
from tidegauge.alert.labels import Subject
from tidegauge.engine.stage import METRICS, Output, Store
from tidegauge.judge.evidence import MAX_EVIDENCE, NO_EVIDENCE
from tidegauge.metrics.comparison import Side, of_outcomes, of_system
from tidegauge.models.default_monitors import default_rollout
from tidegauge.models.registry import Registry
from tidegauge.monitor.windows import Header, Windows
from tidegauge.profile.outcome import most_wrong
from tidegauge.profile.pairs import PairProfile
from tidegauge.rollout.comparison_record import ended, record, record_key, switches_in, verdict
from tidegauge.rollout.pair import STATE, Contrasts, Rollout, Seen, add, champion_of
from tidegauge.rollout.verdict import judge
from tidegauge.spec import ModelSpec, RolloutSpec

MAX_AT_ONCE = 50
"""The most records that a restated window may cause without waiting for the publish interval of its length."""
MAX_CHALLENGERS = 20
"""The most challengers compared in one window: those with the most predictions."""
EVIDENCE = ("champion", "verdict", "since", "windows", "metrics")
"""What an alert shows of its comparison record."""
_encode = msgspec.msgpack.Encoder().encode


class Rollouts:
    """All comparisons of one monitor task. ``newest``: the newest record of each that goes on."""

    def __init__(self, store: Store, windows: Windows, alerts: AlertBook, registry: Registry) -> None:
        self._store, self._windows, self._alerts, self._registry = store, windows, alerts, registry
        decode = msgspec.msgpack.Decoder(Rollout).decode
        self._rollouts: dict[bytes, Rollout] = {key: decode(raw) for key, raw in store.scan(STATE)}
        self._contrasts: dict[tuple[bytes, float], Contrasts] = {}
        self._changed: set[bytes] = set()
        self._revision = registry.revision

    @property
    def newest(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(of.record) for of in self._rollouts.values() if of.record and not of.ended]

    def known(self, model: str) -> bool:
        """Whether any versions of the model are compared."""
        return any(rollout.model == model for rollout in self._rollouts.values())

    def advance(
        self, model: str, versions: Mapping[str, Seen], published: Sequence[Header], now: float, final: bool,
        past: float,
    ) -> list[Output]:  # fmt: skip
        """After the model's windows in ``published`` have been: compare what is due at event time ``now``, and
        let go of windows that ended before ``past``."""
        if len(versions) < 2:
            return []
        spec = self._registry.spec(model)
        if self._revision != self._registry.revision:
            # What was counted may mean something else under the new spec, as once the task is known.
            self._contrasts.clear()
            self._revision = self._registry.revision
        outputs: list[Output] = []
        for monitor in spec.rollouts or (default_rollout(spec),):
            for start in sorted({header.start for header in published if header.window == monitor.window}):
                for rollout in self._together(spec, monitor, versions, start):
                    self._contrasts.pop((rollout.key, start), None)
                    rollout.note(start)
                    self._changed.add(rollout.key)
            for rollout in list(self._rollouts.values()):
                if rollout.series != (model, monitor.name, monitor.window):
                    continue
                if final or _due(rollout, spec, now):
                    outputs.extend(self._publish(rollout, spec, monitor, versions, now))
                if not final:
                    outputs.extend(self._end(rollout, spec, monitor, now))
        self._let_go(model, past)
        return outputs

    # -- who is compared -----------------------------------------------------------------------------------------

    def _together(self, spec: ModelSpec, monitor: RolloutSpec, versions: Mapping[str, Seen], start: float) -> list[Rollout]:
        """The comparisons that the closed window at ``start`` belongs to."""
        found = {name: self._windows.find(spec.model, name, monitor.window, start) for name in versions}
        headers = {name: header for name, header in found.items() if header is not None and header.closed}
        # Who was live at the end of the window, so that what is restated keeps its champion.
        champion = champion_of(spec, {name: versions[name].by(header.end) for name, header in headers.items()})
        if champion is None or len(headers) < 2:
            return []
        sizes = {name: self._windows.data(header, ()).predictions for name, header in headers.items()}
        challengers = sorted(headers.keys() - {champion}, key=lambda name: (-sizes[name], name))[:MAX_CHALLENGERS]
        return [self._rollout(spec.model, monitor, champion, name, start) for name in challengers]

    def _rollout(self, model: str, monitor: RolloutSpec, champion: str, challenger: str, start: float) -> Rollout:
        new = Rollout(model, monitor.name, monitor.window, champion, challenger, start)
        found = self._rollouts.setdefault(new.key, new)
        if found is new:
            # The monitor or the champion may be new, and the two have been seen together before.
            for header in self._windows.headers.values():
                if (header.model, header.version, header.window) == (model, challenger, monitor.window) and header.closed:
                    other = self._windows.find(model, champion, monitor.window, header.start)
                    if other is not None and other.closed:
                        new.note(header.start)
        return found

    # -- what is said --------------------------------------------------------------------------------------------

    def _publish(
        self, rollout: Rollout, spec: ModelSpec, monitor: RolloutSpec, versions: Mapping[str, Seen], now: float
    ) -> list[Output]:
        """Records of all windows from the earliest changed one on, since each holds what the ones before it say."""
        outputs: list[Output] = []
        if rollout.dirty is None:
            return outputs
        total = dict(rollout.carried)
        rollout.revision += 1
        for number, start in enumerate(rollout.starts, rollout.carried_windows + 1):
            contrasts = self._of_window(rollout, spec, start)
            add(total, contrasts)
            then = {name: versions[name].by(start + rollout.length) for name in (rollout.champion, rollout.challenger)}
            # What was seen under another champion counts, and was said under that one.
            if start < rollout.dirty or champion_of(spec, then) != rollout.champion:
                continue
            finding = judge(total, monitor, spec.task, rollout.champion)
            (_, champion), (_, challenger) = self._sides(rollout, start)
            pairs = self._pairs(rollout, start)
            role = then[rollout.challenger].role
            severity = monitor.severity or ("warning" if role == "shadow" else "critical")
            said = record(rollout, start, number, role, (champion, challenger), pairs, spec.task, finding, contrasts)
            if switches := switches_in(rollout, versions, start):
                said["switches"] = switches
            rollout.record = msgspec.json.encode(said)
            outputs.append(Output(METRICS, record_key(rollout, start), rollout.record))
            if not rollout.ended and (spec.rollouts or spec.monitors is None):
                support = _support(said, challenger)
                outputs.extend(
                    self._alerts.verdict(
                        Subject(rollout.model, rollout.challenger), verdict(rollout, monitor, finding),
                        rollout.window_at(start), True, rollout.revision, now, support, severity,
                    )
                )  # fmt: skip
        rollout.published, rollout.dirty = now, None
        self._changed.add(rollout.key)
        return outputs

    def _of_window(self, rollout: Rollout, spec: ModelSpec, start: float) -> Contrasts:
        key = (rollout.key, start)
        if key not in self._contrasts:
            (one, champion), (other, challenger) = self._sides(rollout, start)
            found = of_system(champion, challenger)
            if one.settled and other.settled:
                # Labels that come early are not like the rest.
                swapped = rollout.challenger < rollout.champion
                found |= of_outcomes(champion, challenger, self._pairs(rollout, start), swapped, spec.task)
            self._contrasts[key] = found
        return self._contrasts[key]

    def _sides(self, rollout: Rollout, start: float) -> list[tuple[Header, Side]]:
        sides = []
        for version in (rollout.champion, rollout.challenger):
            header = self._windows.find(rollout.model, version, rollout.window, start)
            assert header is not None, "windows are let go of before they are forgotten"
            sides.append((header, Side(self._windows.data(header, ()), self._windows.outcome(header, ()))))
        return sides

    def _pairs(self, rollout: Rollout, start: float) -> PairProfile:
        first, second = sorted((rollout.champion, rollout.challenger))
        header = self._windows.find(rollout.model, first, rollout.window, start)
        return self._windows.pairs(header, second) if header is not None and second in header.pairs else PairProfile()

    def _end(self, rollout: Rollout, spec: ModelSpec, monitor: RolloutSpec, now: float) -> list[Output]:
        """Resolve the alert once a whole window has closed without the two being seen together."""
        if rollout.ended or not rollout.starts:
            return []
        # Another champion has taken its place where the same versions are compared the other way since.
        others = (of for of in self._rollouts.values() if of.series == rollout.series and of.champion != rollout.champion)
        overtaken = any(of.starts and of.starts[-1] > rollout.starts[-1] for of in others)
        if not overtaken and now < rollout.starts[-1] + 2 * rollout.length + spec.grace:
            return []
        rollout.ended = True
        self._changed.add(rollout.key)
        return self._alerts.verdict(
            Subject(rollout.model, rollout.challenger), ended(rollout, monitor),
            rollout.window_at(rollout.starts[-1] + rollout.length), True, rollout.revision, now,
            lambda status: (NO_EVIDENCE, ""),
        )  # fmt: skip

    # -- state ---------------------------------------------------------------------------------------------------

    def _let_go(self, model: str, past: float) -> None:
        """Add up for good the windows that ended before ``past``, and forget comparisons that have none left."""
        spec = self._registry.spec(model)
        for key, rollout in list(self._rollouts.items()):
            if rollout.model != model:
                continue
            while rollout.starts and rollout.starts[0] + rollout.length < past:
                start = rollout.starts.pop(0)
                add(rollout.carried, self._of_window(rollout, spec, start))
                rollout.carried_windows += 1
                self._contrasts.pop((key, start), None)
                self._changed.add(key)
            if not rollout.starts:
                del self._rollouts[key]
                self._changed.discard(key)
                self._store.delete(key)

    def flush(self) -> None:
        """Write what changed to the store."""
        for key in self._changed:
            self._store.put(key, _encode(self._rollouts[key]))
        self._changed.clear()


def _support(said: Mapping[str, Any], challenger: Side) -> Support:
    """Evidence for an alert on a comparison record: what it compared, and what the challenger got most wrong."""

    def support(status: str) -> tuple[dict[str, Any], str]:
        if status == "resolved":
            return NO_EVIDENCE, ""
        examples = list(most_wrong(challenger.outcome.examples.items()))[:MAX_EVIDENCE]
        return NO_EVIDENCE | {"request_ids": examples, "comparison": {name: said[name] for name in EVIDENCE}}, ""

    return support


def _due(rollout: Rollout, spec: ModelSpec, now: float) -> bool:
    """Whether a changed comparison is to be published now: at once where that is few records."""
    if rollout.dirty is None:
        return False
    records = len(rollout.starts) - bisect_left(rollout.starts, rollout.dirty)
    return records <= MAX_AT_ONCE or now >= rollout.published + spec.published_every(rollout.length)
