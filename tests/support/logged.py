"""A logger whose events stay where they were put, as JSON that would be sent."""

from __future__ import annotations

import json
from typing import Any

from tidegauge_logger import Logger


class KeptLogger(Logger):
    """It never starts the thread that sends."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"bootstrap": "127.0.0.1:1", "model_version": "churn_xgb:3"} | settings)
        self.traces: list[str | None] = []

    def _start(self) -> None:
        pass

    def taken(self) -> list[dict[str, Any]]:
        """The events since the last call; their traces stand in ``traces``."""
        events = self._inbox.take()
        self.traces += [event.traceparent for event in events]
        return [json.loads(event.value) for event in events]
