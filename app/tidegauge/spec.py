"""What a model spec says, once read and checked (``models/read.py`` reads it; ``docs/spec.md`` defines it).

All lengths of time are seconds, all points in time Unix seconds. Window lengths keep the name they were written with
(``5m``), since metrics records, alerts and Prometheus labels carry that name.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import msgspec

from tidegauge.class_names import DEFAULT_POSITIVE
from tidegauge.errors import SpecError

Task = Literal["binary", "multiclass", "regression"]
Severity = Literal["info", "warning", "critical"]
Against = Literal["hour_of_day", "hour_of_week"]

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
MAX_REMEMBERED = 64
ROLLOUT = "rollout"
"""The subject of an alert that a version does worse than the champion, whichever metric shows this."""


class ModelVersion(NamedTuple):
    """One version of one model: the key of everything that is kept for each version."""

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
    """What the spec says of one feature, beside what the baseline knows of it.

    ``min`` and ``max``: inclusive bounds, in the feature's own unit. ``source``: the name of the upstream source it comes from;
    features of several models may have the same. ``ranges`` (ascending): the limits between the ranges into which a breakdown
    by this number divides its values.
    """

    type: Literal["number", "category", "boolean"] | None = None
    min: float | None = None
    max: float | None = None
    values: tuple[str, ...] | None = None
    pii: Literal["drop", "hash"] | None = None
    source: str | None = None
    ranges: tuple[float, ...] | None = None


class Condition(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a number is bad: above ``high``, below ``low``, or, of kind ``outside``, either.

    ``auto``: the limits follow from how much the number varies between the baseline's windows. ``level``: the share of windows
    without change that may lie beyond these limits; None for limits at three standard deviations. ``relative_to_baseline``:
    ``low`` and ``high`` are distances from the baseline's value, in the metric's unit or, with ``percent``, as a share of that
    value (0.02 for 2%). With ``auto`` and ``relative_to_baseline``, the limit that is further out counts.
    """

    kind: Literal["above", "below", "outside"]
    low: float | None = None
    high: float | None = None
    auto: bool = False
    level: float | None = None
    relative_to_baseline: bool = False
    percent: bool = False


class MonitorSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """One condition on one metric of one window length. In ``metric``, ``*`` stands for any one member of the path.

    ``min_count``: the fewest values a window is judged with. ``for_windows``: how many windows in a row must breach the
    condition before the alert fires. ``keep_firing_for``: how many in a row must be fine before it resolves; with
    ``recovery_margin``, one is enough if its number is back by this share (0 to 1) of the way from the limit to the baseline's.
    ``few_values``: the family-wise level of the exact test by which windows with fewer than ``min_count`` values are judged,
    together with those before; None: they are not judged.
    ``critical_with_performance``: the severity becomes critical if a performance monitor is breached in the windows in which
    the alert began. ``significance``: the family-wise level of the test that a distance must pass as well; None for no test.
    ``confidence``: breached only if the whole interval of the metric at this level lies beyond the limit. ``early``: whether
    open windows are judged, too; None for the metric's own default. ``settle``: how many seconds after its end a window waits
    for labels; "auto": until 95 % of the expected ones are in.
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
    recovery_margin: float | None = None
    few_values: float | None = None
    critical_with_performance: bool = False
    segments: bool | tuple[str, ...] = False
    significance: float | None = 0.01
    confidence: float | None = None
    early: bool | None = None
    settle: float | Literal["auto"] = "auto"


class DetectorSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """One online change detector on one stream of single outcomes or predictions.

    ``false_alarms``: the accepted number of false alarms for each value (1e-5 for 1 in 100000), which sets the parameter that
    decides on it. ``against``: the daily or weekly cycle of the baseline whose mean is subtracted from each value.
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
        """Whether it can only run with a baseline that was built from reference data."""
        return self.false_alarms is not None or self.against is not None


class RolloutSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """A comparison of the versions of a model that run at the same time, in windows of one length.

    ``metrics``: those that decide; None for errors, latency, performance and KPIs. ``margin``: how much worse than the champion
    a version may be, in the metric's unit if ``margin_absolute``, else as a share of the champion's value; None for each
    metric's default. A share does not apply to error ratios, which keep theirs. ``significance``: the probability of a wrong
    verdict, over all metrics and all looks. ``lower_is_better``: the metrics that are better when lower although tidegauge
    cannot know it, such as KPIs. ``severity`` None: critical, or warning as long as the version runs in the shadow.
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
    """Where a baseline comes from. Exactly one member is set: ``first``, it is learned from so many first predictions;
    ``previous``, each window is compared with the one so many seconds before; ``file``, it is read from this file."""

    first: int | None = None
    previous: float | None = None
    file: str | None = None

    @property
    def learned_from(self) -> int | None:
        """How many of the first predictions the baseline (or with ``previous`` its bins) is learned from; None for a file."""
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
    """What is counted of a business KPI beside its sum and mean. ``winsorise``: the limits of its winsorised mean. ``ratio``:
    the KPI is the ratio of the sums of two other KPIs, and events need not carry it."""

    winsorise: WinsorLimits | None = None
    ratio: KpiRatio | None = None


class ImpliedLabelSpec(msgspec.Struct, frozen=True):
    """If no label has come ``missing_after`` seconds after a prediction, it is taken to be ``means``, a class or a number."""

    missing_after: float
    means: str


class Actions(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `tidegauge act` does without being asked. ``rollout``: roll back a version that does worse than its champion, once.
    ``retrain``: the URL of the hook to call when an alert begins, by the alert's name."""

    rollout: Literal["roll_back"] | None = None
    retrain: dict[str, str] = {}


class Lineage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a model comes from: the run that trained it, and its code, data and parameters. ``url``: the page of that run."""

    run_id: str | None = None
    commit: str | None = None
    data_snapshot: str | None = None
    url: str | None = None
    parameters: dict[str, str] = {}


class InputsSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where to find the members of prediction events in the requests and responses of a model server, each as an address
    (see ``ingest/bodies.py``). ``server``: the model's name at the server; None for the same name as here. ``version``: the
    ``model_version`` of all its events; None for the one in the response."""

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


class ModelSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one model is monitored.

    ``task`` None: not known yet; it follows from the data when the baseline is learned. ``confidence_is``: whether the member
    ``confidence`` is the probability of the positive or of the predicted class; None for positive, unless the events from which
    the baseline is learned show otherwise. ``segments``: the dimensions of each breakdown,
    as in ``(("region",), ("region", "device"))``. ``grace``, ``label_horizon``, ``retention``, ``publish_interval``: seconds.
    ``baselines``: by version, where it differs from ``baseline``. ``schemas``: the ids of the accepted schemas in the schema
    registry; all are accepted if it is empty. ``champion``: the version that others are compared with; None for the oldest of
    those whose role is live. ``rollback``: the alias in MLflow to move back (``models:/churn@champion``), or the URL of a hook
    to call.
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
        """The length in seconds of the tumbling panes that the join stage counts in: the greatest that divides every window."""
        return _pane(self.windows)

    def published_every(self, window: float) -> float:
        """The seconds of event time between two revisions of a window that is ``window`` seconds long."""
        return max(10.0, window / 24) if self.publish_interval is None else self.publish_interval

    def baseline_for(self, version: str) -> BaselineSpec:
        return self.baselines.get(version, self.baseline)


@lru_cache(256)
def _pane(windows: tuple[str, ...]) -> float:
    return math.gcd(*(round(duration(window) * 1000) for window in windows)) / 1000


def watches(segments: bool | tuple[str, ...], segment: tuple[tuple[str, str], ...]) -> bool:
    """Whether a monitor or detector with this member ``segments`` judges a segment. All of them judge the whole model, ``()``.

    >>> [watches(segments, (("region", "eu"),)) for segments in (False, True, ("region",), ("device",))]
    [False, True, True, False]
    """
    if not segment:
        return True
    if isinstance(segments, bool):
        return segments
    return len(segment) == 1 and segment[0][0] in segments


def segment_name(segment: dict[str, str] | tuple[tuple[str, str], ...]) -> str:
    """A segment as in the labels of alerts and of Prometheus, such as ``region=eu,device=ios``; "" for the whole model."""
    pairs = segment.items() if isinstance(segment, dict) else segment
    return ",".join(f"{name}={value}" for name, value in pairs)
