"""How one window stands, and the record of each of its segments: what a monitor task keeps of every window in memory."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from tidegauge.engine.delta import Segment
from tidegauge.metrics.grading import Errors
from tidegauge.metrics.record import Window


class RecordState(msgspec.Struct, array_like=True, gc=False):
    """How the record of one segment of a window stands.

    ``published``: event time at which its last revision was. ``data`` and ``outcome``: whether predictions or outcomes have
    changed it since. ``data_rows`` and ``outcome_rows``: its profiles have taken all rows of the log below these numbers.
    """

    predictions: int = 0
    revision: int = 0
    published: float = 0.0
    data: bool = False
    outcome: bool = False
    data_rows: int = 0
    outcome_rows: int = 0


class Header(msgspec.Struct, array_like=True):
    """How one window stands.

    ``window``: the name of its length. ``records``: by segment, the whole model (()) first. ``stale``: the window before it has
    changed since the whole model's record was last published. ``pairs``: the versions it shares requests with, of those whose
    names sort after its own. ``graded``: how far off the whole model's estimated performance was. ``latest``: the largest
    ``ts`` of its predictions. ``publications``: how often records of it were published.
    """

    model: str
    version: str
    window: str
    start: float
    end: float
    closed: bool = False
    settled: bool = False
    records: dict[Segment, RecordState] = msgspec.field(default_factory=dict)
    stale: bool = False
    pairs: list[str] = msgspec.field(default_factory=list)
    graded: Errors = msgspec.field(default_factory=dict)
    latest: float = 0.0
    publications: int = 0

    @property
    def segments(self) -> list[Segment]:
        """The segments seen, the whole model first."""
        return list(self.records)

    @property
    def key(self) -> bytes:
        return window_key(self.model, self.version, self.window, self.start)

    @property
    def span(self) -> Window:
        return Window(self.window, self.start, self.end)


@lru_cache(1 << 14)
def window_key(model: str, version: str, window: str, start: float) -> bytes:
    """The key of a window in memory, and within the keys of what is stored of it."""
    return b"\0".join((model.encode(), version.encode(), window.encode(), b"%020d" % round(start * 1000)))
