"""Rows of predictions and outcomes that have come in, kept as they are until all that is made of them has been made.

    r<number>        one part of a delta, with how it lies in windows
    n                the number of the next one: none is given twice

Profiles of windows and of learned baselines are made of rows when they are asked for. What is written of such a profile says up
to which number it has taken rows; rows are deleted when nobody waits for them any more.
"""

from __future__ import annotations

import msgspec
import numpy as np

from tidegauge.engine.delta import RowsDelta, Segment
from tidegauge.engine.stage import Store
from tidegauge.profile import data_rows
from tidegauge.profile.data import DataColumns
from tidegauge.profile.outcome_table import OutcomeTable
from tidegauge.spec import ModelSpec

ROWS, NEXT = b"r", b"n"
FIXED_BYTES = 4096
"""What a part takes in memory beside its rows."""


class _Stored(msgspec.Struct, array_like=True, frozen=True):
    """A part with what the spec said when it came: window lengths, breakdowns, and the pane in seconds."""

    model: str
    windows: tuple[str, ...]
    breakdowns: tuple[tuple[str, ...], ...]
    pane: float
    part: RowsDelta


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Stored).decode


class Rows:
    """One part: ``data`` or ``outcome``; ``codes`` (n) into ``segments``, and ``times`` (n). ``waiting``: how many profiles
    have not taken their share of it."""

    __slots__ = (
        "breakdowns", "codes", "data", "model", "number", "outcome", "pane", "segments", "size", "times", "version",
        "waiting", "windows",
    )  # fmt: skip

    def __init__(self, number: int, kept: _Stored) -> None:
        part = kept.part
        self.number, self.model, self.version = number, kept.model, part.version
        self.windows, self.breakdowns, self.pane = kept.windows, kept.breakdowns, kept.pane
        self.segments: tuple[Segment, ...] = part.segments
        self.codes = np.frombuffer(part.codes, np.uint32).astype(np.int64)
        self.times = np.frombuffer(part.times, np.float64)
        self.data: DataColumns | None = None if part.data is None else data_rows.unpack(part.data)
        self.outcome = None if part.outcome is None else OutcomeTable.unpack(part.outcome)
        self.waiting = 0
        # Unpacked it takes about as much as packed.
        self.size = FIXED_BYTES + len(part.data or part.outcome or b"")


class RowLog:
    """The parts of one monitor task that somebody waits for. ``size``: bytes they take in memory; ``next``: the number of the
    next one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stored: set[int] = set()
        self._new: dict[int, _Stored] = {}
        self._gone: list[int] = []
        self.rows: dict[int, Rows] = {}
        self.next, self.size = int(store.get(NEXT) or b"0"), 0
        for key, raw in sorted(store.scan(ROWS)):
            rows = Rows(int(key[1:]), _decode(raw))
            self.rows[rows.number] = rows
            self._stored.add(rows.number)
            self.size += rows.size

    def add(self, model: str, spec: ModelSpec, part: RowsDelta) -> Rows:
        """Take in a part; whoever is to take its rows raises ``waiting``."""
        stored = _Stored(model, spec.windows, spec.segments, spec.pane, part)
        rows = Rows(self.next, stored)
        self.rows[rows.number] = rows
        self._new[rows.number] = stored
        self.next, self.size = self.next + 1, self.size + rows.size
        return rows

    def taken(self, rows: Rows) -> None:
        """One profile has taken its share of a part."""
        rows.waiting -= 1
        self.settle(rows)

    def settle(self, rows: Rows) -> None:
        """Let go of a part if nobody waits for it."""
        if rows.waiting or rows.number not in self.rows:
            return
        del self.rows[rows.number]
        self.size -= rows.size
        if rows.number in self._stored:
            self._stored.discard(rows.number)
            self._gone.append(rows.number)

    def settle_all(self) -> None:
        """Let go of what nobody waits for: after a restart under a spec that asks for less."""
        for rows in list(self.rows.values()):
            self.settle(rows)

    def flush(self) -> None:
        """Write what changed to the store."""
        for number, stored in self._new.items():
            if number in self.rows:
                self._store.put(_key(number), _encode(stored))
                self._stored.add(number)
        if self._new:
            self._store.put(NEXT, b"%d" % self.next)
            self._new.clear()
        for number in self._gone:
            self._store.delete(_key(number))
        self._gone.clear()


def _key(number: int) -> bytes:
    return b"%s%020d" % (ROWS, number)
