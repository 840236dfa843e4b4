"""Child processes that do not outlive us."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable


def die_with_parent(number: signal.Signals) -> Callable[[], None]:
    """For ``Popen(preexec_fn=...)``: the child gets signal ``number`` when its parent dies, however it dies (Linux;
    elsewhere nothing)."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    parent = os.getpid()

    def set_signal() -> None:
        if prctl is not None:
            prctl(1, number)
            if os.getppid() != parent:
                # It died before it could be asked for.
                os.kill(os.getpid(), number)

    return set_signal


def end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Stop a process in order; kill it if it has not ended after ``seconds``."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
