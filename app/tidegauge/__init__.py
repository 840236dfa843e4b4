"""tidegauge: a stream processor that watches machine-learning models in production.

For notebooks and jobs: ``build_baseline`` and ``replay``, loaded when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidegauge.notebook.replay_run import build_baseline, replay

__version__ = "0.1.0"
__all__ = ["__version__", "build_baseline", "replay"]
_HOMES = {"build_baseline": "tidegauge.notebook.replay_run", "replay": "tidegauge.notebook.replay_run"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
