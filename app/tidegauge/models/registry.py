"""The monitored models, as the records of the topic ``models`` describe them: specs, and baselines by version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from tidegauge.baseline.baseline import Baseline
from tidegauge.baseline.tuning import untuned
from tidegauge.detect.detectors import Detector
from tidegauge.engine.stage import MODELS, Output
from tidegauge.errors import BaselineError, SpecError
from tidegauge.models.spec_changes import baseline_changes, spec_changes
from tidegauge.spec import Lineage, ModelSpec, ModelVersion

MAX_RECORD_BYTES = 28 << 20
"""The most bytes that a record may grow to by learned baselines, so that it can still be published."""

DEFAULTS_KEPT = 10_000
"""The most specs of models without one that are held. Whoever produces can invent models without end."""


CHANGES_KEPT = 50
"""The most changes that a record remembers; the oldest are dropped."""


class ModelChange(msgspec.Struct, frozen=True):
    """A change of a model's spec or of its baselines by somebody. ``ts``: Unix seconds; ``text``: what differs."""

    ts: float
    by: str
    kind: Literal["spec", "baseline"]
    text: str


class ModelRecord(msgspec.Struct, omit_defaults=True):
    """The value of a record of the topic ``models``, which is compacted and keyed by model. ``baselines``: JSON by version;
    ``changes``: by which the spec and the baselines became what they are, the oldest first."""

    model: str
    spec: ModelSpec
    baselines: dict[str, msgspec.Raw] = {}
    changes: tuple[ModelChange, ...] = ()


_decode = msgspec.json.Decoder(ModelRecord).decode


class Registry:
    """The specs and baselines of all models. ``revision`` grows with every change, so that stages can notice it."""

    def __init__(self) -> None:
        self.revision = 0
        self._revisions: dict[str, int] = {}
        self._records: dict[str, ModelRecord] = {}
        self._baselines: dict[ModelVersion, Baseline | None] = {}
        self._defaults: dict[str, ModelSpec] = {}

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Take in a record of the topic; a value of None removes the model. Raises SpecError, in which case nothing changes."""
        model = key.decode("utf-8", "replace")
        if value is None:
            changed = self._records.pop(model, None) is not None
        else:
            try:
                record = _decode(value)
                _check(record.spec, {version: Baseline.from_json(bytes(raw)) for version, raw in record.baselines.items()})
            except (msgspec.MsgspecError, BaselineError, SpecError, RecursionError, ValueError, OverflowError) as error:
                raise SpecError(f"the record of {model!r} in the topic models cannot be read: {error}") from error
            if record.model != model:
                raise SpecError(f"the record of {model!r} in the topic models is of another model, {record.model!r}")
            changed = self.encoded(model) != encode(record)
            self._records[model] = record
        if changed:
            self.revision += 1
            self._revisions[model] = self.revision
            self._baselines = {name: b for name, b in self._baselines.items() if name[0] != model}

    def revision_of(self, model: str) -> int:
        """The ``revision`` in which the model's spec or baselines last changed; 0 if they never did."""
        return self._revisions.get(model, 0)

    def models(self) -> list[str]:
        return sorted(self._records)

    def known(self, model: str) -> bool:
        return model in self._records

    def spec(self, model: str) -> ModelSpec:
        """The model's spec; for a model without one, a spec of documented defaults."""
        record = self._records.get(model)
        if record is not None:
            return record.spec
        if len(self._defaults) >= DEFAULTS_KEPT:
            self._defaults.clear()
        return self._defaults.setdefault(model, ModelSpec(model))

    def baseline(self, model: str, version: str) -> Baseline | None:
        name = ModelVersion(model, version)
        if name not in self._baselines:
            record = self._records.get(model)
            raw = record.baselines.get(version) if record else None
            if raw is None and record is not None and record.spec.baseline_for(version).file is not None:
                # A version that the spec does not name is compared with the baseline for all other versions.
                raw = record.baselines.get("")
            self._baselines[name] = None if raw is None else Baseline.from_json(bytes(raw))
        return self._baselines[name]

    def lineage(self, model: str, version: str) -> Lineage:
        """Where a version came from, according to its baseline or else to the spec."""
        baseline = self.baseline(model, version)
        own = baseline.lineage if baseline is not None else Lineage()
        return own if own != Lineage() else self.spec(model).lineage

    def baseline_versions(self, model: str) -> list[str]:
        """The versions with a baseline in the model's record; "" stands for all others."""
        record = self._records.get(model)
        return sorted(record.baselines) if record else []

    def learned(self, model: str, version: str, baseline: Baseline, versions: Sequence[str] = (), **changes: Any) -> Output:
        """The model's record with a learned baseline added; ``changes`` are new values of members of its spec.

        As long as the record is larger than MAX_RECORD_BYTES, first the learned baselines of ``versions`` are dropped in their
        order, then half of the new baseline's segments at a time, the rarest first.
        """
        record = self._records.get(model) or ModelRecord(model, self.spec(model))
        spec = msgspec.structs.replace(record.spec, **changes)
        baselines = {**record.baselines, version: msgspec.Raw(baseline.to_json())}
        droppable = [
            other for other in versions if other in baselines and other != version and spec.baseline_for(other).learned_from
        ]
        value = encode(ModelRecord(model, spec, baselines, record.changes))
        while len(value) > MAX_RECORD_BYTES and (droppable or baseline.parts):
            if droppable:
                del baselines[droppable.pop(0)]
            else:
                kept = sorted(baseline.parts.items(), key=lambda part: -part[1].data.predictions)[: len(baseline.parts) // 2]
                baseline.parts = dict(kept)
                baselines[version] = msgspec.Raw(baseline.to_json())
            value = encode(ModelRecord(model, spec, baselines, record.changes))
        return Output(MODELS, model.encode(), value)

    def changes(self, model: str) -> tuple[ModelChange, ...]:
        """The changes of the model's spec and baselines that its record remembers, the oldest first."""
        record = self._records.get(model)
        return record.changes if record else ()

    def encoded(self, model: str) -> bytes | None:
        record = self._records.get(model)
        return None if record is None else encode(record)


def encode(record: ModelRecord) -> bytes:
    return msgspec.json.encode(record)


def registry_of(records: Iterable[ModelRecord]) -> Registry:
    """A registry that holds these records."""
    registry = Registry()
    for record in records:
        registry.apply(record.model.encode(), encode(record))
    return registry


def carry_over(new: ModelRecord, old: bytes | None) -> ModelRecord:
    """``new`` with the learned baselines of the encoded record ``old``, for versions whose baseline is still learned, and with
    the changes that ``old`` remembers."""
    if old is None:
        return new
    try:
        before = _decode(old)
    except msgspec.MsgspecError:
        return new
    kept = {
        version: raw
        for version, raw in before.baselines.items()
        if version not in new.baselines and _learns(before.spec, version) and _learns(new.spec, version)
    }
    task = new.spec.task or before.spec.task
    spec = msgspec.structs.replace(new.spec, task=task)
    return ModelRecord(new.model, spec, {**kept, **new.baselines}, before.changes)


def changed_by(new: ModelRecord, old: bytes, by: str, ts: float) -> ModelRecord:
    """``new``, which carries over from the encoded record ``old``, with what ``by`` changes in it at ``ts`` (Unix seconds)."""
    try:
        before = _decode(old)
    except msgspec.MsgspecError:
        return new
    texts: dict[Literal["spec", "baseline"], str] = {
        "spec": spec_changes(before.spec, new.spec),
        "baseline": baseline_changes(before.baselines, new.baselines, (before.spec, new.spec)),
    }
    made = tuple(ModelChange(ts, by, kind, text) for kind, text in texts.items() if text)
    return msgspec.structs.replace(new, changes=(*new.changes, *made)[-CHANGES_KEPT:])


def _learns(spec: ModelSpec, version: str) -> bool:
    return spec.baseline_for(version).learned_from is not None


def _check(spec: ModelSpec, baselines: Mapping[str, Baseline]) -> None:
    """Raises SpecError for what would make a stage fail later."""
    if not spec.windows or spec.pane <= 0:
        raise SpecError(f"its windows {list(spec.windows)} are not lengths of time longer than 0")
    for detector in spec.detectors:
        Detector(detector)
        reason = untuned(spec, detector, {version: of.tunings for version, of in baselines.items()}) if detector.tuned else None
        if reason is not None:
            raise SpecError(f"detector {detector.name!r}: {reason}")
