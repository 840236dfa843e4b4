"""When checkpoints are due: of tasks with few events in turns, of a monitor task by what else the worker has to do."""

import asyncio

import pytest

from tidegauge.engine.stage import PREDICTIONS, Record
from tidegauge.stream.checkpoint_schedule import MAX_BYTES, is_due, is_full, load
from tidegauge.stream.input_task import InputTask
from tidegauge.stream.settings import Settings


class IdleTask(InputTask):
    """A task that has taken ``events`` since a checkpoint at 0 s that took ``took`` seconds."""

    unfinished = False

    def __init__(self, name, events=0, took=0.0, unfinished=False):
        super().__init__(name, 0, (PREDICTIONS,), Settings())
        self.offsets = {PREDICTIONS: 0}
        self.dirty_events, self.took, self.last_checkpoint, self.unfinished = events, took, 0.0, unfinished

    opened = True

    async def _take_over(self): ...

    def _take(self, topic, records): ...

    async def _commit(self, events, moved): ...


def due_after(task, *others):
    """The first twentieth of a second at which a checkpoint of the task is due, with an interval of a second."""
    beside = load([task, *others])
    return next(turn / 20 for turn in range(1000) if is_due(task, turn / 20, beside, 1.0))


def test_a_monitor_task_with_a_backlog_waits_for_nobody_unless_events_are_read():
    backlog = IdleTask("monitor", took=0.4, unfinished=True)
    assert due_after(backlog) == 0.1
    assert due_after(backlog, IdleTask("monitor", events=5), IdleTask("join")) == 0.1
    assert due_after(backlog, IdleTask("join", events=5)) == 0.8
    assert due_after(IdleTask("monitor", took=9.0, unfinished=True), IdleTask("join", events=5)) == 1.0


@pytest.mark.parametrize(("took", "after"), [(0.0, 0.1), (0.1, 0.5), (0.4, 1.0)])
def test_a_monitor_task_without_one_takes_a_fifth_of_the_time(took, after):
    assert due_after(IdleTask("monitor", events=5, took=took)) == after


def test_tasks_with_few_events_take_turns():
    few = [IdleTask("join", events=1) for _ in range(39)]
    assert due_after(IdleTask("join", events=1), *few) == 2.0
    assert due_after(IdleTask("join", events=100), *few) == 1.0
    assert due_after(IdleTask("join", events=1), *few * 10) == 5.0


def test_a_task_is_full_of_many_events_or_of_few_large_ones():
    large, small = b"x" * (1 << 20), b"x"
    task = IdleTask("join")
    task.process(PREDICTIONS, [Record(offset, -1, None, small) for offset in range(99)], 99)
    assert not is_full(task, 100)
    task.process(PREDICTIONS, [Record(99, -1, None, small)], 100)
    assert is_full(task, 100)
    asyncio.run(task.checkpoint())
    assert not is_full(task, 100)
    for number in range(MAX_BYTES >> 20):
        assert not is_full(task, 10**6)
        task.process(PREDICTIONS, [Record(100 + number, -1, None, large)], 101 + number)
    assert is_full(task, 10**6)
