"""Learns baselines from the first predictions of a version.

l<model>\\0<version>\\0<segment>    packed DataProfile of the first predictions
"""

from __future__ import annotations

from functools import partial

import msgspec

from tidegauge.baseline.baseline import MAX_PARTS, Baseline
from tidegauge.baseline.searched_ranges import SHARE_OF_UNKNOWN_TRAFFIC
from tidegauge.engine.delta import Segment
from tidegauge.engine.set_aside import SetAside
from tidegauge.engine.stage import Output, Store
from tidegauge.metrics.confidence_reading import misread_confidence
from tidegauge.metrics.record import reference_numbers
from tidegauge.models.registry import Registry
from tidegauge.monitor.learned_blocks import add_labels, learned_spreads, reference_windows
from tidegauge.monitor.row_log import Rows
from tidegauge.monitor.versions import Versions
from tidegauge.monitor.window_rows import data_profiles, whole_parts
from tidegauge.monitor.windows import MAX_ROWS_BYTES, Windows
from tidegauge.monitor.work_pieces import learning_of
from tidegauge.profile.data import DataProfile
from tidegauge.spec import ModelSpec, ModelVersion, Task, duration

LEARNING = b"l"
_encode = msgspec.msgpack.Encoder().encode
_decode_segment = msgspec.msgpack.Decoder(Segment).decode


class BaselineLearning:
    """The baselines that one monitor task is learning."""

    def __init__(self, store: Store, registry: Registry, versions: Versions, windows: Windows, aside: SetAside) -> None:
        self._store, self._registry, self._versions, self._windows = store, registry, versions, windows
        self._aside = aside
        self._profiles: dict[ModelVersion, dict[Segment, DataProfile]] = {}
        self._grown: set[tuple[str, str, Segment]] = set()
        # Rows that are not in the profiles yet.
        self._rows: dict[ModelVersion, list[Rows]] = {}
        for rows in windows.log.rows.values():
            version = versions.by_name.get(ModelVersion(rows.model, rows.version))
            if version is not None and rows.number >= version.rows and rows.data is not None:
                self.take_rows(registry.spec(rows.model), rows)

    def take_rows(self, spec: ModelSpec, rows: Rows) -> None:
        """Keep rows to learn from, if the version's baseline is still to be learned."""
        if self._learns(rows.model, rows.version, spec):
            self._rows.setdefault(ModelVersion(rows.model, rows.version), []).append(rows)
            rows.waiting += 1

    def _count(self, model: str, name: str) -> None:
        """Count the waiting rows in the profiles."""
        waiting = self._rows.pop(ModelVersion(model, name), [])
        if not waiting:
            return
        for of in data_profiles(whole_parts(waiting)):
            self._take(model, name, of.segment, of.profile)
        for rows in waiting:
            self._windows.log.note_taken(rows)
        version = self._versions.get(model, name)
        version.rows = self._windows.log.next
        self._versions.changed(version)

    def take(self, model: str, name: str, spec: ModelSpec, segment: Segment, data: DataProfile) -> None:
        """Merge a profile from a delta, if the version's baseline is still to be learned."""
        if self._learns(model, name, spec):
            self._take(model, name, segment, data)

    def _learns(self, model: str, name: str, spec: ModelSpec) -> bool:
        """Whether a version's baseline is being learned."""
        if not spec.baseline_for(name).learned_from or self._versions.get(model, name).learned:
            return False
        return learning_of(model).key not in self._aside

    def _learning(self, model: str, name: str) -> dict[Segment, DataProfile]:
        """The profiles so far by segment, without the waiting rows."""
        learning = self._profiles.get(ModelVersion(model, name))
        if learning is None:
            stored = self._store.scan(_learning_key(model, name))
            learning = {_segment_of(key): DataProfile.unpack(raw) for key, raw in stored}
            self._profiles[ModelVersion(model, name)] = learning
        return learning

    def _take(self, model: str, name: str, segment: Segment, data: DataProfile) -> None:
        learning = self._learning(model, name)
        if segment in learning or len(learning) <= MAX_PARTS:
            profile = learning.setdefault(segment, DataProfile())
            profile.merge(data)
            # A baseline contains no request ids.
            profile.examples.clear()
            self._grown.add((model, name, segment))

    def learn(self, model: str) -> list[Output]:
        """Make those baselines of the model for which enough predictions have come. They are registered at once, and returned
        as records of the topic ``models``."""
        outputs = []
        for name in [ModelVersion(model, version) for version in self._versions.of_model(model)]:
            outputs.extend(self._label(name))
            if name not in self._profiles and name not in self._rows:
                continue
            spec = self._registry.spec(model)
            wanted = spec.baseline_for(name.version).learned_from
            whole = self._learning(*name).get(())
            seen = sum(len(rows.times) for rows in self._rows.get(name, ())) + (0 if whole is None else whole.predictions)
            if not wanted or seen < wanted:
                continue
            self._count(*name)
            learning = self._learning(*name)
            whole = learning[()]
            task = spec.task or infer_task(whole)
            known = msgspec.structs.replace(spec, task=task)
            misread = spec.confidence_is is None and misread_confidence(whole, known) > 0
            baseline = Baseline.learned(model, name.version, learning, "predicted" if misread else "positive")
            for part in (baseline, *baseline.parts.values()):
                # Its labels are added later.
                said = reference_numbers(part.data, part.outcome, known, baseline.schema)
                part.metrics = {group: said[group] for group in ("system", "data", "prediction")}
            headers = reference_windows(self._windows, *name, known)
            baseline.spread = learned_spreads(self._windows, headers, baseline, known)
            if spec.baseline_for(name.version).previous is not None:
                # Its ranges divide the earlier windows, which have labels.
                baseline.searched_share = SHARE_OF_UNKNOWN_TRAFFIC
            outputs.append(self._registered(baseline, task))
            version = self._versions.get(*name)
            version.learned = True
            if spec.baseline_for(name.version).previous is None and headers:
                version.reference_end = headers[-1].end
            self._versions.changed(version)
            for segment in self._profiles.pop(name):
                self._grown.discard((*name, segment))
                self._store.delete(_learning_key(*name, segment))
        return outputs

    def _registered(self, baseline: Baseline, task: Task | None) -> Output:
        """Register a learned baseline, and return the model's record with it."""
        # If there is no room for all baselines, those of the versions with the oldest predictions are dropped.
        of_model = self._versions.of_model(baseline.model)
        versions = sorted(of_model, key=lambda version: of_model[version].last)
        record = self._registry.learned(baseline.model, baseline.version, baseline, versions, task=task)
        self._registry.apply(baseline.model.encode(), record.value)
        return record

    def _label(self, name: ModelVersion) -> list[Output]:
        """Once the last window of a learned baseline has settled, and so those before it, add their labels to the baseline."""
        version = self._versions.get(*name)
        if not version.reference_end:
            return []
        spec = self._registry.spec(name.model)
        length = duration(shortest := min(spec.windows, key=duration))
        last = self._windows.find(*name, shortest, version.reference_end - length)
        if last is not None and not last.settled:
            return []
        headers = [of for of in reference_windows(self._windows, *name, spec) if of.end <= version.reference_end]
        version.reference_end = 0.0
        self._versions.changed(version)
        known = self._registry.baseline(*name)
        if known is None or known.source != "learned" or known.outcome.labels:
            return []
        baseline = Baseline.from_json(known.to_json())
        return [self._registered(baseline, spec.task)] if add_labels(self._windows, headers, baseline, spec) else []

    def flush(self) -> None:
        """Write what changed to the store."""
        if self._windows.log.size > MAX_ROWS_BYTES:
            for model, name in list(self._rows):
                self._aside.attempt(learning_of(model), partial(self._count, model, name), None)
        for model, version, segment in self._grown:
            self._store.put(
                _learning_key(model, version, segment), self._profiles[ModelVersion(model, version)][segment].pack()
            )
        self._grown.clear()


def _learning_key(model: str, version: str, segment: Segment | None = None) -> bytes:
    """The key of one segment's profile or, without a segment, the prefix of the keys of all."""
    return b"%s%s\0%s\0%s" % (LEARNING, model.encode(), version.encode(), b"" if segment is None else _encode(segment))


def _segment_of(key: bytes) -> Segment:
    return _decode_segment(key.split(b"\0", 2)[2])


def infer_task(data: DataProfile) -> Task | None:
    """The task that predictions suggest: binary if they have a score or only the classes 0 and 1, multiclass if they have other
    classes, regression if they are other numbers; None if there are none."""
    classes = data.result_class.counts
    score = data.results.index("score")
    if (score is not None and data.results.count[score]) or (classes and set(classes) <= {"0", "1"}):
        return "binary" if not classes or set(classes) <= {"0", "1"} else "multiclass"
    value = data.results.index("value")
    numeric = value is not None and data.results.count[value] > 0
    return "regression" if numeric else "multiclass" if classes else None
