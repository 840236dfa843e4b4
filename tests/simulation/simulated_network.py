"""A bad network between simulated processes and brokers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from aiokafka.errors import KafkaError, NotLeaderForPartitionError, RequestTimedOutError

from simulation.seeded_loop import Process, SeededLoop, current_process

RETRY_SECONDS = 0.1
REQUEST_TIMEOUT = 2.0
SLOW_SECONDS = 4.0
RETRIED = RequestTimedOutError, NotLeaderForPartitionError
"""Errors after which aiokafka makes a request again by itself: a request or its answer was lost; the broker is another one."""
DULL = {"fetch", "heartbeat", "committed offsets", "end offsets"}
"""Requests that are made all the time and not worth a line of the schedule."""


class Killed(BaseException):
    """What a process that was killed gets when its coroutines are closed at the end of a simulation."""


class Fate(NamedTuple):
    """What becomes of a request, or of its answer, that takes so many ``seconds``. ``error``: it does not arrive, and whoever
    asks gets this instead; ``copy``: after how many seconds a copy of it arrives, too."""

    seconds: float
    error: KafkaError | None = None
    copy: float | None = None


class Network:
    """Carries requests to the brokers and answers back. ``disturb`` is called for each of the two with the process that asks
    and what it is, and returns what becomes of it."""

    def __init__(self, loop: SeededLoop, draws: random.Random) -> None:
        self.loop, self._draws = loop, draws
        self.losing: set[Process] = set()
        """Processes that lose the next chunk they fetched on its way through Faust."""
        self.rereading: set[Process] = set()
        """Processes whose consumer goes back by a few records in each partition."""
        self.hesitant = True
        """Whether brokers are sometimes slow to tell each other how a transaction ended."""
        self.disturb: Callable[[Process, str], Fate] = lambda process, what: Fate(self.delay())

    def delay(self) -> float:
        return 0.001 + 0.02 * self._draws.random() ** 3

    def later(self, what: Callable[[], None]) -> None:
        """Do something in the cluster after a drawn delay, and now and then much later."""
        hesitation = SLOW_SECONDS * self._draws.random() if self.hesitant and self._draws.random() < 0.06 else 0.0
        self.loop.call_in_world(self.delay() + hesitation, what)

    def at(self, seconds: float, what: Callable[[], None]) -> None:
        """Do something in the cluster after so many seconds."""
        self.loop.call_in_world(seconds, what)

    async def ask(self, what: str, request: Callable[[], Any]) -> Any:
        """The answer to a request, which is made again where aiokafka does so. A request under way arrives even if the process
        is killed."""
        asker = current_process.get()
        if asker.dead:
            raise Killed
        while True:
            answer = self.loop.create_future()
            self._send(what, request, answer, asker)
            try:
                return await answer
            except RETRIED:
                await asyncio.sleep(RETRY_SECONDS)

    def _send(self, what: str, request: Callable[[], Any], answer: asyncio.Future[Any], asker: Process) -> None:
        def arrive() -> None:
            try:
                result, error = request(), None
            except Exception as raised:
                result, error = None, raised
            if isinstance(result, asyncio.Future):
                result.add_done_callback(lambda done: respond(done.result(), None))
            else:
                respond(result, error)

        def respond(result: Any, error: Exception | None) -> None:
            if what not in DULL:
                self.loop.note(f"{asker}: {what}" + ("" if error is None else f" -> {type(error).__name__}"))
            travel(f"answer to {what}", deliver, asker, result, error)

        def deliver(result: Any, error: Exception | None) -> None:
            if answer.done():
                return
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)

        def travel(leg: str, arrived: Callable[..., None], to: Process, *arguments: Any) -> None:
            seconds, failure, copy = self.disturb(asker, leg)
            if failure is not None:
                self.loop.call_later(seconds, deliver, None, failure, context=asker.context)
                return
            self.loop.call_later(seconds, arrived, *arguments, context=to.context)
            if copy is not None:
                self.loop.call_later(seconds + copy, arrived, *arguments, context=to.context)

        travel(what, arrive, self.loop.world)
