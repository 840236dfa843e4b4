"""The state of a task in four layers: on disk (RocksDB), committed recently, being committed, and not committed yet.

Reads look through all layers. Nothing is written to disk before it is in Kafka: ``freeze`` returns the changes for a
transaction, and ``commit`` marks them as committed. They are written to disk later: the oldest commits in one batch, with the
changelog position that they correspond to, while the newest stay in memory. A label that follows soon after its prediction then
costs one write and no read.

There is no write-ahead log, since the changelog serves as one: what a crash takes from the memtable is read from there again. A
batch may contain values that are newer than its position; reading on from the position leads to the same values again.

Damaged files are never repaired. The damage is noted, and the store starts empty when it is next opened.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import NamedTuple, NoReturn

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteBatch, WriteOptions

from tidegauge.errors import StateError

log = logging.getLogger(__name__)
POSITION = b"\0position"
FIRST_KEY = b"\1"
BEHIND_BYTES = 3 << 20
"""The most committed bytes that a store keeps in memory before it writes the older half. As Python objects they take four times
as much."""
BATCH_BYTES = 4 << 20
"""The most bytes of values that are written to disk at once, which are in memory twice meanwhile. Only the last batch advances
the position."""
OVERHEAD = 10
DAMAGED = "DAMAGED"
"""The name of the file that marks a directory as damaged."""
ORIGIN = "ORIGIN"
"""The name of the file that says of which changelog a directory holds the state."""
_DAMAGE = "Corruption", "IO error: No such file or directory"
"""The beginnings of RocksDB's errors about damaged files; others are about locks, rights or space."""
Pairs = dict[bytes, bytes]
Changes = dict[bytes, bytes | None]
"""New values by key; None for a deleted key."""
DELETED = b""


def weight(changes: Mapping[bytes, bytes | None]) -> int:
    """The approximate number of bytes that the changes take in a batch or a changelog record."""
    return sum(map(len, changes)) + sum(map(len, filter(None, changes.values()))) + OVERHEAD * len(changes)


_CACHE = Cache(64 << 20)
"""The block cache that all stores of a process share."""


class StoredSlice(NamedTuple):
    """Stored pairs, and the key to continue from, which is empty at the end."""

    pairs: Pairs
    following: bytes


class RocksStore:
    """A ``stage.Store`` in the directory ``path``. Keys beginning with a zero byte are reserved."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()
        self._active: Changes = {}
        self._frozen: Changes = {}
        self._behind: Changes = {}
        self._behind_bytes = 0
        # For each commit that is not on disk yet: its changelog position and how many keys it added; keys are in this order.
        self._commits: deque[tuple[int, int]] = deque()
        # All three layers in memory as one, for reading. A deleted key has the value DELETED, which differs from an absent key.
        self._recent: dict[bytes, bytes] = {}
        self._unlogged = WriteOptions()
        self._unlogged.disable_wal = True
        self._position = self._on_disk()

    def _open(self) -> None:
        self._path.mkdir(parents=True, exist_ok=True)
        table = BlockBasedOptions()
        table.set_bloom_filter(10, False)
        table.set_block_cache(_CACHE)
        table.set_cache_index_and_filter_blocks(True)
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_block_based_table_factory(table)
        # Request ids and floats hardly compress.
        options.set_compression_type(DBCompressionType.none())
        # Each file has one filter; that of a larger file would not stay in its shard of the cache.
        options.set_target_file_size_base(16 << 20)
        options.set_write_buffer_size(4 << 20)
        options.set_max_write_buffer_number(2)
        # Most lookups are for request ids that are not stored.
        options.set_memtable_prefix_bloom_ratio(0.1)
        options.set_memtable_whole_key_filtering(True)
        options.set_max_open_files(256)
        # By default RocksDB starts 16 threads to open files with, also where there are few or none: more than half of the time
        # that opening takes. The binding keeps the interpreter's lock meanwhile, so that threads of ours would not help.
        options.set_max_file_opening_threads(1)
        options.set_keep_log_file_num(2)
        if (self._path / DAMAGED).exists():
            self._remove("a read failed")
        try:
            self._db = Rdict(str(self._path), options)
        except Exception as error:
            if not str(error).startswith(_DAMAGE):
                raise StateError(f"{self._path}: cannot be opened: {error}") from error
            self._remove(error)
            self._db = Rdict(str(self._path), options)

    def _remove(self, why: object) -> None:
        log.warning("%s is damaged (%s): its state is made anew from the changelog", self._path, why)
        shutil.rmtree(self._path)
        self._path.mkdir(parents=True)

    def _failed(self, error: Exception) -> NoReturn:
        """Raise StateError for an error in reading or writing."""
        if self._note_damage(error):
            raise StateError(f"{self._path}: is damaged, and is made anew at the next start: {error}") from error
        raise StateError(f"{self._path}: cannot be read or written: {error}") from error

    def _note_damage(self, error: Exception) -> bool:
        """Whether an error means that files are damaged. If so, mark the directory, so that the next store in it starts
        empty."""
        damaged = str(error).startswith(_DAMAGE)
        if damaged:
            # If the directory itself is gone, the next start makes a new one anyway.
            with contextlib.suppress(OSError):
                (self._path / DAMAGED).touch()
        return damaged

    # -- what a stage sees ---------------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        found = self._recent.get(key)
        return (self._read(key) if found is None else found) or None

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        found: list[bytes | None] = list(map(self._recent.get, keys))
        places = [place for place, value in enumerate(found) if not value]
        misses = [keys[place] for place in places if found[place] is None]
        if len(misses) == len(keys):
            return self._read_many(misses)
        stored = iter(self._read_many(misses) if misses else ())
        for place in places:
            found[place] = next(stored) if found[place] is None else None
        return found

    def _read(self, key: bytes) -> bytes | None:
        try:
            return self._db.get(key)  # type: ignore[no-any-return]
        except Exception as error:
            self._failed(error)

    def _read_many(self, keys: list[bytes]) -> list[bytes | None]:
        try:
            return self._db[keys]  # type: ignore[no-any-return]
        except Exception as error:
            self._failed(error)

    def put(self, key: bytes, value: bytes) -> None:
        """Raises ValueError for an empty value, which would be mistaken for a deleted key."""
        if not value:
            raise ValueError("a store holds no empty values")
        self._active[key] = self._recent[key] = value

    def put_many(self, pairs: Mapping[bytes, bytes]) -> None:
        self._active.update(pairs)
        self._recent.update(pairs)

    def delete(self, key: bytes) -> None:
        self._active[key], self._recent[key] = None, DELETED

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        fresh = sorted((k, v) for k, v in self._recent.items() if k.startswith(prefix))
        known = dict(fresh)
        stored = ((k, v) for k, v in self._stored(prefix) if k not in known)
        for key, value in merge(stored, fresh, key=lambda pair: pair[0]):
            if value:
                yield key, value

    def _stored(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        last = prefix
        for key, value in self._db.items(from_key=prefix):
            if not key.startswith(prefix):
                return
            last = key
            yield key, value
        self._require_end(last)

    def _require_end(self, last: bytes) -> None:
        """Raise StateError unless ``last`` is the last key. RocksDB's iterators stop at data that they cannot read as if it
        were the end; only their status shows the difference."""
        iterator, failure = self._db.iter(), None
        iterator.seek(last + b"\0")
        if not iterator.valid():
            try:
                iterator.status()
            except Exception as error:
                failure = error
        # The directory is in use as long as the iterator exists.
        del iterator
        if failure is not None:
            self._failed(failure)

    # -- what the task does with it ------------------------------------------------------------------------------

    @property
    def changed(self) -> int:
        """The number of keys with uncommitted changes."""
        return len(self._active)

    def freeze(self) -> Changes:
        """Freeze and return the changes so far for a transaction; new changes are collected separately."""
        assert not self._frozen, "the changes set aside before must be committed first"
        self._frozen, self._active = self._active, {}
        return self._frozen

    def revert(self) -> None:
        """Discard what was written since the last ``freeze``."""
        self._active = {}
        self._recent = {key: value or DELETED for key, value in {**self._behind, **self._frozen}.items()}

    def commit(self, position: int) -> None:
        """Mark the frozen changes as committed. ``position``: the changelog offset after them."""
        frozen, self._frozen = self._frozen, {}
        self._commit(frozen, position)

    def restore(self, changes: Changes, position: int) -> None:
        """Apply changes that were read from the changelog up to ``position``."""
        self._recent.update({key: value or DELETED for key, value in changes.items()})
        self._commit(changes, position)

    def _commit(self, changes: Changes, position: int) -> None:
        held = len(self._behind)
        self._behind.update(changes)
        self._behind_bytes += weight(changes)
        self._commits.append((position, len(self._behind) - held))
        self._position = position
        if self._behind_bytes >= BEHIND_BYTES:
            self._write((len(self._behind) + 1) // 2)

    def flush(self) -> None:
        """Write all committed changes to disk, with their changelog position."""
        self._write(len(self._behind))

    def _write(self, least: int) -> None:
        """Write the oldest commits with at least ``least`` keys to disk."""
        if not self._commits:
            return
        count = 0
        while self._commits and (count < least or not self._commits[0][1]):
            position, added = self._commits.popleft()
            count += added
        batch, size, behind = WriteBatch(raw_mode=True), 0, self._behind
        # Writing keys in order halves the work of the memtable.
        for key in sorted(islice(behind, count)):
            value = behind[key]
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
                size += len(value)
            if size > BATCH_BYTES:
                self._write_batch(batch)
                batch, size = WriteBatch(raw_mode=True), 0
        batch.put(POSITION, b"%d" % position)
        self._write_batch(batch)
        self._behind = dict(islice(behind.items(), count, None))
        self._behind_bytes = weight(self._behind)
        self._recent = {key: value or DELETED for key, value in {**self._behind, **self._frozen, **self._active}.items()}

    def _write_batch(self, batch: WriteBatch) -> None:
        try:
            self._db.write(batch, self._unlogged)
        except Exception as error:
            self._failed(error)

    @property
    def position(self) -> int | None:
        """The changelog offset after the changes that are committed here; None if there are none."""
        return self._position

    def _on_disk(self) -> int | None:
        raw = self._read(POSITION)
        return None if raw is None else int(raw)

    def slice(self, after: bytes, size: int) -> StoredSlice:
        """Those of the next pairs on disk from key ``after`` on that no change in memory replaces: about ``size`` bytes, at
        least one pair."""
        pairs: Pairs = {}
        for key, value in self._db.items(from_key=after or FIRST_KEY):
            pairs[key] = value
            size -= len(key) + len(value)
            if size <= 0:
                break
        last = next(reversed(pairs), after or FIRST_KEY)
        following = last + b"\0" if size <= 0 else b""
        if not following:
            self._require_end(last)
        for key in self._recent.keys() & pairs.keys():
            del pairs[key]
        return StoredSlice(pairs, following)

    def claim(self, origin: str) -> None:
        """Delete what is stored if it follows another changelog than ``origin``, and note that it follows this one. Call it
        before anything is read. Raises StateError."""
        note = self._path / ORIGIN
        try:
            if note.exists() and (other := note.read_text("utf-8")) != origin:
                log.warning("%s holds state of %s, which is deleted: it is made anew from %s", self._path, other, origin)
                self.wipe()
            note.write_text(origin, "utf-8")
        except OSError as error:
            raise StateError(f"{note}: cannot be read or written: {error.strerror}") from error

    def wipe(self) -> None:
        """Delete everything."""
        self._db.close()
        shutil.rmtree(self._path)
        self._open()
        self._behind, self._behind_bytes, self._recent, self._position = {}, 0, {}, None
        self._commits.clear()

    def bytes_on_disk(self) -> int:
        return sum(entry.stat().st_size for entry in self._path.iterdir() if entry.is_file())

    def close(self) -> None:
        """Write all committed changes to disk and close the store."""
        self.flush()
        try:
            self._db.close()
        except Exception as error:
            if not self._note_damage(error):
                raise
