"""Faults put into the code under simulation on purpose, which it has to find."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from aiokafka.admin import RecordsToDelete

from tidegauge.join import expiry
from tidegauge.stream import changelog
from tidegauge.stream.input_task import InputTask
from tidegauge.stream.store import Changes
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
def former_owner_not_fenced() -> Iterator[None]:
    """Each owner of a task has a transactional id of its own."""
    started, owners = InputTask._started_producer, iter(range(10**9))

    async def unfenced(self: InputTask, transactional_id: str) -> Any:
        return await started(self, f"{transactional_id}-{next(owners)}")

    with mock.patch.object(InputTask, "_started_producer", unfenced):
        yield


PLANTED: tuple[Callable[[], contextlib.AbstractContextManager[None]], ...] = (
    offsets_before_state,
    state_before_offsets,
    pending_requests_swept_too_early,
    changelog_shortened_too_early,
    former_owner_not_fenced,
)
