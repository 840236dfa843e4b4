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
"""By metric path."""
MAX_KEPT = 50
"""How many switches of role are kept of one version, the newest."""


class Switch(NamedTuple):
    """From event time ``since`` on, a version has this ``role``."""

    since: float
    role: str


class Series(NamedTuple):
    """What comparisons of different versions have in common: model, monitor, and the name of the windows' length."""

    model: str
    monitor: str
    window: str


class SeenVersion(msgspec.Struct, frozen=True):
    """A version's role now, the event time at which it was first seen, and its roles so far."""

    role: str
    first: float
    switches: tuple[Switch, ...] = ()

    def just_before(self, moment: float) -> SeenVersion:
        """What it was just before event time ``moment``.

        >>> SeenVersion("live", 0.0, (Switch(0.0, "shadow"), Switch(5.0, "live"))).just_before(5.0).role
        'shadow'
        """
        before = [role for since, role in self.switches if since < moment]
        return SeenVersion(before[-1] if before else self.role, self.first, self.switches)


def switched(switches: tuple[Switch, ...], since: float, role: str) -> tuple[Switch, ...]:
    """The switches with one more, in order of time, without those to the role that the version had already.

    >>> switched((Switch(0.0, "shadow"), Switch(9.0, "live")), 5.0, "live")
    (Switch(since=0.0, role='shadow'), Switch(since=5.0, role='live'))
    """
    kept: list[Switch] = []
    for switch in sorted((*switches, Switch(since, role))):
        if not kept or kept[-1].role != switch.role:
            kept.append(switch)
    return tuple(kept[-MAX_KEPT:])


class Rollout(msgspec.Struct):
    """One comparison over the windows of one length in which both versions were seen.

    ``starts``: of the windows kept. ``carried``: what older ones added up to, ``carried_windows`` of them. ``dirty``: start
    of the earliest window changed since it was published. ``ended``: they are no longer seen together. ``record``: the
    newest record.
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
        return STATE + b"\0".join(
            part.encode() for part in (self.model, self.monitor, self.window, self.champion, self.challenger)
        )

    @property
    def series(self) -> Series:
        return Series(self.model, self.monitor, self.window)

    @property
    def length(self) -> float:
        """Seconds in one window."""
        return duration(self.window)

    def window_at(self, start: float) -> Window:
        return Window(self.window, start, start + self.length)

    def note(self, start: float) -> None:
        """What the window that begins at ``start`` says of both versions is new, or has changed."""
        if start not in self.starts:
            self.starts.append(start)
            self.starts.sort()
            self.ended = False
        self.since = min(self.since, start)
        self.dirty = start if self.dirty is None else min(self.dirty, start)


class SharedWindow(NamedTuple):
    """A window in which two versions were seen, by its start. ``pairs``: the requests that both of them answered; ``settled``:
    the labels of both are in."""

    start: float
    champion: Side
    challenger: Side
    pairs: PairProfile
    settled: bool


def champion_of(spec: ModelSpec, versions: Mapping[str, SeenVersion]) -> str | None:
    """The version that the others seen with it are compared with: the spec's, or else the live one, of several the oldest;
    where none is live, the oldest of all.

    >>> versions = {"m:1": SeenVersion("live", 5.0), "m:2": SeenVersion("live", 9.0), "m:0": SeenVersion("shadow", 1.0)}
    >>> champion_of(ModelSpec("m"), versions), champion_of(ModelSpec("m", champion="m:2"), versions)
    ('m:1', 'm:2')
    """
    if spec.champion is not None:
        return spec.champion if spec.champion in versions else None
    live = [name for name, of in versions.items() if of.role == "live"] or list(versions)
    return min(live, key=lambda name: (versions[name].first, name), default=None)


def add(total: Contrasts, more: Contrasts) -> None:
    """Add what one window says to what others do."""
    for path, contrast in more.items():
        total[path] = total.get(path, Contrast()) + contrast
