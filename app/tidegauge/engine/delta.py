"""What the join stage tells the monitor stage, once a checkpoint and model: the internal topic's wire format."""

from __future__ import annotations

import math

import msgspec

Segment = tuple[tuple[str, str], ...]
"""A segment's (dimension, value) pairs in the order of the spec; () is the whole model."""


class ProfileDelta(msgspec.Struct, array_like=True, frozen=True, tag="profile"):
    """What one checkpoint adds to one pane of one version and segment: packed profiles, each None where untouched.

    ``arrival``: start of the quantum of event time in which it arrived (``engine/arrival_quanta.py``); ``latest``: the largest
    ``ts`` of its predictions, 0 where there are none or it is of a segment.
    ``pairs``: packed profiles of the requests it shares with versions whose names sort after its own, by version.
    """

    version: str
    segment: Segment
    pane: int
    arrival: float
    data: bytes | None = None
    outcome: bytes | None = None
    pairs: dict[str, bytes] = {}
    latest: float = 0.0


class RowsDelta(msgspec.Struct, array_like=True, frozen=True, tag="rows"):
    """What one checkpoint adds to one version in one quantum of arrival (``arrival``, as above), row by row: for where profiles
    would be of few events each.

    ``segments``: combinations of segment values, in the order of the spec; ``codes`` (n) uint32 says which each row has.
    ``times`` (n) float64: each prediction's ``ts``. Either ``data`` are packed predictions (``profile/data_rows.py``) or
    ``outcome`` packed outcomes (``profile/outcome_table.py``). Raw little-endian arrays.
    """

    version: str
    arrival: float
    segments: tuple[Segment, ...]
    codes: bytes
    times: bytes
    data: bytes | None = None
    outcome: bytes | None = None


Part = ProfileDelta | RowsDelta
"""Of a delta."""


class Samples(msgspec.Struct, array_like=True, frozen=True):
    """Single values for the online detectors, one stream of one version and segment.

    ``times`` (n) float64: event time of arrival (label ``ts`` for outcomes, prediction ``ts`` otherwise); ``ties`` (n)
    uint32, to order equal times alike whatever the partitioning; ``values`` (n) float64; ``hours`` (n) uint8: hour of the
    week of the prediction. Raw little-endian arrays.
    """

    version: str
    segment: Segment
    stream: str
    times: bytes
    ties: bytes
    values: bytes
    hours: bytes


class RoleSwitch(msgspec.Struct, array_like=True, frozen=True):
    """A version has a ``role`` from event time ``since`` on."""

    version: str
    role: str
    since: float


class DeltaHead(msgspec.Struct, array_like=True, frozen=True):
    """How the join task stands: the first members of a delta, for whom the rest need not be decoded.

    ``watermark`` and ``label_watermark``: the largest prediction and label ``ts`` this join task has seen for the
    model. ``now``: wall clock of the join task's checkpoint. ``idle``: its input is exhausted and has been for a
    while, so that it must not hold event time back.
    """

    partition: int
    model: str
    now: float
    idle: bool
    watermark: float = 0.0
    label_watermark: float = 0.0


class Delta(DeltaHead, array_like=True, frozen=True):
    """One message. ``model`` "" is a heartbeat: it only says how the join task stands.

    ``read``: the event time up to which it has read both its inputs, infinite while it lags behind neither. ``traces``: trace
    contexts of the profiles' examples, by request id. ``forgotten``: request ids of which nothing may be kept; a message that
    has any says nothing else.
    """

    parts: tuple[Part, ...] = ()
    samples: tuple[Samples, ...] = ()
    roles: tuple[RoleSwitch, ...] = ()
    read: float = math.inf
    traces: dict[str, str] = {}
    forgotten: tuple[str, ...] = ()


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Delta).decode
