"""The numbers of a window's records: the data side, which follows from predictions and is not changed by labels, and the
outcome side.

The data side takes much time to compute, and labels restate a window many times. It is therefore cached in encoded form, up to
MAX_KEPT_BYTES in all, and computed again from the profile if it was dropped.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, NamedTuple

import msgspec

from tidegauge.baseline.baseline import Baseline
from tidegauge.engine.delta import Segment
from tidegauge.judge.conditions import heeds_predictions
from tidegauge.metrics import record as records
from tidegauge.metrics.bin_counts import add_bin_counts
from tidegauge.metrics.fairness import fairness
from tidegauge.metrics.label_mix import label_mixes_of
from tidegauge.metrics.members import computed
from tidegauge.metrics.published import published
from tidegauge.metrics.scored_outcomes import scored_outcomes
from tidegauge.metrics.segment_columns import KnownNumbers, SegmentData, number_features, score_drifts
from tidegauge.metrics.segment_mix import segment_mix
from tidegauge.metrics.system import system
from tidegauge.monitor.confidence_readings import ConfidenceNotices
from tidegauge.monitor.recent_windows import RecentWindows
from tidegauge.monitor.window_baselines import BaselineMark, WindowBaselines
from tidegauge.monitor.window_headers import Header
from tidegauge.monitor.windows import Windows
from tidegauge.profile.data import DataProfile
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.spec import ModelSpec

MAX_KEPT_BYTES = 48 << 20
MAX_PREPARED_BYTES = 48 << 20
"""The most bytes, as JSON, of data sides of unpublished records that are held before no other window is begun."""
MAX_KEPT_WHOLE = 200
"""How many data sides of whole models are also cached in decoded form, since the next window needs them."""
MAX_TOGETHER = 2000
"""The most features of segments that are computed together: what they take then still fits into the processor's cache."""
Numbers = dict[str, Any]
Encoded = dict[str, msgspec.Raw]
"""Members of a record, each as JSON."""


class DataSideMark(NamedTuple):
    """What a data side was computed from: the number of predictions, and the mark of the baseline."""

    predictions: int
    baseline: BaselineMark


class PreparedSide(NamedTuple):
    """A data side that is held until its record is published: None if only what is published was computed; and its members as
    JSON."""

    mark: DataSideMark
    side: Numbers | None
    encoded: Encoded


class WindowRecords:
    """The numbers of the records of one task's ``windows``."""

    def __init__(self, windows: Windows, baselines: WindowBaselines) -> None:
        self._windows, self._baselines = windows, baselines
        self._encoded: OrderedDict[tuple[bytes, Segment], tuple[DataSideMark, Encoded]] = OrderedDict()
        self._kept = 0
        self._whole: dict[bytes, tuple[DataSideMark, Numbers]] = {}
        self._prepared: dict[bytes, dict[Segment, PreparedSide]] = {}
        self._prepared_bytes = 0
        self._recents = RecentWindows(windows)
        self._notices = ConfidenceNotices()

    def prepare(self, header: Header, segments: Sequence[Segment], spec: ModelSpec) -> list[int]:
        """Compute the data sides of the records of the first of these ``segments``, as many as are computed together, and hold
        them until ``release``. Returns the bytes of each as JSON, 0 of one that is cached."""
        sizes: list[int] = []
        profiles: dict[Segment, DataProfile] = {}
        features = 0
        for segment in segments:
            sizes.append(0)
            if self._kept_side(header, segment, spec) is None:
                profiles[segment] = self._windows.data(header, segment)
                features += 1 + len(profiles[segment].features.names)
            if features >= MAX_TOGETHER:
                break
        known = self._known_numbers(header, profiles, spec)
        for place, segment in enumerate(segments[: len(sizes)]):
            if segment in profiles:
                sizes[place] = self._hold(header, segment, spec, known.get(segment))
        return sizes

    def _known_numbers(
        self, header: Header, profiles: Mapping[Segment, DataProfile], spec: ModelSpec
    ) -> dict[Segment, KnownNumbers]:
        """The numbers of those segments for which they can be computed together. Of segments that monitors judge by them, all
        numbers are needed, not only those that are published."""
        segments = [segment for segment in profiles if segment]
        monitors = [m for m in self._baselines.monitors(header, spec) if m.window == header.window]
        if not segments or any(m.segments and heeds_predictions(m.metric) for m in monitors):
            return {}
        whole = self._baselines.of(header, spec)
        held = [SegmentData(profiles[of], None if whole is None else whole.part(of)) for of in segments]
        # If it fails, each is computed by itself, which says what cannot be computed.
        found = computed({
            "features": lambda: number_features(held, header.window),
            "drifts": lambda: score_drifts(held, header.window),
        })  # fmt: skip
        none = [None] * len(segments)
        columns = zip(segments, found.get("features", none), found.get("drifts", none), strict=True)
        return {segment: KnownNumbers(features, drift) for segment, features, drift in columns if features is not None}

    def _hold(self, header: Header, segment: Segment, spec: ModelSpec, known: KnownNumbers | None) -> int:
        """Compute the data side of a segment's record, of which some may be known, and hold it; return its bytes."""
        side = None
        if known is None:
            side = self.data_side(header, segment, spec)
            said = published(side, segment=bool(segment))
        else:
            made = self._data_side(header, segment, spec, known)
            said = published(made | {"data": {"features": {}}}, segment=True) | {"data": made["data"]}
        encoded = self._keep(header, segment, spec, said)
        self._prepared.setdefault(header.key, {})[segment] = PreparedSide(self._mark(header, segment, spec), side, encoded)
        self._prepared_bytes += (size := _size(encoded))
        return size

    @property
    def holds_much(self) -> bool:
        """Whether more than MAX_PREPARED_BYTES are held."""
        return self._prepared_bytes > MAX_PREPARED_BYTES

    def release(self, header: Header) -> None:
        """Drop what is held of a window."""
        for held in self._prepared.pop(header.key, {}).values():
            self._prepared_bytes -= _size(held.encoded)

    def _held(self, header: Header, segment: Segment, mark: DataSideMark) -> PreparedSide | None:
        found = self._prepared.get(header.key, {}).get(segment)
        return found if found is not None and found.mark == mark else None

    def data_side(self, header: Header, segment: Segment, spec: ModelSpec) -> Numbers:
        """The data side of a segment's record, including what it was compared with."""
        mark = self._mark(header, segment, spec)
        held = self._whole.get(header.key) if not segment else None
        if held is not None and held[0] == mark:
            return held[1]
        prepared = self._held(header, segment, mark)
        if prepared is not None and prepared.side is not None:
            return prepared.side
        side = self._data_side(header, segment, spec)
        if segment:
            return side
        whole, profile = self._baselines.of(header, spec), self._windows.data(header, segment)
        self._notices.tell(header, side["prediction"].get("misread_confidence", 0))
        if whole is not None:
            add_bin_counts(side, profile, whole)
            predictions = {of: state.predictions for of, state in header.records.items()}
            mix = segment_mix(predictions, whole, spec.segments)
            if mix:
                side["data"] = side["data"] | {"segments": mix}
        while len(self._whole) >= MAX_KEPT_WHOLE:
            del self._whole[next(iter(self._whole))]
        self._whole[header.key] = mark, side
        return side

    def _data_side(self, header: Header, segment: Segment, spec: ModelSpec, known: KnownNumbers | None = None) -> Numbers:
        """The data side from the profile. ``known``: as in ``records.data_members``."""
        whole = self._baselines.of(header, spec)
        baseline = None if whole is None else whole.part(segment)
        profile = self._windows.data(header, segment)
        calibration = None if whole is None else whole.calibration_for(segment)
        seconds = header.end - header.start
        side: Numbers = {"compared_with": self._baselines.compared_with(header, spec, baseline)}
        return side | records.data_side(profile, spec, baseline, seconds, calibration, header.window, known=known)

    def encoded_data_side(self, header: Header, segment: Segment, spec: ModelSpec) -> Encoded:
        """The data side with each member as JSON."""
        if (prepared := self._held(header, segment, self._mark(header, segment, spec))) is not None:
            return prepared.encoded
        held = self._kept_side(header, segment, spec)
        if held is not None:
            return held
        return self._keep(header, segment, spec, published(self.data_side(header, segment, spec), segment=bool(segment)))

    def _kept_side(self, header: Header, segment: Segment, spec: ModelSpec) -> Encoded | None:
        """The encoded data side if it is cached, and still right."""
        held = self._encoded.get((header.key, segment))
        if held is None or held[0] != self._mark(header, segment, spec):
            return None
        self._encoded.move_to_end((header.key, segment))
        return held[1]

    def _keep(self, header: Header, segment: Segment, spec: ModelSpec, said: Numbers) -> Encoded:
        """Encode a data side as it is published, and cache it."""
        key = (header.key, segment)
        before = self._encoded.pop(key, None)
        self._kept -= 0 if before is None else _size(before[1])
        encoded = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in said.items()}
        self._encoded[key] = self._mark(header, segment, spec), encoded
        self._kept += _size(encoded)
        while self._kept > MAX_KEPT_BYTES and len(self._encoded) > 1:
            _, (_, gone) = self._encoded.popitem(last=False)
            self._kept -= _size(gone)
        return encoded

    def _mark(self, header: Header, segment: Segment, spec: ModelSpec) -> DataSideMark:
        return DataSideMark(header.records[segment].predictions, self._baselines.mark(header, spec))

    def early(self, header: Header, segment: Segment, spec: ModelSpec, counted: bool) -> Numbers:
        """The numbers by which an open window is judged, which include no distances and no outcomes. ``counted``: whether only
        numbers that are simple counts (``judge.conditions.is_counted``) are needed."""
        whole = self._baselines.of(header, spec) if self._baselines.is_fixed(header, spec) else None
        baseline = None if whole is None else whole.part(segment)
        profile = self._windows.data(header, segment)
        seconds = header.end - header.start
        if counted:
            data = records.counted(profile, baseline)
            side = {"predictions": profile.predictions, "labels": 0, "system": system(profile, seconds), "data": data}
            return side | {"prediction": records.answers(profile, spec)}
        calibration = None if whole is None else whole.calibration_for(segment)
        side = records.data_side(profile, spec, baseline, seconds, calibration, header.window, drift=False)
        return side | records.label_coverage(self._windows.outcome(header, segment), profile.predictions)

    def earlier(self, header: Header, spec: ModelSpec, segment: Segment) -> Iterator[Numbers]:
        """The counts of a segment in the windows before this one, the newest first, without end; {} if it had no requests."""
        length = header.end - header.start
        for back in count(1):
            before = self._windows.find(header.model, header.version, header.window, header.start - back * length)
            known = before is not None and segment in before.records
            yield self.early(before, segment, spec, counted=True) if before is not None and known else {}

    def prepare_outcome_sides(self, header: Header, segments: Iterable[Segment]) -> None:
        """Compute together what the outcome sides of these segments need, which is much faster than one by one. The record of
        the whole model compares all segments, so that they are needed, too."""
        segments = list(segments)
        wanted = header.segments if () in segments else segments
        self._windows.count(header, "outcome", wanted)
        scored_outcomes([self._windows.outcome(header, segment) for segment in wanted])

    def label_mixes(self, header: Header, segments: Sequence[Segment], spec: ModelSpec) -> dict[Segment, Numbers]:
        """The member ``label_mix`` of the records of these segments; {} if it cannot be computed."""
        whole = self._baselines.of(header, spec)
        held = [(self._windows.outcome(header, of), None if whole is None else whole.part(of)) for of in segments]
        found = computed({"mixes": lambda: label_mixes_of(held, spec, header.window)}).get("mixes", ())
        return dict(zip(segments, found, strict=False))

    def outcome_side(self, header: Header, segment: Segment, spec: ModelSpec, mix: Numbers | None = None) -> Numbers:
        """The outcome side of a segment's record, of which ``label_mix`` may be known."""
        whole = self._baselines.of(header, spec)
        baseline = None if whole is None else whole.part(segment)
        predictions = header.records[segment].predictions
        outcome = self._windows.outcome(header, segment)
        return records.outcome_side(outcome, predictions, spec, baseline, header.window, bins=not segment, mix=mix)

    def recent(self, header: Header, spec: ModelSpec) -> Numbers:
        """The numbers of a closed window together with the previous one, if the baseline knows how much such numbers vary."""
        baseline = self._baselines.of(header, spec) if header.closed and self.remembers(header, spec) else None
        before = self._windows.before(header)
        if baseline is None or before is None or not before.closed or not baseline.knows_pairs(header.window):
            return {}
        own, earlier = (partial(self.data_side, of, (), spec) for of in (header, before))
        return self._recents.numbers(header, before, own, earlier, spec, baseline)

    def remembers(self, header: Header, spec: ModelSpec) -> bool:
        """Whether any monitor judges windows of this length together with the previous one."""
        monitors = self._baselines.monitors(header, spec)
        return any(m.condition.auto and m.window == header.window for m in monitors)

    def fairness(self, header: Header, spec: ModelSpec, min_count: int) -> dict[str, dict[str, Any]]:
        """The member ``fairness`` of a record: by breakdown, the gaps between its values with at least ``min_count`` labels."""
        gaps = {}
        self.prepare_outcome_sides(header, [()])
        outcomes: dict[tuple[str, ...], dict[str, OutcomeProfile]] = {breakdown: {} for breakdown in spec.segments}
        for segment in header.segments:
            of_breakdown = outcomes.get(tuple(dimension for dimension, _ in segment))
            if of_breakdown is not None:
                of_breakdown[",".join(value for _, value in segment)] = self._windows.outcome(header, segment)
        for breakdown in spec.segments:
            found = fairness(outcomes[breakdown], spec.task, spec.positive_label, min_count)
            if found:
                gaps["+".join(breakdown)] = found
        return gaps

    def baseline(self, header: Header, spec: ModelSpec) -> Baseline | None:
        return self._baselines.of(header, spec)


def _size(encoded: Encoded) -> int:
    return sum(len(memoryview(raw)) for raw in encoded.values())
