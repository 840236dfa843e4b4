"""The changes that are recorded as such: marks that people set, and changes of specs and baselines."""

from __future__ import annotations

from collections.abc import Iterable

from tidegauge.alert.operations import Mark
from tidegauge.incident.changes import Change
from tidegauge.models.registry import Registry


def recorded_changes(marks: Iterable[Mark], registry: Registry, model: str) -> list[Change]:
    """The marks of any model, and the changes of the spec and baselines of ``model`` that its record remembers."""
    set_by_people = [Change(of.ts, "mark", of.text, of.model, of.by) for of in marks]
    return set_by_people + [Change(of.ts, of.kind, of.text, model, of.by) for of in registry.changes(model)]
