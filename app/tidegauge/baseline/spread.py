"""How one metric varies over a baseline's windows of one length."""

from __future__ import annotations

from typing import NamedTuple


class Spread(NamedTuple):
    """Mean and standard deviation, in the metric's unit, of one metric over a number of ``windows``."""

    mean: float
    deviation: float
    windows: int
