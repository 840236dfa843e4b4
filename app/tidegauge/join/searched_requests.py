"""Remembers in which ranges the features of sampled requests lie, so that their losses can be counted by ranges once labels
come.

The sample depends on the request id alone, so it is the same however requests are spread over partitions, and in a replay. Only
where far more requests come than in the baseline's reference is it made smaller.

State, in the join's store:
    g<request id>      for each version: [context number, id of the baseline's ranges, codes]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.baseline.baseline import Baseline
from tidegauge.engine.stage import Store
from tidegauge.join.request_state import OTHER
from tidegauge.join.requests import REQUEST
from tidegauge.profile.data import DataColumns
from tidegauge.profile.range_losses import RangeCodes

SEARCHED = b"g"
_SPREAD = np.uint32(2654435761)
"""An odd number near 2**32 divided by the golden ratio: it spreads checksums that differ in few bits over all numbers (Knuth,
The Art of Computer Programming, volume 3, section 6.4)."""


HALVED_EVERY = 50_000
"""Whenever a task has noted so many requests of one day (of each baseline), the share of further ones is halved."""


class _Coded(msgspec.Struct, array_like=True, gc=False):
    """The codes of one version's prediction."""

    context: int
    ranges: str
    codes: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Coded]).decode


class SearchedRequests:
    """The sampled requests of one join task."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # By the id of a baseline's ranges: the day (since 1970) of the newest prediction, and how many were noted on it.
        self._noted: dict[str, tuple[int, int]] = {}

    def note(self, columns: DataColumns, contexts: Sequence[int], newest: float, baseline: Baseline | None) -> None:
        """Remember the ranges of those predictions of one version that are in the sample. ``contexts``: the number of each
        one's context; ``newest``: the largest ``ts`` among them."""
        if baseline is None or not baseline.searched_share:
            return
        ids = [request_id.encode() for request_id in columns.request_ids]
        before, noted = self._noted.get(baseline.ranges.id, (0, 0))
        day = int(newest // 86400)
        noted = noted if day <= before else 0
        rows = sampled(ids, baseline.searched_share * 0.5 ** (noted // HALVED_EVERY))
        self._noted[baseline.ranges.id] = (max(day, before), noted + len(rows))
        if not len(rows):
            return
        sample = [ids[row] for row in rows.tolist()]
        # A request may have been forgotten since.
        requests = self._store.get_many([REQUEST + request_id for request_id in sample])
        changed = {}
        for row, request_id, raw, codes in zip(
            rows.tolist(), sample, requests, baseline.ranges.codes(columns, rows), strict=True
        ):
            if raw is not None:
                # Entries of the other forms hold a single prediction.
                others = self._of(request_id) if raw[4] == OTHER else []
                coded = _Coded(contexts[row], baseline.ranges.id, codes.tobytes())
                others = [of for of in others if of.context != coded.context]
                changed[SEARCHED + request_id] = _encode([*others, coded])
        if changed:
            self._store.put_many(changed)

    def _of(self, request_id: bytes) -> list[_Coded]:
        raw = self._store.get(SEARCHED + request_id)
        return [] if raw is None else _decode(raw)

    def codes(self, request_ids: Sequence[bytes], contexts: NDArray[np.int64], baseline: Baseline | None) -> RangeCodes | None:
        """The ranges of those outcomes (n) of one version that are in the sample and were coded with this baseline's ranges;
        None if the baseline has none. ``contexts`` (n): the number of each prediction's context."""
        if baseline is None or not baseline.searched_share or not len(request_ids):
            return None
        ranges = baseline.ranges
        sample = sampled(request_ids, baseline.searched_share).tolist()
        raws = self._store.get_many([SEARCHED + request_ids[row] for row in sample])
        rows, codes = [], []
        for row, raw in zip(sample, raws, strict=True):
            for of in () if raw is None else _decode(raw):
                if of.context == contexts[row] and of.ranges == ranges.id:
                    rows.append(row)
                    codes.append(of.codes)
        table = np.frombuffer(b"".join(codes), np.uint8).reshape(len(rows), len(ranges.features))
        return RangeCodes(ranges.id, ranges.unit, np.array(rows, np.int64), table)

    def forget(self, request_ids: Sequence[str]) -> None:
        """Delete what is kept of these requests."""
        for request_id in request_ids:
            self._store.delete(SEARCHED + request_id.encode())

    def expired(self, pairs: Mapping[bytes, bytes]) -> list[bytes]:
        """The keys among stored ``pairs`` that belong to requests which are no longer kept."""
        keys = [key for key in pairs if key[:1] == SEARCHED]
        requests = self._store.get_many([REQUEST + key[1:] for key in keys])
        return [key for key, request in zip(keys, requests, strict=True) if request is None]


def sampled(request_ids: Sequence[bytes], share: float) -> NDArray[np.intp]:
    """The indices of the request ids that are in a sample of this share.

    >>> ids = [b"request-%d" % i for i in range(10000)]
    >>> len(sampled(ids, 0.25)), len(sampled(ids, 1.0)), set(sampled(ids, 0.01)) <= set(sampled(ids, 0.25))
    (2474, 10000, True)
    """
    if share >= 1.0:
        return np.arange(len(request_ids))
    marks = np.fromiter(map(crc32, request_ids), np.uint32, len(request_ids)) * _SPREAD
    return np.flatnonzero(marks < np.uint32(int(share * 2**32)))
