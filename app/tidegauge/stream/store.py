"""A task's state in RocksDB: what was committed, under what is being committed, under what is not yet.

Reads look through the layers. Nothing reaches the disk before Kafka has it: ``freeze`` hands out the changes for a
transaction, ``commit`` writes them, together with the changelog position they stand for, in one batch.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice
from pathlib import Path

from rocksdict import BlockBasedOptions, Cache, Options, Rdict, WriteBatch

POSITION = b"\0position"
FIRST_KEY = b"\1"
Changes = dict[bytes, bytes | None]
"""Key → new value, None for a delete."""

_CACHE = Cache(64 << 20)
"""One block cache for all the stores of a process."""


class RocksStore:
    """A ``stage.Store`` in the directory ``path``. Keys beginning with a zero byte are reserved."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()
        self._active: Changes = {}
        self._frozen: Changes = {}

    def _open(self) -> None:
        self._path.mkdir(parents=True, exist_ok=True)
        table = BlockBasedOptions()
        table.set_bloom_filter(10, False)
        table.set_block_cache(_CACHE)
        table.set_cache_index_and_filter_blocks(True)
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_block_based_table_factory(table)
        options.set_write_buffer_size(8 << 20)
        options.set_max_write_buffer_number(2)
        options.set_max_open_files(256)
        options.set_keep_log_file_num(2)
        self._db = Rdict(str(self._path), options)

    # -- what a stage sees ---------------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        for layer in (self._active, self._frozen):
            if key in layer:
                return layer[key]
        return self._db.get(key)  # type: ignore[no-any-return]

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        active, frozen = self._active, self._frozen
        out: list[bytes | None] = [None] * len(keys)
        misses, places = [], []
        for place, key in enumerate(keys):
            if key in active:
                out[place] = active[key]
            elif key in frozen:
                out[place] = frozen[key]
            else:
                misses.append(key)
                places.append(place)
        if misses:
            for place, value in zip(places, self._db[misses], strict=True):
                out[place] = value
        return out

    def put(self, key: bytes, value: bytes) -> None:
        self._active[key] = value

    def delete(self, key: bytes) -> None:
        self._active[key] = None

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        changed = {**self._frozen, **self._active}
        fresh = sorted((k, v) for k, v in changed.items() if k.startswith(prefix))
        stored = ((k, v) for k, v in self._stored(prefix) if k not in changed)
        for key, value in merge(stored, fresh, key=lambda pair: pair[0]):
            if value is not None:
                yield key, value

    def _stored(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self._db.items(from_key=prefix):
            if not key.startswith(prefix):
                return
            yield key, value

    # -- what the task does with it ------------------------------------------------------------------------------

    @property
    def changed(self) -> int:
        """How many keys have uncommitted changes."""
        return len(self._active)

    def is_changing(self, key: bytes) -> bool:
        return key in self._active or key in self._frozen

    def freeze(self) -> Changes:
        """Set the changes so far aside for a transaction; new ones gather above them."""
        assert not self._frozen, "the changes set aside before must be committed first"
        self._frozen, self._active = self._active, {}
        return self._frozen

    def commit(self, position: int) -> None:
        """The frozen changes are in the changelog, which the next reader continues at ``position``."""
        self.write(self._frozen, position)
        self._frozen = {}

    def write(self, changes: Changes, position: int) -> None:
        """Write changes that Kafka has, and the position they bring the store to."""
        batch = WriteBatch(raw_mode=True)
        for key, value in changes.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(POSITION, b"%d" % position)
        self._db.write(batch)

    @property
    def position(self) -> int | None:
        raw = self._db.get(POSITION)
        return None if raw is None else int(raw)

    def slice(self, after: bytes, count: int) -> list[tuple[bytes, bytes]]:
        """The first ``count`` committed pairs from key ``after`` on."""
        return list(islice(self._db.items(from_key=after or FIRST_KEY), count))

    def wipe(self) -> None:
        """Begin again from nothing."""
        self._db.close()
        shutil.rmtree(self._path)
        self._open()

    def bytes_on_disk(self) -> int:
        return sum(entry.stat().st_size for entry in self._path.iterdir() if entry.is_file())

    def close(self) -> None:
        self._db.close()
