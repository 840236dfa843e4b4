"""The monitor stage: merges profile deltas into windows; closes, settles and restates windows; judges them and alerts.

State of one task, all in its store: windows (``monitor/windows.py``, ``monitor/window_profiles.py``), versions
(``monitor/versions.py``), baselines that are being learned (``monitor/learning.py``), detectors (``monitor/detector_feed.py``),
parts of deltas that wait for their time (``monitor/early_parts.py``), rows that are not counted yet (``monitor/row_log.py``),
alerts (``alert/book.py``), incomplete rounds of publication (``monitor/publication_rounds.py``), trace contexts
(``engine/traces.py``), rollouts (``monitor/rollouts.py``), and
    x<partition>                      the state of a join partition
    m<model>                          the clock of a model
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from functools import partial
from math import inf
from typing import Any

import msgspec

from tidegauge.alert.book import AlertBook
from tidegauge.alert.playbooks import DIRECTORY
from tidegauge.engine import delta
from tidegauge.engine.arrival_quanta import QuantumGrid
from tidegauge.engine.delta import Delta, Part
from tidegauge.engine.event_time import EventTimes, ModelClock, PartitionClock, PartitionState
from tidegauge.engine.set_aside import NOT_THE_INPUT, Failure, SetAside, WorkFailed
from tidegauge.engine.sortable_time import sortable_second
from tidegauge.engine.stage import NOTHING, Behind, Counters, InputRecord, Output, Store
from tidegauge.engine.traces import old_traces
from tidegauge.models.registry import Registry
from tidegauge.monitor.confidence_readings import ConfidenceReadings
from tidegauge.monitor.detector_feed import DetectorFeed
from tidegauge.monitor.due_windows import DueWindows
from tidegauge.monitor.early_parts import EarlyParts
from tidegauge.monitor.judging import WindowJudge
from tidegauge.monitor.learning import BaselineLearning
from tidegauge.monitor.part_merging import PartMerging
from tidegauge.monitor.publication_rounds import PublicationRounds, Round
from tidegauge.monitor.publishing import Publisher
from tidegauge.monitor.quiet_alerts import QuietAlerts
from tidegauge.monitor.rollouts import Rollouts
from tidegauge.monitor.traffic_totals import TrafficTotals
from tidegauge.monitor.versions import Version, Versions
from tidegauge.monitor.window_baselines import WindowBaselines
from tidegauge.monitor.window_records import WindowRecords
from tidegauge.monitor.windows import Windows, oldest_kept
from tidegauge.monitor.work_pieces import (
    PART,
    detectors_of,
    learning_of,
    merging_of,
    publishing_of,
    quiet_alerts_of,
    rollouts_of,
    work_of_output,
    work_of_part,
)
from tidegauge.spec import ModelSpec, ModelVersion

PARTITION, CLOCK = b"x", b"m"
MAX_WORK = 1000
"""How many parts of deltas a checkpoint merges of one model, together with the outputs that follow; what is more waits for the
next ones. The models that have left work to a checkpoint share one such amount, and so do those whose changed windows are
published because the input is idle. So backlogs are worked off in many small checkpoints, and the alerts of other models come
with each of them."""
_encode = msgspec.msgpack.Encoder().encode


class MonitorStage:
    """One partition of the monitor. ``partitions``: how many the join has; ``counters``: shared by all tasks of a worker;
    ``playbooks``: as in Announcer."""

    def __init__(
        self, store: Store, registry: Registry, partitions: int, counters: Counters,
        playbooks: str = DIRECTORY,
    ) -> None:  # fmt: skip
        self._store, self._registry, self._counters = store, registry, counters
        self._aside = SetAside(store)
        self.windows = Windows(store, ConfidenceReadings(registry).otherwise)
        self.alerts = AlertBook(store, playbooks, registry.lineage)
        self._versions = Versions(store)
        self._early_parts = EarlyParts(store)
        baselines = WindowBaselines(self.windows, registry)
        records = WindowRecords(self.windows, baselines)
        judge = WindowJudge(self.windows, records, baselines, self.alerts, self._aside)
        self._due_windows = DueWindows(self.windows, self._versions)
        self._publisher = Publisher(self.windows, records, baselines, judge, self._versions)
        self._rounds = PublicationRounds(store, self.windows, self._due_windows, self._publisher, self._aside)
        self._learning = BaselineLearning(store, registry, self._versions, self.windows, self._aside)
        self._merging = PartMerging(self.windows, self._versions, self._learning, self.alerts.traces, counters)
        self.windows.log.discard_all_taken()
        self._quiet_alerts = QuietAlerts(self.windows, self.alerts)
        self.rollouts = Rollouts(store, self.windows, self.alerts, registry)
        decode_standing = msgspec.msgpack.Decoder(PartitionState).decode
        self._partitions = PartitionClock(
            partitions, {int(key[1:]): decode_standing(raw) for key, raw in store.scan(PARTITION)}
        )
        decode_clock = msgspec.msgpack.Decoder(ModelClock).decode
        self.clocks: dict[str, ModelClock] = {k[1:].decode(): decode_clock(raw) for k, raw in store.scan(CLOCK)}
        self._detectors = DetectorFeed(store, registry, self.alerts.detections, counters)
        for header in self.windows.newest_closed():
            reached = self.clocks.get(header.model, ModelClock()).reached.predictions
            self._aside.attempt(publishing_of(header), partial(self._publisher.recall, header, reached), None)
        self._heard: set[int] = set()
        self._to_forget: set[str] = set()
        self._past: dict[str, float] = {}
        self._touched: set[str] = set()
        self._unfinished = {model for model, clock in self.clocks.items() if self._has_more_to_do(model, clock)}

    @property
    def unfinished(self) -> bool:
        """Whether the last checkpoint left parts of deltas unmerged or a round incomplete, so that the next one should follow
        without waiting."""
        return bool(self._unfinished)

    @property
    def traffic(self) -> Mapping[ModelVersion, TrafficTotals]:
        """What each version has predicted since the task began."""
        return self._merging.traffic

    @property
    def versions(self) -> Mapping[ModelVersion, Version]:
        return self._versions.by_name

    @property
    def newest(self) -> Iterator[dict[str, Any]]:
        """The record of the newest closed window of each model, version, window length and segment."""
        return map(msgspec.json.decode, self._publisher.newest_records)

    # -- deltas in -----------------------------------------------------------------------------------------------

    def process(self, topic: str, records: Sequence[InputRecord]) -> None:
        for record in records:
            if record.value is not None:
                self._take(delta.decode(record.value))

    def _take(self, message: Delta) -> None:
        if message.forgotten:
            self._to_forget.update(message.forgotten)
            return
        self._partitions.hear(message.partition, message.now, message.idle)
        self._heard.add(message.partition)
        if not message.model:
            self._touched.update(self.clocks)
            return
        model = message.model
        self._touched.add(model)
        clock = self.clocks.setdefault(model, ModelClock())
        for part in message.parts:
            self._early_parts.add(model, part)
        for switch in message.roles:
            self._versions.note_switch(model, switch)
        if message.traces:
            self.alerts.traces.keep(message.traces, max(message.watermark, clock.reached.predictions))
        if message.samples and detectors_of(model).key not in self._aside:
            self._detectors.add(model, message.samples)
        clock.hear(message.partition, message.watermark, message.label_watermark, message.read, message.now)

    def _merge_unless_set_aside(self, model: str, spec: ModelSpec, part: Part, now: float) -> None:
        """Merge a part of a delta that is due at event time ``now`` into its windows."""
        if self._aside.holds(PART) and merging_of(model, part).key in self._aside:
            return
        try:
            self._merging.merge(model, spec, part, now)
        except NOT_THE_INPUT:
            raise
        except Exception as error:
            raise WorkFailed([Failure(merging_of(model, part), error)]) from error

    # -- checkpoint ----------------------------------------------------------------------------------------------

    def checkpoint(self, now: float, *, idle: bool = False, behind: Behind = NOTHING) -> list[Output]:
        outputs: list[Output] = []
        heard = bool(self._touched or self._unfinished)
        if idle and self._partitions.tick(now):
            self._touched.update(self.clocks)
        self._touched |= self._unfinished
        backlogs, self._unfinished = self._unfinished, set()
        when_idle = MAX_WORK
        for model in sorted(self._touched):
            clock = self.clocks.get(model)
            if clock is not None:
                reached = clock.advance(self._partitions)
                complete = clock.complete(self._partitions)
                most = max(MAX_WORK // len(backlogs), 1) if model in backlogs else MAX_WORK
                outputs.extend(self._catch_up(model, clock, complete, most))
                if model in self._rounds:
                    continue
                outputs.extend(self._learn(model))
                # A label that is read before its prediction is only counted with it, so detectors wait for both inputs.
                outputs.extend(self._feed(model, reached.until(complete), reached.predictions))
                outputs.extend(self._early(model))
                nothing_to_come = self._partitions.all_idle_for() is not None and model not in self._unfinished
                if nothing_to_come and (changed := self._due_windows.changed(model)):
                    self._rounds.begin(model, changed, clock.judged)
                    said, work = self._go_on(model, clock, when_idle)
                    outputs.extend(said)
                    when_idle = max(when_idle - work, 0)
                    self._unfinished.update({model} & {*self._rounds})
        if not (heard or outputs):
            # Only time has passed, which follows from the state of the partitions after a restart, too.
            self._touched.clear()
        self._write()
        self._aside.check()
        return outputs

    def _has_more_to_do(self, model: str, clock: ModelClock) -> bool:
        """Whether the task has left work on a model, before it was restarted, that follows from what it had heard."""
        complete, grid = clock.complete(self._partitions), QuantumGrid(self._registry.spec(model))
        reached = grid.start(grid.index(min(clock.reached.predictions, complete)))
        return model in self._rounds or clock.judged < reached or bool(self._early_parts.arrivals(model, complete))

    def finish(self) -> list[Output]:
        """At the end of input: close and publish every window, as if event time had passed all of them."""
        outputs: list[Output] = []
        for model in self._rounds:
            outputs.extend(self._go_on(model, self.clocks[model], inf)[0])
        for model, clock in sorted(self.clocks.items()):
            clock.reached = EventTimes(max(clock.latest, clock.reached.predictions), clock.reached.labels)
            self._unfinished.add(model)
            while model in self._unfinished:
                self._unfinished.discard(model)
                outputs.extend(self._catch_up(model, clock, inf, MAX_WORK))
            # Baselines are learned first, so that the last windows are compared with them.
            outputs.extend(self._learn(model))
            outputs.extend(self._feed(model, EventTimes(inf, inf), clock.reached.predictions))
            self._begin_round(model, max(clock.reached), final=True)
            outputs.extend(self._go_on(model, clock, inf, final=True)[0])
        self._write()
        self._aside.check()
        return outputs

    def _catch_up(self, model: str, clock: ModelClock, complete: float, most: int) -> list[Output]:
        """Merge the parts that arrived up to event time ``complete``, quantum by quantum, and judge windows between quanta; the
        model is unfinished if that takes more work than ``most``."""
        spec = self._registry.spec(model)
        reached, grid = min(clock.reached.predictions, complete), QuantumGrid(spec)
        outputs, work = self._go_on(model, clock, most) if model in self._rounds else ([], 0)
        for moment in sorted({*self._early_parts.arrivals(model, complete), grid.start(grid.index(reached))}):
            if clock.judged < moment <= reached and model not in self._rounds:
                judged = self._judge_at(model, moment, clock.reached)
                outputs.extend(judged)
                work += sum(map(work_of_output, judged))
                judged, more = self._go_on(model, clock, most - work)
                outputs.extend(judged)
                work += more
                spec = self._registry.spec(model)
            if model in self._rounds:
                self._unfinished.add(model)
                break
            while work < most and (part := self._early_parts.take(model, moment)) is not None:
                self._merge_unless_set_aside(model, spec, part, clock.judged)
                work += work_of_part(part)
            if work >= most:
                self._unfinished.add(model)
                break
        return outputs

    def _judge_at(self, model: str, moment: float, reached: EventTimes) -> list[Output]:
        """Do everything that depends on event time, at the start ``moment`` of a quantum, but for the windows that are due:
        their round begins."""
        outputs = self._learn(model)
        outputs.extend(self._feed(model, reached.until(moment), moment))
        outputs.extend(self._early(model))
        self._begin_round(model, moment)
        return outputs

    def _learn(self, model: str) -> list[Output]:
        return self._aside.require(learning_of(model), partial(self._learning.learn, model), [])

    def _feed(self, model: str, reached: EventTimes, now: float) -> list[Output]:
        return self._aside.require(detectors_of(model), partial(self._detectors.feed, model, reached, now), [])

    def _early(self, model: str) -> list[Output]:
        """Judge open windows as of their newest predictions, by monitors that do not wait for them to close."""
        outputs: list[Output] = []
        for header, sound in self.windows.fresh(model):
            work = partial(self._publisher.early, header, sound, header.latest)
            outputs.extend(self._aside.attempt(publishing_of(header), work, []))
        return outputs

    # -- windows that are due --------------------------------------------------------------------------------------

    def _begin_round(self, model: str, now: float, final: bool = False) -> None:
        """Begin to publish and judge the windows that are due at event time ``now``, and to delete those past their
        retention."""
        spec = self._registry.spec(model)
        gone = list(self.windows.pending.past(model, oldest_kept(spec, now)))
        self._rounds.begin(model, self._due_windows.at(spec, now, gone, final), now, gone)

    def _go_on(self, model: str, clock: ModelClock, most: float, final: bool = False) -> tuple[list[Output], int]:
        """Go on with the round of a model, and do what follows once it is complete; return the outputs and the work that it
        took, which is about ``most`` at most."""
        outputs, work = self._rounds.advance(self._registry.spec(model), most, final)
        done = self._rounds.completed(model)
        if done is not None:
            outputs.extend(self._complete(model, done, final))
            if not final:
                clock.judged = done.moment
        return outputs, work

    def _complete(self, model: str, done: Round, final: bool) -> list[Output]:
        """Publish the comparisons of versions that follow from a round, end alerts, and delete windows."""
        outputs: list[Output] = []
        past = self._past[model] = oldest_kept(self._registry.spec(model), done.moment)
        if done.published or final or self.rollouts.known(model):
            compare = partial(self._compare, model, done, past, final)
            outputs.extend(self._aside.require(rollouts_of(model), compare, []))
        if done.closes and not final:
            resolve = partial(self._quiet_alerts.resolve, model, done.moment)
            outputs.extend(self._aside.require(quiet_alerts_of(model), resolve, []))
        self._rounds.delete(done.gone)
        return outputs

    def _compare(self, model: str, done: Round, past: float, final: bool) -> list[Output]:
        versions = self._versions.seen_versions(model)
        outputs = self.rollouts.advance(model, versions, done.published, done.moment, final)
        self.rollouts.let_go(model, past)
        return outputs

    # -- state ---------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        put = self._store.put
        # The log comes last, since learning and windows count rows, which the log then discards.
        for rows in self.windows.rows_to_count():
            self._aside.attempt(
                publishing_of(rows.header), partial(self.windows.count, rows.header, rows.side, rows.segments), None
            )
        for part in (
            self._learning, self._rounds, self.windows, self._versions, self.rollouts, self._early_parts, self._detectors,
            self.windows.log,
        ):  # fmt: skip
            part.flush()
        for partition in self._heard:
            put(PARTITION + b"%d" % partition, _encode(self._partitions.states[partition]))
        for model in self._touched:
            if model in self.clocks:
                put(CLOCK + model.encode(), _encode(self.clocks[model]))
        self._aside.forget(PART)
        self._touched.clear()
        self._heard.clear()
        if self._to_forget:
            self._forget(self._to_forget)
            self._to_forget.clear()

    def _forget(self, request_ids: Set[str]) -> None:
        """Remove requests from all state. Call it after the state was written."""
        # The alerts come last: they delete the trace contexts that the merging looks up.
        for part in (self._merging, self.windows, self._early_parts, self.alerts):
            part.forget_requests(request_ids)

    def kept(self, value: bytes | None) -> bytes | None:
        """As ``Stage.kept``: deltas hold no personal data."""
        return value

    def expired(self, pairs: Mapping[bytes, bytes]) -> list[bytes]:
        """As in ``Stage``: the trace contexts that belong to no window any more. Windows are forgotten otherwise."""
        return old_traces(pairs, sortable_second(min(self._past.values(), default=0.0)))
