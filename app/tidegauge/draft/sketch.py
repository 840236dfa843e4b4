"""The content of a drafted spec before it is written as YAML, whatever its source."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from tidegauge.spec import Task

TARGETS = ("label", "target", "y", "class", "outcome", "ground_truth")
"""Usual names of columns with the label."""
SETS_LISTED = 20
"""The values of a category are listed if there are at most this many."""


class SketchedFeature(msgspec.Struct):
    """The members of one feature in a spec, and a ``remark`` that is written beside them."""

    type: str | None = None
    min: float | None = None
    max: float | None = None
    values: list[bool | float | int | str] | None = None
    pii: str | None = None
    remark: str = ""

    def remarked(self, text: str) -> None:
        self.remark = f"{self.remark}; {text}" if self.remark else text


class Proposal(NamedTuple):
    """Lines of YAML that a person may want in the spec, and why."""

    lines: str
    why: str


class Sketch(msgspec.Struct):
    """A drafted spec. ``source``: a description of its source for people. ``guesses``: by member, how its value was guessed.
    ``proposals``: members that a person may want to add. ``untranslated``: parts of the source that a spec cannot express."""

    model: str
    source: str
    task: Task | None = None
    positive_label: bool | float | int | str | None = None
    segments: list[str] = []
    windows: list[str] = []
    features: dict[str, SketchedFeature] = {}
    lineage: dict[str, str] = {}
    guesses: dict[str, str] = {}
    proposals: list[Proposal] = []
    untranslated: list[str] = []

    def feature(self, name: str) -> SketchedFeature:
        return self.features.setdefault(name, SketchedFeature())


def model_name(text: str) -> str:
    """A name for a model, made from the name of a file, a run or a suite.

    >>> model_name("Churn training (v2)"), model_name("___")
    ('churn_training_v2', 'model')
    """
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "model"
