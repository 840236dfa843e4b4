"""Reads Protobuf payloads with Google's protobuf.

Members have the names of the .proto file. A field without presence (a plain scalar of proto3) always has a value, its default
if the payload has none. A field with presence (``optional``, a message, in a ``oneof``) is absent unless it is set. Enums
become their names; timestamps and durations seconds; structs, values and wrappers their contents; and a message that consists
of one ``oneof`` the field of it that is set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from tidegauge.serdes.protobuf_files import file_of
from tidegauge.serdes.registered_schema import Reader, RegisteredSchema
from tidegauge.serdes.wire_format import message

Plain = Callable[[Any], Any]
"""Turns the value of a field, or a message, into a value that JSON has."""
_NANOS = 10**9
_WRAPPERS = ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")


def protobuf_reader(schema: RegisteredSchema) -> Reader:
    """A reader of payloads with this schema. Raises ValueError for an invalid schema."""
    file = file_of(schema)
    described = FileDescriptorProto()
    file.CopyToProto(described)
    top = [file.message_types_by_name[found.name] for found in described.message_type]
    known: dict[tuple[int, ...], tuple[Any, Plain]] = {}
    plain_of: dict[str, Plain] = {}

    def read(payload: bytes) -> Any:
        indexes, content = message(payload)
        if indexes not in known:
            try:
                descriptor = top[indexes[0]]
                for index in indexes[1:]:
                    descriptor = descriptor.nested_types[index]
            except IndexError:
                raise ValueError(f"the schema has no message {'.'.join(map(str, indexes))}") from None
            known[indexes] = message_factory.GetMessageClass(descriptor), _members(descriptor, plain_of)
        kind, plain = known[indexes]
        return plain(kind.FromString(content))

    return read


def _plain(value: Any) -> Any:
    return value


def _members(descriptor: Descriptor, plain_of: dict[str, Plain]) -> Plain:
    """Turns messages of this type into objects. ``plain_of``: full name → how to turn messages of a type; a message may contain
    messages of its own type."""
    always: list[tuple[str, Plain]] = []
    if_set: list[tuple[str, Plain]] = []

    def read(found: Any) -> Any:
        members = {name: plain(getattr(found, name)) for name, plain in always}
        for name, plain in if_set:
            if found.HasField(name):
                members[name] = plain(getattr(found, name))
        return members

    plain_of.setdefault(descriptor.full_name, read)
    for field in descriptor.fields:
        (if_set if field.has_presence else always).append((field.name, _field(field, plain_of)))
    return read


def _field(field: FieldDescriptor, plain_of: dict[str, Plain]) -> Plain:
    of = field.message_type
    if of is not None and of.GetOptions().map_entry:
        plain, enum = _single(of.fields_by_name["value"], plain_of), of.fields_by_name["key"].cpp_type
        is_truth = enum == FieldDescriptor.CPPTYPE_BOOL
        return lambda found: {_key(key, is_truth): plain(found[key]) for key in found}
    plain = _single(field, plain_of)
    if field.is_repeated:
        return lambda found: [plain(value) for value in found]
    return plain


def _key(key: Any, is_truth: bool) -> str:
    return str(key).lower() if is_truth else str(key)


def _single(field: FieldDescriptor, plain_of: dict[str, Plain]) -> Plain:
    if field.enum_type is not None:
        return _enum(field.enum_type)
    return _plain if field.message_type is None else _message(field.message_type, plain_of)


def _enum(descriptor: EnumDescriptor) -> Plain:
    names = {number: value.name for number, value in descriptor.values_by_number.items()}
    return lambda number: names.get(number, number)


def _message(descriptor: Descriptor, plain_of: dict[str, Plain]) -> Plain:
    """How to turn a message that is the value of a field."""
    name = descriptor.full_name
    if name in WELL_KNOWN:
        return WELL_KNOWN[name]
    if name in plain_of:
        return plain_of[name]
    if len(descriptor.oneofs) == 1 and len(descriptor.oneofs[0].fields) == len(descriptor.fields) > 1:
        return _alternatives(descriptor, plain_of)
    return _members(descriptor, plain_of)


def _alternatives(descriptor: Descriptor, plain_of: dict[str, Plain]) -> Plain:
    oneof, of_field = descriptor.oneofs[0].name, dict[str, Plain]()

    def read(found: Any) -> Any:
        name = found.WhichOneof(oneof)
        return None if name is None else of_field[name](getattr(found, name))

    plain_of[descriptor.full_name] = read
    of_field |= {field.name: _field(field, plain_of) for field in descriptor.fields}
    return read


def _seconds(found: Any) -> float:
    # One division of whole numbers rounds once.
    return float((found.seconds * _NANOS + found.nanos) / _NANOS)


def _struct(found: Any) -> Any:
    return {name: _value(value) for name, value in found.fields.items()}


def _value(found: Any) -> Any:
    kind = found.WhichOneof("kind")
    if kind in (None, "null_value"):
        return None
    value = getattr(found, kind)
    return _struct(value) if kind == "struct_value" else _list(value) if kind == "list_value" else value


def _list(found: Any) -> Any:
    return [_value(value) for value in found.values]


WELL_KNOWN: dict[str, Plain] = {
    "google.protobuf.Timestamp": _seconds,
    "google.protobuf.Duration": _seconds,
    "google.protobuf.Struct": _struct,
    "google.protobuf.Value": _value,
    "google.protobuf.ListValue": _list,
    **{f"google.protobuf.{name}Value": lambda found: found.value for name in _WRAPPERS},
}
"""Messages defined by Google that stand for a value: full name → how to turn one."""
