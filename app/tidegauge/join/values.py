"""Single values of events as columns of classes and of numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegauge.profile.category import MISSING_CODE
from tidegauge.spec import ModelSpec, class_name

_DECIMAL = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


class _Codes(dict[Any, int]):
    """Numbers values in the order they are first asked for; ``names`` has their class names."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, int] = {}

    def __missing__(self, value: Any) -> int:
        code = MISSING_CODE if value is None else self.names.setdefault(class_name(value), len(self.names))
        self[value] = code
        return code


def class_codes(values: Iterable[Any]) -> tuple[NDArray[np.int64], list[str]]:
    """Codes (n) of class values and the class names they stand for; None is MISSING_CODE."""
    codes = _Codes()
    return np.fromiter(map(codes.__getitem__, values), np.int64), list(codes.names)


def as_number(value: Any) -> float:
    """The value as a float; NaN if it is no number, or one that no float holds."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return np.nan
    try:
        return float(value)
    except OverflowError:
        return np.nan


def numbers_of(values: Iterable[Any], spec: ModelSpec) -> list[float]:
    """Predictions or labels as numbers (n), NaN for what is none. Of a regression, decimals in texts are numbers too, as
    decimal types are written where JSON has none."""
    return list(map(_decimal if spec.task == "regression" else as_number, values))


def _decimal(value: Any) -> float:
    if not isinstance(value, str):
        return as_number(value)
    number = float(value) if _DECIMAL.fullmatch(value) else np.nan
    return number if np.isfinite(number) else np.nan
