"""The member ``inputs`` of a spec: where the members of events stand in what a model server logs."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from tidegauge.models.yaml_reader import Item
from tidegauge.spec import InputsSpec

_ADDRESS = re.compile(r"([^\[\]]*)(?:\[(\d{1,9})\])?")


class Address(NamedTuple):
    """Where a value of each row stands. ``name`` "": the first tensor, or the row itself; ``position`` None: it has one value a
    row."""

    name: str
    position: int | None


def address(text: str) -> Address | None:
    """None for what is no address.

    >>> address("age"), address("input-0[2]"), address("[2]"), address("a[b]")
    (Address(name='age', position=None), Address(name='input-0', position=2), Address(name='', position=2), None)
    """
    match = _ADDRESS.fullmatch(text)
    return None if match is None or not text else Address(match[1], None if match[2] is None else int(match[2]))


def inputs(of: Item) -> InputsSpec:
    given = of.members(InputsSpec.__struct_fields__)
    found: dict[str, Any] = {}
    for member, item in given.items():
        value: Any = None
        match member:
            case "server" | "version":
                value = item.name()
            case "features":
                value = _by_position(item) if item.kind == "seq" else _addresses(item)
            case "segments" | "probabilities":
                value = _addresses(item)
            case _:
                value = _address(item)
        if value is not None:
            found[member] = value
    return InputsSpec(**found)


def _address(of: Item) -> str | None:
    text = of.name()
    if text is not None and address(text) is None:
        of.wrong(
            f"{text!r} is no address; write the name of a tensor or field, with a position as age[0] if it has several values"
        )
        return None
    return text


def _addresses(of: Item) -> dict[str, str]:
    return {name: text for name, item in of.members().items() if (text := _address(item)) is not None}


def _by_position(of: Item) -> dict[str, str]:
    """Names of the values of a row of the first tensor, or of an instance that is a list."""
    names = [name for _, name in of.names()]
    if len(set(names)) < len(names):
        of.wrong("names a feature twice; each position needs its own name")
    return {name: f"[{place}]" for place, name in enumerate(names)}
