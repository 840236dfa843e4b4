"""What the spec asks to count of a business KPI beside its own values. Each is a column of its own, so that it is summed,
merged and taken back like any other KPI."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tidegauge.spec import KpiSpec

WINSORISED, MOVED, NUMERATOR, DENOMINATOR, PRODUCT = (
    f"\x1f{part}" for part in ("winsorised", "moved", "numerator", "denominator", "product")
)
"""What follows the KPI's name in the name of such a column."""
MAX_NAMES = 100
"""How many KPIs of a model a partition counts by name, and a record has."""
LEFT_OUT = "\x1fleft out"
"""The name of the column that says how many values of further KPIs a row has."""


def is_derived(name: str) -> bool:
    """Whether this is the name of such a column, and not of a KPI."""
    return "\x1f" in name


def derived(values: Mapping[str, NDArray[np.float64]], kpis: Mapping[str, KpiSpec]) -> dict[str, NDArray[np.float64]]:
    """The columns (n, NaN for a row without a value) that ``kpis`` of the spec need, computed from the events' own
    ``values``."""
    found: dict[str, NDArray[np.float64]] = {}
    for name, kpi in kpis.items():
        if kpi.winsorise is not None and name in values:
            column = values[name]
            found[name + WINSORISED] = np.clip(column, kpi.winsorise.lowest, kpi.winsorise.highest)
            found[name + MOVED] = np.where(np.isnan(column), np.nan, found[name + WINSORISED] != column)
        if kpi.ratio is not None and all(part in values for part in kpi.ratio):
            above, below = values[kpi.ratio.numerator], values[kpi.ratio.denominator]
            product = above * below
            found[name + PRODUCT] = product
            for ending, part in ((NUMERATOR, above), (DENOMINATOR, below)):
                found[name + ending] = np.where(np.isnan(product), np.nan, part)
    return found
