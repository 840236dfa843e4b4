"""Whatever happens to its supervisor, a worker is either at work or gone: none lives on in the group and reads nothing."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import deque
from pathlib import Path

import psutil
import pytest

from support.alternation import assert_alternating
from support.cluster import AFTER_A_KILL, Cluster
from support.console_process import Console
from support.servers import wait_for
from support.traffic import RECORD, assert_same, replayed, traffic
from tidegauge.engine.stage import PREDICTIONS
from tidegauge.stream.broker import Broker

GONE_WITHIN = 20.0


@pytest.fixture
def cluster(broker: Broker, tmp_path: Path):
    made = Cluster(broker, f"half-dead-{random.randrange(10**6)}", tmp_path)
    made.apply(RECORD)
    yield made
    made.stop()


def wait_for_worker(supervisor: subprocess.Popen[bytes]) -> psutil.Process:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if children := psutil.Process(supervisor.pid).children():
            return children[0]
        time.sleep(0.05)
    raise AssertionError("the supervisor starts no worker")


def kill_group(supervisor: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(supervisor.pid, signal.SIGKILL)
    supervisor.wait()


def test_no_worker_outlives_its_supervisor_and_every_prediction_is_counted(cluster: Cluster, tmp_path: Path) -> None:
    """Two supervisors; while a backlog is worked off and partitions move, `kill -9` of a process group at random moments."""
    rng = random.Random(17)
    events, end = traffic(17, 4000)
    supervisors = {index: cluster.supervise(index) for index in (0, 1)}
    orphans: list[tuple[psutil.Process, float]] = []
    step = len(events) // 6
    for part in range(6):
        cluster.send(events[part * step : (part + 1) * step if part < 5 else None])
        index = rng.randrange(2)
        worker = wait_for_worker(supervisors[index])
        time.sleep(rng.random() * 4)
        kill_group(supervisors[index])
        orphans.append((worker, time.monotonic()))
        supervisors[index] = cluster.supervise(index)
    cluster.send(end)
    for worker, since in orphans:
        with contextlib.suppress(psutil.TimeoutExpired):
            worker.wait(max(since + GONE_WITHIN - time.monotonic(), 0.1))
        assert not worker.is_running(), f"it outlives its supervisor\n{cluster.log()[-8000:]}"
    count = sum(topic == PREDICTIONS for topic, _ in events)
    assert_same(cluster.wait_for_predictions(count, "1m", 120), replayed(events + end, tmp_path))


def test_a_zombie_is_fenced_or_ends(cluster: Cluster, tmp_path: Path) -> None:
    """SIGSTOP for longer than the session lasts, while the other worker takes over; then SIGCONT."""
    events, end = traffic(18, 3000)
    workers = [cluster.start(index) for index in (0, 1)]
    half = len(events) // 2
    cluster.send(events[:half], pause=0.1, step=200)
    os.kill(workers[0].pid, signal.SIGSTOP)
    try:
        cluster.send(events[half:])
        time.sleep(cluster.settings.session_timeout + 4)
    finally:
        os.kill(workers[0].pid, signal.SIGCONT)
    cluster.send(end)
    count = sum(topic == PREDICTIONS for topic, _ in events)
    assert_same(
        cluster.wait_for_predictions(count, "1m", 120, quiet=AFTER_A_KILL),
        replayed(events + end, tmp_path),
    )
    assert_alternating(cluster.alerts())


def standing(cluster: Cluster) -> list[float]:
    """Seconds for which partitions have stood still, as the first worker says."""
    lines = cluster.scrape(cluster.ports[0]).splitlines()
    return [float(line.rpartition(" ")[2]) for line in lines if line.startswith("tidegauge_standstill_seconds{")]


@pytest.mark.timeout(600)
def test_a_worker_that_hangs_ends_itself_and_what_it_left_shows_on_the_others(cluster: Cluster, tmp_path: Path) -> None:
    """Its event loop is blocked in a checkpoint, its heartbeat goes on: the group would leave it its partitions for ever."""
    events, end = traffic(19, 2000)
    alive = cluster.start(0)
    # What hangs before the group has another member and its first commit is seen to by its own watchdog alone.
    cluster.send(events[:200])
    wait_for(lambda: "join-0: restored" in cluster.log() and bool(cluster.read("tidegauge-profiles")), 60, "a first commit")
    console = Console(cluster)
    hanging = cluster.start(1, "--stall-timeout", "18", TIDEGAUGE_HANG="before-commit:1")
    # They come for as long as it hangs: what it holds is never empty.
    coming, seen, shown = deque(events[200:]), 0.0, 0.0
    while hanging.poll() is None:
        cluster.send([coming.popleft() for _ in range(min(40, len(coming)))])
        seen = max([seen, *standing(cluster)])
        shown = max([shown, *(place["stands_still_seconds"] for place in console.ask("/api/v1/stream")["partitions"])])
        time.sleep(1)
    console.stop()
    cluster.send(list(coming))
    assert hanging.returncode == 1
    assert 6 <= seen < 60, "the other worker has shown it"
    assert 6 <= shown < 60, "so has the console"
    log = (tmp_path / "worker-1.log").read_text()
    assert "the event loop has not turned for 18 s; the process ends here with status 1" in log
    assert "fault_at" in log, "where it hung"
    cluster.send(end)
    count = sum(topic == PREDICTIONS for topic, _ in events)
    assert_same(cluster.wait_for_predictions(count, "1m", 120), replayed(events + end, tmp_path))
    assert alive.poll() is None
    wait_for(lambda: not standing(cluster), 60, "an end of the standstill")
