"""Judges faults in windows of few values, by exact tests of the window together with those before it.

A share of 1 in 3 values says little, one of 15 in 15 leaves no doubt. So where a window has fewer values than a monitor's
``min_count``, the number of faults must be larger than the monitor's limit allows by chance (exact binomial test, Clopper and
Pearson 1934), in the window alone or together with those before it. The newest values must themselves be beyond the limit, too,
so that an alert ends with its cause. As long as neither a fault nor its end is likely, there is no verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from scipy.special import bdtr, bdtrc

from tidegauge.baseline.baseline import Baseline
from tidegauge.engine.delta import Segment
from tidegauge.judge.conditions import EARLY, SCHEMA, IntervalsAt, SegmentVerdict, Verdict, expand, holm, judge, sample_size
from tidegauge.judge.limits import limits_of
from tidegauge.metrics.drift import missing_before
from tidegauge.spec import Condition, MonitorSpec

REACHES = (1, 3, 12)
"""How many windows are judged together: each window alone, and so many up to and including it."""
FEWEST = 5
"""The newest values are those of the fewest windows that hold at least this many."""
LEAST_SHARE = 0.05
"""A feature is never taken to be missing in less than this share of requests."""
LEANING = 0.05
"""The level at which the newest values must have too many faults for more values to be heeded, and the window itself too few
for an alert to end at once."""

EarlierRecords = Callable[[Segment], Iterable[Mapping[str, Any]]]
"""Returns the records of a segment in the windows before the one that is judged, the newest first; {} for one without requests.
Of their numbers only counts are needed."""


class FaultCount(NamedTuple):
    """How many of so many values are faulty."""

    faults: int
    values: int


class FewVerdict(NamedTuple):
    """What is known of one number: the ``p_value`` of the strongest evidence of a fault, and over how many ``windows`` that is.
    ``newest``: the count over the newest values; ``lasts``: whether these are beyond the ``limit``, too; ``is_fine``: whether
    they are within it, ``recovered``: surely so."""

    path: str
    p_value: float
    windows: int
    strongest: FaultCount
    newest: FaultCount
    lasts: bool
    is_fine: bool
    recovered: bool
    limit: str
    baseline: float | None = None
    names: tuple[str, ...] = ()


def can_judge_few(metric: str, condition: Condition) -> bool:
    """Whether a monitor can have ``few_values``: its metric is a share or a list of faults, and its condition ``above``.

    >>> can_judge_few("system.error_ratio", Condition("above", high=0.05)), can_judge_few("*.psi", Condition("above", high=0.2))
    (True, False)
    """
    return condition.kind == "above" and (_is_share(metric) or metric in SCHEMA)


def _is_share(path: str) -> bool:
    return path == "system.error_ratio" or path.rpartition(".")[2] in EARLY


def judge_with_few(
    records: Mapping[Segment, Mapping[str, Any]], monitor: MonitorSpec, baseline: Baseline | None, window: str,
    intervals: IntervalsAt | None = None, earlier: EarlierRecords | None = None,
) -> list[SegmentVerdict]:  # fmt: skip
    """The verdicts of ``judge`` and, if the monitor has ``few_values``, those on numbers of closed windows that are computed
    from fewer than ``min_count`` values. The latter are a family of tests of their own."""
    found = judge(records, monitor, baseline, window, intervals)
    if monitor.few_values is None or earlier is None:
        return found
    few: list[tuple[Segment, FewVerdict]] = []
    for segment, record in records.items():
        if record.get("closed", True):
            part = None if baseline is None else baseline.part(segment) or baseline
            few.extend((segment, of) for of in _few(record, monitor, part, window, earlier(segment)))
    significant = holm([of.p_value for _, of in few], monitor.few_values)
    for (segment, of), sure in zip(few, significant, strict=True):
        breached = sure and of.lasts
        if breached or of.is_fine:
            text = of.limit + (f" over it and the {of.windows - 1} windows before" if breached and of.windows > 1 else "")
            count = of.strongest if breached else of.newest
            value = float(len(of.names)) if of.path in SCHEMA else count.faults / count.values
            verdict = Verdict(
                monitor, of.path, value, breached, text, count.values, of.baseline,
                of.p_value if breached else None, of.names,
                recovered=of.recovered and monitor.recovery_margin is not None,
            )  # fmt: skip
            found.append(SegmentVerdict(segment, verdict))
    return found


def _few(
    record: Mapping[str, Any], monitor: MonitorSpec, baseline: Baseline | None, window: str,
    earlier: Iterable[Mapping[str, Any]],
) -> Iterator[FewVerdict]:  # fmt: skip
    held: list[Mapping[str, Any]] = []
    for path, value in expand(record, monitor.metric):
        size = sample_size(record, path)
        if not 0 < size < monitor.min_count:
            continue
        if not held:
            held = [record, *islice(earlier, REACHES[-1] - 1)]
        if path in SCHEMA:
            yield _few_absent(path, value, held, monitor, baseline) if path == SCHEMA[0] else _few_unexpected(path, value, held)
        elif _is_share(path) and (found := _few_share(path, held, monitor, baseline, window)) is not None:
            yield found


def fault_count(record: Mapping[str, Any], path: str) -> FaultCount:
    """The faults and the values that a share of faults is computed from, restored from the record's ratios.

    >>> age = {"count": 10, "missing_ratio": 0.2, "type_mismatch_ratio": 0.0, "out_of_range_ratio": 0.25}
    >>> fault_count({"data": {"features": {"age": age}}}, "data.features.age.out_of_range_ratio")
    FaultCount(faults=2, values=8)
    """
    share = next((float(of) for _, of in expand(record, path)), 0.0)
    values = sample_size(record, path) if record else 0
    name = path.rpartition(".")[2]
    if name in ("out_of_range_ratio", "unseen_ratio") and values:
        feature = next(of for _, of in expand(record, path.rpartition(".")[0]))
        values = round(values * (1 - feature.get("missing_ratio", 0.0) - feature.get("type_mismatch_ratio", 0.0)))
    elif path.startswith("prediction."):
        values = round(values * (1 - record.get("system", {}).get("error_ratio", 0.0)))
    return FaultCount(round(share * values), values)


def _sums(counts: Sequence[FaultCount]) -> list[FaultCount]:
    """The counts over each of the REACHES."""
    return [FaultCount(sum(of.faults for of in counts[:n]), sum(of.values for of in counts[:n])) for n in REACHES]


def _few_share(
    path: str, held: Sequence[Mapping[str, Any]], monitor: MonitorSpec, baseline: Baseline | None, window: str
) -> FewVerdict | None:
    metrics = {} if baseline is None else baseline.metrics
    before = next((float(v) for _, v in expand(metrics, path) if isinstance(v, int | float)), None)
    spreads = {} if baseline is None else baseline.spreads(window)
    limits = limits_of(monitor.condition, before, spreads.get(path))
    if limits is None or limits.high is None:
        return None
    high = limits.high
    sums = _sums([fault_count(record, path) for record in held])
    p_values = [_p_value(of, high) for of in sums]
    best = min(range(len(REACHES)), key=p_values.__getitem__)
    own, newest = sums[0], _newest(sums)
    lasts = own.faults > high * own.values and _p_value(newest, high) <= LEANING
    is_fine = newest.values >= FEWEST and newest.faults <= high * newest.values
    return FewVerdict(
        path, min(len(REACHES) * p_values[best], 1.0), REACHES[best], sums[best], newest, lasts, is_fine,
        is_fine and _is_surely_below(own, high), limits.text, before,
    )  # fmt: skip


def _newest(sums: Sequence[FaultCount]) -> FaultCount:
    return next((of for of in sums if of.values >= FEWEST), sums[-1])


def _p_value(count: FaultCount, share: float) -> float:
    """The probability of at least so many faults, if the true share of faults is ``share``."""
    if not count.faults or share >= 1.0:
        return 1.0
    return float(bdtrc(count.faults - 1, count.values, max(share, 0.0)))


def _is_surely_below(count: FaultCount, share: float) -> bool:
    return share >= 1.0 or bool(bdtr(count.faults, count.values, max(share, 0.0)) <= LEANING)


def _few_absent(
    path: str, absent: Sequence[str], held: Sequence[Mapping[str, Any]], monitor: MonitorSpec, baseline: Baseline | None
) -> FewVerdict:
    """The features that are missing in more requests than chance allows. All features are one family of tests."""
    tests = len(REACHES) * max(len(held[0]["data"]["features"]), 1)
    found: dict[str, tuple[float, int]] = {}
    likely = False
    sizes = _sums([fault_count(record, "system.error_ratio") for record in held])
    for name in absent:
        sums = _sums([fault_count(record, f"data.features.{name}.missing_ratio") for record in held])
        share = LEAST_SHARE
        if baseline is not None:
            missing, total = missing_before(name, baseline)
            share = max(share, (missing + 1) / (total + 2))
        p_values = [share**of.values if of.faults == of.values else 1.0 for of in sums]
        best = min(range(len(REACHES)), key=p_values.__getitem__)
        if p_values[best] * tests <= (monitor.few_values or 0.0):
            found[name] = p_values[best], best
        newest = _newest(sums)
        likely = likely or (newest.faults == newest.values and share**newest.values <= LEANING)
    p_value, reach = min(found.values(), default=(1.0, 0))
    is_fine = _newest(sizes).values >= FEWEST and not found and not likely
    return FewVerdict(
        path, min(tests * p_value, 1.0), REACHES[reach], sizes[reach], _newest(sizes), bool(found), is_fine,
        is_fine and _is_surely_below(FaultCount(0, sizes[0].values), LEAST_SHARE), "above 0", names=tuple(sorted(found)),
    )  # fmt: skip


def _few_unexpected(path: str, names: Sequence[str], held: Sequence[Mapping[str, Any]]) -> FewVerdict:
    """A feature that the baseline does not have is no matter of chance."""
    named = [bool(next((of for _, of in expand(record, path)), ())) for record in held]
    sizes = _sums([FaultCount(of, sample_size(record, path) if record else 0) for of, record in zip(named, held, strict=True)])
    newest = _newest(sizes)
    is_fine = newest.values >= FEWEST and not newest.faults
    return FewVerdict(
        path, 0.0 if names else 1.0, 1, sizes[0], newest, bool(names), is_fine, False, "above 0", names=tuple(sorted(names))
    )  # fmt: skip
