"""`make simulate`: runs many seeds and prints the schedule of the first that fails; SEED= prints that of one."""

from __future__ import annotations

import argparse
import gc
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from simulation.simulated_cluster import Outcome, simulate


def run(first: int, count: int, jobs: int) -> int:
    """Run ``count`` seeds from ``first`` on in so many processes; return the exit status."""
    began, faults, failed = time.monotonic(), Counter[str](), list[Outcome]()
    with ProcessPoolExecutor(jobs, initializer=_prepare) as pool:
        for outcome in pool.map(_simulate, range(first, first + count), chunksize=10):
            faults += outcome.faults
            if outcome.differences:
                failed.append(outcome)
    seconds = time.monotonic() - began
    if failed:
        print(failed[0])
    print(f"{count} seeds, {count / seconds * 60:.0f} a minute, {jobs} at a time; {len(failed)} failed")
    if failed:
        print("failed:", *(outcome.seed for outcome in failed))
    for fault, number in sorted(faults.items()):
        print(f"{number:8}  {fault}")
    return int(bool(failed))


def _prepare() -> None:
    """Let the garbage collector pass over what all seeds share, and come seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


def _simulate(seed: int) -> Outcome:
    outcome = simulate(seed)
    return outcome if outcome.differences else outcome._replace(schedule=[])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--seed", type=int, help="only this one; its schedule is printed")
    options = parser.parse_args()
    if options.seed is None:
        return run(options.first, options.seeds, options.jobs)
    outcome = simulate(options.seed)
    print(outcome)
    return int(bool(outcome.differences))


if __name__ == "__main__":
    raise SystemExit(main())
