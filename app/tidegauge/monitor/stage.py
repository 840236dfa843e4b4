"""The monitor stage: merges profile deltas into windows, closes, settles and restates them, judges, and alerts.

State of one task, all in its store: windows (``monitor/windows.py``), alerts (``alert/book.py``), trace contexts
(``engine/traces.py``), rollouts (``monitor/rollouts.py``), and
    x<partition>                      how a join partition stands
    m<model>                          its clock
    v<model>\\0<version>               label delays, how far estimates were off, roles
    l<model>\\0<version>\\0<segment>    packed DataProfile of the first predictions, while a baseline is being learned from them
and detectors (``monitor/detector_feed.py``) and parts of deltas that wait for their time (``monitor/early_parts.py``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from tidegauge.alert.book import AlertBook
from tidegauge.alert.playbooks import DIRECTORY
from tidegauge.baseline.baseline import MAX_PARTS, Baseline
from tidegauge.engine import delta
from tidegauge.engine.arrival_quanta import QuantumGrid
from tidegauge.engine.delta import Delta, ProfileDelta, Segment
from tidegauge.engine.event_time import ModelClock, PartitionClock, PartitionState
from tidegauge.engine.sortable_time import sortable_second
from tidegauge.engine.stage import MODELS, InputRecord, Output, Store
from tidegauge.engine.traces import old_traces, trace_id
from tidegauge.metrics.grading import Grades
from tidegauge.metrics.record import numbers
from tidegauge.models.registry import Registry
from tidegauge.monitor.detector_feed import DetectorFeed
from tidegauge.monitor.early_parts import EarlyParts
from tidegauge.monitor.publishing import Judge
from tidegauge.monitor.rollouts import Rollouts
from tidegauge.monitor.settling import LabelDelays
from tidegauge.monitor.traffic_totals import TrafficTotals
from tidegauge.monitor.windows import Header, Windows
from tidegauge.profile.data import DataProfile
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.pairs import PairProfile
from tidegauge.rollout.pair import Seen
from tidegauge.spec import ModelSpec

STANDING, CLOCK, VERSION, LEARNING = b"x", b"m", b"v", b"l"
MAX_MERGED = 1000
"""Parts of deltas merged in one checkpoint, a whole quantum at least: a backlog is worked off in many small checkpoints."""
SLACK = 86400.0
"""Seconds a window outlives retention and label horizon, as the join's entries do."""
_encode = msgspec.msgpack.Encoder().encode
_decode_segment = msgspec.msgpack.Decoder(Segment).decode


class Version(msgspec.Struct):
    """What is known of one model version beside its windows."""

    model: str
    version: str
    delays: LabelDelays = msgspec.field(default_factory=LabelDelays)
    grades: Grades = msgspec.field(default_factory=Grades)
    role: str = "live"
    learned: bool = False
    last: float = 0.0


class MonitorStage:
    """One partition of the monitor. ``partitions``: of the join; ``playbooks``: as in Announcer."""

    def __init__(
        self, partition: int, store: Store, registry: Registry, partitions: int, counters: Counter[tuple[str, str]],
        playbooks: str = DIRECTORY,
    ) -> None:  # fmt: skip
        self._store, self._registry, self._counters = store, registry, counters
        self.windows = Windows(store)
        self.alerts = AlertBook(store, playbooks)
        self._early_parts = EarlyParts(store)
        self._judge = Judge(self.windows, self.alerts, registry)
        self.rollouts = Rollouts(store, self.windows, self.alerts, registry)
        decode_standing = msgspec.msgpack.Decoder(PartitionState).decode
        self._partitions = PartitionClock(partitions, {int(key[1:]): decode_standing(raw) for key, raw in store.scan(STANDING)})
        decode_clock = msgspec.msgpack.Decoder(ModelClock).decode
        self.clocks: dict[str, ModelClock] = {k[1:].decode(): decode_clock(raw) for k, raw in store.scan(CLOCK)}
        decode_version = msgspec.msgpack.Decoder(Version).decode
        self.versions: dict[tuple[str, str], Version] = {}
        for _, raw in store.scan(VERSION):
            version = decode_version(raw)
            self.versions[version.model, version.version] = version
        self._feeding = DetectorFeed(store, registry, self.alerts.detections, counters)
        self._learning: dict[tuple[str, str], dict[Segment, DataProfile]] = {}
        self._learnt: set[tuple[str, str, Segment]] = set()
        for header in self.windows.newest_closed():
            clock = self.clocks.get(header.model, ModelClock())
            version = self._version(header.model, header.version)
            self._judge.recall(header, version.delays, version.grades, clock.reached[0])
        self.served: dict[tuple[str, str], TrafficTotals] = {}
        self._changed_versions: set[tuple[str, str]] = set()
        self._standings_changed = False
        self._past: dict[str, float] = {}
        self._touched: set[str] = set()
        self._unfinished: set[str] = set()

    @property
    def unfinished(self) -> bool:
        """More has come in than the last checkpoint took: the next need not wait for more."""
        return bool(self._unfinished)

    # -- deltas in -----------------------------------------------------------------------------------------------

    def process(self, topic: str, records: Sequence[InputRecord]) -> None:
        for record in records:
            if record.value is not None:
                self._take(delta.decode(record.value))

    def _take(self, message: Delta) -> None:
        self._partitions.hear(message.partition, message.now, message.idle)
        self._standings_changed = True
        if not message.model:
            self._touched.update(self.clocks)
            return
        model = message.model
        self._touched.add(model)
        clock = self.clocks.setdefault(model, ModelClock())
        for part in message.profiles:
            self._early_parts.add(model, part)
        for version, role in message.roles.items():
            held = self._version(model, version)
            if held.role != role:
                held.role = role
                self._changed_versions.add((model, version))
        if message.traces:
            self.alerts.traces.keep(message.traces, max(message.watermark, clock.reached[0]))
        if message.samples:
            self._feeding.add(model, message.samples)
        clock.hear(message.partition, message.watermark, message.label_watermark, message.read, message.now)

    def _merge(self, model: str, spec: ModelSpec, part: ProfileDelta, now: float) -> None:
        """Take a part of a delta into its windows, whose time has come at event time ``now``."""
        data = DataProfile.unpack(part.data) if part.data else None
        outcome = OutcomeProfile.unpack(part.outcome) if part.outcome else None
        pairs = {other: PairProfile.unpack(raw) for other, raw in part.pairs.items()}
        gone = now - max(spec.retention, spec.label_horizon) - SLACK
        place = (part.segment, part.pane)
        lost = self.windows.add(model, part.version, spec, *place, data, outcome, pairs, part.latest, gone)
        self._counters["late_windows", model] += lost
        if data is not None and not part.segment and lost == len(spec.windows):
            self._counters["late_predictions", model] += data.predictions
        if not part.segment:
            self._take_whole(model, part.version, part.pane * spec.pane, outcome)
            if data is not None:
                served = self.served.setdefault((model, part.version), TrafficTotals())
                served.add(data)
                for parent in self.alerts.traces.of(data.examples.get("system.error_ratio", ())).values():
                    served.failed = trace_id(parent)
        if data is not None:
            self._learn_from(model, part.version, spec, part.segment, data)

    def _version(self, model: str, version: str) -> Version:
        return self.versions.setdefault((model, version), Version(model, version))

    @property
    def newest(self) -> dict[tuple[str, str, str, Segment], dict[str, Any]]:
        """The newest closed window's record of each (model, version, window length, segment)."""
        return self._judge.newest

    def _take_whole(self, model: str, name: str, moment: float, outcome: OutcomeProfile | None) -> None:
        """What a delta of the whole model tells of its version's time and label delays."""
        version = self._version(model, name)
        if not version.delays.first or moment < version.delays.first:
            version.delays.first = moment
        version.last = max(version.last, moment)
        self._changed_versions.add((model, name))
        if outcome is not None:
            version.delays.add(outcome.delay_counts())

    def _learn_from(self, model: str, name: str, spec: ModelSpec, segment: Segment, data: DataProfile) -> None:
        version = self._version(model, name)
        if version.learned or not spec.baseline_for(name).learned_from:
            return
        learning = self._learning.get((model, name))
        if learning is None:
            learning = {_segment_of(key): DataProfile.unpack(raw) for key, raw in self._store.scan(_learning_key(model, name))}
            self._learning[model, name] = learning
        if segment in learning or len(learning) <= MAX_PARTS:
            learning.setdefault(segment, DataProfile()).merge(data)
            self._learnt.add((model, name, segment))

    # -- checkpoint ----------------------------------------------------------------------------------------------

    def checkpoint(self, now: float, *, idle: bool = False, behind: Container[str] = ()) -> list[Output]:
        outputs: list[Output] = []
        self._touched |= self._unfinished
        self._unfinished.clear()
        for model in sorted(self._touched):
            clock = self.clocks.get(model)
            if clock is not None:
                predictions, labels = clock.advance(self._partitions)
                outputs.extend(self._catch_up(model, clock, clock.complete(self._partitions)))
                outputs.extend(self._learn(model))
                outputs.extend(self._feeding.feed(model, predictions, labels, predictions))
                outputs.extend(self._early(model))
        self._write()
        return outputs

    def finish(self) -> list[Output]:
        """End of input: close and publish every window as if event time had passed them all."""
        outputs: list[Output] = []
        for model, clock in sorted(self.clocks.items()):
            clock.reached = (max(clock.latest, clock.reached[0]), clock.reached[1])
            self._unfinished.add(model)
            while model in self._unfinished:
                self._unfinished.discard(model)
                outputs.extend(self._catch_up(model, clock, float("inf")))
            # Learned baselines first, so that the last windows are compared with them.
            outputs.extend(self._learn(model))
            outputs.extend(self._feeding.feed(model, float("inf"), float("inf"), clock.reached[0]))
            outputs.extend(self._windows_due(model, max(clock.reached), final=True))
        self._write()
        return outputs

    def _catch_up(self, model: str, clock: ModelClock, complete: float) -> list[Output]:
        """Merge what arrived up to event time ``complete``, quantum by quantum, and judge in between."""
        spec = self._registry.spec(model)
        reached, grid = min(clock.reached[0], complete), QuantumGrid(spec)
        outputs: list[Output] = []
        merged = 0
        for moment in sorted({*self._early_parts.arrivals(model, complete), grid.start(grid.index(reached))}):
            if merged >= MAX_MERGED:
                self._unfinished.add(model)
                break
            if clock.judged < moment <= reached:
                outputs.extend(self._judge_at(model, moment, clock.reached))
                clock.judged = moment
                spec = self._registry.spec(model)
            for part in self._early_parts.take(model, moment):
                self._merge(model, spec, part, clock.judged)
                merged += 1
        return outputs

    def _judge_at(self, model: str, moment: float, reached: tuple[float, float]) -> list[Output]:
        """Everything that depends on how far event time is, at the start of a quantum."""
        outputs = self._learn(model)
        outputs.extend(self._feeding.feed(model, min(reached[0], moment), min(reached[1], moment), moment))
        outputs.extend(self._early(model))
        outputs.extend(self._windows_due(model, moment))
        return outputs

    def _early(self, model: str) -> list[Output]:
        """Verdicts on open windows that do not wait for them to close, as of the newest data in them."""
        outputs: list[Output] = []
        for header in self.windows.fresh(model):
            outputs.extend(self._judge.early(header, self._version(model, header.version).delays, header.latest))
        return outputs

    def _windows_due(self, model: str, now: float, final: bool = False) -> list[Output]:
        """Publish and judge what is due at event time ``now``, oldest window first, of those that end together the shortest,
        whose verdicts the longer ones heed; forget what is past."""
        spec = self._registry.spec(model)
        due = {id(h): (h, reason) for h in self.windows.pending(model) if (reason := self._due(h, spec, now, final))}
        for (owner, name), version in self.versions.items():
            if owner == model:
                # At the end of input every label that will come is in.
                ended_by = float("inf") if final else now - version.delays.settle_after(spec, now)
                for header in self.windows.unsettled(model, name, ended_by):
                    due[id(header)] = (header, "settled")
        outputs: list[Output] = []
        published: list[Header] = []
        ordered = sorted(due.values(), key=lambda item: (item[0].end, -item[0].start, item[0].version))
        for header, reason in chain(ordered, self._made_stale(model, final)):
            version = self._version(model, header.version)
            if reason == "closed":
                header.closed = True
                if not final and now < header.end + version.delays.settle_after(spec, now):
                    self.windows.closed(header)
                else:
                    self._settle(header, version)
            elif reason == "settled":
                self._settle(header, version)
            outputs.extend(self._judge.publish(header, version.delays, version.grades, now, reason))
            published.append(header)
            if header.settled:
                self._changed_versions.add((version.model, version.version))
        past = self._past[model] = now - max(spec.retention, spec.label_horizon) - SLACK
        outputs.extend(self.rollouts.advance(model, self._seen(model), published, now, final, past))
        self.windows.forget_before(model, past)
        return outputs

    def _made_stale(self, model: str, final: bool) -> Iterator[tuple[Header, str]]:
        """At the end of input, the windows that publishing the ones before them has made stale; they make no others so."""
        if final:
            yield from ((header, "end") for header in self.windows.pending(model) if header.stale)

    def _seen(self, model: str) -> dict[str, Seen]:
        """The model's versions, as a comparison of them needs to know them."""
        return {name: Seen(of.role, of.delays.first) for (owner, name), of in self.versions.items() if owner == model}

    def _settle(self, header: Header, version: Version) -> None:
        header.settled = True
        outcome = self.windows.outcome(header, ())
        version.delays.mature(self.windows.data(header, ()).predictions, outcome.labels - outcome.implied)
        self._changed_versions.add((version.model, version.version))

    def _due(self, header: Header, spec: ModelSpec, now: float, final: bool) -> str | None:
        if not header.closed:
            if now >= header.end + spec.grace or final:
                return "closed"
            return None
        if final and (header.dirty or header.stale):
            return "end"
        if (header.dirty or header.stale) and now >= header.published + spec.published_every(header.end - header.start):
            return "data" if header.data_dirty else "labels" if header.dirty else "before"
        return None

    # -- baselines -----------------------------------------------------------------------------------------------

    def _learn(self, model: str) -> list[Output]:
        outputs = []
        spec = self._registry.spec(model)
        for name, learning in list(self._learning.items()):
            wanted = spec.baseline_for(name[1]).learned_from
            whole = learning.get(())
            if name[0] != model or not wanted or whole is None or whole.predictions < wanted:
                continue
            task = spec.task or infer_task(whole)
            baseline = Baseline.learned(model, name[1], learning)
            known = msgspec.structs.replace(spec, task=task)
            for part in (baseline, *baseline.parts.values()):
                # No labels were there to learn from: nothing is known of outcomes.
                said = numbers(part.data, part.outcome, known, None, None, None)
                part.metrics = {group: said[group] for group in ("system", "data", "prediction")}
            # Those unseen for longest go first where there is no room for all.
            versions = sorted((v for m, v in self.versions if m == model), key=lambda v: self.versions[model, v].last)
            key, value = self._registry.learned(model, name[1], baseline, versions, task=task)
            self._registry.apply(key, value)
            outputs.append(Output(MODELS, key, value))
            version = self._version(*name)
            version.learned = True
            self._changed_versions.add(name)
            for segment in self._learning.pop(name):
                self._learnt.discard((*name, segment))
                self._store.delete(_learning_key(*name, segment))
        return outputs

    # -- state ---------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        put = self._store.put
        self.windows.flush()
        self.rollouts.flush()
        self._early_parts.flush()
        for name in self._changed_versions:
            put(VERSION + b"\0".join(part.encode() for part in name), _encode(self.versions[name]))
        for model, version, segment in self._learnt:
            put(_learning_key(model, version, segment), self._learning[model, version][segment].pack())
        self._feeding.flush()
        if self._standings_changed:
            for partition, standing in self._partitions.standings.items():
                put(STANDING + b"%d" % partition, _encode(standing))
        for model in self._touched:
            if model in self.clocks:
                put(CLOCK + model.encode(), _encode(self.clocks[model]))
        self._changed_versions.clear()
        self._learnt.clear()
        self._touched.clear()
        self._standings_changed = False

    def expired(self, pairs: Mapping[bytes, bytes]) -> list[bytes]:
        """Trace contexts that no window can be about any more; windows are forgotten as time goes on."""
        return old_traces(pairs, sortable_second(min(self._past.values(), default=0.0)))


def _learning_key(model: str, version: str, segment: Segment | None = None) -> bytes:
    """The key of one segment's profile; without a segment what the keys of all begin with."""
    return b"%s%s\0%s\0%s" % (LEARNING, model.encode(), version.encode(), b"" if segment is None else _encode(segment))


def _segment_of(key: bytes) -> Segment:
    return _decode_segment(key.split(b"\0", 2)[2])


def infer_task(data: DataProfile) -> Any:
    """The task some predictions suggest: a score or two 0/1 classes make it binary, texts multiclass, other numbers
    regression."""
    classes = data.result_class.counts
    score = data.results.index("score")
    if (score is not None and data.results.count[score]) or (classes and set(classes) <= {"0", "1"}):
        return "binary" if not classes or set(classes) <= {"0", "1"} else "multiclass"
    value = data.results.index("value")
    numeric = value is not None and data.results.count[value] > 0
    return "regression" if numeric else "multiclass" if classes else None
