"""Decides when the next checkpoint of a task is due."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from tidegauge.stream.input_task import InputTask
from tidegauge.stream.rekey_task import BUFFERED_EVENTS, SHARE_OF_INTERVAL
from tidegauge.stream.settings import REKEY

MONITOR_INTERVAL = 0.1
"""Seconds between two checkpoints of a monitor task. Its output is alerts, so it does not wait for a full interval."""
MONITOR_SHARE, BACKLOG_SHARE = 0.2, 0.5
"""The largest share of time that the checkpoints of a monitor task may take beside tasks that read events, and the same while
it has a backlog. If they take more, they are made less often."""
FEW_EVENTS, FEW_A_SECOND, FEW_WAIT = 100, 20, 5.0
"""Join tasks with fewer than FEW_EVENTS events share FEW_A_SECOND transactions an interval, and wait at most FEW_WAIT
intervals."""
MAX_BYTES = 64 << 20
"""The most bytes of records that a task takes between two checkpoints, but for those of the chunk that exceeds them."""


class Load(NamedTuple):
    """What the tasks of a worker have to do. ``few``: how many have fewer than FEW_EVENTS events; ``reading``: whether any but
    a monitor task has events."""

    few: int
    reading: bool


def load(tasks: Collection[InputTask]) -> Load:
    """The load of a worker that has these tasks."""
    return Load(
        sum(0 < task.dirty_events < FEW_EVENTS for task in tasks),
        any(task.dirty_events and task.name != "monitor" for task in tasks),
    )


def is_due(task: InputTask, now: float, beside: Load, interval: float) -> bool:
    """Whether a checkpoint of the task is due at ``now`` (monotonic clock). ``beside``: the worker's load; a transaction costs
    the same whatever it contains, so tasks with few events take turns. ``interval``: the configured interval in seconds."""
    waited = now - task.last_checkpoint
    if task.name != "monitor":
        rarer = min(max(beside.few / FEW_A_SECOND, 1.0), FEW_WAIT) if 0 < task.dirty_events < FEW_EVENTS else 1.0
        share = SHARE_OF_INTERVAL if task.name in REKEY else 1.0
        return waited >= rarer * share * interval
    if task.unfinished and not beside.reading:
        # Nobody else needs the time.
        return waited >= MONITOR_INTERVAL
    if task.dirty_events or task.unfinished:
        rarer = max(MONITOR_INTERVAL, task.took / (BACKLOG_SHARE if task.unfinished else MONITOR_SHARE))
        return waited >= min(rarer, interval)
    return waited >= interval


def is_full(task: InputTask, most_events: int) -> bool:
    """Whether a task has taken so much since its last checkpoint that it must take nothing more before the next.
    ``most_events``: of a task that does not re-key."""
    most = BUFFERED_EVENTS if task.name in REKEY else most_events
    return task.dirty_events >= most or task.dirty_bytes >= MAX_BYTES
