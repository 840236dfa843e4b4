"""The log of rows: keeps predictions and outcomes that came as rows until every profile that they belong to has counted them.

    r<number>        one part of a delta, with the window lengths and breakdowns it is to be counted in
    n                the number of the next part; numbers are never reused

Profiles of windows and of learned baselines count rows when they are asked for. With each profile, the number of the first part
that it has not counted is stored, so that a restart neither loses rows nor counts them twice. A part is deleted once no profile
waits for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Set

import msgspec
import numpy as np

from tidegauge.engine.delta import RowsDelta
from tidegauge.engine.stage import Store
from tidegauge.monitor.unnamed_parts import without
from tidegauge.profile import data_rows
from tidegauge.profile.data import DataColumns
from tidegauge.profile.grouping import SegmentNumbers
from tidegauge.profile.outcome_table import OutcomeTable
from tidegauge.spec import ModelSpec

ROWS, NEXT = b"r", b"n"
DATA_BYTES, ROW_BYTES, NAME_BYTES, OUTCOME_BYTES = 3000, 90, 58, 1200
"""The bytes of memory that a part of predictions takes in addition to its packed form: in any case, for each row (its request
id, segments and time), and for each feature (its name); and a part of outcomes in addition to twice its packed form."""


class _Stored(msgspec.Struct, array_like=True, frozen=True):
    """A part, and members of the spec at the time it came: the names of window lengths, breakdowns, and the pane in seconds."""

    model: str
    windows: tuple[str, ...]
    breakdowns: tuple[tuple[str, ...], ...]
    pane: float
    part: RowsDelta


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Stored).decode


class Rows:
    """One part of n rows with either predictions (``data``) or outcomes (``outcome``). ``segments`` (B, n): for each of B
    ``breakdowns``, of which the whole model is the first, the number of each row's segment, as in ``SegmentNumbers``;
    ``names``: the segments by number; ``times`` (n): the ``ts`` of each row's prediction; ``waiting``: how many profiles have
    not counted their share; ``size``: about how many bytes of memory it takes."""

    __slots__ = (
        "breakdowns", "data", "model", "names", "number", "outcome", "pane", "segments", "size", "times", "version", "waiting",
        "windows",
    )  # fmt: skip

    def __init__(self, number: int, kept: _Stored, numbers: SegmentNumbers) -> None:
        part = kept.part
        self.number, self.model, self.version = number, kept.model, part.version
        self.windows, self.breakdowns, self.pane = kept.windows, ((), *kept.breakdowns), kept.pane
        self.segments = numbers.of(part.segments, self.breakdowns)[:, np.frombuffer(part.codes, np.uint32)]
        self.names = numbers.names
        self.times = np.frombuffer(part.times, np.float64)
        self.data: DataColumns | None = None if part.data is None else data_rows.unpack(part.data)
        self.outcome = None if part.outcome is None else OutcomeTable.unpack(part.outcome)
        self.waiting = 0
        self.size = OUTCOME_BYTES + 2 * len(part.outcome or b"")
        if self.data is not None:
            names = len(self.data.features.names) + len(self.data.categories)
            self.size = DATA_BYTES + len(part.data or b"") + ROW_BYTES * len(self.times) + NAME_BYTES * names


class RowLog:
    """The parts of one monitor task that a profile waits for. ``size``: bytes they take in memory; ``next``: the number of the
    next part."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stored: set[int] = set()
        self._new: dict[int, _Stored] = {}
        self._gone: list[int] = []
        self.rows: dict[int, Rows] = {}
        self._numbers: defaultdict[str, SegmentNumbers] = defaultdict(SegmentNumbers)
        self.next, self.size = int(store.get(NEXT) or b"0"), 0
        for key, raw in sorted(store.scan(ROWS)):
            stored = _decode(raw)
            rows = Rows(int(key[1:]), stored, self._numbers[stored.model])
            self.rows[rows.number] = rows
            self._stored.add(rows.number)
            self.size += rows.size

    def add(self, model: str, spec: ModelSpec, part: RowsDelta) -> Rows:
        """Add a part. Each profile that will count rows of it must increase its ``waiting`` by one."""
        stored = _Stored(model, spec.windows, spec.segments, spec.pane, part)
        rows = Rows(self.next, stored, self._numbers[model])
        self.rows[rows.number] = rows
        self._new[rows.number] = stored
        self.next, self.size = self.next + 1, self.size + rows.size
        return rows

    def note_taken(self, rows: Rows) -> None:
        """Note that one profile has counted its share of a part."""
        rows.waiting -= 1
        self.discard_if_taken(rows)

    def discard_if_taken(self, rows: Rows) -> None:
        """Discard a part if no profile waits for it any more."""
        if rows.waiting or rows.number not in self.rows:
            return
        del self.rows[rows.number]
        self.size -= rows.size
        if rows.number in self._stored:
            self._stored.discard(rows.number)
            self._gone.append(rows.number)

    def discard_all_taken(self) -> None:
        """Discard all parts that no profile waits for: after a restart under a spec that asks for fewer windows or segments."""
        for rows in list(self.rows.values()):
            self.discard_if_taken(rows)

    def forget_requests(self, request_ids: Set[str]) -> None:
        """Remove these requests from the rows, in memory and in the store. Call it after ``flush``."""
        for number, rows in self.rows.items():
            for of in (rows.data, rows.outcome):
                if of is not None and of.forget_requests(request_ids):
                    stored = _decode(self._store.get(_key(number)) or b"")
                    left = msgspec.structs.replace(stored, part=without(stored.part, request_ids))
                    self._store.put(_key(number), _encode(left))

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
