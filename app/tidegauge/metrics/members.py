"""Computes the members of a record separately: a member that cannot be computed is left out and named, without affecting
others.

The counts of a window are right even if a formula fails. An unforeseen input may cost a number, but never the events.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

log = logging.getLogger(__name__)
NOT_COMPUTED = "not_computed"
"""The member of a record that names those that could not be computed, each with the error."""
_told: set[tuple[str, str]] = set()


def computed(members: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """The members that have a value and, under ``not_computed``, those whose computation raised an error. Each such error is
    logged in full the first time.

    >>> computed({"labels": lambda: 3, "bias": lambda: None})
    {'labels': 3}
    """
    found: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for name, compute in members.items():
        try:
            value = compute()
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
            _tell(name, error)
        else:
            if value:
                found[name] = value
    return found | ({NOT_COMPUTED: failed} if failed else {})


def united(*sides: Mapping[str, Any]) -> dict[str, Any]:
    """The members of all sides of a record, including the members ``not_computed`` of each."""
    whole: dict[str, Any] = {}
    for side in sides:
        failed = whole.get(NOT_COMPUTED)
        whole |= side
        if failed and NOT_COMPUTED in side:
            whole[NOT_COMPUTED] = failed | side[NOT_COMPUTED]
    return whole


def _tell(name: str, error: Exception) -> None:
    seen = name, type(error).__name__
    if seen not in _told:
        _told.add(seen)
        log.error("%s cannot be computed; records say so, and the rest of them stands", name, exc_info=error)
