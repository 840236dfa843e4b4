"""The bodies of requests and responses, as rows and columns: V1 (TensorFlow Serving's row format) and V2 (open inference).

An address says where to find one value of each row. ``NAME`` is a tensor (V2) or a field of each instance (V1), and ``NAME[2]``
the third value of each of its rows; ``[2]`` is the third value of each row of the first tensor, or of each instance that is a
list.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

import msgspec

from tidegauge.ingest import open_inference
from tidegauge.ingest.messages import Message, bad
from tidegauge.ingest.tensors import Tensor, flat, raw_values, tensor
from tidegauge.models.read_inputs import Address

MAX_NAMED_COLUMNS = 100
"""A tensor with more values in each row is not taken for a set of features."""
Scalar = bool | int | float | str | None


FIRST = Address("", None)


class Body(Protocol):
    """The body of a request or response. ``count``: how many rows it has; ``model`` and ``version``: those it names, or
    None."""

    count: int
    model: str | None
    version: str | None

    def column(self, at: Address) -> list[Any] | None:
        """The value of each row at an address; None if there is nothing of that name. Raises EventError for an index beyond a
        row."""
        ...

    def named(self) -> list[dict[str, Scalar]]:
        """For each row, all its single values by their addresses."""
        ...


class Tensors:
    """A V2 body. ``count`` is that of the first tensor; tensors with another number of rows cannot be divided into rows."""

    def __init__(self, tensors: list[Tensor], model: str | None = None, version: str | None = None) -> None:
        if not tensors:
            raise bad("there is no tensor")
        self.model, self.version = model or None, version or None
        self.count = tensors[0].rows
        self._first = tensors[0]
        self._tensors = {of.name: of for of in tensors}

    def column(self, at: Address) -> list[Any] | None:
        of = self._tensors.get(at.name) if at.name else self._first
        if of is None:
            return None
        if of.rows != self.count:
            raise bad(f"tensor {of.name!r} has {of.rows} rows, the first one, {self._first.name!r}, has {self.count}")
        if at.position is None and of.width != 1:
            raise bad(f"tensor {of.name!r} has {of.width} values a row; say which one is meant, as {of.name}[0]")
        if (at.position or 0) >= of.width:
            raise bad(f"tensor {of.name!r} has {of.width} values a row, there is none at [{at.position}]")
        return of.column(at.position or 0)

    def named(self) -> list[dict[str, Scalar]]:
        columns: dict[str, list[Any]] = {}
        for of in self._tensors.values():
            if of.rows == self.count and of.width == 1:
                columns[of.name] = of.values
            elif of.rows == self.count and of.width <= MAX_NAMED_COLUMNS:
                columns |= {f"{of.name}[{index}]": of.column(index) for index in range(of.width)}
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)] or [{}] * self.count


class Instances:
    """A V1 body: an instance, or a prediction, is a scalar, a list of scalars, or an object of them."""

    model: str | None = None
    version: str | None = None

    def __init__(self, rows: list[Any]) -> None:
        self.count = len(rows)
        self._rows = rows

    def column(self, at: Address) -> list[Any] | None:
        if at.name and not any(isinstance(row, dict) and at.name in row for row in self._rows):
            return None
        return [_value(self._in_row(row, at.name), at, place) for place, row in enumerate(self._rows)]

    def _in_row(self, row: Any, name: str) -> Any:
        if not name:
            return row
        return row.get(name) if isinstance(row, dict) else None

    def named(self) -> list[dict[str, Scalar]]:
        return [_named(row) for row in self._rows]


def _value(value: Any, at: Address, place: int) -> Any:
    """The value at the index of an address; a list of one value counts as that value. ``place``: the number of the row."""
    if value is None:
        return None
    values = value if isinstance(value, list) else [value]
    if at.position is None and len(values) != 1:
        raise bad(f"row {place}: {at.name or 'it'} has {len(values)} values; say which one is meant, as {at.name}[0]")
    if (at.position or 0) >= len(values):
        raise bad(f"row {place}: {at.name or 'it'} has {len(values)} values, there is none at [{at.position}]")
    found = values[at.position or 0]
    if isinstance(found, dict | list):
        raise bad(
            f"row {place}: {at.name or 'it'} is no single value but {'an object' if isinstance(found, dict) else 'a list'}"
        )
    return found


def _named(row: Any) -> dict[str, Scalar]:
    if isinstance(row, dict):
        return {name: value for name, value in row.items() if not isinstance(value, dict | list)}
    if isinstance(row, list) and len(row) <= MAX_NAMED_COLUMNS:
        return {f"[{index}]": value for index, value in enumerate(row) if not isinstance(value, dict | list)}
    return {}


class _JsonTensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str = ""
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class _JsonBody(msgspec.Struct):
    instances: list[Any] | None = None
    predictions: list[Any] | None = None
    inputs: list[_JsonTensor] | None = None
    outputs: list[_JsonTensor] | None = None
    model_name: str | None = None
    model_version: str | None = None


def read(message: Message) -> Body:
    """The body of a message. Raises EventError."""
    if message.protobuf:
        inference = open_inference.read(message.kind, message.body)
        return Tensors(inference.tensors, inference.model, inference.version)
    given, rest = _json(message.body)
    rows, tensors = (given.instances, given.inputs) if message.kind == "request" else (given.predictions, given.outputs)
    if rows is not None:
        return Instances(rows)
    if tensors is None:
        names = "instances (V1) nor inputs (V2)" if message.kind == "request" else "predictions (V1) nor outputs (V2)"
        raise bad(f"the body of the {message.kind} has neither {names}")
    found = []
    for of in tensors:
        size = (of.parameters or {}).get("binary_data_size")
        if of.data is None and isinstance(size, int):
            if not 0 <= size <= len(rest):
                raise bad(f"tensor {of.name!r} has {size} bytes of binary data, {len(rest)} are left")
            found.append(tensor(of.name, of.shape, raw_values(of.name, of.datatype, rest[:size])))
            rest = rest[size:]
        elif of.data is None:
            raise bad(f"tensor {of.name!r} has no data")
        else:
            found.append(tensor(of.name, of.shape, flat(of.data)))
    return Tensors(found, given.model_name, given.model_version)


_decode = msgspec.json.Decoder(_JsonBody).decode


def _json(body: bytes) -> tuple[_JsonBody, bytes]:
    """The JSON of a body, and the binary tensors behind it (V2's binary extension)."""
    try:
        return _decode(body), b""
    except msgspec.ValidationError as error:
        raise bad(f"the body: {error}") from None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass
    try:
        # NaN tokens are no JSON, and accepted all the same. A byte is a character here, so that the end is one of bytes.
        _, end = json.JSONDecoder().raw_decode(body.decode("latin-1"))
        return msgspec.convert(json.loads(body[:end]), _JsonBody), body[end:].lstrip() if body[end:].isspace() else body[end:]
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise bad(f"the body cannot be read as JSON: {error}") from None
