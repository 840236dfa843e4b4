"""An event loop in which time is virtual and a seed decides which process runs next.

Each simulated process has its own queue of callbacks, which run in the order in which they were scheduled, as in asyncio. Which
process runs its next callback is drawn. Nothing runs of a process that was killed, not even ``finally``; a paused process goes
on where it was. Virtual time passes only while no process can run.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

EPOCH = 1_758_931_200.0
"""The wall clock (Unix seconds) at virtual time 0."""


class Process:
    """A simulated operating-system process, or the world around all of them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.paused = False
        self.queue: deque[asyncio.Handle] = deque()

    def __str__(self) -> str:
        return self.name


WORLD = Process("world")
current_process: contextvars.ContextVar[Process] = contextvars.ContextVar("current_process", default=WORLD)


class Stuck(Exception):
    """Nothing can ever run again, or virtual time or the number of steps exceeded its limit."""


class SeededLoop(asyncio.BaseEventLoop):
    """``draws``: the source of all chance of a simulation. ``max_steps``, ``max_seconds``: limits that raise Stuck."""

    def __init__(self, draws: random.Random, max_steps: int, max_seconds: float) -> None:
        super().__init__()
        self._draws, self._max_steps, self._max_seconds = draws, max_steps, max_seconds
        self._now = 0.0
        self._world = Process("world")
        self._processes = [self._world]
        self._tasks: list[asyncio.Task[Any]] = []
        self.steps = 0
        self.events: list[str] = []
        """The schedule: what happened, in order."""
        self.set_task_factory(self._task)

    def time(self) -> float:
        return self._now

    def note(self, event: str) -> None:
        """Add a line to the schedule."""
        self.events.append(f"{self._now:9.3f}  step {self.steps:6}  {event}")

    # -- processes -----------------------------------------------------------------------------------------------

    def start_process(self, name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> Process:
        """Start a process that runs ``main``."""
        process = Process(name)
        self._processes.append(process)
        self.call_soon(lambda: self.create_task(main()), context=self.context_of(process))
        return process

    def context_of(self, process: Process | None) -> contextvars.Context:
        """A context whose callbacks belong to ``process``; None means the world."""
        context = contextvars.Context()
        context.run(current_process.set, process or WORLD)
        return context

    def kill(self, process: Process) -> None:
        """Run nothing of this process any more."""
        process.dead = True
        process.queue.clear()
        if process in self._processes:
            self._processes.remove(process)

    # -- what asyncio asks of a loop -----------------------------------------------------------------------------

    def _task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, context: Any = None) -> asyncio.Task[Any]:
        task = asyncio.Task(coroutine, loop=loop, context=context)
        # Tasks of killed processes stay pending.
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._tasks.append(task)
        return task

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def _check_closed(self) -> None:
        """Allowed at any time: what the garbage collector finds of killed processes may still schedule callbacks, in vain."""

    def _asyncgen_finalizer_hook(self, generator: Any) -> None:
        """Generators of killed processes are not finalized."""

    def _queue_of(self, handle: asyncio.Handle) -> deque[asyncio.Handle] | None:
        process = handle._context.get(current_process, WORLD)  # type: ignore[attr-defined]
        if process is WORLD:
            return self._world.queue
        return None if process.dead else process.queue

    def _run_once(self) -> None:
        ready = self._ready  # type: ignore[attr-defined]
        while ready:
            handle = ready.popleft()
            queue = self._queue_of(handle)
            if queue is not None:
                queue.append(handle)
        runnable = [process for process in self._processes if process.queue and not process.paused]
        if not runnable:
            self._pass_time()
            return
        process = runnable[0] if len(runnable) == 1 else runnable[int(self._draws.random() * len(runnable))]
        handle = process.queue.popleft()
        if not handle.cancelled():
            self.steps += 1
            if self.steps > self._max_steps:
                raise Stuck(f"more than {self._max_steps} steps")
            handle._run()

    def _pass_time(self) -> None:
        """Go to the moment of the next timer, and make the timers of that moment ready."""
        timers = self._scheduled  # type: ignore[attr-defined]
        while timers and timers[0].cancelled():
            heapq.heappop(timers)._scheduled = False
        if not timers:
            raise Stuck("nothing is left to wait for")
        self._now = max(self._now, timers[0].when())
        if self._now > self._max_seconds:
            raise Stuck(f"not finished after {self._max_seconds} seconds of virtual time")
        while timers and timers[0].when() <= self._now:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            self._ready.append(timer)  # type: ignore[attr-defined]

    def finish(self) -> None:
        """Close the loop and what is left of all processes."""
        ended = Process("ended")
        ended.dead = True
        context = self.context_of(ended)
        # Coroutines are closed here, where what they raise can be ignored, and not by the garbage collector.
        for task in self._tasks:
            if not task.done():
                with contextlib.suppress(BaseException):
                    context.run(task.get_coro().close)
        self.close()


class VirtualTime:
    """Replaces the module ``time`` in modules under simulation."""

    @staticmethod
    def monotonic() -> float:
        return asyncio.get_running_loop().time()

    @staticmethod
    def time() -> float:
        return EPOCH + asyncio.get_running_loop().time()
