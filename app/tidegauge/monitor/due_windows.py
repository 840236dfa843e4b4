"""Decides which windows' records are published at an event time, and for which reason.

A record is published again only if its own numbers have changed, and the older its window the more rarely: not before the
publish interval, and a quarter of the window's age, have passed since its last revision, of a segment half of its age. So a
million late labels do not make a million records. The last change is always published: when the window settles, when its label
horizon has passed, when the input ends, or before the window is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf
from typing import Literal, NamedTuple

from tidegauge.engine.delta import Segment
from tidegauge.monitor.versions import Versions
from tidegauge.monitor.window_headers import Header
from tidegauge.monitor.windows import Windows
from tidegauge.spec import ModelSpec

AGE_SHARE = 4
"""The changed record of a whole model waits for the window's age divided by this."""
SEGMENT_AGE_SHARE = 2
"""The same for a segment, which waits longer because segments are many, and because new labels change its numbers by less than
their uncertainty."""
Reason = Literal["closed", "settled", "end"]


class DueWindow(NamedTuple):
    """A window, and the ``segments`` whose records are published. ``reason``: None if it is what has changed in each of
    them."""

    header: Header
    segments: list[Segment]
    reason: Reason | None = None


class DueWindows:
    """Finds the windows of one monitor task that are due, and notes which have closed and settled."""

    def __init__(self, windows: Windows, versions: Versions) -> None:
        self._windows, self._pending, self._versions = windows, windows.pending, versions

    def at(self, spec: ModelSpec, now: float, past: Iterable[Header], final: bool = False) -> list[DueWindow]:
        """The windows of a model that are due at event time ``now``: those that close, those that settle, those that have
        changed and waited long enough, and those ``past``, about to be forgotten, that have changed. ``final``: the input has
        ended, so that every label that will come is in, and nothing waits any longer."""
        found: dict[bytes, DueWindow] = {}
        for header in self._pending.of_model(spec.model):
            if not header.closed:
                if final or now >= header.end + spec.grace:
                    found[header.key] = DueWindow(header, header.segments, "closed")
            elif segments := self._pending.unpublished(header) if final else self._changed_long_enough(header, spec, now):
                found[header.key] = DueWindow(header, segments, "end" if final else None)
        for name, version in self._versions.of_model(spec.model).items():
            ended_by = inf if final else now - version.delays.settle_after(spec, now)
            for header in self._pending.unsettled(spec.model, name, ended_by):
                found[header.key] = DueWindow(header, header.segments, "settled")
        for header in past:
            if header.key not in found and (changed := self._pending.unpublished(header)):
                found[header.key] = DueWindow(header, changed)
        return list(found.values())

    def changed(self, model: str) -> list[DueWindow]:
        """The closed windows with changes that are not published: all are due when no more input is expected for now."""
        closed = [header for header in self._pending.of_model(model) if header.closed]
        return [DueWindow(header, self._pending.unpublished(header), "end") for header in closed]

    def made_stale(self, model: str) -> Iterator[DueWindow]:
        """The windows whose record of the whole model is stale, since the window before has been published again."""
        for header in self._pending.of_model(model):
            if header.stale:
                yield DueWindow(header, [()], "end")

    def note(self, due: DueWindow, spec: ModelSpec, now: float, final: bool = False) -> None:
        """To be called before the records of a window are published: note that it has closed or settled, if that is why they
        are."""
        header = due.header
        if due.reason == "closed":
            header.closed = True
            delays = self._versions.get(header.model, header.version).delays
            if not final and now < header.end + delays.settle_after(spec, now):
                self._pending.closed(header)
                return
        if due.reason in ("closed", "settled"):
            self._versions.settle(header, self._windows)

    def _changed_long_enough(self, header: Header, spec: ModelSpec, now: float) -> list[Segment]:
        """The segments of a closed window whose changed records may be published at event time ``now``."""
        age, interval = now - header.end, spec.published_every(header.end - header.start)
        until = now - max(interval, age / AGE_SHARE)
        segments_until = now - max(interval, age / SEGMENT_AGE_SHARE)
        # The first publication after the label horizon is not delayed.
        passed = header.end + spec.label_horizon if age >= spec.label_horizon else -inf
        changed = self._pending.unpublished(header, max(until, passed))
        return [
            of for of in changed if (at := header.records[of].published) <= (segments_until if of else until) or at < passed
        ]
