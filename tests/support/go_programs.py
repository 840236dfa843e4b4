"""Programs that tests need and only Go brings: built once from their modules, and kept."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

KEPT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidegauge-tests"


def go_program(module: str, version: str) -> str:
    """Path of the program that ``module`` makes at ``version``. Skips the test where there is no Go, or it cannot be built."""
    # As Go does: a last part that is a major version is no name.
    found = KEPT / version / re.sub(r"/v[0-9]+$", "", module).rpartition("/")[2]
    KEPT.mkdir(parents=True, exist_ok=True)
    # Tests run side by side: one builds, the others wait.
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            _build(module, version, found)
    return str(found)


def _build(module: str, version: str, into: Path) -> None:
    """By a module of its own, since ``go install`` asks for a list of versions, which not every proxy gives."""
    go = shutil.which("go")
    if go is None:
        pytest.skip(f"{module} is missing, and so is Go, which would build it")
    with tempfile.TemporaryDirectory() as directory:
        for command in (["mod", "init", "built"], ["get", f"{module}@{version}"], ["build", "-o", str(into), module]):
            done = subprocess.run([go, *command], cwd=directory, capture_output=True, text=True, timeout=1200)
            if done.returncode != 0:
                pytest.skip(f"go {' '.join(command)} failed: {done.stderr[-500:]}")
