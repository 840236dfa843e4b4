"""Builds baselines from reference data: `tidegauge baseline build`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tidegauge.baseline.baseline import MAX_PARTS, RECENT_PREFIX, RESULT_BINS, Baseline, Reading, schema_of
from tidegauge.baseline.binning import bins_of_values
from tidegauge.baseline.searched_ranges import SHARE_OF_UNKNOWN_TRAFFIC
from tidegauge.baseline.spread import Spread
from tidegauge.baseline.tuning import Tuning, tuning_for
from tidegauge.detect import budget, value_streams
from tidegauge.engine import pseudonyms
from tidegauge.engine.delta import Segment
from tidegauge.engine.events import Decoder, Prediction, model_of
from tidegauge.engine.stage import Record
from tidegauge.errors import BaselineError
from tidegauge.join.columns import data_columns
from tidegauge.join.contexts import segment_values
from tidegauge.join.outcome_columns import OutcomeRow, outcome_columns
from tidegauge.join.score import set_missing_scores
from tidegauge.metrics.bin_counts import add_bin_counts
from tidegauge.metrics.block_spreads import Block, block_count, block_spreads, spread_over
from tidegauge.metrics.confidence_reading import misread_confidence, sentence
from tidegauge.metrics.recent import recent_data, recent_outcome
from tidegauge.metrics.record import numbers, reference_numbers
from tidegauge.metrics.segment_mix import segment_mix
from tidegauge.offline.sources import event_lines
from tidegauge.offline.tables import Columns
from tidegauge.profile.counts import SparseCounts
from tidegauge.profile.data import DataProfile
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.outcome_groups import OutcomeGroups
from tidegauge.profile.range_losses import RangeCodes
from tidegauge.profile.schema import ATTRIBUTION, Schema
from tidegauge.spec import ModelSpec, duration

MIN_ROWS = 50
MIN_WINDOW_ROWS = 20
"""Reference windows with fewer predictions are not used for the spread."""
SEARCHED_A_DAY = 20_000
"""Of up to so many requests a day all losses are counted by ranges of features, of more a sample of about this size."""
OVERLAP = 1.5
"""Successive pairs of windows share a window, so this many of them contain as much information on a variance as one independent
pair (the sum of the squared correlations of their sums, 1 + 2 / 4)."""


class ReferenceEvent(Prediction, gc=False, forbid_unknown_fields=True):
    """A prediction event with its outcome."""

    label: int | float | str | bool | None = None
    business: dict[str, float | bool | None] | None = None


_MEMBERS = frozenset(ReferenceEvent.__struct_fields__)


def build(
    spec: ModelSpec,
    version: str,
    path: Path,
    progress: Callable[[str], None] = lambda text: None,
    note: Callable[[str], None] = lambda text: None,
    *,
    naive_utc: bool = False,
) -> Baseline:
    """The baseline of ``version`` from the reference data in ``path`` (a file or a pattern, see ``offline/sources.py``). Only
    rows of this version are used, and each request once.

    ``progress``: called with progress messages; ``note``: called with what is left out; ``naive_utc``: whether a ``ts`` without
    an offset is UTC. Raises BaselineError, and SourceError if a file cannot be read.
    """
    hashed = [name for name, feature in spec.features.items() if feature.pii == "hash"]
    if hashed and pseudonyms.key() is None:
        raise BaselineError(f"{spec.model}: {', '.join(hashed)} is to be hashed: set {pseudonyms.VARIABLE} to the workers' key")
    if model_of(version) != spec.model and ":" in version:
        note(f"live events of {version} are of model {model_of(version)}, unless they say model: {spec.model} as the spec does")
    lines = enumerate(event_lines(path, Columns.of([spec], naive_utc=naive_utc), note))
    records = [Record(number, -1, None, _completed(line, number, version)) for number, line in lines]
    decoder = Decoder(ReferenceEvent)
    events, _, dead = decoder.chunk(records)
    if decoder.unknown and not any(event.features for event in events):
        note(f"{path}: no row has features, but {_unknown(records)}, which are no members of an event: put them into an object "
             "`features`; in CSV and Parquet every other column is one")  # fmt: skip
    if dead:
        first = dead[0]
        raise BaselineError(
            f"{path}: {len(dead)} rows are no prediction events, the first in row {first.record.offset + 1}: "
            f"{first.message}; mend or remove them"
        )
    events = _of_version(events, spec, version, path, note)
    bare = [event for event in events if event.score is None]
    set_missing_scores(events, [spec] * len(events))
    if len(events) < MIN_ROWS:
        raise BaselineError(f"{path}: {len(events)} rows are too few for a baseline, at least {MIN_ROWS} are needed")
    progress(f"{len(events)} rows read")
    schema = _schema(events, spec)
    data, outcome = _profiles(events, spec, schema)
    confidence_is: Reading = "positive"
    if found := misread_confidence(data, spec):
        note(f"{path}: {sentence(found)}" + "; until then it is read so by itself" * (spec.confidence_is is None))
        if spec.confidence_is is None:
            confidence_is, spec = "predicted", msgspec.structs.replace(spec, confidence_is="predicted")
            for event in bare:
                event.score = None
            set_missing_scores(bare, [spec] * len(bare))
            schema = _schema(events, spec)
            data, outcome = _profiles(events, spec, schema)
    baseline = Baseline(spec.model, version, data, outcome, schema)
    baseline.confidence_is = confidence_is
    baseline.metrics = reference_numbers(data, outcome, spec, schema, baseline, baseline.calibration)
    if outcome.labels:
        outcome.ranges = _range_losses(events, spec, baseline)
        baseline.searched_share = _searched_share(events)
    baseline.tunings = _tunings(events, spec, progress)
    auto = any(m.segments and m.condition.auto for m in spec.monitors or ())
    for segment, members in _by_segment(events, spec).items():
        part = Baseline(spec.model, version, *_profiles(members, spec, schema), schema)
        part.metrics = reference_numbers(part.data, part.outcome, spec, schema, None, part.calibration or baseline.calibration)
        if auto:
            part.spread = _spreads(members, spec, part, lambda text: None, whole=False)
        part.data.drop_sketches()
        baseline.parts[segment] = part
    # This follows the segments' baselines, since the mix of segments has a spread, too.
    baseline.spread = _spreads(events, spec, baseline, progress, whole=True)
    if not all(baseline.spans_enough(window) for window in spec.windows):
        baseline.spread |= _block_spreads(events, spec, baseline)
    return baseline


def _unknown(records: list[Record]) -> str:
    """The names of a few members that no event has, in rows of JSON."""
    rows = (json.loads(record.value or b"{}") for record in records)
    return ", ".join(next(names for row in rows if (names := [name for name in row if name not in _MEMBERS][:5])))


class _Required(msgspec.Struct):
    """The members that reference data may lack."""

    request_id: Any = None
    ts: Any = None
    model_version: Any = None


_required = msgspec.json.Decoder(_Required).decode


def _completed(line: bytes, number: int, version: str) -> bytes:
    """A row with its missing members added: the number of the row as request id, time 0, and the version that is built.

    >>> _completed(b'{"request_id": null, "ts": 5, "score": 0.5}', 7, "m:1")
    b'{"request_id":"row 8","ts":5,"score":0.5,"model_version":"m:1"}'
    """
    try:
        said = _required(line)
        if isinstance(said.request_id, str) and said.request_id and said.ts is not None and said.model_version:
            return line
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return line
    if not isinstance(row, dict):
        return line
    for name, value in (("request_id", f"row {number + 1}"), ("ts", 0.0), ("model_version", version)):
        if row.get(name) in (None, ""):
            row[name] = value
    if type(row["request_id"]) is int:
        row["request_id"] = str(row["request_id"])
    return msgspec.json.encode(row)


def _of_version(
    events: list[ReferenceEvent], spec: ModelSpec, version: str, path: Path, note: Callable[[str], None]
) -> list[ReferenceEvent]:
    """The events of ``version``, each request once: among events of one request the first one with a label."""
    others: Counter[str] = Counter()
    chosen: dict[str, ReferenceEvent] = {}
    repeated = 0
    for event in events:
        if event.model_version != version or event.model not in (None, spec.model):
            others[event.model_version if event.model is None else f"{event.model} {event.model_version}"] += 1
            continue
        held = chosen.setdefault(event.request_id, event)
        repeated += held is not event
        if held.label is None and event.label is not None:
            chosen[event.request_id] = event
    found = ", ".join(f"{name} ({count})" for name, count in others.most_common(5))
    if events and not chosen:
        raise BaselineError(f"{path}: no row is of version {version} of {spec.model}; there are {found}")
    if others:
        note(f"{path}: left out {others.total()} rows of other versions: {found}")
    if repeated:
        note(f"{path}: left out {repeated} rows whose request_id was there already")
    return list(chosen.values())


def _tunings(events: list[ReferenceEvent], spec: ModelSpec, progress: Callable[[str], None]) -> tuple[Tuning, ...]:
    """The tunings of the spec's detectors. Detectors that differ only in their names share one."""
    tunings: list[Tuning] = []
    for detector in spec.detectors:
        if detector.tuned and tuning_for(detector, tunings) is None:
            progress(f"calibrating detector {detector.name}")
            tunings.append(budget.tune(detector, _stream(events, spec, detector.stream)))
    return tuple(tunings)


def _stream(events: list[ReferenceEvent], spec: ModelSpec, name: str) -> budget.Stream:
    """The values of one stream, ordered by time."""
    values = np.zeros(0)
    if name in value_streams.PREDICTIONS:
        columns = data_columns(events, spec, None).results
        values = columns.x[columns.names.index(name)]
    else:
        events = [event for event in events if event.label is not None]
        if events:
            values = value_streams.outcome_values(outcome_columns([_outcome(event, spec) for event in events], spec), name)
    times = np.array([float(event.ts) for event in events])
    fed = np.flatnonzero(~np.isnan(values))
    order = fed[np.argsort(times[fed], kind="stable")]
    return budget.Stream(values[order], times[order], value_streams.hour_of_week(times[order]))


def _by_segment(events: list[ReferenceEvent], spec: ModelSpec) -> dict[Segment, list[ReferenceEvent]]:
    """The events of each segment of the spec's breakdowns; only the MAX_PARTS most frequent segments."""
    found: dict[Segment, list[ReferenceEvent]] = {}
    for event in events:
        for segment in _segments_of(event, spec):
            found.setdefault(segment, []).append(event)
    largest = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))[:MAX_PARTS]
    return {segment: members for segment, members in largest if len(members) >= MIN_ROWS}


def _segments_of(event: ReferenceEvent, spec: ModelSpec) -> Iterator[Segment]:
    values = segment_values(event, spec)
    for breakdown in spec.segments:
        if all(dimension in values for dimension in breakdown):
            yield tuple((d, values[d]) for d in breakdown)


def _schema(events: list[ReferenceEvent], spec: ModelSpec) -> Schema:
    """The schema of the data: types, categories, and bins computed exactly from all values."""
    columns = data_columns(events, spec, None)
    whole = np.arange(len(events))
    profile = columns.group(whole, np.array([0]), True)[0]
    exact = {}
    blocks = [(columns.features, {n: n for n in columns.features.names}), (columns.results, RESULT_BINS)]
    if columns.attributions is not None:
        attributed = columns.attributions.values
        blocks.append((attributed, {ATTRIBUTION + name: name for name in attributed.names}))
    for block, names in blocks:
        for name, column in names.items():
            values = block.x[block.names.index(column)]
            values = values[~np.isnan(values)]
            if len(values):
                exact[name] = bins_of_values(values)
    found = schema_of(profile)
    return schema_of(profile, {name: of for name, of in exact.items() if name in found.bins})


def _profiles(events: list[ReferenceEvent], spec: ModelSpec, schema: Schema) -> tuple[DataProfile, OutcomeProfile]:
    whole, start = np.arange(len(events)), np.array([0])
    data = data_columns(events, spec, schema).group(whole, start, True)[0]
    rows = [_outcome(event, spec) for event in events if event.label is not None or event.business]
    if not rows:
        return data, OutcomeProfile()
    return data, OutcomeGroups(outcome_columns(rows, spec)).group(np.arange(len(rows)), start)[0]


def _range_losses(events: list[ReferenceEvent], spec: ModelSpec, baseline: Baseline) -> dict[str, SparseCounts]:
    """The losses of all labelled events by ranges of features."""
    labelled = [event for event in events if event.label is not None]
    columns, rows, ranges = (
        outcome_columns([_outcome(event, spec) for event in labelled], spec),
        np.arange(len(labelled)),
        baseline.ranges,
    )
    columns.codes = RangeCodes(ranges.id, ranges.unit, rows, ranges.codes(data_columns(labelled, spec, baseline.schema), rows))
    return OutcomeGroups(columns).group(rows, np.array([0]), True)[0].ranges


def _searched_share(events: list[ReferenceEvent]) -> float:
    """The share of requests whose losses will be counted by ranges of features, if as many come as did in the reference."""
    times = [float(event.ts) for event in events]
    days = (max(times) - min(times)) / 86400.0
    return min(SEARCHED_A_DAY * days / len(events), 1.0) if days > 0 else SHARE_OF_UNKNOWN_TRAFFIC


def _outcome(event: ReferenceEvent, spec: ModelSpec) -> OutcomeRow:
    value = None if event.prediction is msgspec.UNSET or event.error is not None else event.prediction
    business = {k: float(v) for k, v in (event.business or {}).items() if v is not None} or None
    ts = float(event.ts)
    return OutcomeRow(0, ts, value, event.score, event.probabilities, event.label, business, ts, 1, True, b"", ts)


def _spreads(
    events: list[ReferenceEvent], spec: ModelSpec, baseline: Baseline, progress: Callable[[str], None], *, whole: bool
) -> dict[str, dict[str, Spread]]:
    spreads = {}
    for window in spec.windows:
        progress(f"spread over windows of {window}")
        single, pairs = _windows(events, spec, baseline, window, whole)
        for key, windows, overlap in ((window, single, 1.0), (RECENT_PREFIX + window, pairs, OVERLAP)):
            found = spread_over(windows, len(events), overlap)
            if found:
                spreads[key] = found
    return spreads


def _windows(
    events: list[ReferenceEvent], spec: ModelSpec, baseline: Baseline, window: str, whole: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The numbers of every reference window and, for the ``whole`` model, of each window together with the previous one."""
    length = duration(window)
    groups: dict[float, list[ReferenceEvent]] = {}
    for event in events:
        groups.setdefault(float(event.ts) // length, []).append(event)
    single: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    before: tuple[float, dict[str, Any], OutcomeProfile] | None = None
    for start, group in sorted(groups.items()):
        if len(group) >= MIN_WINDOW_ROWS:
            data, outcome = _profiles(group, spec, baseline.schema)
            found = numbers(data, outcome, spec, baseline, length, baseline.calibration)
            if baseline.parts:
                counts = Counter(segment for event in group for segment in _segments_of(event, spec))
                mix = segment_mix({(): len(group), **counts}, baseline, spec.segments)
                found["data"] = found["data"] | {"segments": mix}
            add_bin_counts(found, data, baseline)
            single.append(found)
            if whole and before is not None and before[0] == start - 1:
                both = recent_data(found, before[1], baseline, None)
                if outcome.labels and before[2].labels:
                    both |= recent_outcome(outcome, before[2], spec, baseline, None)
                pairs.append(both)
            before = start, found, outcome
    return single, pairs


def _block_spreads(events: list[ReferenceEvent], spec: ModelSpec, baseline: Baseline) -> dict[str, dict[str, Spread]]:
    """The spread of standard scores over blocks of rows, ordered by time; {} if there are too few rows."""
    count = block_count(len(events))
    if not count:
        return {}
    ordered = sorted(events, key=lambda event: float(event.ts))

    def cut(parts: int) -> list[Block]:
        bounds = np.linspace(0, len(events), parts + 1).astype(int).tolist()
        return [Block(*_profiles(ordered[start:end], spec, baseline.schema)) for start, end in pairwise(bounds)]

    return block_spreads(cut(count), cut(count // 2), spec, baseline)
