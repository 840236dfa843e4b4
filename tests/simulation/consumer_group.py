"""A model of Kafka's group coordinator: members, heartbeats, generations, rebalances. A partition of all inputs of a stage
goes to one member, as Faust's assignor has it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import RebalanceInProgressError, UnknownMemberIdError


class Membership(NamedTuple):
    """What a member learns when a rebalance is over."""

    generation: int
    places: list[TopicPartition]


class GroupModel:
    """One group. ``inputs``: for each stage the partitions to share, each as the places that go together; ``at``: calls a
    function after so many seconds; ``session``, ``rebalance``: the timeouts in seconds."""

    def __init__(
        self, inputs: Mapping[str, Sequence[Sequence[TopicPartition]]], draws: random.Random,
        at: Callable[[float, Callable[[], None]], Any], session: float, rebalance: float,
    ) -> None:  # fmt: skip
        self._inputs, self._draws, self._at = inputs, draws, at
        self.session, self._rebalance = session, rebalance
        self.generation = 0
        self._heard: dict[str, int] = {}
        self._joining: dict[str, asyncio.Future[Membership]] = {}
        self._preparing = False

    def join(self, member: str) -> asyncio.Future[Membership]:
        """Join or rejoin; done when the rebalance is over."""
        self._hear(member)
        waiting: asyncio.Future[Membership] = asyncio.get_running_loop().create_future()
        self._joining[member] = waiting
        self._prepare()
        self._complete()
        return waiting

    def heartbeat(self, member: str, generation: int) -> None:
        """Raises UnknownMemberIdError for one that was excluded, RebalanceInProgressError if members have to join again."""
        if member not in self._heard or (generation != self.generation and not self._preparing):
            raise UnknownMemberIdError
        self._hear(member)
        if self._preparing:
            raise RebalanceInProgressError

    def leave(self, member: str) -> None:
        if self._heard.pop(member, None) is not None:
            self._joining.pop(member, None)
            self._prepare()
            self._complete()

    def rebalance(self) -> None:
        """Begin a rebalance, as when partitions are added or a member comes and goes."""
        if self._heard:
            self._prepare()

    def _hear(self, member: str) -> None:
        count = self._heard[member] = self._heard.get(member, 0) + 1
        self._at(self.session, lambda: self._miss(member, count))

    def _miss(self, member: str, count: int) -> None:
        # While it waits for the others the coordinator does not expect heartbeats of a member.
        if self._heard.get(member) == count and member not in self._joining:
            self.leave(member)

    def _prepare(self) -> None:
        if not self._preparing:
            self._preparing = True
            generation = self.generation
            self._at(self._rebalance, lambda: self._give_up(generation))

    def _give_up(self, generation: int) -> None:
        """Exclude the members that did not join again in time."""
        if self._preparing and self.generation == generation:
            for member in [member for member in self._heard if member not in self._joining]:
                del self._heard[member]
            self._complete()

    def _complete(self) -> None:
        if not self._preparing or not self._joining or self._heard.keys() - self._joining.keys():
            if not self._heard:
                self._preparing = False
            return
        self._preparing = False
        self.generation += 1
        members = sorted(self._joining)
        self._draws.shuffle(members)
        shares: dict[str, list[TopicPartition]] = {member: [] for member in members}
        for number, together in enumerate(together for stage in sorted(self._inputs) for together in self._inputs[stage]):
            shares[members[number % len(members)]].extend(together)
        joining, self._joining = self._joining, {}
        for member, waiting in joining.items():
            self._hear(member)
            if not waiting.done():
                waiting.set_result(Membership(self.generation, shares[member]))
