"""A run of Weights & Biases, read from the directory that it wrote (``wandb/offline-run-…`` or ``wandb/run-…``), without wandb.

The file ``run-ID.wandb`` is a log in LevelDB's format of Protobuf messages (``Record`` of wandb's ``wandb_internal.proto``), of
which the few fields that say where a model came from are read.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tidegauge.errors import RegistryError
from tidegauge.spec import Lineage

BLOCK, HEAD = 32768, 7
"""Bytes of a block of the log, and of what stands before each piece of a record."""
MAGIC = b":W&B"
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_CONFIG, _ARTIFACT, _RUN, _USED = 5, 8, 17, 25
"""Numbers of the fields of ``Record``."""
DEFAULT_SERVER = "https://wandb.ai"
_OWN = "_wandb"
"""The member of the configuration in which wandb keeps what is its own."""


class Field(NamedTuple):
    """A field of a Protobuf message. ``value``: the bytes of a text or message; b"" for a number."""

    number: int
    value: bytes


def is_run(text: str) -> bool:
    """Whether ``text`` names a run's directory or its file."""
    path = Path(text)
    return path.suffix == ".wandb" or (path.is_dir() and any(path.glob("*.wandb")))


def read_run(text: str) -> Lineage:
    """Where a model of the run came from: ``run_id`` is the run's path, ``ENTITY/PROJECT/ID``, ``data_snapshot`` the artifacts
    of the type ``dataset``. ``url`` is the run's page on ``WANDB_BASE_URL``, None if no entity is known. Raises
    RegistryError."""
    path = Path(text)
    try:
        files = [path] if path.suffix == ".wandb" else sorted(path.glob("*.wandb"))
        records = list(_records(files[0].read_bytes()))
    except (OSError, ValueError, IndexError) as error:
        raise RegistryError(f"{text} is no directory of a run of Weights & Biases: {error}") from error
    run = next((value for number, value in records if number == _RUN), None)
    if run is None:
        raise RegistryError(f"{files[0]} holds no run")
    members = {number: value.decode("utf-8", "replace") for number, value in _fields(run) if number in (1, 2, 3)}
    run_id, entity, project = (members.get(number, "") for number in (1, 2, 3))
    git = [value for number, value in _fields(run) if number == 21]
    commit = next((value.decode() for of in git for number, value in _fields(of) if number == 2 and value), None)
    configs = [value for number, value in _fields(run) if number == 4]
    configs += [value for number, value in records if number == _CONFIG]
    server = os.environ.get("WANDB_BASE_URL", DEFAULT_SERVER).rstrip("/").replace("//api.wandb.ai", "//wandb.ai")
    return Lineage(
        "/".join(part for part in (entity, project, run_id) if part), commit, ", ".join(_data_sets(records)) or None,
        f"{server}/{entity}/{project}/runs/{run_id}" if entity and project else None, _parameters(configs),
    )  # fmt: skip


def _data_sets(records: list[Field]) -> dict[str, None]:
    """The data sets that the run logged, as ``name@digest``, and those it used, by their names or ids."""
    found: dict[str, None] = {}
    for number, value in records:
        if number not in (_ARTIFACT, _USED):
            continue
        of = {field.number: field.value.decode("utf-8", "replace") for field in _fields(value)}
        if number == _ARTIFACT and of.get(4) == "dataset":
            found[f"{of.get(5, '')}@{of.get(6, '')}"] = None
        elif number == _USED and of.get(2) == "dataset":
            found[of.get(3) or of.get(1, "")] = None
    return found


def _parameters(configs: list[bytes]) -> dict[str, str]:
    """The configuration, with what was set last; nested members by their paths with dots."""
    found: dict[str, str] = {}
    for config in configs:
        for number, item in _fields(config):
            fields = _fields(item)
            key = next((value.decode() for of, value in fields if of == 1), "")
            name = key or ".".join(value.decode() for of, value in fields if of == 2)
            if not name or name.split(".")[0] == _OWN:
                continue
            if number == 1:
                raw = next((value for of, value in fields if of == 16), b"null")
                said = json.loads(raw)
                found[name] = said if isinstance(said, str) else raw.decode()
            else:
                found.pop(name, None)
    return found


def _records(log: bytes) -> Iterator[Field]:
    """The fields of all messages of a log. The last one may be torn where the run was killed: it is left out. Raises ValueError
    for a file of another format."""
    if log[:4] != MAGIC:
        raise ValueError("it does not begin as a run's file does")
    at, parts = HEAD, list[bytes]()
    while at + HEAD <= len(log):
        if BLOCK - at % BLOCK < HEAD:
            at += BLOCK - at % BLOCK
            continue
        size, kind = int.from_bytes(log[at + 4 : at + 6], "little"), log[at + 6]
        piece = log[at + HEAD : at + HEAD + size]
        if kind == 0 or len(piece) < size:
            return
        if zlib.crc32(log[at + 6 : at + 7] + piece) != int.from_bytes(log[at : at + 4], "little"):
            raise ValueError(f"what stands at byte {at} is damaged")
        at += HEAD + size
        parts = [piece] if kind in (_WHOLE, _FIRST) else [*parts, piece]
        if kind in (_WHOLE, _LAST):
            yield from _fields(b"".join(parts))


def _fields(message: bytes) -> list[Field]:
    """The fields of a message in their order. Raises ValueError where it ends early."""
    at, found = 0, []
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 2:
            size, at = _varint(message, at)
            if at + size > len(message):
                raise ValueError("a field has no end")
            found.append(Field(number, message[at : at + size]))
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        elif kind == 0:
            _, at = _varint(message, at)
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, and the place after it."""
    number = shift = 0
    while at < len(data):
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
    raise ValueError("a number has no end")
