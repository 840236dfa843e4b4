"""A process that makes no progress ends itself and says where it stood; one that does, or has nothing to do, goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import asyncio, itertools, logging, sys, time
from tidegauge.stream import ending
from tidegauge.stream.watchdog import Watchdog
logging.basicConfig(level=logging.INFO)
steps = itertools.count()
MARKS = {
    "moving": lambda: {"task join-0": next(steps)},
    "nothing_to_do": lambda: {},
    "standing": lambda: {"task join-0": 7, "task join-1": next(steps)},
    "blocked": lambda: {},
}

async def main(end):
    watchdog = Watchdog(MARKS[sys.argv[1]], 4.0, end)
    watchdog.start()
    print("up", flush=True)
    if sys.argv[1] == "blocked":
        def a_callback_without_end():
            time.sleep(1000)
        a_callback_without_end()
    for _ in range(100):
        await asyncio.sleep(0.1)
        if watchdog.trouble:
            print(watchdog.trouble, flush=True)
    return 0

raise SystemExit(ending.run(main, seconds=60))
"""


def started(kind: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


@pytest.mark.parametrize("kind", ["moving", "nothing_to_do"])
def test_a_process_that_makes_progress_goes_on(kind: str) -> None:
    with started(kind) as process:
        said, log = process.communicate(timeout=90)
    assert process.returncode == 0, log
    assert said == ""


def test_no_step_though_there_is_work_ends_it() -> None:
    with started("standing") as process:
        said, log = process.communicate(timeout=90)
    assert process.returncode == 1
    assert "task join-0 has work to do and has not moved for 2 s" in said, "/healthz says so before"
    assert "task join-0 has work to do and has not moved for 4 s; the process ends here with status 1" in log
    assert "in main" in log or "in select" in log, "stacks"


def test_a_blocked_loop_ends_it_and_its_stack_is_told() -> None:
    with started("blocked") as process:
        _, log = process.communicate(timeout=90)
    assert process.returncode == 1
    assert "the event loop has not turned for 4 s" in log
    assert "in a_callback_without_end" in log


def test_a_process_that_was_stopped_is_not_taken_for_one_that_hangs() -> None:
    """Stopped for longer than the patience, not as long as the last resort takes."""
    with started("moving") as process:
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(6)
        os.kill(process.pid, signal.SIGCONT)
        _, log = process.communicate(timeout=90)
    assert process.returncode == 0, log
