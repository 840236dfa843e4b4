"""Statements of label events about a request, and the outcome that follows from them.

Each member of an outcome (the label, every KPI) has the value of its latest statement, ordered by ``ts`` and then offset. The
value holds since it was first stated: a repeated statement changes nothing, whatever its ``ts``, and a correction back to an
earlier value holds since the first statement of that value. Statements past the label horizon of a prediction are ignored for
it. The outcome depends only on the set of statements, not on the order in which they arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tidegauge.engine.events import Label
from tidegauge.join.request_state import KeptPrediction, Statement

LABEL = ""
"""The member of an outcome that is its label."""
MAX_WAITING = 64
"""The most statements that are kept of a request without prediction; if there are more, only the first and the last of each
value are."""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The outcome of one prediction. ``ts``: since when its label is known, for the label's delay; ``known``: since when all of
    it is. ``truth``: whether the label is a boolean, which Python considers equal to 1 or 0. ``implied``: whether the label is
    implied by a missing one."""

    label: int | float | str | bool | None
    business: dict[str, float] | None
    ts: float
    known: float
    truth: bool
    implied: bool = False


def statements_of(event: Label, offset: int) -> list[Statement]:
    """The statements of a label event, one for the label and one for each KPI."""
    ts, model = float(event.ts), event.model or ""
    found = [] if event.label is None else [Statement(LABEL, event.label, ts, offset, model)]
    for kpi, value in (event.business or {}).items():
        if value is not None:
            found.append(Statement(kpi, float(value), ts, offset, model))
    return found


def outcome_of(made: KeptPrediction, model: str, horizon: float, statements: Sequence[Statement]) -> Outcome | None:
    """The outcome of a prediction of ``model`` according to statements; None if there is none. ``horizon``: the label horizon
    in seconds."""
    valid = [statement for statement in statements if statement.model in ("", model) and statement.ts - made.ts <= horizon]
    latest: dict[str, Statement] = {}
    for statement in valid:
        other = latest.get(statement.member)
        if other is None or _order(statement) > _order(other):
            latest[statement.member] = statement
    if not latest and made.implied is None:
        return None
    since = {
        member: min(statement.ts for statement in valid if statement.member == member and _value(statement) == _value(last))
        for member, last in latest.items()
    }
    label = latest.pop(LABEL, None)
    business = {kpi: float(statement.value) for kpi, statement in latest.items()} or None
    if label is None and made.implied is not None:
        value, ts = made.implied
        return Outcome(value, business, ts, max(ts, *since.values(), 0.0), False, True)
    return Outcome(
        None if label is None else label.value,
        business,
        min(since.values()) if label is None else since[LABEL],
        max(since.values()),
        label is not None and isinstance(label.value, bool),
    )


def still_needed(statements: Iterable[Statement], deadlines: Sequence[float]) -> list[Statement]:
    """The statements that can still matter: the first and the last of each value, and the last before each of the ``deadlines``
    of the request's predictions. Without predictions, all statements up to MAX_WAITING."""
    ordered = sorted(statements, key=_order)
    if not deadlines and len(ordered) <= MAX_WAITING:
        return ordered
    values: dict[object, list[Statement]] = {}
    for statement in ordered:
        values.setdefault(content(statement), []).append(statement)
    found: set[Statement] = set()
    for of in values.values():
        found.update((of[0], of[-1]))
        for deadline in deadlines:
            found.update([statement for statement in of if statement.ts <= deadline][-1:])
    return [statement for statement in ordered if statement in found]


def label_events(statements: Iterable[Statement]) -> int:
    """The number of label events with new information, according to the statements that are kept."""
    first: dict[object, int] = {}
    for statement in statements:
        said = content(statement)
        first[said] = min(statement.offset, first.get(said, statement.offset))
    return len(set(first.values()))


def content(statement: Statement) -> tuple[object, ...]:
    """The content of a statement, for comparison with others regardless of their times."""
    return statement.member, statement.model, *_value(statement)


def _value(statement: Statement) -> tuple[bool, object]:
    # Python considers True equal to 1.
    return isinstance(statement.value, bool), statement.value


def _order(statement: Statement) -> tuple[float, int]:
    return statement.ts, statement.offset
