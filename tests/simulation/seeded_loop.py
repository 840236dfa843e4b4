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
    """A simulated operating-system process, or the world around all of them. ``context``: that of callbacks which belong to
    it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.paused = False
        self.queue: deque[Callback] = deque()
        self.context = contextvars.Context()
        self.context.run(current_process.set, self)

    def __str__(self) -> str:
        return self.name


class Callback:
    """What asyncio has as ``Handle``: a callback that can be cancelled."""

    __slots__ = ("arguments", "call", "context", "off")

    def __init__(self, call: Callable[..., object], arguments: tuple[Any, ...], context: contextvars.Context) -> None:
        self.call, self.arguments, self.context = call, arguments, context
        self.off = False

    def cancel(self) -> None:
        self.off = True

    def cancelled(self) -> bool:
        return self.off


current_process: contextvars.ContextVar[Process] = contextvars.ContextVar("current_process")


class Stuck(Exception):
    """Nothing can ever run again, or virtual time or the number of steps exceeded its limit."""


class SeededLoop(asyncio.BaseEventLoop):
    """``draws``: the source of all chance of a simulation. ``max_steps``, ``max_seconds``: limits that raise Stuck."""

    def __init__(self, draws: random.Random, max_steps: int, max_seconds: float) -> None:
        super().__init__()
        self._draws, self._max_steps, self._max_seconds = draws, max_steps, max_seconds
        self._now = 0.0
        self.world = Process("world")
        self._processes = [self.world]
        self._tasks: list[asyncio.Task[Any]] = []
        self._timers: list[tuple[float, int, Callback]] = []
        self._timer_number = 0
        self.steps = 0
        self.events: list[str] = []
        """The schedule: what happened, in order."""

    def time(self) -> float:
        return self._now

    def note(self, event: str) -> None:
        """Add a line to the schedule."""
        self.events.append(f"{self._now:9.3f}  step {self.steps:6}  {event}")

    # -- processes -----------------------------------------------------------------------------------------------

    def run_world(self, main: Coroutine[Any, Any, Any]) -> Any:
        """Run the world until ``main`` is done; return its result."""
        return self.world.context.copy().run(self.run_until_complete, main)

    def start_process(self, name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> Process:
        """Start a process that runs ``main``."""
        process = Process(name)
        self._processes.append(process)
        self.call_soon(lambda: self.create_task(main()), context=process.context)
        return process

    def kill(self, process: Process) -> None:
        """Run nothing of this process any more."""
        process.dead = True
        process.queue.clear()
        if process in self._processes:
            self._processes.remove(process)

    def call_in_world(self, seconds: float, what: Callable[..., object], *arguments: Any) -> None:
        """Do something after so many seconds that no process does."""
        self.call_at(self._now + seconds, what, *arguments, context=self.world.context)

    # -- what asyncio asks of a loop -----------------------------------------------------------------------------

    def create_task(self, coroutine: Any, *, name: Any = None, context: Any = None) -> asyncio.Task[Any]:
        task = asyncio.Task(coroutine, loop=self, context=context)
        # Tasks of killed processes stay pending.
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._tasks.append(task)
        return task

    def call_soon(self, callback: Any, *arguments: Any, context: contextvars.Context | None = None) -> Any:
        made = Callback(callback, arguments, contextvars.copy_context() if context is None else context)
        self._enqueue(made)
        return made

    call_soon_threadsafe = call_soon

    def call_at(self, when: float, callback: Any, *arguments: Any, context: contextvars.Context | None = None) -> Any:
        made = Callback(callback, arguments, contextvars.copy_context() if context is None else context)
        self._timer_number += 1
        heapq.heappush(self._timers, (when, self._timer_number, made))
        return made

    def call_later(self, seconds: float, callback: Any, *arguments: Any, context: contextvars.Context | None = None) -> Any:
        return self.call_at(self._now + seconds, callback, *arguments, context=context)

    def _check_closed(self) -> None:
        """Allowed at any time: what the garbage collector finds of killed processes may still schedule callbacks, in vain."""

    def _asyncgen_finalizer_hook(self, generator: Any) -> None:
        """Generators of killed processes are not finalized."""

    def _enqueue(self, callback: Callback) -> None:
        process = callback.context.get(current_process)
        if process is not None and not process.dead:
            process.queue.append(callback)

    def _run_once(self) -> None:
        runnable = [process for process in self._processes if process.queue and not process.paused]
        if not runnable:
            self._pass_time()
            return
        process = runnable[0] if len(runnable) == 1 else runnable[int(self._draws.random() * len(runnable))]
        callback = process.queue.popleft()
        if not callback.off:
            self.steps += 1
            if self.steps > self._max_steps:
                raise Stuck(f"more than {self._max_steps} steps")
            callback.context.run(callback.call, *callback.arguments)

    def _pass_time(self) -> None:
        """Go to the moment of the next timer, and make the timers of that moment ready."""
        timers = self._timers
        while timers and timers[0][2].off:
            heapq.heappop(timers)
        if not timers:
            raise Stuck("nothing is left to wait for")
        now = self._now = max(self._now, timers[0][0])
        if now > self._max_seconds:
            raise Stuck(f"not finished after {self._max_seconds} seconds of virtual time")
        while timers and timers[0][0] <= now:
            self._enqueue(heapq.heappop(timers)[2])

    def finish(self) -> None:
        """Close the loop and what is left of all processes."""
        ended = Process("ended")
        ended.dead = True
        # Coroutines are closed here, where what they raise can be ignored, and not by the garbage collector.
        for task in self._tasks:
            if not task.done():
                with contextlib.suppress(BaseException):
                    ended.context.run(task.get_coro().close)
        self.close()


class VirtualTime:
    """Replaces the module ``time`` in modules under simulation."""

    @staticmethod
    def monotonic() -> float:
        return asyncio.get_running_loop().time()

    @staticmethod
    def time() -> float:
        return EPOCH + asyncio.get_running_loop().time()
