"""The valid names for a monitor's ``metric``: the members of a metrics record as a tree, plus ``label_feed``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tidegauge.metrics.fairness import DISPARATE_IMPACT, MEASURES
from tidegauge.profile.data import RESOURCES
from tidegauge.spec import Task

FREE = "*"
"""Stands in the tree for names chosen by the user: features, KPIs, dimensions, classes. They may contain dots."""

Tree = Mapping[str, Any]


def _leaves(names: str) -> dict[str, None]:
    return dict.fromkeys(names.split())


_DISTANCES = (
    "psi ks js wasserstein p_value ks_p_value tail_psi tail_p_value above_p99_ratio below_p01_ratio shift shift_p_value "
    "mix_shift mix_p_value"
)
_GAPS = [f"{measure}_gap" for measure in MEASURES]
_CLASSES = {FREE: _leaves("precision recall f1")}
_PERFORMANCE: dict[Task, dict[str, Any]] = {
    "binary": _leaves("accuracy precision recall f1 roc_auc log_loss brier ece no_probability_ratio unknown_class_ratio"),
    "multiclass": _leaves("accuracy precision recall f1 log_loss") | {"classes": _CLASSES},
    "regression": _leaves("mae rmse mape r2 bias"),
}
_QUANTILES = _leaves("p50 p95 p99")
TREE: Tree = {
    **_leaves("predictions labels implied_labels unreadable_label_ratio coverage expected_coverage"),
    "label_delay_seconds": _leaves("p50 p95"),
    "label_feed": _leaves("coverage_gap"),
    "system": {
        **_leaves("error_ratio predictions_per_second"),
        "latency_ms": _QUANTILES,
        "cost": _leaves("sum mean"),
        **{name: _leaves("p50 p95 max") for name in RESOURCES},
    },
    "data": {
        **_leaves("missing_features unexpected_features"),
        "segments": {FREE: _leaves("psi js p_value")},
        "features": {
            FREE: _leaves(
                "count missing_ratio type_mismatch_ratio out_of_range_ratio unseen_ratio distinct mean std min max p50 "
                "missing_shift missing_p_value " + _DISTANCES
            )
        },
    },
    "prediction": {
        **_leaves(
            "mean_score mean_confidence misread_confidence mean_value positive_ratio abstain_ratio type_mismatch_ratio "
            "no_probability_ratio " + _DISTANCES
        ),
        "class_ratio": {FREE: None},
    },
    "performance": {name: child for members in _PERFORMANCE.values() for name, child in members.items()},
    "estimated": _leaves("count accuracy precision recall f1 roc_auc"),
    "estimate_error": _leaves("accuracy precision recall f1 roc_auc"),
    "estimate_mean_absolute_error": _leaves("windows accuracy precision recall f1 roc_auc"),
    "calibration": _leaves("reliability resolution uncertainty within_bin_variance within_bin_covariance p_value"),
    "label_mix": _leaves("positive_ratio psi js p_value mix_shift mix_p_value"),
    "attributions": {FREE: _leaves("count mean_abs " + _DISTANCES)},
    "attribution_ranking": _leaves("rank_correlation entered_top left_top"),
    "business": {FREE: _leaves("sum mean count ratio relative_to_baseline winsorised_mean winsorised_ratio")},
    "fairness": {FREE: _leaves(" ".join((*_GAPS, *(f"{gap}_p_value" for gap in _GAPS), DISPARATE_IMPACT)))},
}


def metric_mistake(metric: str, task: Task | None) -> str | None:
    """Why a metric path is wrong for a model of ``task``, and what to write instead; None for a valid one.

    >>> metric_mistake("data.features.*.psi", None)
    >>> metric_mistake("performance.roc_acu", None)
    "unknown metric 'performance.roc_acu'; did you mean 'performance.roc_auc'?"
    >>> metric_mistake("system.latency_ms", None)
    "'system.latency_ms' is a group of metrics, not a number; write one of its members: p50, p95, p99"
    """
    parts = metric.split(".")
    if None not in _reached(TREE, parts):
        group = _group(parts)
        if group is None:
            return f"unknown metric {metric!r}; {suggestion(metric, _candidates(TREE, parts))}"
        members = "a name, or * for all, and then a metric" if FREE in group else ", ".join(group)
        return f"{metric!r} is a group of metrics, not a number; write one of its members: {members}"
    if task is not None and parts[0] == "performance" and parts[1] not in (FREE, *_PERFORMANCE[task]):
        return f"{metric!r} is never computed for task {task}; it has {', '.join(_PERFORMANCE[task])}"
    return None


def names(pattern: str, path: str) -> bool:
    """Whether a monitor's metric names the number at ``path``; ``*`` is one name, which may hold dots.

    >>> names("data.features.*.psi", "data.features.home.city.psi"), names("system.*", "data.x")
    (True, False)
    """
    return re.fullmatch(".+".join(map(re.escape, pattern.split("*"))), path, re.DOTALL) is not None


def suggestion(word: str, known: Iterable[str]) -> str:
    """A hint with the nearest known name, or with all names if none is near and there are few.

    >>> suggestion("blow", ["above", "below"])
    "did you mean 'below'?"
    """
    choices = list(dict.fromkeys(known))
    near = difflib.get_close_matches(word, choices, 1, 0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known are {', '.join(choices)}" if len(choices) <= 20 else "see the metrics record in the documentation"


def _reached(node: Tree | None, parts: list[str]) -> Iterator[Tree | None]:
    """Every place in the tree ``parts`` can lead to; None is a number."""
    if not parts:
        yield node
        return
    if node is None or not parts[0]:
        return
    head, rest = parts[0], parts[1:]
    if head == FREE:
        for child in node.values():
            yield from _reached(child, rest)
        return
    if head in node:
        yield from _reached(node[head], rest)
    if FREE in node:
        for taken in range(1, len(parts) + 1):
            yield from _reached(node[FREE], parts[taken:])


def _group(parts: list[str]) -> Tree | None:
    """The place in the tree that ``parts`` lead to, each free name being one of them."""
    node: Tree | None = TREE
    for part in parts:
        node = None if node is None or not part else node.get(part, node.get(FREE))
    return node


def _candidates(node: Tree, parts: list[str]) -> Iterator[str]:
    """Every path to a number, with the user's own words (or ``*``) where names are free."""
    for name, child in node.items():
        written = parts[0] if name == FREE and parts and parts[0] else name
        if child is None:
            yield written
        else:
            for path in _candidates(child, parts[1:]):
                yield f"{written}.{path}"
