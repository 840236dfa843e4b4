"""CPU, memory and GPU of the serving process, measured now and then, and never in a request.

Shares are of what the process may use: the CPUs and the memory of its container where that has a limit, of the machine
otherwise; of the busiest of the GPUs it computes on.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SECONDS = 5.0
"""Between two measurements."""
_GROUP = Path("/sys/fs/cgroup")


class Resources:
    """Of the process that makes it. Raises ValueError without psutil."""

    def __init__(self, group: Path = _GROUP) -> None:
        try:
            import psutil
        except ImportError as error:
            raise ValueError("resources need an extra: pip install 'tidegauge-logger[resources]'") from error
        self._process = psutil.Process()
        self._cpus = cpus(group)
        self._memory = memory_limit(group) or psutil.virtual_memory().total
        self._gpus = _Gpus(self._process.pid)
        self._measured = 0.0
        self._process.cpu_percent()
        self.newest: Mapping[str, float] | None = None
        """What was measured last: ``cpu_ratio``, ``memory_ratio`` and, where there is a GPU, ``gpu_ratio`` and
        ``gpu_memory_ratio`` (0 to 1), ``memory_bytes``. None before the first measurement. Never changed, but replaced."""

    def measure(self) -> None:
        """Measure, if that was not done in the last SECONDS."""
        now = time.monotonic()
        if now - self._measured < SECONDS and self.newest is not None:
            return
        first, self._measured = self.newest is None, now
        try:
            resident, used = self._process.memory_info().rss, self._process.cpu_percent() / 100 / self._cpus
        except OSError:
            # No room for the files that say it; the next time will do.
            return
        found = {"memory_bytes": float(resident), "memory_ratio": resident / self._memory}
        if not first:
            # The time since the logger began may be too short to say anything.
            found["cpu_ratio"] = used
        self.newest = found | self._gpus.measured()


def cpus(group: Path = _GROUP) -> float:
    """How many CPUs this process may use, by its container's quota and its affinity."""
    own = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    with contextlib.suppress(OSError, ValueError):
        quota, period = (group / "cpu.max").read_text().split()
        return min(own, int(quota) / int(period))
    with contextlib.suppress(OSError, ValueError):
        quota_us = int((group / "cpu/cpu.cfs_quota_us").read_text())
        if quota_us > 0:
            return min(own, quota_us / int((group / "cpu/cpu.cfs_period_us").read_text()))
    return own


def memory_limit(group: Path = _GROUP) -> int | None:
    """The container's limit in bytes; None without one."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            limit = int((group / name).read_text())
            if limit < 1 << 60:
                return limit
    return None


class _Gpus:
    """NVIDIA's GPUs, where there are any and pynvml (``nvidia-ml-py``) is installed."""

    def __init__(self, pid: int) -> None:
        self._pid, self._handles = pid, list[Any]()
        self._nvml: Any = None
        with contextlib.suppress(Exception):
            # ImportError, and what NVML says where there is no driver.
            import pynvml

            pynvml.nvmlInit()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
            self._nvml = pynvml

    def measured(self) -> dict[str, float]:
        """Of the busiest of those this process computes on; of all where the driver does not tell processes apart."""
        with contextlib.suppress(Exception):
            own = [handle for handle in self._handles if self._is_used(handle)] or self._handles
            if own:
                memory = [self._nvml.nvmlDeviceGetMemoryInfo(handle) for handle in own]
                return {
                    "gpu_ratio": max(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu for handle in own) / 100,
                    "gpu_memory_ratio": max(of.used / of.total for of in memory),
                }
        return {}

    def _is_used(self, handle: Any) -> bool:
        return any(of.pid == self._pid for of in self._nvml.nvmlDeviceGetComputeRunningProcesses(handle))
