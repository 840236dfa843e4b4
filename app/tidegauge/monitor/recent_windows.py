"""The numbers of closed windows together with the previous window, as the monitor stage publishes and judges them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tidegauge.baseline.baseline import Baseline
from tidegauge.metrics.recent import recent_data, recent_outcome
from tidegauge.monitor.window_headers import Header
from tidegauge.monitor.windows import Windows
from tidegauge.spec import ModelSpec

MAX_CACHED = 200


class RecentWindows:
    """The member ``recent`` of the records of one task's ``windows``. Its data side is cached, since it takes much time and
    late labels do not change it."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._data: dict[bytes, tuple[tuple[int, int, str], dict[str, Any]]] = {}

    def numbers(
        self, header: Header, before: Header, own: Callable[[], dict[str, Any]], earlier: Callable[[], dict[str, Any]],
        spec: ModelSpec, baseline: Baseline,
    ) -> dict[str, Any]:  # fmt: skip
        """The numbers of a window together with the one ``before`` it. ``own``, ``earlier``: return the data sides of the two
        if they are needed."""
        mark = (header.records[()].predictions, before.records[()].predictions, baseline.schema.id)
        held = self._data.get(header.key)
        if held is None or held[0] != mark:
            while len(self._data) >= MAX_CACHED:
                del self._data[next(iter(self._data))]
            both = recent_data(own(), earlier(), baseline, header.window)
            held = self._data[header.key] = (mark, both)
        if not (header.settled and before.settled):
            return held[1]
        outcomes = self._windows.outcome(header, ()), self._windows.outcome(before, ())
        return held[1] | recent_outcome(*outcomes, spec, baseline, header.window)
