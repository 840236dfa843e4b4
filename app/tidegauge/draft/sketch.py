"""A draft of a spec before it is written down, whatever source it comes from."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from tidegauge.spec import Task

TARGETS = ("label", "target", "y", "class", "outcome", "ground_truth")
"""Names of columns that hold what is predicted."""
SETS_LISTED = 20
"""Values a category can have for all of them to be listed."""


class SketchedFeature(msgspec.Struct):
    """Members of one feature as a spec has them, and ``remark``, which is said beside them."""

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
    """``source``: what it was drawn from, for people. ``guesses``: by member, how it came to be. ``proposals``: lines of
    YAML worth a thought, each with why. ``untranslated``: what the source says and a spec cannot."""

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
    """A name for a model, from the name of a file, a run or a suite.

    >>> model_name("Churn training (v2)"), model_name("___")
    ('churn_training_v2', 'model')
    """
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "model"
