"""Measures several random streams of each kind, some at a time, and adds up what is counted in them."""

from __future__ import annotations

import argparse
import multiprocessing
from collections import Counter
from collections.abc import Callable


def options_of(description: str, streams: int) -> argparse.Namespace:
    """The command line: ``streams`` of each kind, ``jobs`` at a time."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--streams", type=int, default=streams, help="of each kind, each with one episode")
    parser.add_argument("--jobs", type=int, default=1)
    return parser.parse_args()


def counts_by_kind(
    measured: Callable[[tuple[int, int]], tuple[int, Counter[str]]], kinds: int, options: argparse.Namespace
) -> list[Counter[str]]:
    """The sums of what is counted, for each of so many kinds. ``measured``: counts in the stream of a kind, given by its place,
    and a seed, and returns the place with the counts; a function of a module, since other processes call it."""
    sums: list[Counter[str]] = [Counter() for _ in range(kinds)]
    tasks = [(place, seed) for place in range(kinds) for seed in range(options.streams)]
    with multiprocessing.Pool(options.jobs) as pool:
        for place, found in pool.imap_unordered(measured, tasks):
            sums[place].update(found)
    return sums
