"""Asked to end, a process is gone in time: each of these would go on for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import asyncio, contextlib, logging, signal, sys, threading, time
from tidegauge.stream import ending
logging.basicConfig(level=logging.INFO)

def for_ever():
    while True:
        time.sleep(1)

async def thread(end):
    threading.Thread(target=for_ever, name="a-consumer").start()
    return 3

async def waits(end):
    print("up", flush=True)
    await asyncio.Event().wait()
    return 3

async def blocked_loop(end):
    print("up", flush=True)
    for_ever()

async def stubborn(end):
    print("up", flush=True)
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)

async def slow_executor(end):
    asyncio.get_running_loop().run_in_executor(None, for_ever)
    await asyncio.sleep(0.1)
    print("up", flush=True)
    await asyncio.sleep(1000)

async def fails(end):
    threading.Thread(target=for_ever).start()
    raise RuntimeError("this went wrong")

async def mute(end):
    # Nobody reads the log any more, and it is full.
    import os
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    os.set_blocking(2, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(2, b"x" * 4096)
    os.set_blocking(2, True)
    print("up", flush=True)
    for_ever()

LIMITED = ("blocked_loop", "stubborn", "mute", "slow_executor")
# Those that end by themselves have all the time they need on a busy machine.
raise SystemExit(ending.run(globals()[sys.argv[1]], seconds=2 if sys.argv[1] in LIMITED else 60))
"""


def started(kind: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("kind", "number", "status", "said"),
    [
        ("waits", signal.SIGTERM, 0, ""),
        ("waits", signal.SIGINT, 0, ""),
        ("blocked_loop", signal.SIGTERM, 1, "it did not end in time"),
        ("stubborn", signal.SIGTERM, 1, "it did not end in time"),
        ("slow_executor", signal.SIGINT, 0, "in for_ever"),
        ("mute", signal.SIGTERM, 1, ""),
    ],
)
def test_a_signal_ends_a_process_in_time(kind: str, number: signal.Signals, status: int, said: str) -> None:
    with started(kind) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        _, log = process.communicate(timeout=90)
    assert process.returncode == status
    assert said in log


def test_a_thread_that_stays_does_not_keep_the_process_nor_its_status() -> None:
    with started("thread") as process:
        _, log = process.communicate(timeout=90)
    assert process.returncode == 3
    assert "threads do not end: a-consumer" in log
    assert "in for_ever" in log, "its stack"


def test_a_failure_is_told_and_ends_it() -> None:
    with started("fails") as process:
        _, log = process.communicate(timeout=90)
    assert process.returncode == 1
    assert "RuntimeError: this went wrong" in log


def test_a_child_whose_parent_dies_before_it_is_born_dies_too() -> None:
    """The parent is gone before the kernel can be asked to tell of its death."""
    program = (
        "import os, signal, sys, time\n"
        "from tidegauge.stream.processes import die_with_parent\n"
        "set_signal = die_with_parent(signal.SIGTERM)\n"
        "child = os.fork()\n"
        "if child:\n"
        "    print(child, flush=True); os._exit(0)\n"
        "while os.getppid() == int(sys.argv[1]) or os.getppid() == os.getpgid(0):\n"
        "    time.sleep(0.01)\n"
        "set_signal(); time.sleep(60)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, "0"], stdout=subprocess.PIPE, text=True, timeout=20, check=True)
    child, deadline = int(done.stdout), time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    raise AssertionError("it lives on")
