"""Makes the descriptors of a registered Protobuf schema: protoc (of grpcio-tools) compiles them from its text, unless the
registry has the descriptors themselves."""

from __future__ import annotations

import base64
import binascii
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor import FileDescriptor

from tidegauge.serdes.registered_schema import RegisteredSchema

_NAME = "registered.proto"
PROTOC_SECONDS = 60.0
_WELL_KNOWN = (
    descriptor_pb2, any_pb2, duration_pb2, empty_pb2, field_mask_pb2, struct_pb2, timestamp_pb2, wrappers_pb2,
)  # fmt: skip


def file_of(schema: RegisteredSchema) -> FileDescriptor:
    """The file descriptor of a schema, in a pool of its own. Raises ValueError for an invalid schema."""
    files = {**schema.referenced(), _NAME: schema}
    given = [_descriptor(name, of.text) for name, of in files.items()]
    found = [file for file in given if file is not None]
    if not found:
        found = _compiled({name: of.text for name, of in files.items()})
    elif len(found) < len(given):
        raise ValueError("of a schema and those it refers to, some are texts and some are descriptors")
    pool = descriptor_pool.DescriptorPool()
    known = {file.name for file in found}
    for module in _WELL_KNOWN:
        if module.DESCRIPTOR.name not in known:
            pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    for file in found:
        pool.AddSerializedFile(file.SerializeToString())
    try:
        return pool.FindFileByName(_NAME)
    except (KeyError, TypeError) as error:
        raise ValueError(f"the schema's descriptor cannot be used: {error}") from error


def _descriptor(name: str, text: str) -> descriptor_pb2.FileDescriptorProto | None:
    """The descriptor in ``text``, if that is one in Base64, as some producers register it; None if it is the text of a .proto
    file. Raises ValueError for Base64 that is not a descriptor."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    try:
        file = descriptor_pb2.FileDescriptorProto.FromString(raw)
    except Exception as error:
        raise ValueError(f"{name} is no descriptor of a file: {error}") from error
    file.name = name
    return file


def _compiled(texts: dict[str, str]) -> list[descriptor_pb2.FileDescriptorProto]:
    """Compile .proto files, given by name. Returns them and the files of Google that they import, each after those it needs.
    Raises ValueError, with what protoc says, if they are invalid."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory).resolve()
        for name, text in texts.items():
            path = (root / name).resolve()
            if not path.is_relative_to(root):
                raise ValueError(f"the import {name} leads out of its directory")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        output = root / "descriptors"
        # In a process of its own, since protoc writes errors to standard error, and any text may make it crash.
        done = subprocess.run(
            [sys.executable, "-m", "grpc_tools.protoc", f"-I{root}", f"-I{resources.files('grpc_tools') / '_proto'}",
             "--include_imports", f"--descriptor_set_out={output}", _NAME],
            capture_output=True, text=True, timeout=PROTOC_SECONDS, cwd=root,
        )  # fmt: skip
        if done.returncode:
            raise ValueError(f"protoc does not compile it: {' '.join(done.stderr.split())}")
        return list(descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes()).file)
