"""Child processes that do not outlive their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable


def die_with_parent(number: signal.Signals) -> Callable[[], None]:
    """A function for ``Popen(preexec_fn=...)`` that makes the child receive signal ``number`` when its parent dies for any
    reason (only on Linux; elsewhere it does nothing)."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    parent = os.getpid()

    def set_signal() -> None:
        if prctl is not None:
            prctl(1, number)
            if os.getppid() != parent:
                # The parent died before the request took effect.
                os.kill(os.getpid(), number)

    return set_signal


def end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Terminate a process; kill it if it has not ended after ``seconds``."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
