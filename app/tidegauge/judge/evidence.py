"""Finds the evidence for a verdict: features that moved, segments that carry the change, examples, and coinciding verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from tidegauge.baseline.baseline import Baseline
from tidegauge.engine.delta import Segment
from tidegauge.judge.conditions import EARLY, TESTS, Verdict, expand, sample_size
from tidegauge.judge.wording import number, percent
from tidegauge.metrics.carriers import Carrier
from tidegauge.metrics.confidence_reading import sentence as sentence_on_confidence
from tidegauge.metrics.distance import FLOOR
from tidegauge.metrics.explained import Explained, explained
from tidegauge.metrics.fairness import DISPARATE_IMPACT
from tidegauge.metrics.range_search import MISSING_NAME
from tidegauge.spec import ModelSpec, segment_name

MAX_EVIDENCE = 5
MIX = "data.segments."
MISREAD = "prediction.misread_confidence"
NO_PROBABILITY = "score has to be the probability of the positive class, from 0 to 1 (of several classes: of the predicted one)"
UNREADABLE = {
    "performance.unknown_class_ratio": "which of the classes is the positive one is not known: say positive_label in the spec",
    "performance.no_probability_ratio": NO_PROBABILITY,
    "prediction.no_probability_ratio": NO_PROBABILITY,
}
"""Numbers that explain why others are left out, each with what to do about it."""
NO_EVIDENCE: dict[str, list[Any]] = {"segments": [], "features": [], "request_ids": []}


class Performance(msgspec.Struct, frozen=True):
    """A model's performance in its newest settled window: the start of this window, the monitored numbers by path, and the
    monitors that were ``breached`` in windows that coincide with the verdict's alert."""

    window_start: str
    values: dict[str, float]
    breached: tuple[str, ...] = ()


class Coincidences(msgspec.Struct, frozen=True):
    """What else happened at the time of a verdict. ``performance``: for a verdict on drift, None while there are no labels;
    ``drifted``: for a verdict on performance, the features whose drift alert fires for the same window. Both are None for other
    verdicts."""

    performance: Performance | None = None
    drifted: tuple[str, ...] | None = None


def is_drift(metric: str) -> bool:
    """Whether a monitor's metric is a distance from the baseline."""
    return metric.partition(".")[0] in ("data", "prediction", "attributions") and metric.rpartition(".")[2] in TESTS


def is_performance(metric: str) -> bool:
    """Whether a monitor's metric says how good the predictions are."""
    return metric.startswith("performance.") and metric not in UNREADABLE


def coincidence_clause(metric: str, coincidences: Coincidences, *, ended: bool) -> str:
    """A clause for an alert's figures: whether drift and a drop of performance coincide; "" for other metrics."""
    if is_performance(metric):
        if coincidences.drifted is None:
            return ""
        if coincidences.drifted:
            return f"; {', '.join(coincidences.drifted[:MAX_EVIDENCE])} drifted in the same window"
        return "; no feature drifted with it, so the relation between them and the outcome may have changed"
    if not is_drift(metric):
        return ""
    if coincidences.performance is None:
        return "; whether performance follows is not known before labels are in"
    known = _finite(coincidences.performance.values)
    values = ", ".join(f"{path.removeprefix('performance.')} {value:.3g}" for path, value in known.items())
    if coincidences.performance.breached:
        return f"; performance dropped with it: {', '.join(coincidences.performance.breached)}" + (
            f" ({values})" if values else ""
        )
    if not values:
        return f"; nothing is known of performance in the window from {coincidences.performance.window_start}"
    word = "did not follow" if ended else "has not followed so far"
    return f"; performance {word} ({values} in the window from {coincidences.performance.window_start})"


def extremes_clause(path: str, record: Mapping[str, Any]) -> str:
    """A clause for an alert's figures: the two values of a dimension between which a fairness gap is.

    >>> extremes_clause("fairness.age.recall_gap", {"fairness": {"age": {"extremes": {"recall": ["old", "young"]}}}})
    '; smallest for old, largest for young'
    """
    group, _, number = path.rpartition(".")
    if not group.startswith("fairness."):
        return ""
    measure = "selection_rate" if number == DISPARATE_IMPACT else number.removesuffix("_gap")
    between = [names for _, names in expand(record, f"{group}.extremes.{measure}")]
    return f"; smallest for {between[0][0]}, largest for {between[0][1]}" if between else ""


def direction_clause(path: str, record: Mapping[str, Any]) -> str:
    """A clause for an alert's figures: the direction in which a feature has shifted most.

    >>> direction_clause("prediction.shift", {"prediction": {"shift_in": "upper_tail"}})
    '; most in its upper tail'
    """
    group, _, number = path.rpartition(".")
    found = next((name for _, name in expand(record, f"{group}.shift_in")), None) if number == "shift" else None
    return "" if found is None else f"; most in its {found.replace('_', ' ')}"


def misreading_clause(path: str, record: Mapping[str, Any]) -> str:
    """A clause for an alert's figures: how scores or classes are misread, and whether this has already been corrected.

    >>> misreading_clause("prediction.misread_confidence", {"prediction": {"misread_confidence": 412}})[:66]
    '; all 412 negative predictions have a confidence above one half: i'
    """
    if path in UNREADABLE:
        return f"; {UNREADABLE[path]}"
    said = record.get("prediction", {})
    found = said.get(path.rpartition(".")[2], 0)
    if path != MISREAD or not found:
        return ""
    return f"; {sentence_on_confidence(found)}" + "; until then it is read so by itself" * ("confidence_is" in said)


def estimate_clause(metric: str, record: Mapping[str, Any]) -> str:
    """A clause for an alert's figures: the estimated performance if something has drifted, and the mean error of such estimates
    so far.

    >>> estimate_clause("estimated.f1", {"estimated": {"f1": 0.5}, "estimate_mean_absolute_error": {"windows": 7, "f1": 0.02}})
    '; such estimates were off by 0.02 on average over 7 windows'
    """
    estimated, so_far = (_finite(record.get(of, {})) for of in ("estimated", "estimate_mean_absolute_error"))
    group, _, name = metric.rpartition(".")
    if is_drift(metric):
        name = next((of for of in ("roc_auc", "accuracy") if of in estimated), "")
    if name not in estimated or not (is_drift(metric) or group == "estimated"):
        return ""
    windows = int(so_far.get("windows", 0))
    off = f"off by {so_far[name]:.2g} on average" if name in so_far else ""
    if off and windows:
        off += f" over {windows} window{'s' * (windows > 1)}"
    if group == "estimated":
        return f"; such estimates were {off}" if off else "; no estimate for it has been compared with labels yet"
    return f"; {name} is estimated at {estimated[name]:.3g}" + (f" (so far {off})" if off else "")


def explanation(verdict: Verdict, record: Mapping[str, Any], losses: Mapping[str, float]) -> Explained | None:
    """The part of a change of performance that the shift of the inputs explains; None if the expected value is unknown.
    ``losses``: as ``expected_losses`` returns them."""
    name = verdict.path.removeprefix("performance.")
    expected = {**_finite(record.get("estimated", {})), **losses}.get(name)
    # A verdict on two windows together is explained by the second one.
    value = _finite(record.get("performance", {})).get(name)
    if not is_performance(verdict.path) or expected is None or verdict.baseline is None or value is None:
        return None
    return explained(value, verdict.baseline, expected)


def explanation_text(found: Explained | None) -> str:
    """An explanation as a clause for an alert's figures.

    >>> explanation_text(explained(0.70, 0.80, 0.78))
    '; the shift of the inputs explains 20 % of the change (0.78 was expected), the rest is another relation to the outcome'
    """
    if found is None:
        return ""
    rest = ", the rest is another relation to the outcome" if found.share < 1 else ""
    return f"; the shift of the inputs explains {percent(found.share)} of the change ({found.expected:.3g} was expected){rest}"


def carriers_clause(found: Sequence[Carrier], segments: int, features: int = 0) -> str:
    """A clause for an alert's figures: the segments and ranges that carry a drop. ``segments``, ``features``: how many were
    looked at.

    >>> carriers_clause([Carrier({"region": "eu"}, 0.21, 0.01, 0.9, 400, 1e-9)], 6)
    '; region=eu carries 90 % of it (its loss rose by 0.21, and by 0.01 elsewhere)'
    >>> carriers_clause([Carrier({"age": "45 or more"}, 0.21, 0.01, 0.9, 400, 1e-9, "age", 45.0)], 0, 9)
    '; `age` of 45 or more carries 90 % of it (its loss rose by 0.21, and by 0.01 elsewhere)'
    """
    if not found:
        looked_at = " and ".join(["no segment"] * (segments > 0) + ["no range of a feature"] * (features > 0))
        return f"; {looked_at} carries it more than the others" if looked_at else ""
    first, *more = found
    others = f"; so do {', '.join(map(carrier_name, more))}" if more else ""
    rose = f"its loss rose by {number(first.excess)}, and by {number(first.elsewhere)} elsewhere"
    return f"; {carrier_name(first)} carries {percent(first.share)} of it ({rose}){others}"


def carrier_name(of: Carrier) -> str:
    """A segment or range for people.

    >>> carrier_name(Carrier({"age": "below 30"}, 0.2, 0.0, 0.9, 400, 1e-9, "age", high=30.0))
    '`age` below 30'
    """
    if not of.feature:
        return segment_name(of.segment)
    name = of.segment[of.feature]
    return (
        f"`{of.feature}` {name}"
        if name == MISSING_NAME or (of.low is None and of.high is not None)
        else f"`{of.feature}` of {name}"
    )


def faulty_values(record: Mapping[str, Any], baseline: Baseline | None) -> dict[str, float]:
    """By feature, the share of requests whose value is missing, of another type, unseen or out of range, beyond the baseline's
    share; features without any are left out."""
    before = {} if baseline is None else baseline.metrics.get("data", {}).get("features", {})
    found = {}
    for name, of in record.get("data", {}).get("features", {}).items():
        usual = before.get(name, {})
        share = sum(max(of.get(ratio, 0.0) - usual.get(ratio, 0.0), 0.0) for ratio in sorted(EARLY))
        if share > 0:
            found[name] = min(share, 1.0)
    return found


def sources(verdict: Verdict, spec: ModelSpec) -> list[str]:
    """The upstream sources, as the spec names them, of the features a verdict is about."""
    about = set(verdict.names) or {name for name in spec.features if verdict.path.startswith(f"data.features.{name}.")}
    return sorted({source for name in about if name in spec.features and (source := spec.features[name].source)})


def _finite(numbers: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in numbers.items() if isinstance(value, int | float) and math.isfinite(value)}


def gather(
    verdict: Verdict, segment: Segment, records: Mapping[Segment, Mapping[str, Any]], baseline: Baseline | None, window: str,
    examples: Mapping[Segment, Mapping[str, Sequence[str]]], coincidences: Coincidences,
) -> dict[str, Any]:  # fmt: skip
    """The member ``evidence`` of an alert. ``records`` and ``examples`` (metric path → request ids): by segment."""
    carriers = carrying_segments(verdict, records, baseline) if not segment else []
    if verdict.path.startswith(MIX):
        carriers = reweighted_segments(verdict, records, baseline)
    evidence: dict[str, Any] = {
        "segments": carriers[:MAX_EVIDENCE],
        "features": moved_features(verdict, records[segment], baseline, window)[:MAX_EVIDENCE],
        "request_ids": _request_ids(verdict, segment, carriers, examples),
    }
    if coincidences.performance is not None:
        evidence["performance"] = msgspec.to_builtins(coincidences.performance)
    if coincidences.drifted is not None:
        evidence["drifted_features"] = list(coincidences.drifted)
    return evidence


def moved_features(verdict: Verdict, record: Mapping[str, Any], baseline: Baseline | None, window: str) -> list[dict[str, Any]]:
    """The features that the verdict is about, then the others, those that moved furthest first. They are ordered by ``effect``,
    which is how many standard deviations their PSI lies above its mean over the baseline's windows, or by the PSI if none is
    known."""
    spreads = {} if baseline is None else baseline.spread.get(window, {})
    found: list[dict[str, Any]] = []
    for name, of in record.get("data", {}).get("features", {}).items():
        entry = {"feature": name} | {member: of[member] for member in ("psi", "p_value") if member in of}
        spread = spreads.get(f"data.features.{name}.psi")
        if "psi" in of and spread is not None and spread.deviation > 0:
            entry["effect"] = (of["psi"] - spread.mean) / spread.deviation
        found.append(entry)
    scaled = any("effect" in entry for entry in found)
    groups = ("data.features", "attributions")
    own = set(verdict.names) or {
        of["feature"] for of in found if any(verdict.path.startswith(f"{group}.{of['feature']}.") for group in groups)
    }
    found += [{"feature": name} for name in sorted(own - {entry["feature"] for entry in found})]
    found = [entry for entry in found if "psi" in entry or entry["feature"] in own]
    found.sort(key=lambda entry: (entry["feature"] not in own, -entry.get("effect" if scaled else "psi", float("-inf"))))
    return found


def carrying_segments(
    verdict: Verdict, records: Mapping[Segment, Mapping[str, Any]], baseline: Baseline | None
) -> list[dict[str, Any]]:
    """The segments of single dimensions that carry the change, the largest share first. ``share``: a segment's share of the
    change of all segments of its dimension that changed in the same direction. The change of a segment is the difference from
    its own baseline value (or else from the whole model's), weighted by the number of values."""
    direction = 1.0 if verdict.value >= (verdict.baseline or 0.0) else -1.0
    parts: dict[str, list[tuple[float, Segment, float]]] = {}
    for segment, record in records.items():
        if len(segment) != 1:
            continue
        for path, value in expand(record, verdict.path):
            if isinstance(value, int | float) and not isinstance(value, bool):
                before = _baseline_value(baseline, segment, path, verdict)
                carried = direction * (value - before) * sample_size(record, path)
                if carried > 0:
                    parts.setdefault(segment[0][0], []).append((carried, segment, float(value)))
    found = []
    for carriers in parts.values():
        total = sum(carried for carried, _, _ in carriers)
        found += [{"segment": dict(segment), "value": value, "share": carried / total} for carried, segment, value in carriers]
    return sorted(found, key=lambda entry: -float(entry["share"]))


def reweighted_segments(
    verdict: Verdict, records: Mapping[Segment, Mapping[str, Any]], baseline: Baseline | None
) -> list[dict[str, Any]]:
    """The segments whose weight in the population has changed, the largest change first. ``value``, ``baseline``: their share
    of the predictions now and before; ``share``: their share of the PSI over the segments that the baseline knows."""
    dimensions = verdict.path.removeprefix(MIX).rpartition(".")[0]
    total = records[()]["predictions"]
    moved = []
    for segment, part in (baseline.parts if baseline is not None else {}).items():
        if baseline is not None and "+".join(dimension for dimension, _ in segment) == dimensions:
            now = records.get(segment, {}).get("predictions", 0) / total
            before = part.data.predictions / baseline.data.predictions
            q, p = max(now, FLOOR), max(before, FLOOR)
            moved.append(((q - p) * math.log(q / p), segment, now, before))
    whole = sum(psi for psi, *_ in moved)
    moved.sort(key=lambda item: (-item[0], item[1]))
    entries = [({"segment": dict(segment), "value": now, "baseline": before}, psi) for psi, segment, now, before in moved]
    return [{**entry, "share": psi / whole} for entry, psi in entries if psi > 0]


def _baseline_value(baseline: Baseline | None, segment: Segment, path: str, verdict: Verdict) -> float:
    part = None if baseline is None else baseline.part(segment)
    if part is not None:
        for _, value in expand(part.metrics, path):
            if isinstance(value, int | float):
                return float(value)
    if is_drift(path):
        return 0.0
    return verdict.baseline if verdict.baseline is not None else 0.0


def _request_ids(
    verdict: Verdict, segment: Segment, carriers: Iterable[Mapping[str, Any]],
    examples: Mapping[Segment, Mapping[str, Sequence[str]]],
) -> list[str]:  # fmt: skip
    """Examples for the metric, from the segment that carries most of the change if it has any."""
    places = [segment, *(tuple(of["segment"].items()) for of in carriers)]
    for place in (*places[1:], *places[:1]):
        found = examples.get(place, {}).get(example_kind(verdict.path))
        if found:
            return list(found)[:MAX_EVIDENCE]
    return []


def example_kind(path: str) -> str:
    """The name under which examples for the metric at ``path`` are kept."""
    return "performance" if is_performance(path) else path
