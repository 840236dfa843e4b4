"""Writes numbers, times and names for people, in sentences of at most MOST characters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeGuard

MOST = 120
"""The most characters of the first sentence of an alert or an incident."""
_LENGTHS = (MOST, 48, 32, 20, 12, 8, 5)
"""The lengths that names are shortened to, tried in this order until a sentence fits."""
_LISTED = 12


def is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)


def percent(share: float) -> str:
    """A share as a percentage for people.

    >>> percent(0.3321), percent(0.0042), percent(0.9999), percent(1.0)
    ('33 %', '0.42 %', '99.99 %', '100 %')
    """
    value = 100 * share
    if value >= 99.5 and value < 100:
        return f"{min(value, 99.99):.2f} %"
    return f"{value:.0f} %" if value >= 10 else f"{value:.2g} %"


def number(value: float) -> str:
    """A number for people, with three significant digits.

    >>> number(0.43756), number(1234.5), number(12.0)
    ('0.438', '1,230', '12')
    """
    if 1000 <= abs(value) < 1e15:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def moment(at: float) -> str:
    """A time (Unix seconds) for people; only the day if it is midnight.

    >>> moment(86400.0), moment(90000.0)
    ('2 Jan 1970', '01:00 UTC on 2 Jan 1970')
    """
    found = datetime.fromtimestamp(at, UTC)
    day = f"{found.day} {found:%b %Y}"
    return day if at % 86400 == 0 else f"{found:%H:%M} UTC on {day}"


def shortened(name: str, most: int) -> str:
    """A name on one line with at most ``most`` characters (3 or more); "…" replaces what is left out of its middle.

    >>> shortened("average_basket_value_last_30_days", 15), shortened("age", 15)
    ('average…30_days', 'age')
    """
    name = " ".join(name.split())
    head = most // 2
    return name if len(name) <= most else f"{name[:head]}…{name[head + 1 - most :]}"


def listed(names: Sequence[str], most: int, length: int = MOST) -> str:
    """A list of names for people: the first ``most`` of them, each shortened to ``length``.

    >>> listed(["a", "b", "c"], 3), listed(["a", "b", "c"], 1)
    ('`a`, `b` and `c`', '`a` and 2 more')
    """
    shown = [f"`{shortened(name, length)}`" for name in names[:most]]
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more"
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)


def fitted(made: Callable[[int, int], str], count: int) -> str:
    """The sentence with as many of ``count`` names as fit. ``made``: returns the sentence for a number of names and a length
    that names are shortened to."""
    text = ""
    for length in _LENGTHS:
        for most in range(max(min(count, _LISTED), 1), 0, -1):
            text = made(most, length)
            if len(text) <= MOST:
                return text
    return text
