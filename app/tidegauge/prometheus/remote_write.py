"""Windows as they stand in Prometheus's past: every revision of a closed window at a time of its own.

A window that ends at T is restated while labels come, days after T. Prometheus refuses another value at the same time, so
revision k (the first is 0 here, 1 in the record) is written at T − 1000 ms + k ms. In a series then stand, side by side, all
that was said of the window, the newest last: ``last_over_time(metric[1h])`` is how it stands now, ``metric offset 1s`` how it
was published first.

The names are those of ``/metrics`` under another prefix: there a number is "the newest closed window, now", here it is "this
window, then", and a query that mixed them would be wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from tidegauge.prometheus.window_samples import window_samples

PREFIX = "tidegauge_history_"
LEAD_MS = 1000
Labels = tuple[tuple[str, str], ...]


class PastSample(NamedTuple):
    """``labels`` with ``__name__``, sorted by name, none of them empty; ``timestamp`` in milliseconds since the epoch."""

    labels: Labels
    timestamp: int
    value: float


def past_samples(record: Mapping[str, Any]) -> Iterator[PastSample]:
    """The samples of one metrics record; none for a window that is still open, or one restated more often than it has
    milliseconds, where its samples would come to lie in the next one.

    >>> record = {"model": "m", "model_version": "m:1", "window": "1h", "segment": {}, "predictions": 3, "closed": True,
    ...           "window_start": "2025-09-27T00:00:00Z", "window_end": "2025-09-27T01:00:00Z", "revision": 2}
    >>> [sample] = past_samples(record)
    >>> dict(sample.labels)["__name__"], sample.timestamp, sample.value
    ('tidegauge_history_window_predictions', 1758934799001, 3.0)
    """
    if not record.get("closed"):
        return
    start, end = (int(datetime.fromisoformat(record[name]).timestamp() * 1000) for name in ("window_start", "window_end"))
    revision = record["revision"] - 1
    if revision >= end - start:
        return
    timestamp = end - LEAD_MS + revision
    for name, labels, value in window_samples(record):
        named = {"__name__": PREFIX + name.removeprefix("tidegauge_"), **labels}
        yield PastSample(tuple(sorted((name, text) for name, text in named.items() if text)), timestamp, value)


def write_request(samples: Iterable[PastSample]) -> bytes:
    """Prometheus's remote write 1.0: a ``WriteRequest`` in Protocol Buffers' wire format, not compressed yet.

    message WriteRequest {repeated TimeSeries timeseries = 1;}
    message TimeSeries   {repeated Label labels = 1; repeated Sample samples = 2;}
    message Label        {string name = 1; string value = 2;}
    message Sample       {double value = 1; int64 timestamp = 2;}

    >>> write_request([PastSample((("__name__", "a"),), 1, 0.5)]).hex()
    '0a1c0a0d0a085f5f6e616d655f5f120161120b09000000000000e03f1001'
    """
    series: dict[Labels, list[PastSample]] = {}
    for sample in samples:
        series.setdefault(sample.labels, []).append(sample)
    return b"".join(_field(1, _series(labels, of)) for labels, of in series.items())


def _series(labels: Labels, samples: Sequence[PastSample]) -> bytes:
    parts = [_field(1, _field(1, name.encode()) + _field(2, value.encode("utf-8", "replace"))) for name, value in labels]
    parts += [
        _field(2, b"\x09" + struct.pack("<d", sample.value) + b"\x10" + _varint(sample.timestamp))
        for sample in sorted(samples, key=lambda sample: sample.timestamp)
    ]
    return b"".join(parts)


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes: its number and wire type 2, its length, itself."""
    return bytes((number << 3 | 2,)) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Seven bits a byte, the low ones first. Negative numbers (times before 1970) as two's complement of 64 bits.

    >>> _varint(300).hex()
    'ac02'
    """
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
