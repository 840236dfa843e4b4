"""Converts values of events (predictions, labels, features) to columns of numbers or of names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegauge.class_names import class_name, outcome_class
from tidegauge.profile.category import MISSING_CODE
from tidegauge.profile.sums import MAX_TERM
from tidegauge.spec import ModelSpec

_DECIMAL = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


class _Codes(dict[Any, int]):
    """The codes of values, which are assigned to their names in the order of the first look-up. ``names``: the codes by
    name."""

    def __init__(self, name: Callable[[Any], str]) -> None:
        super().__init__()
        self.names: dict[str, int] = {}
        self._name = name

    def __missing__(self, value: Any) -> int:
        code = MISSING_CODE if value is None else self.names.setdefault(self._name(value), len(self.names))
        self[value] = code
        return code


class CodedValues(NamedTuple):
    """Values as ``codes`` (n), which are indices of ``names``; MISSING_CODE stands for None."""

    codes: NDArray[np.int64]
    names: list[str]


def class_codes(values: Iterable[Any]) -> CodedValues:
    """Predictions or labels as codes of their classes."""
    return _coded(values, outcome_class)


def category_codes(values: Iterable[Any]) -> CodedValues:
    """A feature's values as codes of their names."""
    return _coded(values, class_name)


def _coded(values: Iterable[Any], name: Callable[[Any], str]) -> CodedValues:
    codes = _Codes(name)
    numbers = np.fromiter(map(codes.__getitem__, values), np.int64)
    return CodedValues(numbers, list(codes.names))


def as_number(value: Any) -> float:
    """The value as a float; NaN if it is not a number, or too large for a float."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return np.nan
    try:
        return float(value)
    except OverflowError:
        return np.nan


def numbers_of(values: Iterable[Any], spec: ModelSpec) -> list[float]:
    """Predictions or labels as numbers (n); NaN for other values and for numbers too large to be summed exactly. In a
    regression a text with a decimal number is a number, too, since JSON has no decimal type and producers write decimals as
    texts."""
    numbers = map(_decimal if spec.task == "regression" else as_number, values)
    return [number if abs(number) < MAX_TERM else np.nan for number in numbers]


def _decimal(value: Any) -> float:
    if not isinstance(value, str):
        return as_number(value)
    number = float(value) if _DECIMAL.fullmatch(value) else np.nan
    return number if np.isfinite(number) else np.nan
