"""Events on disk, for while Kafka cannot be reached, and for the process that comes after this one.

A directory that several processes share. Each has a writer's name, a file ``NAME.lock`` that it holds locked as long as it
lives, and segments ``NAME.NUMBER.events``:

    segment    8 bytes of magic, 8 bytes: up to which offset all is acknowledged (little endian), blocks
    block      4 bytes: length of what follows the checksum, 4 bytes: CRC-32 of it, MessagePack of a list of events

A block is written with one call and not synchronised: it outlives the process, whatever ends it, but not the machine. A block
that was torn is where the segment ends. A segment is deleted once all of it is acknowledged. Whoever gets the lock of a writer
that died adopts what it left.
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
"""A larger length is no length."""
_MAGIC = b"tgspool1"
_HEAD, _BLOCK = struct.Struct("<8sQ"), struct.Struct("<II")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Event]).decode


class SpooledBlock(NamedTuple):
    """A block that was read: its events, its segment, and the offset after it."""

    events: list[Event]
    segment: Segment
    end: int


class Segment:
    """One file of events, read from where it was last acknowledged."""

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
        """Write one block. Raises OSError, and then nothing of it is there."""
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
        """The next block; None where there is none, or none that is whole."""
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
        # Torn: the writer died while it wrote, or the disk is not to be trusted from here on.
        self.size = self.position
        return None

    def acknowledge(self, offset: int) -> None:
        """All before ``offset`` has arrived, whoever reads this segment next."""
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
    """The segments of one writer, living (``name`` None: ourselves) or dead. Raises BlockingIOError where it lives
    elsewhere."""

    def __init__(self, directory: Path, name: str | None = None, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.directory, self._segment_bytes = directory, segment_bytes
        self.name, self._lock = _locked(directory, name)
        paths = sorted(directory.glob(f"{self.name}.*.events")) if name else []
        self.segments = deque(Segment(path) for path in paths)
        self._number = 0

    def append(self, events: Sequence[Event], room: bool) -> bool:
        """Write one block, to a new segment if there is ``room`` for it and the last is full. Whether it was written."""
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
        """The next block of the oldest segment that has one."""
        for segment in self.segments:
            found = segment.read()
            if found is not None:
                return found
        return None

    def tidy(self) -> None:
        """Delete segments of which all has arrived."""
        while self.segments and self.segments[0].done:
            self.segments.popleft().delete()

    def close(self) -> None:
        """Let go: whoever wants may adopt what is left."""
        for segment in self.segments:
            segment.sealed = True
        self.tidy()
        if not self.segments:
            (self.directory / f"{self.name}.lock").unlink(missing_ok=True)
        self.abandon()

    def abandon(self) -> None:
        """Close the files and nothing else: in a child that was forked, they are the parent's."""
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
            # Another may have taken a new lock for a dead one's, and deleted it, before it was locked.
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
    """The writers whose processes have died, adopted, the oldest first."""
    for path in sorted(directory.glob("*.lock")):
        with contextlib.suppress(OSError):
            yield Writer(directory, path.stem)


def bytes_on_disk(directory: Path) -> int:
    """What all segments of the directory hold."""
    total = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.endswith(".events"):
                with contextlib.suppress(FileNotFoundError):
                    total += entry.stat().st_size
    return total
