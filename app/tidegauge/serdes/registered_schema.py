"""A schema as the registry returns it, and the type of the readers that are made from schemas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

Reader = Callable[[bytes], Any]
"""Reads a payload. Returns values that JSON has, dates, times, decimals and bytes. Raises what its library raises."""
SchemaType = Literal["AVRO", "PROTOBUF", "JSON"]


class RegisteredSchema(msgspec.Struct, frozen=True):
    """A schema. ``text``: for Avro and JSON Schema, JSON; for Protobuf, a .proto file or its descriptor in Base64.
    ``references``: the name of each schema it refers to, as used in the text, and that schema."""

    type: SchemaType
    text: str
    references: tuple[tuple[str, RegisteredSchema], ...] = ()

    def referenced(self) -> dict[str, RegisteredSchema]:
        """Name → schema, for all schemas that this one refers to, directly or not. Each comes after those it refers to
        itself."""
        found: dict[str, RegisteredSchema] = {}
        for name, schema in self.references:
            found |= schema.referenced()
            found[name] = schema
        return found
