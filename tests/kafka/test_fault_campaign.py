"""Faults on a real broker while events flow, each against `replay`: the same numbers in the end, every alert transition once.

In short with the other tests; `make faults` repeats each, and writes the table in docs/reliability.md.
"""

import os
import random
import shutil
import signal
import time
from collections import Counter

import pytest

from support.alternation import assert_alternating
from support.cluster import AFTER_A_KILL, Cluster
from support.fault_table import FaultTable
from support.servers import wait_for
from support.traffic import RECORD, assert_same, replayed, traffic
from tidegauge.engine.stage import PREDICTIONS

REPETITIONS = 3
PATIENCE = 120.0


@pytest.fixture(scope="module")
def table():
    found = FaultTable()
    yield found
    if os.environ.get("TIDEGAUGE_FAULT_TABLE"):
        found.write()


class Workers:
    """The workers of one application, by the number of their state directory."""

    def __init__(self, cluster, rng):
        self.cluster, self.rng = cluster, rng
        self.running = {}

    def start(self, *indices):
        for index in indices:
            self.running[index] = self.cluster.start(index)

    def end(self, index, how=signal.SIGTERM):
        worker = self.running.pop(index)
        worker.send_signal(how)
        assert worker.wait(30) == (0 if how == signal.SIGTERM else -how)

    def at_work(self, index):
        """Whether a worker has taken over a task, as its log says."""
        return "restored" in (self.cluster.directory / f"worker-{index}.log").read_text()

    def files(self, index):
        """Of the worker's disk, but RocksDB's own logs."""
        found = (self.cluster.directory / str(index)).rglob("*")
        return sorted(of for of in found if of.is_file() and of.stat().st_size and not of.name.startswith("LOG"))


def killed(workers):
    workers.end(0, signal.SIGKILL)
    workers.start(0)


def stopped_beyond_its_session(workers):
    os.kill(workers.running[0].pid, signal.SIGSTOP)
    time.sleep(workers.cluster.settings.session_timeout + 4)
    os.kill(workers.running[0].pid, signal.SIGCONT)


def disk_lost(workers):
    workers.end(0, signal.SIGKILL)
    shutil.rmtree(workers.cluster.directory / "0")
    workers.start(0)


def files_damaged(workers):
    """Every file of a disk that was left in order: half of them cut, half with a bit changed."""
    workers.end(0)
    files = workers.files(0)
    assert any(of.suffix == ".sst" for of in files)
    for file in files:
        raw = bytearray(file.read_bytes())
        if workers.rng.random() < 0.5:
            raw = raw[: workers.rng.randrange(len(raw))]
        else:
            raw[workers.rng.randrange(len(raw))] ^= 1 << workers.rng.randrange(8)
        file.write_bytes(raw)
    workers.start(0)


def one_to_four_workers_and_back(workers):
    workers.start(2, 3)
    time.sleep(6)
    for index in (3, 2, 1):
        workers.end(index)


def restarted_in_turn(workers):
    for index in (0, 1):
        workers.end(index)
        workers.start(index)
        time.sleep(3)


FAULTS = {
    "`kill -9` of a worker": killed,
    "a worker stopped (SIGSTOP) beyond its session, then continued": stopped_beyond_its_session,
    "`kill -9` and the state directory gone": disk_lost,
    "every file of a state directory cut or changed": files_damaged,
    "two workers become four, then one": one_to_four_workers_and_back,
    "workers restarted in turn": restarted_in_turn,
}
CASES = [
    pytest.param(
        fault, seed, id=f"{run.__name__}-{seed}", marks=() if (run, seed) == (files_damaged, 0) else pytest.mark.long
    )
    for fault, run in FAULTS.items()
    for seed in range(REPETITIONS)
]  # fmt: skip


@pytest.mark.parametrize(("fault", "seed"), CASES)
def test_right_in_the_end(broker, table, tmp_path, fault, seed):
    cluster = Cluster(broker, f"fault-{random.randrange(10**6)}", tmp_path)
    cluster.apply(RECORD)
    workers = Workers(cluster, random.Random(seed))
    events, end = traffic(100 + seed, 2000)
    expected = replayed(events + end, tmp_path)
    half = len(events) // 2
    try:
        workers.start(0, 1)
        wait_for(lambda: all(map(workers.at_work, (0, 1))), 60, "two workers at work")
        cluster.send(events[:half], pause=0.2)
        wait_for(lambda: bool(cluster.metrics()), 60, "the first numbers")
        time.sleep(workers.rng.random() * 2)
        FAULTS[fault](workers)
        ended = time.monotonic()
        cluster.send(events[half:] + end)
        table.add(fault, right_after(cluster, expected, ended))
        count = sum(topic == PREDICTIONS for topic, _ in events)
        assert_same(cluster.wait_for_predictions(count, "1m", quiet=AFTER_A_KILL), expected)
        assert_alternating(cluster.alerts())
        assert max(Counter((event["source"], event["id"]) for event in cluster.alerts()).values()) == 1
    finally:
        cluster.stop()


def right_after(cluster, expected, since):
    """Seconds until the numbers are right for the first time."""
    while True:
        try:
            assert_same(cluster.metrics(), expected)
        except AssertionError:
            if time.monotonic() - since > PATIENCE:
                raise
            time.sleep(1)
        else:
            return time.monotonic() - since
