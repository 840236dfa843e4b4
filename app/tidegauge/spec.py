"""What a model spec says, once read and checked (``models/read.py`` reads it; ``docs/spec.md`` defines it).

All lengths of time are seconds, all points in time Unix seconds. Window lengths keep the name they were written with
(``5m``), since metrics records, alerts and Prometheus labels carry that name.
"""

from __future__ import annotations

import hashlib
import math
import re
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import msgspec

from tidegauge.errors import SpecError

Task = Literal["binary", "multiclass", "regression"]
Severity = Literal["info", "warning", "critical"]
Against = Literal["hour_of_day", "hour_of_week"]

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
MAX_REMEMBERED = 64
ROLLOUT = "rollout"
"""What alerts on a version that does worse than the champion are about, whatever metric shows it."""


class ModelVersion(NamedTuple):
    """One version of one model, as the key of what is kept for each version."""

    model: str
    version: str


@lru_cache(256)
def duration(text: str) -> float:
    """Seconds in a length of time such as ``5m`` or ``7d``.

    >>> duration("5m"), duration("1d")
    (300.0, 86400.0)

    Raises SpecError for anything else.
    """
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise SpecError(f"{text!r} is not a length of time; write a number and one of {', '.join(SECONDS)}, as in 5m")
    return float(match[1]) * SECONDS[match[2]]


def span_name(seconds: float) -> str:
    """A length of time as a spec writes it, in the largest unit that divides it.

    >>> span_name(604800.0), span_name(90.0)
    ('1w', '90s')
    """
    unit = next(u for u, size in sorted(SECONDS.items(), key=lambda item: -item[1]) if seconds % size == 0 or u == "ms")
    return f"{seconds / SECONDS[unit]:g}{unit}"


class FeatureSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the spec adds to the baseline's word on one feature. Bounds are inclusive, in the feature's own unit.
    ``source``: what it comes from, a name that features and models share. ``ranges``: ascending; where they part the values of
    a number, so that a breakdown by the feature is one by its ranges."""

    type: Literal["number", "category", "boolean"] | None = None
    min: float | None = None
    max: float | None = None
    values: tuple[str, ...] | None = None
    pii: Literal["drop", "hash"] | None = None
    source: str | None = None
    ranges: tuple[float, ...] | None = None


class Condition(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a number is bad. ``auto`` takes the limits from the baseline's window-to-window spread.

    ``above``/``below``: ``low`` is the limit of below, ``high`` that of above; ``outside`` has both. With
    ``level``: how often a window without change may pass them, None three standard deviations. With
    ``relative_to_baseline`` they are distances from the baseline's value: absolute, or with ``percent`` in hundredths of
    it (0.02 for 2%). With both, the limit that is further out counts.
    """

    kind: Literal["above", "below", "outside"]
    low: float | None = None
    high: float | None = None
    auto: bool = False
    level: float | None = None
    relative_to_baseline: bool = False
    percent: bool = False


class MonitorSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """One condition on one metric (``*`` stands for any one path member) of one window length.

    ``keep_firing_for``: windows in a row that must be fine before the alert resolves. ``critical_with_performance``:
    severity rises to critical when a performance monitor is breached in the windows in which the alert began.
    ``confidence``: breached only if the metric's interval at this level lies wholly beyond the limit.
    """

    name: str
    metric: str
    window: str
    condition: Condition
    severity: Severity = "warning"
    runbook: str | None = None
    min_count: int = 200
    for_windows: int = 1
    keep_firing_for: int = 1
    critical_with_performance: bool = False
    segments: bool | tuple[str, ...] = False
    significance: float | None = 0.01
    confidence: float | None = None
    early: bool | None = None
    settle: float | Literal["auto"] = "auto"


class DetectorSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """One online change detector on one stream of single outcomes or predictions.

    ``false_alarms``: how many a value fed without change may bring (1e-5 for 1 per 100000), instead of the parameter that
    decides it. ``against``: the baseline's cycle, whose mean is taken off each value before it is fed.
    """

    name: str
    stream: Literal["error", "abs_error", "score", "latency_ms"]
    algorithm: str
    parameters: dict[str, Any] = {}
    false_alarms: float | None = None
    against: Against | None = None
    severity: Severity = "critical"
    segments: bool | tuple[str, ...] = False
    runbook: str | None = None

    @property
    def tuned(self) -> bool:
        """Whether it needs what only a baseline built from reference data knows."""
        return self.false_alarms is not None or self.against is not None


class RolloutSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """A comparison of the versions of a model that are seen together, in windows of one length.

    ``metrics``: what decides; None for errors, latency, performance and KPIs. ``margin``: how much worse than the champion a
    version may be, as a share of the champion's value (of all but error ratios) or if ``margin_absolute`` in the metric's
    unit; None for each metric's own. ``significance``: how likely a wrong verdict may be, over all metrics and all looks.
    ``lower_is_better``: metrics of which it is not known. ``severity`` None: critical, but warning while the version only
    shadows.
    """

    name: str
    window: str
    metrics: tuple[str, ...] | None = None
    margin: float | None = None
    margin_absolute: bool = False
    significance: float = 0.01
    min_count: int = 200
    lower_is_better: tuple[str, ...] = ()
    severity: Severity | None = None
    runbook: str | None = None


BINS_LEARNED_FROM = 5000


class BaselineSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a baseline comes from: exactly one of the members is set."""

    first: int | None = None
    previous: float | None = None
    file: str | None = None

    @property
    def learned_from(self) -> int | None:
        """How many first predictions a baseline, or the bins for comparing with an earlier window, are learned from."""
        return BINS_LEARNED_FROM if self.previous is not None else self.first


class WinsorLimits(NamedTuple):
    """Values below ``lowest`` count as ``lowest``, values above ``highest`` as ``highest``."""

    lowest: float
    highest: float


class KpiRatio(NamedTuple):
    """The names of the two KPIs whose sums are divided."""

    numerator: str
    denominator: str


class KpiSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is counted of a business KPI besides its sum and mean. ``winsorise``: the limits of its winsorised mean. ``ratio``:
    the KPI is the ratio of the sums of two others, so events need not carry it."""

    winsorise: WinsorLimits | None = None
    ratio: KpiRatio | None = None


class ImpliedLabelSpec(msgspec.Struct, frozen=True):
    """What it means that no label has come ``missing_after`` seconds after a prediction: the class or number ``means``."""

    missing_after: float
    means: str


class Actions(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `tidegauge act` does by itself: ``rollout``: a version that does worse than its champion is rolled back, once;
    ``retrain``: the hooks that are called when alerts begin, by the alert's name."""

    rollout: Literal["roll_back"] | None = None
    retrain: dict[str, str] = {}


class Lineage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a model came from: the run that trained it, with what code, data and parameters; ``url`` is where people see it."""

    run_id: str | None = None
    commit: str | None = None
    data_snapshot: str | None = None
    url: str | None = None
    parameters: dict[str, str] = {}


class InputsSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the members of prediction events stand in what a model server is sent and answers, each as an address (see
    ``ingest/bodies.py``). ``server``: what the model is called there, if not as here; ``version``: the ``model_version`` of all
    its events, else the one that the response says."""

    server: str | None = None
    version: str | None = None
    request_id: str | None = None
    features: dict[str, str] = {}
    segments: dict[str, str] = {}
    prediction: str | None = None
    score: str | None = None
    probabilities: dict[str, str] = {}


DEFAULT_WINDOWS = ("5m", "1h", "1d")
DEFAULT_HORIZON = 7 * 86400.0
DEFAULT_POSITIVE = "1"


class ModelSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one model is watched. ``task`` None: not known yet, taken from the data with the learned baseline.

    ``confidence_is`` None: the positive class's probability, unless the stream from which a baseline is learned says otherwise.
    ``champion``: the version others are compared with; None: the one whose role is live, and of several the oldest.
    ``rollback``: the alias in MLflow that is moved back (``models:/churn@champion``), or the URL of a hook that is called.
    ``schemas``: ids in the schema registry; none says that any will do.
    ``segments`` holds one tuple of dimension names for each breakdown: ``(("region",), ("region", "device"))``.
    """

    model: str
    task: Task | None = None
    positive_label: str = DEFAULT_POSITIVE
    confidence_is: Literal["positive", "predicted"] | None = None
    segments: tuple[tuple[str, ...], ...] = ()
    windows: tuple[str, ...] = DEFAULT_WINDOWS
    grace: float = 60.0
    label_horizon: float = DEFAULT_HORIZON
    retention: float = 7 * 86400.0
    publish_interval: float | None = None
    baseline: BaselineSpec = BaselineSpec(first=5000)
    baselines: dict[str, BaselineSpec] = {}
    features: dict[str, FeatureSpec] = {}
    schemas: tuple[int, ...] = ()
    kpis: dict[str, KpiSpec] = {}
    labels: ImpliedLabelSpec | None = None
    monitors: tuple[MonitorSpec, ...] | None = None
    rollouts: tuple[RolloutSpec, ...] = ()
    champion: str | None = None
    detectors: tuple[DetectorSpec, ...] = ()
    lineage: Lineage = Lineage()
    intended_use: str | None = None
    rollback: str | None = None
    on: Actions = Actions()
    inputs: InputsSpec = InputsSpec()

    @property
    def pane(self) -> float:
        """Length in seconds of the tumbling pane the join stage counts in: it divides every window."""
        return _pane(self.windows)

    def published_every(self, window: float) -> float:
        """Seconds of event time between two revisions of a window of so many seconds."""
        return max(10.0, window / 24) if self.publish_interval is None else self.publish_interval

    def baseline_for(self, version: str) -> BaselineSpec:
        return self.baselines.get(version, self.baseline)


@lru_cache(256)
def _pane(windows: tuple[str, ...]) -> float:
    return math.gcd(*(round(duration(window) * 1000) for window in windows)) / 1000


MAX_CLASS_NAME = 256
SEPARATOR = "\x1f"
"""Stands between the parts of a name that is made of several."""


def _plain(text: str) -> str:
    """A text that can be a class: without the separator, and if it is too long its beginning and a hash of all of it."""
    if len(text) > MAX_CLASS_NAME:
        text = f"{text[:200]}…{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"
    return text.replace(SEPARATOR, "\ufffd")


def class_name(value: bool | int | float | str) -> str:
    """The canonical text of a category, or of a class (see ``outcome_class``).

    >>> class_name(True), class_name(1.0), class_name("b"), class_name(0.5)
    ('1', '1', 'b', '0.5')
    """
    if isinstance(value, str):
        return value if len(value) <= MAX_CLASS_NAME and SEPARATOR not in value else _plain(value)
    if isinstance(value, float) and not value.is_integer():
        return repr(value)
    return str(int(value))


def is_positive(name: str, positive: str) -> bool | None:
    """Whether the class ``name`` is the ``positive`` one of two. None where that is the default, 1, and the class a word:
    which of two words is the positive one nobody has said.

    >>> is_positive("1", "1"), is_positive("-1", "1"), is_positive("stayed", "churned"), is_positive("stayed", "1")
    (True, False, False, None)
    """
    if name == positive:
        return True
    return None if positive == DEFAULT_POSITIVE and _is_word(name) else False


def _is_word(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return True
    return False


_FLOATED = re.compile(r"-?\d{1,15}\.0", re.ASCII)
"""A whole number that was written as a float, as of a class in pandas, or of its probability's name."""
_TRUTHS = {
    **dict.fromkeys(("true", "True", "TRUE"), "1"), **dict.fromkeys(("false", "False", "FALSE"), "0"),
}  # fmt: skip


def outcome_class(value: bool | int | float | str) -> str:
    """The class a prediction, a label or the name of a probability stands for: truth values and 1 and 0 are the same two,
    however a language, a table or a JSON key spells them.

    >>> [outcome_class(value) for value in (True, 1, 1.0, "1", "True", "true", "1.0", "false", "2.0", "b")]
    ['1', '1', '1', '1', '1', '1', '1', '0', '2', 'b']
    """
    name = class_name(value)
    if name.endswith(".0") and _FLOATED.fullmatch(name):
        return name[:-2]
    return _TRUTHS.get(name, name)


def by_class(probabilities: dict[str, float | None]) -> dict[str, float | None]:
    """Probabilities by the class that each name stands for.

    >>> by_class({"True": 0.7, "False": 0.3})
    {'1': 0.7, '0': 0.3}
    """
    if _TRUTHS.keys().isdisjoint(probabilities) and not any(name.endswith(".0") for name in probabilities):
        return probabilities
    return {outcome_class(name): p for name, p in probabilities.items()}


def watches(segments: bool | tuple[str, ...], segment: tuple[tuple[str, str], ...]) -> bool:
    """Whether a monitor or detector with these ``segments`` judges a segment; the whole model it always does.

    >>> [watches(segments, (("region", "eu"),)) for segments in (False, True, ("region",), ("device",))]
    [False, True, True, False]
    """
    if not segment:
        return True
    if isinstance(segments, bool):
        return segments
    return len(segment) == 1 and segment[0][0] in segments


def segment_name(segment: dict[str, str] | tuple[tuple[str, str], ...]) -> str:
    """``region=eu,device=ios``: a segment as alert and Prometheus labels show it; the whole model is the empty string."""
    pairs = segment.items() if isinstance(segment, dict) else segment
    return ",".join(f"{name}={value}" for name, value in pairs)
