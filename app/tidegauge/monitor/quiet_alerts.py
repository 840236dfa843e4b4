"""Finds out when versions and segments had their last requests, for the alerts that end without any."""

from __future__ import annotations

from tidegauge.alert.book import AlertBook
from tidegauge.alert.quiet_versions import VersionSegment
from tidegauge.engine.stage import Output
from tidegauge.monitor.windows import Windows
from tidegauge.spec import segment_name


class QuietAlerts:
    """Ends the alerts of one monitor task whose version or segment gets no more requests."""

    def __init__(self, windows: Windows, alerts: AlertBook) -> None:
        self._windows, self._alerts = windows, alerts

    def resolve(self, model: str, now: float) -> list[Output]:
        """To be called when a window of the model has closed, at event time ``now``: the model as a whole has requests."""
        if not self._alerts.fires_any(model):
            return []
        last: dict[VersionSegment, float] = {}
        for header in self._windows.headers.values():
            if header.model == model:
                for segment in header.records:
                    of = VersionSegment(header.version, segment_name(segment))
                    last[of] = max(header.end, last.get(of, 0.0))
        return self._alerts.resolve_quiet(model, last, now)
