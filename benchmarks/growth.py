"""Whether the cost of an event grows with what is kept: requests whose label is still to come, and windows still open.

Both stages without Kafka, with the real store, sweeps and changelog records: CPU microseconds an event of the same batches,
first beside little, then beside much. Each figure is the least of some repetitions, since other work on the machine only adds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tidegauge.engine.stage import LABELS, MODELS, PREDICTIONS, PROFILES, Record
from tidegauge.join.stage import JoinStage
from tidegauge.models.registry import ModelRecord, Registry, encode
from tidegauge.monitor.stage import MonitorStage
from tidegauge.stream import changelog
from tidegauge.stream.store import RocksStore, weight
from workload import SPEC, START, Bulk, request_id

CHUNK, BATCH, REPEATS = 3500, 14_000, 5


class Machine:
    """One join and one monitor task head to tail, committing as a worker does. ``grace`` keeps windows open."""

    def __init__(self, directory: Path, name: str, grace: float) -> None:
        self._ends = Bulk(directory, name, 0, 1).ends
        spec = msgspec.structs.replace(SPEC, grace=grace)
        self._registry, counters = Registry(), Counter[tuple[str, str]]()
        self._registry.apply(spec.model.encode(), encode(ModelRecord(spec.model, spec)))
        self._join_store, self._monitor_store = (
            RocksStore(directory / f"{name}-join"),
            RocksStore(directory / f"{name}-monitor"),
        )
        self.join = JoinStage(0, self._join_store, self._registry, 1, counters)
        self.monitor = MonitorStage(self._monitor_store, self._registry, 1, counters)
        self._sweeps = [
            (self._join_store, changelog.Sweep(self._join_store, self.join)),
            (self._monitor_store, changelog.Sweep(self._monitor_store, self.monitor)),
        ]
        self._offset = self._commits = 0

    def records(self, topic: str, name: str, count: int, ts: float) -> Iterator[list[Record]]:
        ends, now = self._ends[topic], b"%.6f" % ts
        for begin in range(0, count, CHUNK):
            yield [
                Record(
                    self._offset + i, -1, None,
                    b'{"request_id":"' + request_id(f"{name}{i}").encode() + b'","ts":' + now + ends[i % len(ends)],
                )
                for i in range(begin, min(begin + CHUNK, count))
            ]  # fmt: skip

    def take(self, chunks: list[tuple[str, list[Record]]]) -> float:
        """CPU seconds of processing the chunks and committing them."""
        began = time.process_time()
        for topic, records in chunks:
            self.join.process(topic, records)
        for output in self.join.checkpoint(0.0):
            if output.topic == PROFILES:
                self.monitor.process(PROFILES, [Record(self._commits, -1, output.key, output.value)])
        for output in self.monitor.checkpoint(0.0):
            if output.topic == MODELS and output.key is not None:
                self._registry.apply(output.key, output.value)
        self._commits += 1
        for store, sweep in self._sweeps:
            changes = store.freeze()
            swept, _ = sweep.slice(weight(changes))
            changelog.encode({**swept, **changes})
            store.commit(self._commits)
        return time.process_time() - began

    def pend(self, count: int, ts: float) -> None:
        for begin in range(0, count, BATCH):
            size = min(BATCH, count - begin)
            self.take([(PREDICTIONS, chunk) for chunk in self.records(PREDICTIONS, f"pending{begin}-", size, ts)])
        # What the store still has to merge is the cost of these, not of what comes next.
        used = -1.0
        while time.process_time() - used > 0.01:
            used = time.process_time()
            time.sleep(0.5)

    def cost(self, name: str, ts: float) -> float:
        """CPU microseconds an event: batches of predictions, each with its labels."""
        best = float("inf")
        for repeat in range(REPEATS):
            chunks = [
                (topic, chunk)
                for topic, moment in ((PREDICTIONS, ts), (LABELS, ts + 5.0))
                for chunk in self.records(topic, f"{name}{repeat}-", BATCH, moment)
            ]
            best = min(best, self.take(chunks))
        return best / (2 * BATCH) * 1e6


def main() -> None:
    """Run and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pending", type=int, default=2_000_000)
    options.add_argument("--windows", type=int, default=500)
    given = options.parse_args()
    print(f"{'µs CPU an event beside':24} {'little':>8} {'much':>8} {'ratio':>6}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        machine = Machine(Path(name), "requests", SPEC.grace)
        machine.cost("warm", START)
        little = machine.cost("few", START)
        machine.pend(given.pending, START)
        much = machine.cost("many", START)
        print(f"{given.pending:>10,} pending       {little:8.1f} {much:8.1f} {much / little:6.2f}", flush=True)
        machine = Machine(Path(name), "windows", 2 * 60.0 * given.windows)
        machine.cost("warm", START)
        little = machine.cost("one", START)
        for number in range(1, given.windows):
            chunks = machine.records(PREDICTIONS, f"window{number}-", 20, START + 60.0 * number)
            machine.take([(PREDICTIONS, chunk) for chunk in chunks])
        # In the newest window, as live traffic is.
        much = machine.cost("all", START + 60.0 * (given.windows - 1))
        print(f"{given.windows:>10,} open windows  {little:8.1f} {much:8.1f} {much / little:6.2f}")


if __name__ == "__main__":
    main()
