"""A schema as a registry gives it, and what is made of it: a reader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

Reader = Callable[[bytes], Any]
"""Reads a payload to values that JSON has, and dates, decimals and bytes. Raises whatever its library does."""
SchemaType = Literal["AVRO", "PROTOBUF", "JSON"]


class RegisteredSchema(msgspec.Struct, frozen=True):
    """``text``: JSON of Avro and JSON Schema, of Protobuf a .proto file or, in Base64, its descriptor. ``references``: by the
    names it uses, the schemas it refers to, each with its own."""

    type: SchemaType
    text: str
    references: tuple[tuple[str, RegisteredSchema], ...] = ()

    def referenced(self) -> dict[str, RegisteredSchema]:
        """All it refers to, directly or not, by name; what others need comes before them."""
        found: dict[str, RegisteredSchema] = {}
        for name, schema in self.references:
            found |= schema.referenced()
            found[name] = schema
        return found
