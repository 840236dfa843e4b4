"""Whatever happens to its supervisor, a worker is either at work or gone: none lives on in the group and reads nothing."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from support.cluster import Cluster
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
