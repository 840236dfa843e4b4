"""Whether a worker can write its state. It is checked before the worker joins its group: one that cannot would take partitions
from workers that can."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tidegauge.errors import StateError

PROBE_BYTES = 4 << 20
"""What opening and closing the stores of a few tasks may write."""


def require_writable(path: Path) -> None:
    """Make the directory if it is missing, and write a file of PROBE_BYTES in it, which is deleted again. Raises StateError,
    which says what to do, if that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StateError(
            f"{path}: the state cannot be written there: {error.strerror}; make room or grant the right, or name another "
            "directory with --state-dir (its state is restored from the changelog)"
        ) from error
