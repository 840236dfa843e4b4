"""Workers, stages and the protocol of tasks in a deterministic simulation: whatever a seed lets happen, the numbers and alerts
are those of `replay`. `make simulate` runs many more seeds."""

import os
import subprocess
import sys
import zlib

import pytest

from simulation.planted_faults import PLANTED, PLANTED_IN_REKEYING
from simulation.simulated_cluster import REKEYED_EVERY, simulate
from support.deployment import ROOT

SEEDS = 30
TO_FIND = 1000
"""Simulations within which each fault that was put in on purpose is found, those of re-keying in seeds that re-key. The rarest
is found in one of about a hundred."""


def checksum(seed):
    return zlib.crc32("\n".join(simulate(seed).schedule).encode())


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_happens_the_result_is_that_of_replay(seed):
    outcome = simulate(seed)
    assert not outcome.differences, str(outcome)


def test_undisturbed_no_worker_ends():
    outcome = simulate(1, most=0)
    assert not outcome.differences, str(outcome)
    assert not outcome.faults


@pytest.mark.parametrize(
    ("planted", "every"),
    [*((planted, 1) for planted in PLANTED), *((planted, REKEYED_EVERY) for planted in PLANTED_IN_REKEYING)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_fault_put_in_on_purpose_is_found(planted, every):
    with planted():
        assert any(simulate(seed).differences for seed in range(every - 1, every * TO_FIND, every))


def test_a_seed_replays_exactly_in_another_process():
    command = "from simulation.test_simulation import checksum; print(checksum(2))"
    again = subprocess.run(
        [sys.executable, "-c", command],
        env=os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join([str(ROOT / "app"), str(ROOT / "tests")])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(again.stdout) == checksum(2)
