"""Keeps events on disk while Kafka cannot be reached, also for the next process if this one ends.

Several processes may share the directory. Each has a writer's name, a file ``NAME.lock`` that it keeps locked as long as it
runs, and segments ``NAME.NUMBER.events``:

    segment    8 bytes of magic, 8 bytes: up to which offset all is acknowledged (little endian), blocks
    block      4 bytes: length of what follows the checksum, 4 bytes: CRC-32 of it, MessagePack of a list of events

A block is written with one call and without synchronisation, so it survives the end of the process but not that of the machine.
A segment ends at a block that is incomplete or damaged. A segment is deleted once all of it is acknowledged. A process that
gets the lock of an ended writer adopts its segments.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from tidegauge_logger.events import Event
from tidegauge_logger.request_ids import new_request_id

SEGMENT_BYTES = 8 << 20
MAX_BLOCK_BYTES = 32 << 20
"""A block with a larger length is damaged."""
_MAGIC = b"tgspool1"
_HEAD, _BLOCK = struct.Struct("<8sQ"), struct.Struct("<II")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Event]).decode


class SpooledBlock(NamedTuple):
    """A block from disk: its events, its segment, and the offset after it."""

    events: list[Event]
    segment: Segment
    end: int


class Segment:
    """One file of events, which is read from the last acknowledged offset on."""

    def __init__(self, path: Path, *, new: bool = False) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if new else 0), 0o600)
        self.acknowledged = _HEAD.size
        if new:
            os.write(self._file, _HEAD.pack(_MAGIC, _HEAD.size))
        else:
            head = os.pread(self._file, _HEAD.size, 0)
            if len(head) == _HEAD.size and head.startswith(_MAGIC):
                self.acknowledged = max(_HEAD.unpack(head)[1], _HEAD.size)
        self.size = os.fstat(self._file).st_size
        self.position = self.acknowledged
        self.sealed = not new
        """No block will follow those that are there."""

    def append(self, events: Sequence[Event]) -> None:
        """Write one block. Raises OSError, in which case nothing of it remains in the file."""
        body = _encode(events)
        block = _BLOCK.pack(len(body), zlib.crc32(body)) + body
        try:
            written = os.pwrite(self._file, block, self.size)
            if written < len(block):
                raise OSError(f"{self.path}: {written} of {len(block)} bytes could be written")
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self.size)
            raise
        self.size += len(block)

    def read(self) -> SpooledBlock | None:
        """The next block; None if there is none, or if it is incomplete or damaged."""
        if self.position >= self.size:
            return None
        head = os.pread(self._file, _BLOCK.size, self.position)
        if len(head) == _BLOCK.size:
            length, checksum = _BLOCK.unpack(head)
            body = os.pread(self._file, length, self.position + _BLOCK.size) if length <= MAX_BLOCK_BYTES else b""
            if len(body) == length and zlib.crc32(body) == checksum:
                with contextlib.suppress(msgspec.MsgspecError):
                    events = _decode(body)
                    self.position += _BLOCK.size + length
                    return SpooledBlock(events, self, self.position)
        # The block is damaged: the writer ended while writing, or the disk is unreliable from here on.
        self.size = self.position
        return None

    def acknowledge(self, offset: int) -> None:
        """Note in the file that everything before ``offset`` has arrived."""
        self.acknowledged = offset
        os.pwrite(self._file, struct.pack("<Q", offset), 8)

    @property
    def done(self) -> bool:
        return self.sealed and self.acknowledged >= self.size

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        os.close(self._file)


class Writer:
    """The segments of one writer. ``name``: None for a new writer of this process, or the name of an ended one. Raises
    BlockingIOError if the writer is still running elsewhere."""

    def __init__(self, directory: Path, name: str | None = None, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.directory, self._segment_bytes = directory, segment_bytes
        self.name, self._lock = _locked(directory, name)
        paths = sorted(directory.glob(f"{self.name}.*.events")) if name else []
        self.segments = deque(Segment(path) for path in paths)
        self._number = 0

    def append(self, events: Sequence[Event], room: bool) -> bool:
        """Write one block; return whether it was written. If the last segment is full, a new one is begun, provided there is
        ``room`` for it."""
        last = self.segments[-1] if self.segments else None
        if last is None or last.sealed or last.size >= self._segment_bytes:
            if not room:
                return False
            if last is not None:
                last.sealed = True
            self._number += 1
            last = Segment(self.directory / f"{self.name}.{self._number:08d}.events", new=True)
            self.segments.append(last)
        last.append(events)
        return True

    def full(self) -> bool:
        """Whether the next block needs a new segment."""
        return not self.segments or self.segments[-1].size >= self._segment_bytes

    def read(self) -> SpooledBlock | None:
        """The next block of the oldest segment that has one; None if there is none."""
        for segment in self.segments:
            found = segment.read()
            if found is not None:
                return found
        return None

    def tidy(self) -> None:
        """Delete segments whose events have all arrived."""
        while self.segments and self.segments[0].done:
            self.segments.popleft().delete()

    def close(self) -> None:
        """Close the files and release the lock, so that other processes may adopt what is left."""
        for segment in self.segments:
            segment.sealed = True
        self.tidy()
        if not self.segments:
            (self.directory / f"{self.name}.lock").unlink(missing_ok=True)
        self.abandon()

    def abandon(self) -> None:
        """Only close the files; called in a forked child process, since they belong to the parent."""
        for segment in self.segments:
            segment.close()
        self.segments.clear()
        os.close(self._lock)


def _locked(directory: Path, name: str | None) -> tuple[str, int]:
    while True:
        wanted = name or new_request_id()
        path = directory / f"{wanted}.lock"
        lock = os.open(path, os.O_RDWR | os.O_CLOEXEC | (0 if name else os.O_CREAT | os.O_EXCL), 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Before the file was locked, another process may have mistaken it for that of an ended writer and deleted it.
            if os.stat(path).st_ino == os.fstat(lock).st_ino:
                return wanted, lock
        except BlockingIOError:
            if name:
                os.close(lock)
                raise
        except FileNotFoundError:
            if name:
                os.close(lock)
                raise
        os.close(lock)


def orphans(directory: Path) -> Iterator[Writer]:
    """Adopt and yield the writers whose processes have ended, the oldest first."""
    for path in sorted(directory.glob("*.lock")):
        with contextlib.suppress(OSError):
            yield Writer(directory, path.stem)


def bytes_on_disk(directory: Path) -> int:
    """The size of all segments in the directory."""
    total = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.endswith(".events"):
                with contextlib.suppress(FileNotFoundError):
                    total += entry.stat().st_size
    return total
