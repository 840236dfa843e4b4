"""What label events have stated about a request, and the outcome that follows.

Each member of an outcome (the label, every KPI) has the value of its latest statement, by ``ts`` and then offset. It has had
that value since it was first stated: a repeated statement changes nothing, whatever its ``ts``, and a correction back to an
earlier value counts from that value's first statement. Statements past the label horizon of a prediction are ignored for it.
The outcome depends only on which statements there are, not on the order in which they arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tidegauge.engine.events import Label
from tidegauge.join.request_state import KeptPrediction, Statement

LABEL = ""
"""The member of an outcome that is its label."""
MAX_WAITING = 64
"""Statements kept of a request whose prediction has not come; of more, the first and the last of each value."""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The outcome of one prediction. ``ts``: since when its label has been known, for the label's delay; ``known``: since when
    all of it has. ``truth``: the label is true or false, which Python takes for equal to 1 or 0. ``implied``: the label follows
    from none having come in time."""

    label: int | float | str | bool | None
    business: dict[str, float] | None
    ts: float
    known: float
    truth: bool
    implied: bool = False


def statements_of(event: Label, offset: int) -> list[Statement]:
    """What a label event says, one statement for the label and one for each KPI."""
    ts, model = float(event.ts), event.model or ""
    found = [] if event.label is None else [Statement(LABEL, event.label, ts, offset, model)]
    for kpi, value in (event.business or {}).items():
        if value is not None:
            found.append(Statement(kpi, float(value), ts, offset, model))
    return found


def outcome_of(made: KeptPrediction, model: str, horizon: float, statements: Sequence[Statement]) -> Outcome | None:
    """The outcome that statements give a prediction of ``model``; None if none. ``horizon``: seconds that a label may take."""
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
    """The statements that can still matter: the first and the last of each value, and the last before each of ``deadlines``,
    those of the request's predictions. While it has no prediction, all of them, up to MAX_WAITING."""
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
    """How many label events said something new, by the statements kept of them."""
    first: dict[object, int] = {}
    for statement in statements:
        said = content(statement)
        first[said] = min(statement.offset, first.get(said, statement.offset))
    return len(set(first.values()))


def content(statement: Statement) -> tuple[object, ...]:
    """What a statement says, for comparison with others whatever their times."""
    return statement.member, statement.model, *_value(statement)


def _value(statement: Statement) -> tuple[bool, object]:
    # Python takes True for equal to 1.
    return isinstance(statement.value, bool), statement.value


def _order(statement: Statement) -> tuple[float, int]:
    return statement.ts, statement.offset
