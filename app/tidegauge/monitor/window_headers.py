"""The state of a window and of the records of its segments, which a monitor task keeps in memory for every window."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from tidegauge.engine.delta import Segment
from tidegauge.metrics.grading import Errors
from tidegauge.metrics.record import Window, iso


class RecordState(msgspec.Struct, array_like=True, gc=False):
    """The state of the record of one segment of a window.

    ``published``: the event time at which its last revision was published, or, while the window is open, how it stands; 0 if
    never. ``data``, ``outcome``: whether predictions or outcomes have changed it since. ``data_rows``, ``outcome_rows``: its
    profiles have counted all rows of the log below these numbers.
    """

    predictions: int = 0
    revision: int = 0
    published: float = 0.0
    data: bool = False
    outcome: bool = False
    data_rows: int = 0
    outcome_rows: int = 0


class Header(msgspec.Struct, array_like=True):
    """The state of one window.

    ``window``: the name of its length. ``records``: by segment, with the whole model, (), first. ``stale``: whether the
    previous window has changed since the whole model's record was last published. ``pairs``: the versions that answered some of
    the same requests and whose names sort after its own. ``graded``: the errors of the whole model's estimated performance.
    ``latest``: the largest ``ts`` of its predictions. ``publications``: how often records of it were published.
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
        """The segments that occurred, the whole model first."""
        return list(self.records)

    @property
    def key(self) -> bytes:
        return window_key(self.model, self.version, self.window, self.start)

    @property
    def span(self) -> Window:
        return Window(self.window, self.start, self.end)


@lru_cache(1 << 14)
def window_key(model: str, version: str, window: str, start: float) -> bytes:
    """The key of a window in memory, which is also a part of the store keys of its data."""
    return b"\0".join((model.encode(), version.encode(), window.encode(), b"%020d" % round(start * 1000)))


def record_key(header: Header, segment: Segment) -> bytes:
    """The key of a metrics record. All revisions of a window have the same, so that the compacted topic keeps the newest."""
    return msgspec.json.encode([header.model, header.version, dict(segment), header.window, iso(header.start)])
