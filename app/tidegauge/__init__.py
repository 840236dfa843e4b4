"""tidegauge: a stream processor that watches machine-learning models in production.

For notebooks and jobs: ``build_baseline`` and ``replay``; for services: ``Logger`` and ``AsyncLogger``. Loaded when first
asked for, since a Kafka client and data frames cost what no command should pay for that needs neither.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidegauge.notebook.replay_run import build_baseline, replay
    from tidegauge_logger import AsyncLogger, Logger

__version__ = "0.1.0"
__all__ = ["AsyncLogger", "Logger", "__version__", "build_baseline", "replay"]
_HOMES = {
    "build_baseline": "tidegauge.notebook.replay_run", "replay": "tidegauge.notebook.replay_run",
    "AsyncLogger": "tidegauge_logger", "Logger": "tidegauge_logger",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
