"""Conditions of monitors in the words that a spec uses."""

from __future__ import annotations

from tidegauge.spec import Condition


def condition_text(condition: Condition) -> str:
    """A condition as a spec writes it.

    >>> condition_text(Condition("below", low=0.1, relative_to_baseline=True, percent=True))
    'below the baseline by 10%'
    >>> condition_text(Condition("outside", 0.2, 0.4)), condition_text(Condition("above", auto=True))
    ('outside 0.2 to 0.4', 'above auto')
    """
    bounds = [bound for bound in (condition.low, condition.high) if bound is not None]
    if condition.percent:
        said = " to ".join(f"{bound:.4g}" for bound in (100 * bound for bound in bounds)) + "%"
    else:
        said = " to ".join(f"{bound:.6g}" for bound in bounds)
    if condition.relative_to_baseline:
        return f"{condition.kind} the baseline by {said}" + (", or auto if further" if condition.auto else "")
    return f"{condition.kind} auto" if condition.auto else f"{condition.kind} {said}"
