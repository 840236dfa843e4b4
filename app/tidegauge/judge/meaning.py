"""Says what a verdict means to people, in the first sentence of an alert, an incident and a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from tidegauge.judge.conditions import TESTS
from tidegauge.judge.metric_names import names
from tidegauge.judge.wording import MOST, fitted, is_number, listed, moment, number, percent, shortened
from tidegauge.spec import ROLLOUT

MISSING_FEATURES, UNEXPECTED_FEATURES = LISTS = ("data.missing_features", "data.unexpected_features")
"""Metrics that name the features they are about."""
Ending = Literal["", "again", "after all"]
"""How a sentence about something that is over ends; "after all" if it turned out never to have happened."""
_SHARES = (
    ("data.features.*.missing_ratio", "missing"),
    ("data.features.*.type_mismatch_ratio", "of another type"),
    ("data.features.*.unseen_ratio", "of values never seen before"),
    ("data.features.*.out_of_range_ratio", "out of range"),
)
"""Metrics that are shares of requests, and what is true of these requests."""
_ANSWERS = {
    "prediction.type_mismatch_ratio": ("Predictions are", "of the predictions are", "no numbers"),
    "prediction.abstain_ratio": ("Requests have", "of requests have", "no answer"),
    "unreadable_label_ratio": ("Labels are", "of the labels are", "no numbers"),
}
"""Metrics that are shares of answers or labels, with sentence parts without and with the share."""
_MOVED = (
    ("data.features.*.missing_shift", "missing more often than before", "missing as often as before"),
    ("data.features.*", "unlike the training data", "like the training data"),
    ("data.segments.*", "another share of the traffic than before", "as large a share of the traffic as before"),
    ("attributions.*", "of another weight for the model than before", "of as much weight for the model as before"),
)
"""Metrics of shifts, with the words for an ongoing shift and for one that is over."""
_STREAMS = {
    "error": "how often it is wrong", "abs_error": "the size of its errors", "score": "its scores", "latency_ms": "its latency",
}  # fmt: skip
"""The words for the streams that detectors read."""
_TERMS = {
    "roc_auc": "AUC", "f1": "F1", "ece": "calibration error", "brier": "Brier score", "mae": "mean absolute error",
    "rmse": "RMSE", "mape": "MAPE", "r2": "R²",
}  # fmt: skip


class Symptom(msgspec.Struct, frozen=True):
    """The content of a verdict or a detection: the ``value`` of a ``metric`` (or a stream) of a model ``version``, for a
    ``segment`` ("" is the whole model). ``affected``: the number of requests so far, 0 if it is not counted; ``kind``: of the
    alert."""

    metric: str
    version: str
    segment: str = ""
    value: float | None = None
    baseline: float | None = None
    affected: int = 0
    kind: str = "monitor"


def sentence(symptom: Symptom, features: Sequence[str], since: float, ending: Ending = "") -> str:
    """A symptom as a sentence of at most MOST characters. ``features``: those that it is about; ``since``: Unix seconds.

    >>> sentence(Symptom("data.features.age.missing_ratio", "m:1", value=0.33, affected=240), ["age"], 86400.0)
    '`age` is missing in 33 % of requests since 2 Jan 1970; 240 so far'
    >>> sentence(Symptom("performance.roc_auc", "m:1", "region=eu", 0.81, 0.77), [], 86400.0, "again")
    'm:1 for region=eu: AUC is 0.81 again since 2 Jan 1970'
    """
    when = f" since {moment(since)}" if ending != "after all" else ""
    count = f"; {symptom.affected:,} so far" if symptom.affected and not ending else ""
    said = ""
    for further in (when + count, when, ""):

        def made(most: int, length: int, further: str = further) -> str:
            named = listed(features, most, length)
            return (_of_requests(symptom, named, length, ending) or _of_model(symptom, length, ending)) + further

        said = fitted(made, len(features))
        if len(said) <= MOST:
            break
    return said


def without_requests(version: str, segment: str, since: float) -> str:
    """Why an alert on a version or its ``segment`` ("" is the whole model) ends that gets no more requests.

    >>> without_requests("m:2", "region=eu", 86400.0)
    'm:2 for region=eu: no request since 2 Jan 1970, so that the alert ends'
    """

    def made(most: int, length: int) -> str:
        where = f" for {shortened(segment, length)}" if segment else ""
        return f"{shortened(version, length)}{where}: no request since {moment(since)}, so that the alert ends"

    return fitted(made, 0)


def alike(metric: str) -> str:
    """The kind of a metric. Symptoms of the same kind are described for several features in one sentence.

    >>> alike("data.features.age.missing_ratio") == alike("data.missing_features")
    True
    """
    if metric == MISSING_FEATURES:
        return "missing"
    told = (*_SHARES, *_MOVED) if _is_distance(metric) else _SHARES
    return next((of[1] for of in told if names(of[0], metric)), metric)


def counts_requests(metric: str) -> bool:
    """Whether a metric tells how many requests are affected."""
    return metric == MISSING_FEATURES or any(names(pattern, metric) for pattern, _ in _SHARES)


def _is_distance(metric: str) -> bool:
    """Whether a metric measures how far something has moved instead of a value."""
    return metric.rpartition(".")[2] in TESTS


def _of_requests(symptom: Symptom, named: str, length: int, ending: Ending) -> str:
    """The sentence of a symptom about requests, whatever the version; "" for other symptoms."""
    path, value = symptom.metric, symptom.value if is_number(symptom.value) else None
    again = f" {ending}" if ending else ""
    none = " any more" if ending == "again" else again
    where = f" for {shortened(symptom.segment, length)}" if symptom.segment else ""
    be = "are" if " and " in named else "is"
    if symptom.kind == ROLLOUT:
        return ""
    if path == MISSING_FEATURES:
        if ending and not named:
            return f"No feature is missing in every request{none}{where}"
        return (
            f"{'Only ' if ending else ''}{named or 'Features'} {be if named else 'are'} missing in every request{again}{where}"
        )
    if path == UNEXPECTED_FEATURES:
        if ending and not named:
            return f"Requests carry no feature that the training data does not have{none}{where}"
        carried = f"{'only ' if ending else ''}{named or 'features'}"
        return f"Requests carry {carried} that the training data does not have{again}{where}"
    for pattern, words in _SHARES:
        if names(pattern, path):
            if ending and not value:
                return f"{named or 'A feature'} {be} {words} in no request{none}{where}"
            of = "requests" if value is None else "every request" if value >= 0.9999 else f"{percent(value)} of requests"
            return f"{named or 'A feature'} {be} {words} in {of}{again}{where}"
    for pattern, moved, over in _MOVED:
        if _is_distance(path) and names(pattern, path):
            return f"{named or 'The population'} {be} {over if ending else moved}{again}{where}"
    if path in _ANSWERS:
        bare, share, words = _ANSWERS[path]
        return f"{bare if value is None else f'{percent(value)} {share}'} {words}{again}{where}"
    if path == "prediction.misread_confidence":
        said = "that of the class the spec says" if ending else "that of the predicted class, against the spec"
        return f"The confidence is {said}{again}{where}"
    if path == "performance.unknown_class_ratio":
        if ending:
            return f"Which class is the positive one is known{again}{where}"
        return f"The spec has not said which class is the positive one (positive_label){where}"
    if path in ("prediction.no_probability_ratio", "performance.no_probability_ratio"):
        return f"Scores are {'' if ending else 'no '}probabilities between 0 and 1{again}{where}"
    if path == "system.error_ratio" and value is not None:
        return f"{percent(value)} of requests fail{again}{where}"
    if path.startswith("label_feed") and value is not None:
        return f"{percent(max(value, 0.0))} of the labels that should be in have not come{again}{where}"
    return ""


def _of_model(symptom: Symptom, length: int, ending: Ending) -> str:
    """The sentence of a symptom about a model version."""
    value, before = symptom.value, symptom.baseline
    who = shortened(symptom.version, length) + (f" for {shortened(symptom.segment, length)}" if symptom.segment else "")
    if symptom.kind == ROLLOUT and ending:
        known = "seen together with" if symptom.metric == ROLLOUT else "known to be worse than"
        return f"{who} is no longer {known} its champion"
    if symptom.metric in _STREAMS:
        changed = _STREAMS[symptom.metric]
        if ending:
            return f"{who}: no further change of {changed}"
        return f"{who}: a change of {changed}" + (f", now {number(value)}," if is_number(value) else "")
    again = f" {ending}" if ending else ""
    if symptom.metric.startswith("prediction.") and _is_distance(symptom.metric) and symptom.kind != ROLLOUT:
        return f"{who}: scores are {'like' if ending else 'unlike'} those of the training data{again}"
    what, unit = _quantity(symptom.metric, length)
    if symptom.kind == ROLLOUT:
        if not (is_number(value) and is_number(before)):
            return f"{who} does worse than its champion"
        return f"{who} does worse than its champion: {what} {number(value)}{unit} against {number(before)}{unit}"
    if not is_number(value):
        return f"{who}: {what} is {'within' if ending else 'out of'} its limits{again}"
    compared = f", {number(before)}{unit} before" if is_number(before) and not ending else ""
    return f"{who}: {what} is {number(value)}{unit}{again}{compared}"


def _quantity(path: str, length: int) -> tuple[str, str]:
    """A metric as people call it, and its unit."""
    group, _, rest = path.partition(".")
    middle, _, last = rest.rpartition(".")
    term = _TERMS.get(last, last.replace("_", " "))
    if group == "system":
        return (f"latency ({last})", " ms") if middle == "latency_ms" else (rest.replace("_", " ").replace(".", " "), "")
    if group in ("performance", "calibration") and not middle:
        return term, ""
    if group in ("estimated", "estimate_error") and not middle:
        return f"{'estimated' if group == 'estimated' else 'error of the estimated'} {term}", ""
    if group == "business" and middle:
        return f"{term} of `{shortened(middle, length)}`", ""
    if group in ("data", "attributions") and middle:
        return f"{term} of `{shortened(middle.removeprefix('features.').removeprefix('segments.'), length)}`", ""
    if group == "prediction" and not middle:
        return term, ""
    if group == "fairness" and middle:
        return f"{term} between values of `{shortened(middle, length)}`", ""
    return shortened(path, length), ""
