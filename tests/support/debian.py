"""Programs that tests need and pip cannot bring: installed from Debian where that can be done, else the test is skipped."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

_POLICY = Path("/usr/sbin/policy-rc.d")
_LOCK = Path(tempfile.gettempdir()) / "tidegauge-tests-apt.lock"


def program(name: str, package: str) -> str:
    """Path of the program ``name``; its Debian ``package`` is installed if it is missing and we are root on Debian."""
    found = shutil.which(name)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        # apt's lists have a lock that nobody waits for, and tests run side by side.
        with _LOCK.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if shutil.which(name) is None:
                _install(package)
        found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing: apt-get install {package} (done here when run as root on Debian)")
    return found


def _install(package: str) -> None:
    # Debian starts a daemon that it installs, unless this file says no.
    ours = not _POLICY.exists()
    if ours:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        apt = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=240"]
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "--yes", "--no-install-recommends", package]):
            subprocess.run([*apt, *command], env=environment, check=True, timeout=600, stdout=subprocess.DEVNULL)
    except subprocess.SubprocessError as error:
        pytest.skip(f"apt-get install {package} failed: {error}")
    finally:
        if ours:
            _POLICY.unlink(missing_ok=True)
