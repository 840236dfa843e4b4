"""Injected faults, with which tests kill or block workers between the steps of a checkpoint, or lose what was fetched."""

from __future__ import annotations

import os
import random
import signal
import time


def fault_at(point: str) -> None:
    """Kill this process (kill -9) with the probability that ``TIDEGAUGE_CRASH`` gives for this point
    (``before-commit:0.05,...``), and block its event loop for ever with the one that ``TIDEGAUGE_HANG`` gives."""
    if _drawn("TIDEGAUGE_CRASH", point):
        os.kill(os.getpid(), signal.SIGKILL)
    while _drawn("TIDEGAUGE_HANG", point):
        time.sleep(3600)


def is_lost(point: str) -> bool:
    """Whether to lose what has come to this point, with the probability that ``TIDEGAUGE_LOSE`` gives for it."""
    return _drawn("TIDEGAUGE_LOSE", point)


def _drawn(variable: str, point: str) -> bool:
    plan = os.environ.get(variable, "")
    chances = dict(part.split(":") for part in plan.split(",") if part)
    return random.random() < float(chances.get(point, 0.0))
