"""Shutting a process down: once asked to end it is gone within a deadline, whatever its libraries do.

A thread that is no daemon, a task that takes no cancellation, a loop that is blocked: each would keep a worker in its group,
holding partitions that nobody reads. The deadline is kept by a thread of its own, which hears signals from the interpreter's
wake-up file and so needs neither the event loop nor the main thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)
END_SECONDS = 15.0
"""From being asked to end, or failing, to being gone."""
LEAVING_SECONDS = 3.0
"""Of these, what remains of a process whose work is done; and how long its last words may take."""


def stacks() -> str:
    """Where each thread of this process stands."""
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read().decode(errors="replace")


def leave(status: int, why: str, error: BaseException | None = None) -> None:
    """End the process now, with the reason, the error it fails with and the stacks of all threads in the log."""

    def last_words() -> None:
        log.error("%s; the process ends here with status %d\n%s", why, status, stacks(), exc_info=error)
        logging.shutdown()

    # Writing may fail: whoever reads the log may have stopped.
    speaker = threading.Thread(target=last_words, daemon=True)
    speaker.start()
    speaker.join(LEAVING_SECONDS)
    os._exit(status)


class Ending:
    """The end of this process. ``seconds``: what it may take."""

    def __init__(self, seconds: float = END_SECONDS) -> None:
        self._seconds, self._status = seconds, 1
        self._deadline: float | None = None
        self._over = threading.Event()
        self._others = set(threading.enumerate())

    @property
    def begun(self) -> bool:
        return self._deadline is not None

    def begin(self, seconds: float | None = None) -> None:
        """The process has this long from now on; the first call holds, unless a later one leaves less."""
        deadline = time.monotonic() + (self._seconds if seconds is None else seconds)
        first, self._deadline = self._deadline is None, min(deadline, self._deadline or deadline)
        if first:
            threading.Thread(target=self._wait, name="ending", daemon=True).start()

    def _wait(self) -> None:
        assert self._deadline is not None
        while (left := self._deadline - time.monotonic()) > 0:
            if self._over.wait(min(left, 0.1)):
                return
        leave(self._status, "it did not end in time")

    def finish(self) -> None:
        """The work is done. Threads that were started since and would keep the process are waited for, but not for long."""
        until = time.monotonic() + LEAVING_SECONDS
        left = [t for t in threading.enumerate() if not t.daemon and t not in self._others and t is not threading.main_thread()]
        for thread in left:
            thread.join(max(until - time.monotonic(), 0.0))
        alive = [thread.name for thread in left if thread.is_alive()]
        if alive:
            leave(self._status, f"threads do not end: {', '.join(alive)}", sys.exc_info()[1])
        self._over.set()

    async def until_asked(self, main: Callable[[Ending], Coroutine[Any, Any, int]]) -> int:
        """The exit status of ``main``, which is cancelled at SIGTERM and SIGINT; 0 if it ends by that."""
        loop, asked = asyncio.get_running_loop(), asyncio.Event()
        with self._signals(lambda: loop.call_soon_threadsafe(asked.set)):
            work, asking = asyncio.ensure_future(main(self)), asyncio.ensure_future(asked.wait())
            try:
                await asyncio.wait([work, asking], return_when=asyncio.FIRST_COMPLETED)
                if not work.done():
                    work.cancel()
                self._status = await work
            except asyncio.CancelledError:
                if not asked.is_set():
                    raise
                self._status = 0
            finally:
                asking.cancel()
                self.begin()
                await end_tasks()
            return self._status

    @contextlib.contextmanager
    def _signals(self, call: Callable[[], object]) -> Any:
        """At the first SIGTERM or SIGINT another thread calls ``call``, and the process has ``seconds`` left."""
        hearing, telling = socket.socketpair()
        telling.setblocking(False)

        def listen() -> None:
            if hearing.recv(1):
                self.begin()
                with contextlib.suppress(RuntimeError):
                    call()

        before = {number: signal.signal(number, _nothing) for number in (signal.SIGTERM, signal.SIGINT)}
        file = signal.set_wakeup_fd(telling.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=listen, name="signals", daemon=True).start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(file)
            for number, handler in before.items():
                signal.signal(number, handler)
            telling.close()


async def end_tasks() -> None:
    """Cancel the tasks that are left until they have ended.

    A task may take a cancellation for that of what it waits for and go on, as aiokafka's fetcher does while it ends its own
    requests: asked only once, which is what ``asyncio.run`` does, it would keep the process for ever.
    """
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for _ in range(8):
        if not left:
            return
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.25)
    log.error("tasks do not end: %s", left)


def _nothing(number: int, frame: object) -> None:
    """Does nothing: the wake-up file has passed the signal on already."""


def run(main: Callable[[Ending], Coroutine[Any, Any, int]], seconds: float = END_SECONDS) -> int:
    """Run ``main`` in an event loop of its own, as ``Ending.until_asked`` says; then nothing keeps the process."""
    ending = Ending(seconds)
    try:
        return asyncio.run(ending.until_asked(main))
    finally:
        ending.finish()
        sys.stdout.flush()
