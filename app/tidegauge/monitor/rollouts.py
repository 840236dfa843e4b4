"""Compares versions of a model that are seen together: decides which are compared, when a comparison is published, and when it
ends.

The contrasts of windows are added (``metrics/sequential.py``). A comparison is the sum over the windows that are still kept, of
which changed ones are computed again, plus the sum of older windows. Late labels therefore restate it exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tidegauge.alert.book import AlertBook
from tidegauge.engine.stage import Output, Store
from tidegauge.models.default_monitors import default_rollout
from tidegauge.models.registry import Registry
from tidegauge.monitor.rollout_publishing import RolloutPublisher, is_due
from tidegauge.monitor.rollout_states import RolloutStates
from tidegauge.monitor.rollout_windows import RolloutWindows
from tidegauge.monitor.window_headers import Header
from tidegauge.monitor.windows import Windows
from tidegauge.rollout.compared_versions import Rollout, SeenVersion, Series, add_contrasts, champion_of
from tidegauge.spec import ModelSpec, RolloutSpec

MAX_CHALLENGERS = 20
"""The most challengers that are compared in one window; those with the most predictions are chosen."""


class Rollouts:
    """All comparisons of one monitor task."""

    def __init__(self, store: Store, windows: Windows, alerts: AlertBook, registry: Registry) -> None:
        self._registry = registry
        self._states = RolloutStates(store)
        self._windows = RolloutWindows(windows)
        self._publisher = RolloutPublisher(self._windows, alerts)
        self._revision = registry.revision

    @property
    def newest(self) -> list[dict[str, Any]]:
        """The newest record of each comparison that has not ended."""
        return self._states.newest_records

    def known(self, model: str) -> bool:
        """Whether any versions of the model are compared."""
        return any(rollout.model == model for rollout in self._states)

    def advance(
        self, model: str, versions: Mapping[str, SeenVersion], published: Sequence[Header], now: float, final: bool = False
    ) -> list[Output]:
        """Publish the comparisons that are due at event time ``now``, after records of the windows ``published`` were.
        ``final``: whether the input has ended, in which case all are due and none counts as ended because of it."""
        if len(versions) < 2:
            return []
        spec = self._registry.spec(model)
        if self._revision != self._registry.revision:
            self._windows.all_outdated()
            self._revision = self._registry.revision
        outputs: list[Output] = []
        for monitor in spec.rollouts or (default_rollout(spec),):
            for start in sorted({header.start for header in published if header.window == monitor.window}):
                for rollout in self._together(spec, monitor, versions, start):
                    self._windows.outdated(rollout, start)
                    rollout.note_change(start)
                    self._states.changed(rollout)
            for rollout in self._states:
                if rollout.series != Series(model, monitor.name, monitor.window):
                    continue
                if (final and rollout.dirty is not None) or is_due(rollout, spec, now):
                    outputs.extend(self._publisher.publish(rollout, spec, monitor, versions, now))
                    self._states.changed(rollout)
                if not final and self._has_ended(rollout, spec, now):
                    outputs.extend(self._publisher.end(rollout, monitor, now))
                    self._states.changed(rollout)
        return outputs

    def let_go(self, model: str, past: float) -> None:
        """Add the windows that ended before ``past`` to the sum of older windows; delete comparisons without windows."""
        task = self._registry.spec(model).task
        for rollout in self._states:
            if rollout.model != model:
                continue
            while rollout.starts and rollout.starts[0] + rollout.length < past:
                start = rollout.starts.pop(0)
                add_contrasts(rollout.carried, self._windows.contrasts(rollout, task, start))
                rollout.carried_windows += 1
                self._windows.outdated(rollout, start)
                self._states.changed(rollout)
            if not rollout.starts:
                self._states.delete(rollout)

    def flush(self) -> None:
        """Write what changed to the store."""
        self._states.flush()

    def _together(
        self, spec: ModelSpec, monitor: RolloutSpec, versions: Mapping[str, SeenVersion], start: float
    ) -> list[Rollout]:
        """The comparisons that the closed window at ``start`` belongs to."""
        found = {name: self._windows.closed(spec.model, name, monitor.window, start) for name in versions}
        headers = {name: header for name, header in found.items() if header is not None}
        # The champion is the version that was live at the end of the window, so a restated window keeps its champion.
        champion = champion_of(spec, {name: versions[name].just_before(header.end) for name, header in headers.items()})
        if champion is None or len(headers) < 2:
            return []
        sizes = {name: self._windows.predictions(header) for name, header in headers.items()}
        challengers = sorted(headers.keys() - {champion}, key=lambda name: (-sizes[name], name))[:MAX_CHALLENGERS]
        return [self._rollout(Rollout(spec.model, monitor.name, monitor.window, champion, name, start)) for name in challengers]

    def _rollout(self, new: Rollout) -> Rollout:
        """The existing comparison with the key of ``new``, or else ``new`` itself."""
        found = self._states.find(new.key)
        if found is not None:
            return found
        # The monitor or the champion may be new, although the two versions have been seen together before.
        for start in self._windows.starts(new):
            new.note_change(start)
        return new

    def _has_ended(self, rollout: Rollout, spec: ModelSpec, now: float) -> bool:
        """Whether a window has closed since in which the two were not seen together, or their roles have been exchanged."""
        if rollout.ended or not rollout.starts:
            return False
        others = (of for of in self._states if of.series == rollout.series and of.champion != rollout.champion)
        overtaken = any(of.starts and of.starts[-1] > rollout.starts[-1] for of in others)
        return overtaken or now >= rollout.starts[-1] + 2 * rollout.length + spec.grace
