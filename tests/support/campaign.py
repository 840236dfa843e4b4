"""One fault of the campaign: what it is done to, while events flow, and that all is right afterwards."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

from support.alternation import assert_alternating
from support.cluster import AFTER_A_KILL, Cluster
from support.fault_table import FaultTable
from support.servers import wait_for
from support.traffic import RECORD, assert_same, replayed, traffic
from tidegauge.engine.stage import PREDICTIONS

EVENTS = 2000
PATIENCE = 150.0
"""Seconds after a fault in which all has to be right again."""


class Workers:
    """The workers of one application, by the number of their state directory. ``supervised``: each has a supervisor, which
    starts it again when it ends; ``lost``: events that a fault took away before anybody had read them; ``told_again``: state
    was made anew, and alerts of the past were written again under the ids they had."""

    def __init__(self, cluster: Cluster, seed: int, supervised: bool = False) -> None:
        self.cluster, self.rng, self.supervised = cluster, random.Random(seed), supervised
        self.running: dict[int, Popen[bytes]] = {}
        self.lost: set[tuple[str, bytes]] = set()
        self.told_again = False

    def start(self, *indices: int, flags: tuple[str, ...] = (), **environment: str) -> None:
        start = self.cluster.supervise if self.supervised else self.cluster.start
        for index in indices:
            self.running[index] = start(index, *flags, **environment)

    def end(self, index: int, how: int = signal.SIGTERM, refuses: bool = False) -> None:
        """Of one that ``refuses`` to work the status does not matter."""
        worker = self.running.pop(index)
        worker.send_signal(how)
        assert worker.wait(30) == (0 if how == signal.SIGTERM else -how) or refuses

    def kill_child(self, index: int) -> None:
        """kill -9 of the worker that a supervisor runs; it starts another."""
        supervisor = self.running[index].pid
        (child,) = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        os.kill(int(child), signal.SIGKILL)

    def log(self, index: int) -> str:
        return (self.cluster.directory / f"worker-{'supervised-' if self.supervised else ''}{index}.log").read_text()

    def at_work(self, index: int) -> bool:
        """Whether a worker has taken over a task, as its log says."""
        return "changelog records in" in self.log(index)

    def disk(self, index: int) -> Path:
        """Its state directory."""
        return self.cluster.directory / (f"supervised-{index}/0" if self.supervised else str(index))

    def files(self, index: int) -> list[Path]:
        """Of the worker's disk, but RocksDB's own logs."""
        found = self.disk(index).rglob("*")
        return sorted(of for of in found if of.is_file() and of.stat().st_size and not of.name.startswith("LOG"))


Fault = Callable[[Workers], str | None]
"""Does it, and mends what does not mend itself; what was seen meanwhile, if it was more than a delay."""


def put_through(
    workers: Workers,
    name: str,
    fault: Fault,
    table: FaultTable,
    flags: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
) -> None:
    """Two workers read a third of the events before ``fault``, which is ``name`` in the table, a third while it happens, and
    the rest after it. ``flags`` and ``environment``: of the first worker."""
    cluster = workers.cluster
    cluster.apply(RECORD)
    events, end = traffic(workers.rng.randrange(10**6), EVENTS)
    third = len(events) // 3
    try:
        workers.start(0, flags=flags, **(environment or {}))
        workers.start(1)
        wait_for(lambda: all(map(workers.at_work, (0, 1))), 60, "two workers at work")
        cluster.send(events[:third], pause=0.2)
        wait_for(lambda: bool(cluster.metrics()), 60, "the first numbers")
        time.sleep(workers.rng.random() * 2)
        sending = threading.Thread(target=cluster.send, args=(events[third : 2 * third], 0.5, 100))
        sending.start()
        try:
            seen = fault(workers)
        finally:
            sending.join()
        ended = time.monotonic()
        cluster.send(events[2 * third :] + end)
        kept = [event for event in events if event not in workers.lost]
        expected = replayed(kept + end, cluster.directory)
        table.add(name, _right_after(cluster, expected, ended), seen)
        count = sum(topic == PREDICTIONS for topic, _ in kept)
        assert_same(cluster.wait_for_predictions(count, "1m", quiet=AFTER_A_KILL), expected)
        alerts = cluster.alerts()
        if workers.told_again:
            alerts = list({(event["source"], event["id"]): event for event in reversed(alerts)}.values())[::-1]
        assert_alternating(alerts)
        assert max(Counter((event["source"], event["id"]) for event in alerts).values()) == 1
    finally:
        cluster.stop()


def _right_after(cluster: Cluster, expected: dict[bytes, dict[str, object]], since: float) -> float:
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
