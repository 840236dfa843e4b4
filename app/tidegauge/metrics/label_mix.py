"""Whether the outcomes themselves have changed: compares the shares of the labels' classes with the baseline's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tidegauge.baseline.baseline import Baseline
from tidegauge.baseline.dispersion import Dispersions
from tidegauge.metrics.drift import mixed_drifts
from tidegauge.metrics.positive_class import actual_classes, unknown_class_ratio
from tidegauge.profile.outcome import MAX_OUTSIDE, OutcomeProfile
from tidegauge.spec import ModelSpec

LABEL_MIX = "label_mix"


class Outcomes(NamedTuple):
    """The outcomes of a segment in a window, those of its ``reference``, and how much windows differ; None if it is unknown."""

    outcome: OutcomeProfile
    reference: OutcomeProfile | None
    dispersions: Dispersions | None


def label_mix(
    outcome: OutcomeProfile, reference: OutcomeProfile | None, positive: str | None, dispersions: Dispersions | None
) -> dict[str, Any]:
    """The member ``label_mix`` of a record: ``positive_ratio``, the share of labels of the ``positive`` class (None if there is
    no such class), and PSI, JS, ``mix_shift`` and p-values over the baseline's classes and new ones; {} without classes."""
    return label_mixes([Outcomes(outcome, reference, dispersions)], positive)[0]


def label_mixes(segments: Sequence[Outcomes], positive: str | None) -> list[dict[str, Any]]:
    """``label_mix`` of each of many segments."""
    found: list[dict[str, Any]] = []
    compared: dict[int, list[_Compared]] = {}
    for number, (outcome, reference, dispersions) in enumerate(segments):
        current = outcome.derived(actual_classes)
        total = current.total()
        numbers: dict[str, Any] = {}
        if total and positive is not None and unknown_class_ratio(current, positive) <= MAX_OUTSIDE:
            numbers["positive_ratio"] = current[positive] / total
        found.append(numbers)
        before = Counter[str]() if reference is None else reference.derived(actual_classes)
        if total and before.total():
            known = sorted(before)
            now = [current[name] for name in known]
            of = _Compared(number, [*now, total - sum(now)], [*(before[name] for name in known), 0], dispersions)
            compared.setdefault(len(known), []).append(of)
    for alike in compared.values():
        numbers_of, now_of, before_of, dispersions_of = zip(*alike, strict=True)
        drifts = mixed_drifts(np.array(now_of), np.array(before_of), LABEL_MIX, dispersions_of)
        for number, drift in zip(numbers_of, drifts, strict=True):
            found[number] |= drift
    return found


def label_mixes_of(
    segments: Sequence[tuple[OutcomeProfile, Baseline | None]], spec: ModelSpec, window: str | None
) -> list[dict[str, Any]]:
    """``label_mix`` of each of many segments, given their outcomes and baselines. ``window``: the name of the length of the
    window, None for windows of a baseline itself."""
    if spec.task == "regression":
        return [{} for _ in segments]
    held = [
        Outcomes(outcome, None, None)
        if baseline is None
        else Outcomes(outcome, baseline.outcome, None if window is None else baseline.dispersions(window))
        for outcome, baseline in segments
    ]
    return label_mixes(held, None if spec.task == "multiclass" else spec.positive_label)


class _Compared(NamedTuple):
    """Counts of classes ``now`` and ``before`` of the segment with this ``number``."""

    number: int
    now: list[int]
    before: list[int]
    dispersions: Dispersions | None
