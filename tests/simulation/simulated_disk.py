"""A disk for stores: what RocksDB has not flushed when its process is killed is lost, from some batch on, as it is without a
write-ahead log."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from simulation.seeded_loop import current_process

Change = tuple[bytes, bytes | None]


class WriteBatch:
    """As rocksdict's."""

    def __init__(self, raw_mode: bool) -> None:
        self.changes: list[Change] = []

    def put(self, key: bytes, value: bytes) -> None:
        self.changes.append((key, value))

    def delete(self, key: bytes) -> None:
        self.changes.append((key, None))


class Files:
    """The files of one database. ``flushed``: what survives a crash; ``written``: later batches."""

    def __init__(self) -> None:
        self.flushed: dict[bytes, bytes] = {}
        self.written: list[list[Change]] = []

    def pairs(self) -> dict[bytes, bytes]:
        found = dict(self.flushed)
        for batch in self.written:
            _apply(found, batch)
        return found

    def flush(self, batches: int) -> None:
        """Keep the first ``batches`` of what was written, and forget the others."""
        for batch in self.written[:batches]:
            _apply(self.flushed, batch)
        self.written = []


def _apply(pairs: dict[bytes, bytes], batch: list[Change]) -> None:
    for key, value in batch:
        if value is None:
            pairs.pop(key, None)
        else:
            pairs[key] = value


class Disk:
    """The state directory of a worker, as ``Path`` where a store uses one."""

    def __init__(self) -> None:
        self.files: dict[str, Files] = {}
        self.notes: dict[str, str] = {}
        """Small files beside those of databases, which survive a crash."""

    def __truediv__(self, name: str) -> Place:
        return Place(self, name)

    def crash(self, draws: random.Random) -> None:
        """What a kill -9 leaves."""
        for files in self.files.values():
            files.flush(draws.randrange(len(files.written) + 1))

    def lose(self) -> None:
        """Delete everything."""
        self.files.clear()
        self.notes.clear()


class Place:
    """The directory of one store."""

    def __init__(self, disk: Disk, name: str) -> None:
        self.disk, self.name = disk, name

    def __truediv__(self, name: str) -> Place:
        return Place(self.disk, f"{self.name}/{name}")

    def __str__(self) -> str:
        return self.name

    def exists(self) -> bool:
        return self.name in self.disk.files or self.name in self.disk.notes

    def read_text(self, encoding: str) -> str:
        return self.disk.notes[self.name]

    def write_text(self, text: str, encoding: str) -> None:
        if not current_process.get().dead:
            self.disk.notes[self.name] = text

    def mkdir(self, *, parents: bool, exist_ok: bool) -> None:
        self.disk.files.setdefault(self.name, Files())


class Removal:
    """Replaces the module ``shutil``."""

    @staticmethod
    def rmtree(path: Place) -> None:
        del path.disk.files[path.name]
        path.disk.notes = {name: text for name, text in path.disk.notes.items() if not name.startswith(f"{path.name}/")}


class Database:
    """As rocksdict's ``Rdict``. ``open_at`` opens it."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._pairs = files.pairs()

    def get(self, key: bytes) -> bytes | None:
        return self._pairs.get(key)

    def __getitem__(self, keys: list[bytes]) -> list[bytes | None]:
        return list(map(self._pairs.get, keys))

    def items(self, from_key: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(sorted(pair for pair in self._pairs.items() if pair[0] >= from_key))

    def iter(self) -> Position:
        return Position(self._pairs)

    def write(self, batch: WriteBatch, options: Any) -> None:
        if not current_process.get().dead:
            self._files.written.append(batch.changes)
            _apply(self._pairs, batch.changes)

    def close(self) -> None:
        if not current_process.get().dead:
            self._files.flush(len(self._files.written))


class Position:
    """As rocksdict's iterator, of which a store only asks whether something is there."""

    def __init__(self, pairs: dict[bytes, bytes]) -> None:
        self._pairs = pairs
        self._found = False

    def seek(self, key: bytes) -> None:
        self._found = any(other >= key for other in self._pairs)

    def valid(self) -> bool:
        return self._found

    def status(self) -> None: ...
