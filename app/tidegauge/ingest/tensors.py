"""Tensors of the open inference protocol (V2): a name, a shape, a type and their values, row by row.

The first dimension is that of the rows of the batch; all others together are the columns of a row, in row-major order.
See https://kserve.github.io/website/latest/modelserving/data_plane/v2_protocol/.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import msgspec
import numpy as np

from tidegauge.ingest.messages import bad

_RAW = {
    "BOOL": "?", "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "<i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
"""Type → NumPy's name of it in raw contents. Elements of type BYTES follow their length, which takes four bytes."""


class Tensor(msgspec.Struct, frozen=True):
    """A tensor as a table. ``values``: ``rows`` times ``width`` scalars, row by row."""

    name: str
    rows: int
    width: int
    values: list[Any]

    def column(self, index: int) -> list[Any]:
        """The values at ``index`` of each row."""
        return self.values[index :: self.width]


def tensor(name: str, shape: list[int], values: list[Any]) -> Tensor:
    """The tensor of these values. Raises EventError if there are not as many as the shape says."""
    if any(size < 0 for size in shape):
        raise bad(f"tensor {name!r} has the shape {shape}, sizes are 0 or more")
    rows, width = (shape[0], math.prod(shape[1:])) if shape else (1, 1)
    if rows * width != len(values):
        raise bad(f"tensor {name!r} of shape {shape} has {len(values)} values instead of {rows * width}")
    return Tensor(name, rows, width, [_scalar(value) for value in values])


def flat(values: Any) -> list[Any]:
    """The values of JSON data, which may be nested like the shape, in one flat list."""
    if not isinstance(values, list):
        return [values]
    return [scalar for value in values for scalar in flat(value)] if any(isinstance(v, list) for v in values) else values


def raw_values(name: str, datatype: str, content: bytes) -> list[Any]:
    """The values in raw contents, which are little-endian. Raises EventError."""
    if datatype == "BYTES":
        return _elements(name, content)
    if datatype not in _RAW:
        raise bad(f"tensor {name!r} is of type {datatype!r}; known: {', '.join(_RAW)}, BYTES")
    try:
        found: list[Any] = np.frombuffer(content, _RAW[datatype]).tolist()
    except ValueError as error:
        raise bad(f"tensor {name!r} of type {datatype}: {error}") from None
    return found


def _elements(name: str, content: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(content):
        if at + 4 > len(content):
            raise bad(f"tensor {name!r} ends within the length of an element")
        (length,) = struct.unpack_from("<I", content, at)
        at += 4
        if at + length > len(content):
            raise bad(f"tensor {name!r} ends within an element")
        found.append(content[at : at + length])
        at += length
    return found


def _scalar(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
