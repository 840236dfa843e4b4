"""`--workers N`: runs N worker processes on one machine, restarts those that die, and stops all together."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from tidegauge.stream.processes import die_with_parent

log = logging.getLogger(__name__)
STOP_SECONDS = 18.0
"""Seconds after which a worker is killed. It normally ends before that (``stream/ending.py``)."""
BACKOFF = (0.5, 1.0, 2.0, 5.0, 10.0)
HEALTHY_SECONDS = 30.0


def run_apart(arguments: Sequence[str]) -> int:
    """Run ``tidegauge <arguments>`` as a child process that ends when this process does; return its exit status."""
    command = [sys.executable, "-m", "tidegauge", *arguments]
    return subprocess.run(command, check=False, preexec_fn=die_with_parent(signal.SIGTERM)).returncode


class Supervisor:
    """Runs ``sys.executable -m tidegauge <arguments> --index i`` for each worker i."""

    def __init__(self, arguments: Sequence[str], workers: int) -> None:
        self._arguments, self._workers = list(arguments), workers
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._started: dict[int, float] = {}
        self._failures = dict.fromkeys(range(workers), 0)
        self._stopping = False

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; return 0 if every worker then ended with 0."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        for index in range(self._workers):
            self._start(index)
        while not self._stopping:
            time.sleep(0.1)
            for index, child in list(self._children.items()):
                status = child.poll()
                if status is not None and not self._stopping:
                    self._restart(index, status)
        return self._wait()

    def _start(self, index: int) -> None:
        command = [sys.executable, "-m", "tidegauge", *self._arguments, "--index", str(index)]
        self._children[index] = subprocess.Popen(command, start_new_session=True, preexec_fn=die_with_parent(signal.SIGTERM))
        self._started[index] = time.monotonic()

    def _restart(self, index: int, status: int) -> None:
        if status == 2:
            # The worker refused its settings or topics and has logged why, so a restart would not help.
            self._stopping = True
            self._failures[index] = -1
            return
        healthy = time.monotonic() - self._started[index] > HEALTHY_SECONDS
        self._failures[index] = 0 if healthy else self._failures[index] + 1
        pause = BACKOFF[min(self._failures[index], len(BACKOFF)) - 1] if self._failures[index] else 0.0
        log.warning("worker %d ended with status %d; it starts again in %.1f s", index, status, pause)
        deadline = time.monotonic() + pause
        while time.monotonic() < deadline and not self._stopping:
            time.sleep(0.05)
        if not self._stopping:
            self._start(index)

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True

    def _wait(self) -> int:
        for child in self._children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        statuses = []
        for child in self._children.values():
            try:
                statuses.append(child.wait(max(0.1, deadline - time.monotonic())))
            except subprocess.TimeoutExpired:
                child.kill()
                statuses.append(child.wait())
        if -1 in self._failures.values():
            return 2
        return 0 if not any(statuses) else 1
