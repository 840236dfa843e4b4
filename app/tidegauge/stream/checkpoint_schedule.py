"""Decides when the next checkpoint of a task is due."""

from __future__ import annotations

from tidegauge.stream.input_task import InputTask
from tidegauge.stream.rekey_task import SHARE_OF_INTERVAL
from tidegauge.stream.settings import REKEY

MONITOR_INTERVAL = 0.1
"""Seconds between two checkpoints of a monitor task. Its output is alerts, so it does not wait for a full interval."""
MONITOR_SHARE = 0.2
"""The largest share of time that the checkpoints of a monitor task may take. If they take more, as while catching up, they are
made less often."""
FEW_EVENTS, FEW_A_SECOND, FEW_WAIT = 100, 20, 5.0
"""Join tasks with fewer than FEW_EVENTS events share FEW_A_SECOND transactions an interval, and wait at most FEW_WAIT
intervals."""


def is_due(task: InputTask, now: float, few: int, interval: float) -> bool:
    """Whether a checkpoint of the task is due at ``now`` (monotonic clock). ``few``: how many tasks have fewer than FEW_EVENTS
    events; a transaction costs the same whatever it contains, so they take turns. ``interval``: the configured interval in
    seconds."""
    if task.name != "monitor":
        rarer = min(max(few / FEW_A_SECOND, 1.0), FEW_WAIT) if 0 < task.dirty_events < FEW_EVENTS else 1.0
        share = SHARE_OF_INTERVAL if task.name in REKEY else 1.0
        return now - task.last_checkpoint >= rarer * share * interval
    if task.dirty_events or task.unfinished:
        rarer = max(MONITOR_INTERVAL, task.took / MONITOR_SHARE)
        return now - task.last_checkpoint >= min(rarer, interval)
    return now - task.last_checkpoint >= interval
