"""What label events have said of a request, and what outcome follows from it.

Each member of an outcome, the label and every KPI, follows its own latest word, by ``ts`` and then offset. An outcome counts
from the moment its value was first said: a repeat changes nothing, whatever its ``ts``, and a correction back to an earlier
value counts from then again. Words past the label horizon of a prediction are none for it: they neither add nor take away. All
of this depends on what was said alone, not on the order in which it arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tidegauge.engine.events import Label
from tidegauge.join.request_state import KeptPrediction, Word

LABEL = ""
"""The member of an outcome that is its label."""
MAX_WAITING = 64
"""Words kept of a request whose prediction has not come; of more, the first and the last of each value."""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What is known of one prediction. ``ts``: since when, for the label's delay; ``known``: since when all of it was.
    ``truth``: the label is a truth value, which Python takes for equal to 0 or 1. ``implied``: no label says so, but that none
    has come."""

    label: int | float | str | bool | None
    business: dict[str, float] | None
    ts: float
    known: float
    truth: bool
    implied: bool = False


def said(event: Label, offset: int) -> list[Word]:
    """The words of a label event."""
    ts, model = float(event.ts), event.model or ""
    words = [] if event.label is None else [Word(LABEL, event.label, ts, offset, model)]
    for kpi, value in (event.business or {}).items():
        if value is not None:
            words.append(Word(kpi, float(value), ts, offset, model))
    return words


def outcome(made: KeptPrediction, model: str, horizon: float, words: Sequence[Word]) -> Outcome | None:
    """What words say of a prediction of ``model``; None if nothing. ``horizon``: seconds a label may take."""
    heard = [word for word in words if word.model in ("", model) and word.ts - made.ts <= horizon]
    latest: dict[str, Word] = {}
    for word in heard:
        other = latest.get(word.member)
        if other is None or _order(word) > _order(other):
            latest[word.member] = word
    if not latest and made.implied is None:
        return None
    since = {
        member: min(word.ts for word in heard if word.member == member and _value(word) == _value(last))
        for member, last in latest.items()
    }
    label = latest.pop(LABEL, None)
    business = {kpi: float(word.value) for kpi, word in latest.items()} or None
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


def kept(words: Iterable[Word], deadlines: Sequence[float]) -> list[Word]:
    """The words that can still matter: of each value the first, the last, and the last before each of the ``deadlines`` of the
    request's predictions; all of them while it has none."""
    ordered = sorted(words, key=_order)
    if not deadlines and len(ordered) <= MAX_WAITING:
        return ordered
    values: dict[object, list[Word]] = {}
    for word in ordered:
        values.setdefault(meaning(word), []).append(word)
    found: set[Word] = set()
    for of in values.values():
        found.update((of[0], of[-1]))
        for deadline in deadlines:
            found.update([word for word in of if word.ts <= deadline][-1:])
    return [word for word in ordered if word in found]


def meaning(word: Word) -> tuple[object, ...]:
    """What a word says, whenever it said it."""
    return word.member, word.model, *_value(word)


def _value(word: Word) -> tuple[bool, object]:
    # Python takes True for equal to 1.
    return isinstance(word.value, bool), word.value


def _order(word: Word) -> tuple[float, int]:
    return word.ts, word.offset
