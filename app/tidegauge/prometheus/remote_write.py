"""Samples for past times in Prometheus: every revision of a closed window is written at a time of its own.

A window that ends at time T is restated as labels arrive, up to days after T. Prometheus refuses a second value for the same
time, so revision k (here the first one is 0, in the record it is 1) is written at T − 1000 ms + k ms. A series then contains
all revisions of a window, the newest last: ``last_over_time(metric[1h])`` is the current value, ``metric offset 1s`` the first
published one.

The names are those of ``/metrics`` with another prefix. There a number is "the newest closed window, now"; here it is "this
window, then", and a query that mixed both would be wrong.
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
    """A sample for remote write. ``labels``: sorted by name, including ``__name__``, without empty ones; ``timestamp``: in
    milliseconds since the epoch."""

    labels: Labels
    timestamp: int
    value: float


def past_samples(record: Mapping[str, Any]) -> Iterator[PastSample]:
    """The samples of one metrics record; none for a window that is still open, or that has been restated so often that the
    sample would belong to the next window.

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
    """The samples as a ``WriteRequest`` of Prometheus's remote write 1.0, in the wire format of Protocol Buffers, uncompressed.

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
    """A field of bytes: its number with wire type 2, its length, and the bytes."""
    return bytes((number << 3 | 2,)) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """A variable-length integer: seven bits in each byte, the lowest first. Negative numbers (times before 1970) are encoded as
    64-bit two's complement.

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
