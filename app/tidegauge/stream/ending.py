"""Shuts a process down: once it is asked to end, it ends within a deadline whatever its libraries do.

A thread that is not a daemon, a task that ignores its cancellation, or a blocked event loop would keep a worker in its group,
where it would hold partitions that nobody reads. A separate thread enforces the deadline. It receives signals from the
interpreter's wake-up file descriptor, so it needs neither the event loop nor the main thread.
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
from pathlib import Path
from typing import Any, NoReturn, cast

log = logging.getLogger(__name__)
END_SECONDS = 15.0
"""The most seconds from the request to end, or from a failure, to the end of the process."""
LEAVING_SECONDS = 3.0
"""The most seconds to the end of the process once its work is done; also the most seconds that writing the last log lines may
take."""


def stacks() -> str:
    """The current stack of each thread of this process, as text."""
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read().decode(errors="replace")


def waiting(loop: asyncio.AbstractEventLoop) -> str:
    """What each task of an event loop waits for, as text: a line per task, from its outermost call to the innermost."""
    lines = []
    for task in asyncio.all_tasks(loop):
        calls, inner = [], cast("Any", task.get_coro())
        while frame := getattr(inner, "cr_frame", None):
            calls.append(f"{frame.f_code.co_qualname} ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})")
            inner = inner.cr_await
        lines.append(f"  {task.get_name()}: {' > '.join(calls)}")
    return "\n".join(sorted(lines))


def leave(status: int, why: str, error: BaseException | None = None, loop: asyncio.AbstractEventLoop | None = None) -> None:
    """End the process now, and log the reason ``why``, the error, the stacks of all threads and what the tasks of ``loop`` wait
    for."""

    def last_words() -> None:
        tasks = f"Tasks of the event loop:\n{waiting(loop)}\n" if loop is not None else ""
        log.error("%s; the process ends here with status %d\n%s%s", why, status, tasks, stacks(), exc_info=error)
        logging.shutdown()

    _exit_after(last_words, status)


def exit_at_once(status: int) -> NoReturn:
    """End the process, whose work is done, once its output is written. The interpreter is not taken apart, during which
    nanobind would report every object of its bindings that is left as a leak."""

    def written() -> None:
        logging.shutdown()
        sys.stdout.flush()

    _exit_after(written, status)


def _exit_after(write: Callable[[], None], status: int) -> NoReturn:
    # Writing may block, because the reader of the log may have stopped.
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    writer.join(LEAVING_SECONDS)
    os._exit(status)


class Ending:
    """The end of this process. ``seconds``: the most that it may take."""

    def __init__(self, seconds: float = END_SECONDS) -> None:
        self._seconds, self._status = seconds, 1
        self._deadline: float | None = None
        self._over = threading.Event()
        self._others = set(threading.enumerate())

    @property
    def begun(self) -> bool:
        return self._deadline is not None

    def begin(self, seconds: float | None = None) -> None:
        """Start the deadline: the process ends within ``seconds``. A later call can only make the deadline earlier."""
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
        """End the process after its work is done. Waits a short time for threads that were started since and are not
        daemons."""
        until = time.monotonic() + LEAVING_SECONDS
        left = [t for t in threading.enumerate() if not t.daemon and t not in self._others and t is not threading.main_thread()]
        for thread in left:
            thread.join(max(until - time.monotonic(), 0.0))
        alive = [thread.name for thread in left if thread.is_alive()]
        if alive:
            leave(self._status, f"threads do not end: {', '.join(alive)}", sys.exc_info()[1])
        self._over.set()

    async def until_asked(self, main: Callable[[Ending], Coroutine[Any, Any, int]]) -> int:
        """Run ``main``, which is cancelled by SIGTERM and SIGINT, and return its exit status; 0 if it was cancelled."""
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
        """At the first SIGTERM or SIGINT, another thread calls ``call`` and starts the deadline."""
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
    """Cancel the remaining tasks repeatedly until all have ended.

    A task may mistake its own cancellation for that of something it awaits, and continue, as aiokafka's fetcher does while it
    ends its requests. Cancelled only once, as ``asyncio.run`` does it, such a task would keep the process alive for ever.
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
    """A signal handler that does nothing, because the wake-up file descriptor has already passed on the signal."""


def run(main: Callable[[Ending], Coroutine[Any, Any, int]], seconds: float = END_SECONDS) -> int:
    """Run ``main`` in its own event loop by ``Ending.until_asked``, and return the exit status. Afterwards the process ends
    soon, whatever threads and tasks are left."""
    ending = Ending(seconds)
    try:
        return asyncio.run(ending.until_asked(main))
    finally:
        ending.finish()
        sys.stdout.flush()
