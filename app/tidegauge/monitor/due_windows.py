"""Which windows' records are to be published at an event time, and why.

A record is published anew only if its own numbers have changed, and ever more rarely as its window grows old: no sooner than
the publish interval, and a quarter of the window's age, after its last revision. So a million late labels do not make a
million records, and yet the last change is always published: when the window settles, when its label horizon has passed, when
its input ends, or before it is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from tidegauge.engine.delta import Segment
from tidegauge.monitor.versions import Versions
from tidegauge.monitor.windows import Header, Windows
from tidegauge.spec import ModelSpec

AGE_SHARE = 4
"""A record waits a quarter of its window's age."""
Reason = Literal["closed", "settled", "end"]


class DueWindow(NamedTuple):
    """A window, and the ``segments`` whose records are to be published. ``reason``: why, None for what has changed in each."""

    header: Header
    segments: list[Segment]
    reason: Reason | None = None


class DueWindows:
    """Finds the windows of one monitor task that are due, and notes which have closed and settled."""

    def __init__(self, windows: Windows, versions: Versions) -> None:
        self._windows, self._versions = windows, versions

    def at(self, spec: ModelSpec, now: float, past: Iterable[Header], final: bool = False) -> list[DueWindow]:
        """Windows of a model that are due at event time ``now``: those that close, settle, or have changed and waited their
        turn, and what has changed in those that are ``past`` and about to be forgotten. With ``final`` the input has ended:
        every label that will come is in, and nothing waits."""
        found: dict[bytes, DueWindow] = {}
        for header in self._windows.pending(spec.model):
            if not header.closed:
                if final or now >= header.end + spec.grace:
                    found[header.key] = DueWindow(header, header.segments, "closed")
            elif segments := self._windows.unpublished(header) if final else self._changed_long_enough(header, spec, now):
                found[header.key] = DueWindow(header, segments, "end" if final else None)
        for name, version in self._versions.of_model(spec.model):
            ended_by = float("inf") if final else now - version.delays.settle_after(spec, now)
            for header in self._windows.unsettled(spec.model, name, ended_by):
                found[header.key] = DueWindow(header, header.segments, "settled")
        for header in past:
            if header.key not in found and (changed := self._windows.unpublished(header)):
                found[header.key] = DueWindow(header, changed)
        return list(found.values())

    def changed(self, model: str) -> list[DueWindow]:
        """The closed windows of which there is a change that nobody has seen, when no more input is to come for now."""
        closed = [header for header in self._windows.pending(model) if header.closed]
        return [DueWindow(header, self._windows.unpublished(header), "end") for header in closed]

    def made_stale(self, model: str) -> Iterator[DueWindow]:
        """The windows that publishing the ones before them has made stale."""
        for header in self._windows.pending(model):
            if header.stale:
                yield DueWindow(header, [()], "end")

    def note(self, due: DueWindow, spec: ModelSpec, now: float, final: bool = False) -> None:
        """Before its records are published: note that a window has closed, or settled, where that is why they are."""
        header = due.header
        if due.reason == "closed":
            header.closed = True
            delays = self._versions.get(header.model, header.version).delays
            if not final and now < header.end + delays.settle_after(spec, now):
                self._windows.closed(header)
                return
        if due.reason in ("closed", "settled"):
            self._versions.settle(header, self._windows)

    def _changed_long_enough(self, header: Header, spec: ModelSpec, now: float) -> list[Segment]:
        """The segments of a closed window whose changed records may be published at event time ``now``."""
        age = now - header.end
        until = now - max(spec.published_every(header.end - header.start), age / AGE_SHARE)
        unpublished = self._windows.unpublished
        if age >= spec.label_horizon:
            # The first time after the horizon nothing is waited for.
            horizon = header.end + spec.label_horizon
            return [of for of in unpublished(header) if (at := header.records[of].published) <= until or at < horizon]
        return unpublished(header, until)
