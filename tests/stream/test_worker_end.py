"""A worker ends, whatever its libraries' tasks make of being cancelled."""

from __future__ import annotations

import asyncio
import contextlib

from tidegauge.stream.ending import end_tasks


def test_a_task_that_takes_a_cancellation_for_another_s_is_cancelled_again() -> None:
    async def stubborn() -> None:
        for _ in range(3):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1000)

    async def run() -> bool:
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        await end_tasks()
        return task.done()

    assert asyncio.run(run())
