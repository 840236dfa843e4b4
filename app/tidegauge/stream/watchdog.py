"""Ends a process that makes no progress: a thread watches the event loop and every component that has work to do.

It counts its own checks instead of seconds, so a process that was suspended and resumed does not count as stuck.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import threading
import time
from collections.abc import Callable, Hashable, Mapping

from tidegauge.stream.ending import Ending, leave

LOOK_SECONDS = 1.0
STUCK = 1
_STDERR = 2


class Watchdog:
    """Watches a process. ``marks``: called in the event loop; returns, for each component that has work to do, a value that
    changes with every step of its progress. If a value does not change for ``patience`` seconds, or the event loop is blocked
    for as long, the process ends with status 1, and the stacks of its threads are logged."""

    def __init__(self, marks: Callable[[], Mapping[str, Hashable]], patience: float, ending: Ending) -> None:
        self._marks, self._patience, self._ending = marks, patience, ending
        self._seen: dict[str, Hashable] = {}
        self._looks: dict[str, int] = {}
        self._turning = 0

    def start(self) -> None:
        """Start to watch the running event loop."""
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    @property
    def trouble(self) -> str | None:
        """What has made no progress for half of the patience; None if all is well."""
        return self._standing(self._patience / 2)

    def _standing(self, seconds: float) -> str | None:
        if self._turning * LOOK_SECONDS >= seconds:
            return f"the event loop has not turned for {self._turning * LOOK_SECONDS:.0f} s"
        for name, looks in list(self._looks.items()):
            if looks * LOOK_SECONDS >= seconds:
                return f"{name} has work to do and has not moved for {looks * LOOK_SECONDS:.0f} s"
        return None

    def _watch(self) -> None:
        while not self._ending.begun:
            # The last resort against code that blocks the interpreter itself and thus also this thread.
            faulthandler.dump_traceback_later(2 * self._patience + LOOK_SECONDS, exit=True, file=_STDERR)
            self._turning += 1
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._turned)
            time.sleep(LOOK_SECONDS)
            found = self._standing(self._patience)
            if found is not None and not self._ending.begun:
                leave(STUCK, found, loop=self._loop)
        faulthandler.cancel_dump_traceback_later()

    def _turned(self) -> None:
        self._turning = 0
        marks = dict(self._marks())
        same = {name for name, mark in marks.items() if self._seen.get(name, self) == mark}
        self._looks = {name: self._looks.get(name, 0) + 1 if name in same else 0 for name in marks}
        self._seen = marks
