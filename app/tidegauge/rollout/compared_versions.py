"""Which versions of a model are compared, and one comparison as the monitor stage keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from tidegauge.metrics.comparison import Side
from tidegauge.metrics.record import Window
from tidegauge.metrics.sequential import Contrast
from tidegauge.profile.pairs import PairProfile
from tidegauge.spec import ModelSpec, duration

STATE = b"g"
Contrasts = dict[str, Contrast]
"""The contrasts of two versions by metric path."""
MAX_KEPT = 50
"""How many role switches are kept for each version; older ones are dropped."""


class Switch(NamedTuple):
    """A version's change of role: it has this ``role`` from event time ``since`` (Unix seconds) on."""

    since: float
    role: str


class Series(NamedTuple):
    """What all comparisons by one monitor of a model share: the model, the monitor, and the name of the window length."""

    model: str
    monitor: str
    window: str


class SeenVersion(msgspec.Struct, frozen=True):
    """A version's current role, the event time at which it was first seen, and its role switches so far."""

    role: str
    first: float
    switches: tuple[Switch, ...] = ()

    def just_before(self, moment: float) -> SeenVersion:
        """The version as it was just before event time ``moment``.

        >>> SeenVersion("live", 0.0, (Switch(0.0, "shadow"), Switch(5.0, "live"))).just_before(5.0).role
        'shadow'
        """
        before = [role for since, role in self.switches if since < moment]
        return SeenVersion(before[-1] if before else self.role, self.first, self.switches)


def with_switch(switches: tuple[Switch, ...], since: float, role: str) -> tuple[Switch, ...]:
    """The switches with one added, ordered by time, without those to a role that the version already had.

    >>> with_switch((Switch(0.0, "shadow"), Switch(9.0, "live")), 5.0, "live")
    (Switch(since=0.0, role='shadow'), Switch(since=5.0, role='live'))
    """
    kept: list[Switch] = []
    for switch in sorted((*switches, Switch(since, role))):
        if not kept or kept[-1].role != switch.role:
            kept.append(switch)
    return tuple(kept[-MAX_KEPT:])


class Rollout(msgspec.Struct):
    """One comparison of two versions, over the windows of one length in which both were seen.

    ``starts``: the starts of the windows that are still kept. ``carried``: the sum of the contrasts of ``carried_windows``
    older windows. ``dirty``: the start of the earliest window that changed after it was published, None if none did.
    ``ended``: the two versions are no longer seen together. ``record``: the newest published record.
    """

    model: str
    monitor: str
    window: str
    champion: str
    challenger: str
    since: float
    starts: list[float] = msgspec.field(default_factory=list)
    carried: Contrasts = msgspec.field(default_factory=dict)
    carried_windows: int = 0
    dirty: float | None = None
    published: float = 0.0
    revision: int = 0
    ended: bool = False
    record: bytes = b""

    @property
    def key(self) -> bytes:
        """Its key in the store of the monitor task."""
        return STATE + b"\0".join(
            part.encode() for part in (self.model, self.monitor, self.window, self.champion, self.challenger)
        )

    @property
    def series(self) -> Series:
        """The model, monitor and window length, which other comparisons share."""
        return Series(self.model, self.monitor, self.window)

    @property
    def length(self) -> float:
        """The length of one window in seconds."""
        return duration(self.window)

    def window_at(self, start: float) -> Window:
        """The window that begins at ``start`` (Unix seconds)."""
        return Window(self.window, start, start + self.length)

    def note_change(self, start: float) -> None:
        """Note that the window that begins at ``start`` is new, or that its numbers have changed."""
        if start not in self.starts:
            self.starts.append(start)
            self.starts.sort()
            self.ended = False
        self.since = min(self.since, start)
        self.dirty = start if self.dirty is None else min(self.dirty, start)


class SharedWindow(NamedTuple):
    """A window in which two versions were seen. ``start``: its start (event time); ``pairs``: the requests that both versions
    answered; ``settled``: the labels of both versions are in."""

    start: float
    champion: Side
    challenger: Side
    pairs: PairProfile
    settled: bool


def champion_of(spec: ModelSpec, versions: Mapping[str, SeenVersion]) -> str | None:
    """The version that all others are compared with: the one named in the spec; otherwise the oldest live version, or the
    oldest version of all if none is live. None if there are no versions.

    >>> versions = {"m:1": SeenVersion("live", 5.0), "m:2": SeenVersion("live", 9.0), "m:0": SeenVersion("shadow", 1.0)}
    >>> champion_of(ModelSpec("m"), versions), champion_of(ModelSpec("m", champion="m:2"), versions)
    ('m:1', 'm:2')
    """
    if spec.champion is not None:
        return spec.champion if spec.champion in versions else None
    live = [name for name, of in versions.items() if of.role == "live"] or list(versions)
    return min(live, key=lambda name: (versions[name].first, name), default=None)


def add_contrasts(total: Contrasts, more: Contrasts) -> None:
    """Add the contrasts of one window to a running total, in place."""
    for path, contrast in more.items():
        total[path] = total.get(path, Contrast()) + contrast
