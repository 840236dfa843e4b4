"""Holds events between the service's threads and Kafka: first in memory and then, if there is a spool, on disk.

The service's threads use ``Inbox``. ``Backlog`` is only used by the sending thread.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from pathlib import Path

from tidegauge_logger.events import Event
from tidegauge_logger.spool import SEGMENT_BYTES, Segment, Writer, bytes_on_disk, orphans

log = logging.getLogger("tidegauge_logger")
EVENT_OVERHEAD = 400
"""The measured number of bytes of memory that an event takes in addition to its JSON."""
BLOCK_BYTES = 256 << 10


def weight(event: Event) -> int:
    """The bytes of memory that an event takes."""
    return len(event.value) + EVENT_OVERHEAD


class Inbox:
    """The events that the service's threads have added. ``limit``: the most bytes, including what the backlog holds in
    memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._events: list[Event] = []
        self._work = threading.Event()
        self.held = 0
        """Bytes of memory."""

    def put(self, event: Event) -> bool:
        """Add an event if there is room for it; return whether there was."""
        size = len(event.value) + EVENT_OVERHEAD
        with self._lock:
            if self.held + size > self._limit:
                return False
            self.held += size
            first = not self._events
            self._events.append(event)
        if first:
            self._work.set()
        return True

    def wait_for_room(self, event: Event, seconds: float) -> bool:
        """Wait for room for an event; return whether there is some within ``seconds``."""
        with self._room:
            return self._room.wait_for(lambda: self.held + weight(event) <= self._limit, seconds)

    def take(self) -> list[Event]:
        """Take out all events. Their bytes remain counted until ``release`` is called."""
        with self._lock:
            events, self._events = self._events, []
            self._work.clear()
        return events

    def release(self, size: int) -> None:
        with self._room:
            self.held -= size
            self._room.notify_all()

    def wake(self) -> None:
        self._work.set()

    def wait(self, seconds: float) -> None:
        """Wait until there is something to do, at most ``seconds``."""
        self._work.wait(seconds)

    @property
    def empty(self) -> bool:
        return not self._events


class Block:
    """Events that are sent together. ``left``: how many have not been acknowledged."""

    __slots__ = ("bytes", "end", "events", "left", "segment")

    def __init__(self, events: list[Event], segment: Segment | None, end: int) -> None:
        self.events, self.segment, self.end = events, segment, end
        self.left = len(events)
        self.bytes = sum(map(weight, events))


class Backlog:
    """The events to be sent, in order: those that ended processes left, those in the own spool, and those only in memory.

    ``directory``: of the spool, None for memory only; ``max_bytes``: the limit for all segments in the directory.
    """

    def __init__(self, inbox: Inbox, directory: Path | None, max_bytes: int) -> None:
        self._inbox, self._directory, self._max_bytes = inbox, directory, max_bytes
        self._segment_bytes = min(SEGMENT_BYTES, max(max_bytes // 8, 1 << 16))
        self._own: Writer | None = None
        self._adopted: list[Writer] = []
        self._memory: deque[Event] = deque()
        self._problem = ""
        self.spooled = 0
        """Bytes of the spool's directory when last looked at."""

    def adopt(self) -> None:
        """Take over the events that ended processes left."""
        if self._directory is not None and self._usable(self._directory):
            try:
                for found in orphans(self._directory):
                    if found.segments:
                        self._adopted.append(found)
                        log.info("the spool %s holds events of a process that died; they are sent now", self._directory)
                    else:
                        found.close()
                self.spooled = bytes_on_disk(self._directory)
            except OSError as error:
                self._say(str(error))

    def _usable(self, directory: Path) -> bool:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._say(str(error))
            return False
        return True

    def collect(self) -> None:
        """Take the events out of the inbox, and write to disk as many as possible."""
        self._memory.extend(self._inbox.take())
        while self._memory and self._directory is not None:
            events, size = [], 0
            for event in self._memory:
                events.append(event)
                size += weight(event)
                if size >= BLOCK_BYTES:
                    break
            if not self._spool(self._directory, events):
                return
            for _ in events:
                self._memory.popleft()
            self._inbox.release(size)

    def _spool(self, directory: Path, events: list[Event]) -> bool:
        try:
            if self._own is None:
                if not self._usable(directory):
                    return False
                self._own = Writer(directory, segment_bytes=self._segment_bytes)
            room = True
            if self._own.full():
                self.spooled = bytes_on_disk(directory)
                room = self.spooled + self._segment_bytes <= self._max_bytes
            if self._own.append(events, room):
                self._problem = ""
                return True
            self._say(f"it is full ({self.spooled} bytes)")
        except OSError as error:
            self._say(str(error))
        return False

    def _say(self, problem: str) -> None:
        # A problem is logged once until it changes; the events that it loses are counted.
        if problem != self._problem:
            self._problem = problem
            log.warning("the spool %s takes no events, they wait in memory: %s", self._directory, problem)

    def next(self) -> Block | None:
        """The next block to send; None if there is none."""
        for writer in self._writers():
            found = writer.read()
            if found is not None:
                return Block(found.events, found.segment, found.end)
        if not self._memory:
            return None
        events: list[Event] = []
        size = 0
        while self._memory and size < BLOCK_BYTES:
            events.append(self._memory.popleft())
            size += weight(events[-1])
        return Block(events, None, 0)

    def arrived(self, block: Block) -> None:
        """Note that a block has been acknowledged, as have all earlier blocks of the same segment."""
        if block.segment is None:
            self._inbox.release(block.bytes)
        else:
            block.segment.acknowledge(block.end)

    def tidy(self) -> None:
        """Delete segments whose events have all been acknowledged."""
        if self._own is not None:
            self._own.tidy()
        for writer in list(self._adopted):
            writer.tidy()
            if not writer.segments:
                writer.close()
                self._adopted.remove(writer)

    def close(self, unsent: list[Block]) -> int:
        """Close the spool. ``unsent``: blocks that have not been acknowledged; returns how many events are lost."""
        lost = len(self._memory) + sum(block.left for block in unsent if block.segment is None)
        for writer in self._writers():
            writer.close()
        self._own, self._adopted = None, []
        return lost

    def abandon(self) -> None:
        """Close the parent's files; called in a forked child process."""
        for writer in self._writers():
            writer.abandon()

    def _writers(self) -> list[Writer]:
        return [*self._adopted, *([self._own] if self._own else [])]
