"""Finds the contexts of predictions quickly: events that look alike have the same context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from sys import intern
from typing import Any

from tidegauge.engine.events import DeadLetter, Prediction
from tidegauge.engine.stage import InputRecord
from tidegauge.errors import EventError
from tidegauge.join.contexts import Contexts, model_of_event
from tidegauge.join.feature_ranges import ranged_dimensions, ranges_of
from tidegauge.spec import ModelSpec

MAX_CACHED = 20_000
"""Where there are more, most come rarely, and finding such a context takes a few microseconds."""


class ContextCache:
    """The numbers of contexts by what determines them: the version, role and segments of an event as sent, and the ranges that
    its features are in. ``spec``: returns the spec of a model; ``refuse``: called with each event that cannot have a
    context."""

    def __init__(self, contexts: Contexts, spec: Callable[[str], ModelSpec], refuse: Callable[[DeadLetter], None]) -> None:
        self._contexts, self._spec, self._refuse = contexts, spec, refuse
        self._numbers: dict[Any, int] = {}

    def clear(self) -> None:
        """Forget everything; to be called when specs change."""
        self._numbers.clear()

    def numbers(self, events: Sequence[Prediction], records: Sequence[InputRecord]) -> list[int | None]:
        """The number (n) of each event's context; None for events that are refused."""
        marks: list[Any] = [(event.model, event.model_version, event.role, bytes(event.segments)) for event in events]
        versions = {mark[:2]: event for mark, event in zip(marks, events, strict=True)}
        specs = {version: self._spec(model_of_event(event)) for version, event in versions.items()}
        ranged = {version: spec for version, spec in specs.items() if ranged_dimensions(spec)}
        for place, event in enumerate(events) if ranged else ():
            spec = ranged.get(marks[place][:2])
            if spec is not None:
                marks[place] = (*marks[place], tuple(ranges_of(event.features, spec).values()))
        numbers = list(map(self._numbers.get, marks))
        if None in numbers:
            for place, mark in enumerate(marks):
                if numbers[place] is None:
                    try:
                        numbers[place] = self._number(events[place], mark)
                    except EventError as error:
                        self._refuse(DeadLetter(records[place], error.reason, str(error)))
        return numbers

    def _number(self, event: Prediction, mark: Any) -> int:
        known = self._numbers.get(mark)
        if known is not None:
            return known
        model = model_of_event(event)
        number = self._contexts.id_of(event, model, self._spec(model))
        if len(self._numbers) > MAX_CACHED:
            self._numbers.clear()
        # The same texts come with each event anew; in memory they are kept once.
        self._numbers[tuple([intern(of) if type(of) is str else of for of in mark])] = number
        return number
