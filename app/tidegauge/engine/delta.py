"""The messages from the join stage to the monitor stage, one for each checkpoint and model: the wire format of the internal
topic."""

from __future__ import annotations

import math

import msgspec

Segment = tuple[tuple[str, str], ...]
"""The (dimension, value) pairs of a segment in the order of the spec; () is the whole model."""


class ProfileDelta(msgspec.Struct, array_like=True, frozen=True, tag="profile"):
    """What one checkpoint adds to one pane of one segment of a version, as packed profiles; None for an unchanged profile.

    ``arrival``: the start of the quantum of event time in which it arrived (``engine/arrival_quanta.py``); ``latest``: the
    largest ``ts`` of its predictions, 0 if there are none or if it is about a segment; ``pairs``: by other version, the packed
    profile of the requests that both versions answered, for versions whose names sort after this one.
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
    """What one checkpoint adds to one version in one quantum of arrival, row by row. Used if profiles would hold few events
    each.

    ``arrival``: as in ProfileDelta. ``segments``: the distinct combinations of segment values, in the order of the spec;
    ``codes`` (n, uint32): the index of each row's combination; ``times`` (n, float64): the ``ts`` of each prediction. Either
    ``data`` holds packed predictions (``profile/data_rows.py``) or ``outcome`` packed outcomes (``profile/outcome_table.py``).
    Arrays are raw and little-endian.
    """

    version: str
    arrival: float
    segments: tuple[Segment, ...]
    codes: bytes
    times: bytes
    data: bytes | None = None
    outcome: bytes | None = None


Part = ProfileDelta | RowsDelta
"""A part of a delta."""


class Samples(msgspec.Struct, array_like=True, frozen=True):
    """Single values for the online detectors, one stream of one version and segment.

    ``times`` (n, float64): event time of arrival (the label's ``ts`` for outcomes, otherwise the prediction's); ``ties`` (n,
    uint32): orders equal times independently of the partitioning; ``values`` (n, float64); ``hours`` (n, uint8): the hour of
    the week of the prediction. Arrays are raw and little-endian.
    """

    version: str
    segment: Segment
    stream: str
    times: bytes
    ties: bytes
    values: bytes
    hours: bytes


class RoleSwitch(msgspec.Struct, array_like=True, frozen=True):
    """A version has the ``role`` from event time ``since`` on."""

    version: str
    role: str
    since: float


class DeltaHead(msgspec.Struct, array_like=True, frozen=True):
    """The progress of the join task: the first members of a delta, which can be decoded without the rest.

    ``watermark``, ``label_watermark``: the largest ``ts`` of a prediction and of a label that this join task has seen for the
    model. ``now``: wall clock of the join task's checkpoint. ``idle``: its input has been exhausted for a while, so it must not
    hold back event time.
    """

    partition: int
    model: str
    now: float
    idle: bool
    watermark: float = 0.0
    label_watermark: float = 0.0


class Delta(DeltaHead, array_like=True, frozen=True):
    """One message. If ``model`` is "" it is a heartbeat, which only reports the progress of the join task.

    ``read``: the event time up to which the join task has read both its inputs; infinite if it lags behind in neither.
    ``traces``: the trace contexts of the profiles' examples, by request id. ``forgotten``: request ids of which nothing may be
    kept; a message with any of these has no other content.
    """

    parts: tuple[Part, ...] = ()
    samples: tuple[Samples, ...] = ()
    roles: tuple[RoleSwitch, ...] = ()
    read: float = math.inf
    traces: dict[str, str] = {}
    forgotten: tuple[str, ...] = ()


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Delta).decode
