"""Reads the windows of two compared versions: both sides of each window, their shared requests, and the contrasts."""

from __future__ import annotations

from collections.abc import Iterator

from tidegauge.metrics.comparison import Side, of_outcomes, of_system
from tidegauge.monitor.window_headers import Header
from tidegauge.monitor.windows import Windows
from tidegauge.profile.pairs import PairProfile
from tidegauge.rollout.compared_versions import Contrasts, Rollout, SharedWindow
from tidegauge.spec import Task


class RolloutWindows:
    """Reads the windows of one monitor task for its comparisons, and remembers the contrasts it has computed.

    Those of a window that has changed since its record was published are not remembered: what a comparison says would otherwise
    depend on when the task was started.
    """

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._contrasts: dict[tuple[bytes, float], Contrasts] = {}

    def closed(self, model: str, version: str, window: str, start: float) -> Header | None:
        """A version's window that begins at ``start``; None if there is none or it has not closed."""
        header = self._windows.find(model, version, window, start)
        return header if header is not None and header.closed else None

    def predictions(self, header: Header) -> int:
        """The number of predictions in a window."""
        return self._windows.data(header, ()).predictions

    def starts(self, rollout: Rollout) -> Iterator[float]:
        """The starts of all closed windows in which both versions were seen."""
        for header in self._windows.headers.values():
            series = (header.model, header.version, header.window)
            if (
                series == (rollout.model, rollout.challenger, rollout.window) and header.closed
                and self.closed(rollout.model, rollout.champion, rollout.window, header.start) is not None
            ):  # fmt: skip
                yield header.start

    def shared(self, rollout: Rollout, start: float) -> SharedWindow:
        """Both versions in the window that begins at ``start``."""
        champion, challenger = self._header(rollout, rollout.champion, start), self._header(rollout, rollout.challenger, start)
        # Pairs are kept with the version that comes first by name.
        first, second = (champion, challenger) if rollout.champion < rollout.challenger else (challenger, champion)
        return SharedWindow(
            start, self._side(champion), self._side(challenger),
            self._windows.pairs(first, second.version) if second.version in first.pairs else PairProfile(),
            champion.settled and challenger.settled,
        )  # fmt: skip

    def contrasts(self, rollout: Rollout, task: Task | None, start: float) -> Contrasts:
        """The contrasts of both versions in the window by metric path."""
        key = (rollout.key, start)
        headers = (self._header(rollout, version, start) for version in (rollout.champion, rollout.challenger))
        if any(map(self._windows.pending.unpublished, headers)):
            return self._computed(rollout, task, start)
        if key not in self._contrasts:
            self._contrasts[key] = self._computed(rollout, task, start)
        return self._contrasts[key]

    def _computed(self, rollout: Rollout, task: Task | None, start: float) -> Contrasts:
        window = self.shared(rollout, start)
        found = of_system(window.champion, window.challenger)
        if window.settled:
            # Early labels are not representative.
            swapped = rollout.challenger < rollout.champion
            found |= of_outcomes(window.champion, window.challenger, window.pairs, swapped, task)
        return found

    def outdated(self, rollout: Rollout, start: float) -> None:
        """Note that the window has changed or is no longer needed."""
        self._contrasts.pop((rollout.key, start), None)

    def all_outdated(self) -> None:
        """Drop all computed contrasts, since a spec has changed."""
        self._contrasts.clear()

    def _header(self, rollout: Rollout, version: str, start: float) -> Header:
        header = self._windows.find(rollout.model, version, rollout.window, start)
        assert header is not None, "a comparison lets go of its windows before they are forgotten"
        return header

    def _side(self, header: Header) -> Side:
        return Side(self._windows.data(header, ()), self._windows.outcome(header, ()))
