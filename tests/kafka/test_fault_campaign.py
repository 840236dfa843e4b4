"""Faults of workers and their disks while events flow, each against `replay`: the same numbers in the end, every alert
transition once.

In short with the other tests; `make faults` repeats each, and writes the table in docs/reliability.md.
"""

import os
import random
import shutil
import signal
import time

import pytest

from support.campaign import Workers, put_through
from support.cluster import Cluster

REPETITIONS = 3


def killed(workers):
    workers.end(0, signal.SIGKILL)
    workers.start(0)


def stopped_beyond_its_session(workers):
    os.kill(workers.running[0].pid, signal.SIGSTOP)
    time.sleep(workers.cluster.settings.session_timeout + 4)
    os.kill(workers.running[0].pid, signal.SIGCONT)


def disk_lost(workers):
    workers.end(0, signal.SIGKILL)
    shutil.rmtree(workers.disk(0))
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
def test_faults_of_workers_end_in_the_numbers_of_replay(broker, table, tmp_path, fault, seed):
    cluster = Cluster(broker, f"fault-{random.randrange(10**6)}", tmp_path)
    put_through(Workers(cluster, seed), fault, FAULTS[fault], table)
