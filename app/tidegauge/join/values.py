"""Values of events (predictions, labels, features) as columns: of numbers, or of the names they stand for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegauge.profile.category import MISSING_CODE
from tidegauge.profile.sums import MAX_TERM
from tidegauge.spec import ModelSpec, class_name, outcome_class

_DECIMAL = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


class _Codes(dict[Any, int]):
    """Value → code, given in the order of the first look-up to each ``name`` that values have; ``names``: name → code."""

    def __init__(self, name: Callable[[Any], str]) -> None:
        super().__init__()
        self.names: dict[str, int] = {}
        self._name = name

    def __missing__(self, value: Any) -> int:
        code = MISSING_CODE if value is None else self.names.setdefault(self._name(value), len(self.names))
        self[value] = code
        return code


class Coded(NamedTuple):
    """Values as ``codes`` (n) into the ``names`` they stand for; MISSING_CODE stands for None."""

    codes: NDArray[np.int64]
    names: list[str]


def class_codes(values: Iterable[Any]) -> Coded:
    """Predictions or labels as codes of their classes."""
    return _coded(values, outcome_class)


def category_codes(values: Iterable[Any]) -> Coded:
    """A feature's values as codes of their names."""
    return _coded(values, class_name)


def _coded(values: Iterable[Any], name: Callable[[Any], str]) -> Coded:
    codes = _Codes(name)
    numbers = np.fromiter(map(codes.__getitem__, values), np.int64)
    return Coded(numbers, list(codes.names))


def as_number(value: Any) -> float:
    """The value as a float; NaN if it is no number, or one that no float holds."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return np.nan
    try:
        return float(value)
    except OverflowError:
        return np.nan


def numbers_of(values: Iterable[Any], spec: ModelSpec) -> list[float]:
    """Predictions or labels as numbers (n), NaN for what is not one, or too large to be summed exactly. In a regression a text
    that holds a decimal is a number too, since JSON has no decimal type and producers write them so."""
    numbers = map(_decimal if spec.task == "regression" else as_number, values)
    return [number if abs(number) < MAX_TERM else np.nan for number in numbers]


def _decimal(value: Any) -> float:
    if not isinstance(value, str):
        return as_number(value)
    number = float(value) if _DECIMAL.fullmatch(value) else np.nan
    return number if np.isfinite(number) else np.nan
