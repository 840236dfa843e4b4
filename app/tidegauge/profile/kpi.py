"""What is counted of a business KPI beside its own values, where the spec says so: columns of their own, so that they are
summed, merged and taken back like any other KPI."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tidegauge.spec import KpiSpec

WINSORISED, MOVED, NUMERATOR, DENOMINATOR, PRODUCT = (
    f"\x1f{part}" for part in ("winsorised", "moved", "numerator", "denominator", "product")
)
"""Endings of such a column's name, after the KPI's."""
MAX_NAMES = 100
"""Names of KPIs that a partition counts of a model, and that a record has."""
LEFT_OUT = "\x1fleft out"
"""The column of how many values of further names a row has."""


def is_derived(name: str) -> bool:
    return "\x1f" in name


def derived(values: Mapping[str, NDArray[np.float64]], kpis: Mapping[str, KpiSpec]) -> dict[str, NDArray[np.float64]]:
    """The columns (n, NaN where a row has no value) that the spec's ``kpis`` need, of the events' own ``values``."""
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
