"""Faults on purpose: how the tests kill or hang workers between the steps of a checkpoint."""

from __future__ import annotations

import os
import random
import signal
import time


def fault_at(point: str) -> None:
    """kill -9 ourselves with the probability ``TIDEGAUGE_CRASH`` gives this point (``before-commit:0.05,...``); hold the event
    loop for ever with that of ``TIDEGAUGE_HANG``."""
    if _drawn("TIDEGAUGE_CRASH", point):
        os.kill(os.getpid(), signal.SIGKILL)
    while _drawn("TIDEGAUGE_HANG", point):
        time.sleep(3600)


def _drawn(variable: str, point: str) -> bool:
    plan = os.environ.get(variable, "")
    chances = dict(part.split(":") for part in plan.split(",") if part)
    return random.random() < float(chances.get(point, 0.0))
