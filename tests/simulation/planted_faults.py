"""Faults put into the code under simulation on purpose, which it has to find."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest import mock

from aiokafka.admin import RecordsToDelete

from tidegauge.errors import StateError
from tidegauge.join import expiry
from tidegauge.join.progress import TaskProgress
from tidegauge.stream import changelog
from tidegauge.stream.group import Group
from tidegauge.stream.input_task import InputTask
from tidegauge.stream.rekey_task import RekeyTask
from tidegauge.stream.store import Changes
from tidegauge.stream.stored_offsets import InputPartition
from tidegauge.stream.task import Task


@contextlib.contextmanager
def offsets_before_state() -> Iterator[None]:
    """Offsets are committed in a transaction of their own, before the one with state and outputs."""
    both = Task._transact

    async def apart(self: Task, changes: Changes, outputs: list[Any], offsets: Any, complete: bool) -> None:
        if offsets:
            async with self._producer.transaction():
                await self._producer.send_offsets_to_transaction(offsets, self._settings.app_id)
        await both(self, changes, outputs, {}, complete)

    with mock.patch.object(Task, "_transact", apart):
        yield


@contextlib.contextmanager
def state_before_offsets() -> Iterator[None]:
    """Offsets are committed in a transaction of their own, after the one with state and outputs."""
    both = Task._transact

    async def apart(self: Task, changes: Changes, outputs: list[Any], offsets: Any, complete: bool) -> None:
        await both(self, changes, outputs, {}, complete)
        if offsets:
            async with self._producer.transaction():
                await self._producer.send_offsets_to_transaction(offsets, self._settings.app_id)

    with mock.patch.object(Task, "_transact", apart):
        yield


@contextlib.contextmanager
def pending_requests_swept_too_early() -> Iterator[None]:
    """The sweep takes requests for expired that labels may still come for."""
    with mock.patch.object(expiry, "KEPT_BEYOND_HORIZON", -3600.0):
        yield


@contextlib.contextmanager
def changelog_shortened_too_early() -> Iterator[None]:
    """The changelog is deleted up to the newest checkpoint and not up to the beginning of the sweep."""

    async def committed(self: Any, first_offset: int, complete: bool, admin: Any, place: Any) -> None:
        await admin.delete_records({place: RecordsToDelete(before_offset=first_offset)})

    with mock.patch.object(changelog.RollingSnapshot, "committed", committed):
        yield


@contextlib.contextmanager
def input_deleted_too_early() -> Iterator[None]:
    """A task deletes what it has read of its input, and not only what is committed."""
    commit = Task._commit

    async def eager(self: Task, events: int, moved: bool) -> Any:
        await self._purge(self._reached())
        return await commit(self, events, moved)

    with mock.patch.object(Task, "_commit", eager):
        yield


@contextlib.contextmanager
def former_owner_not_fenced() -> Iterator[None]:
    """Each owner of a task has a transactional id of its own."""
    started, owners = InputTask._started_producer, iter(range(10**9))

    async def unfenced(self: InputTask, transactional_id: str) -> Any:
        return await started(self, f"{transactional_id}-{next(owners)}")

    with mock.patch.object(InputTask, "_started_producer", unfenced):
        yield


@contextlib.contextmanager
def restored_before_fencing() -> Iterator[None]:
    """State and offsets are read before the former owner of a task is fenced off."""
    refuse = Task._refuse

    async def start_producer(self: InputTask) -> None:
        self._producer = await self._started_producer(f"{self._settings.app_id}-{self}")

    async def opened(self: InputTask) -> None:
        await self._take_over()
        await start_producer(self)

    async def refused(self: Task, why: str) -> None:
        await start_producer(self)
        await refuse(self, why)

    with mock.patch.object(InputTask, "open", opened), mock.patch.object(Task, "_refuse", refused):
        yield


@contextlib.contextmanager
def refused_without_asking_who_owns_the_task() -> Iterator[None]:
    """A worker takes state or offsets for lost at once, and does not ask whether it was fenced off while it read them."""

    async def refused(self: Task, why: str) -> None:
        raise StateError(why)

    with mock.patch.object(Task, "_refuse", refused):
        yield


@contextlib.contextmanager
def rekeyed_offsets_before_records() -> Iterator[None]:
    """A re-keying task commits its offsets in a transaction of their own, before the one with the records."""
    both = RekeyTask._transact

    async def apart(self: RekeyTask, batches: Any, offsets: Any, letters: Any) -> None:
        async with self._producer.transaction():
            await self._producer.send_offsets_to_transaction(offsets, self._settings.app_id)
        await both(self, batches, {}, letters)

    with mock.patch.object(RekeyTask, "_transact", apart):
        yield


@contextlib.contextmanager
def event_time_forgotten() -> Iterator[None]:
    """Whoever takes a join task over does not know that the monitor stage waits for event time that was held back."""
    made = TaskProgress.__init__

    def forgetful(self: TaskProgress, store: Any) -> None:
        made(self, store)
        self._told_behind = set()

    with mock.patch.object(TaskProgress, "__init__", forgetful):
        yield


@contextlib.contextmanager
def event_time_without_uncommitted_records() -> Iterator[None]:
    """The ends of re-keyed topics that go with a measured event time leave out what is written and not committed yet."""
    started = Group._started

    async def committed_only(self: Group, client: Any) -> Any:
        client._committed_only = True
        return await started(self, client)

    with mock.patch.object(Group, "_started", committed_only):
        yield


@contextlib.contextmanager
def rekeyed_offsets_asked_for_once() -> Iterator[None]:
    """Offsets of re-keying tasks that are below what a join task's state includes count as lost at once."""
    ask = Task._rekeyed_up_to

    async def once(self: Task, origins: Mapping[InputPartition, int]) -> dict[InputPartition, int]:
        return await ask(self, dict.fromkeys(origins, 0))

    with mock.patch.object(Task, "_rekeyed_up_to", once):
        yield


PLANTED: tuple[Callable[[], contextlib.AbstractContextManager[None]], ...] = (
    offsets_before_state,
    state_before_offsets,
    pending_requests_swept_too_early,
    changelog_shortened_too_early,
    input_deleted_too_early,
    former_owner_not_fenced,
    restored_before_fencing,
    refused_without_asking_who_owns_the_task,
)
PLANTED_IN_REKEYING = (
    rekeyed_offsets_before_records,
    event_time_forgotten,
    event_time_without_uncommitted_records,
    rekeyed_offsets_asked_for_once,
)
