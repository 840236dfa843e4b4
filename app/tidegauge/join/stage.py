"""The join stage: predictions and labels of one partition, joined by request id, summed up in profile deltas.

Its durable state: under ``r<request id>`` the predictions and labels of a request, kept until a day after the label horizon, so
that duplicates are recognised and corrections can take back what they correct; contexts (``join/contexts.py``), ranges of
features (``join/searched_requests.py``), trace contexts (``engine/traces.py``) and forgotten requests (``join/forgetting.py``).
Everything else is only buffered between checkpoints; what a failure loses is read again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import groupby

from tidegauge.engine import delta
from tidegauge.engine.delta import Delta
from tidegauge.engine.events import DeadLetter, Decoder, Label, Prediction
from tidegauge.engine.input_bytes import pieces
from tidegauge.engine.kpi_events import is_kpi_event, read_kpi_event
from tidegauge.engine.refusals import dead_letter
from tidegauge.engine.set_aside import SetAside, WorkPiece
from tidegauge.engine.sortable_time import sortable_second
from tidegauge.engine.stage import (
    AS_TAKEN,
    LABELS,
    NOTHING,
    PREDICTIONS,
    PROFILES,
    Behind,
    Counters,
    InputRecord,
    Output,
    Store,
)
from tidegauge.engine.traces import Traces, old_traces
from tidegauge.errors import EventError
from tidegauge.join.bounded_names import BoundedNames
from tidegauge.join.context_cache import ContextCache
from tidegauge.join.contexts import Contexts
from tidegauge.join.expiry import Expiry
from tidegauge.join.forgetting import Forgetting
from tidegauge.join.gathering import Gathering
from tidegauge.join.implied_labels import ImpliedLabels
from tidegauge.join.label_matching import LabelMatching
from tidegauge.join.other_schemas import note_other_schemas
from tidegauge.join.outcomes import Outcomes
from tidegauge.join.pane_profiles import PaneProfiles
from tidegauge.join.prediction_matching import PredictionMatching
from tidegauge.join.progress import Progress, TaskProgress
from tidegauge.join.request_state import UNDATED
from tidegauge.join.requests import Requests
from tidegauge.join.roles import Roles
from tidegauge.join.score import set_missing_scores
from tidegauge.join.searched_requests import SearchedRequests
from tidegauge.join.unattached_kpis import UnattachedKpis
from tidegauge.models.personal_data import PersonalData
from tidegauge.models.registry import DEFAULTS_KEPT, Registry
from tidegauge.spec import ModelSpec

INTRODUCED = b"h"
IMPLIED = b"i"
"""The prefix of the key of a piece of work that may be set aside: counting implied labels, from the first of them on."""
MAX_ROWS, MAX_BYTES = 20_000, 16 << 20
"""The most events of one task that wait to become columns, and the most bytes that they may have had. More would save little
time, and decoded they take three to four times as much."""


class JoinStage:
    """One partition of the join. ``counters``: shared by all tasks of a worker."""

    def __init__(
        self,
        partition: int,
        store: Store,
        registry: Registry,
        profile_partitions: int,
        counters: Counters,
    ) -> None:
        self._partition, self._store, self._registry = partition, store, registry
        self._profile_partitions, self._counters = profile_partitions, counters
        self._contexts = Contexts(store, registry.known)
        self._searched = SearchedRequests(store)
        contexts, names = self._contexts.by_id, BoundedNames(store, counters)
        profiles = PaneProfiles(contexts, registry, self._spec, names, self._searched)
        self._gathered = Gathering(partition, contexts, self._spec, names, profiles)
        self._progress = TaskProgress(store)
        self._traces = Traces(store)
        self._gathered.flush(self._progress.by_model)
        self._requests = Requests(store)
        outcomes = Outcomes(contexts, self._gathered, self._progress, self._spec, counters)
        self._predicted = PredictionMatching(self._requests, contexts, self._gathered, outcomes, counters)
        self._labelled = LabelMatching(self._requests, outcomes, self._gathered.pairs, counters)
        self._kpis = UnattachedKpis(store, self._contexts, self._gathered, self._progress)
        self._expiry = Expiry(self._requests, contexts, self._progress.by_model, self._spec, counters)
        self._aside = SetAside(store)
        self._implied = ImpliedLabels(self._requests, outcomes, self._gathered.pairs, counters)
        self._forgetting = Forgetting(store, self._requests, self._traces, self._implied, counters)
        self._predictions, self._labels = Decoder(Prediction), Decoder(Label)
        self._context_cache = ContextCache(self._contexts, self._spec, partial(self._bury, PREDICTIONS))
        self._revision = registry.revision
        self._personal = PersonalData(registry)
        self._schemas_matter = _schemas_matter(registry)
        self._rows = self._rows_since = self._bytes = 0
        self._dead: list[Output] = []
        self._roles = Roles()
        self._oldest = UNDATED
        self._now = 0.0
        # Up to which event time nothing was missing, as of the last checkpoint.
        self._complete: float | None = None
        self._told_idle: set[str] = set()
        self._specs: dict[str, ModelSpec] = {}

    @property
    def unfinished(self) -> bool:
        """As in ``Stage``: a checkpoint of the join leaves nothing undone."""
        return False

    # -- records in ----------------------------------------------------------------------------------------------

    def process(self, topic: str, records: Sequence[InputRecord]) -> None:
        if self._revision != self._registry.revision:
            # What is buffered was read under the old specs and baselines: settle it under them first.
            self._flush()
            self._revision = self._registry.revision
            self._personal = PersonalData(self._registry)
            self._schemas_matter = _schemas_matter(self._registry)
            self._context_cache.clear()
            self._specs.clear()
        self._counters["events", topic] += len(records)
        for piece in pieces(records, MAX_BYTES):
            self._bytes += piece.size
            self._take(topic, piece.records)

    def _take(self, topic: str, records: Sequence[InputRecord]) -> None:
        """Take records of at most MAX_BYTES together."""
        if topic == PREDICTIONS:
            predictions, taken, dead = self._predictions.chunk(records)
            predictions, taken = self._forgetting.not_forgotten(PREDICTIONS, predictions, taken)
            self._traces.note(predictions, taken)
            if self._schemas_matter:
                note_other_schemas(predictions, taken, self._spec)
            self._take_predictions(predictions, taken)
        elif topic == LABELS:
            labels, taken, dead = self._labels.chunk(records)
            self._take_labels(labels, taken)
            dead = [refused for letter in dead if (refused := self._take_kpis(letter)) is not None]
        else:
            raise AssertionError(f"the join stage reads predictions and labels, not {topic}")
        for letter in dead:
            self._bury(topic, letter)
        self._rows += len(taken)
        self._rows_since += len(taken)
        if self._rows >= MAX_ROWS or self._bytes >= MAX_BYTES:
            self._flush()

    def _take_labels(self, events: list[Label], records: list[InputRecord]) -> None:
        """Take labels, and forget those requests of which that is asked in between, in the order of the events."""
        if not any([event.forget for event in events]):
            self._progress.read_labels(events)
            self._labelled.take(*self._forgetting.not_forgotten(LABELS, events, records))
            return
        for forget, run in groupby(zip(events, records, strict=True), key=lambda pair: pair[0].forget):
            found = list(run)
            labels = [event for event, _ in found]
            if forget:
                self._forgetting.forget(labels)
                self._searched.forget([event.request_id for event in labels])
            else:
                self._take_labels(labels, [record for _, record in found])

    def _take_kpis(self, letter: DeadLetter) -> DeadLetter | None:
        """Try a record that is no label as KPIs that belong to no request; the dead letter to write if it is neither."""
        record = letter.record
        if letter.reason != "missing_member" or not is_kpi_event(record.value):
            return letter
        try:
            event = read_kpi_event(record)
            if float(event.ts) < self._expiry.cutoff(event.model):
                self._counters["expired", LABELS] += 1
                return None
            self._kpis.take(event, self._spec(event.model), self._counters)
        except EventError as error:
            return DeadLetter(record, error.reason, str(error))
        return None

    def _bury(self, topic: str, letter: DeadLetter) -> None:
        self._counters["dead_lettered", letter.reason] += 1
        record = letter.record
        self._dead.append(
            dead_letter(topic, self._partition, record, letter.reason, str(letter.message), self.kept(record.value))
        )

    def kept(self, value: bytes | None) -> bytes | None:
        """As ``Stage.kept``."""
        return self._personal.without(value)

    def _spec(self, model: str) -> ModelSpec:
        spec = self._specs.get(model)
        if spec is None:
            if len(self._specs) >= DEFAULTS_KEPT:
                self._specs = {name: of for name, of in self._specs.items() if self._registry.known(name)}
            spec = self._specs[model] = self._registry.spec(model)
        return spec

    def _take_predictions(self, events: list[Prediction], records: list[InputRecord]) -> None:
        found = self._context_cache.numbers(events, records)
        contexts = [context for context in found if context is not None]
        if len(contexts) < len(found):
            events = [event for event, context in zip(events, found, strict=True) if context is not None]
        self._roles.note(events, [self._contexts.by_id[context].model for context in contexts])
        if None in [event.score for event in events]:
            set_missing_scores(events, (self._spec(self._contexts.by_id[c].model) for c in contexts))
        specs = {context: self._spec(self._contexts.by_id[context].model) for context in set(contexts)}
        if any(spec.labels is not None for spec in specs.values()):
            self._implied.expect(events, contexts, [specs[context] for context in contexts])
        for context, event in dict(zip(contexts, events, strict=True)).items():
            if event.role in (None, "", "live"):
                of = self._contexts.by_id[context]
                self._progress.note_live(of.model, of.version, float(event.ts))
        for model, ts in self._predicted.take(events, contexts):
            self._progress.predicted(model, ts)

    def _imply(self, keys: Sequence[bytes]) -> None:
        self._implied.count(keys)
        self._flush()

    def _flush(self) -> None:
        self._gathered.flush(self._progress.by_model, AS_TAKEN if self._complete is None else self._complete)
        self._rows = self._bytes = 0

    # -- checkpoint ----------------------------------------------------------------------------------------------

    def checkpoint(self, now: float, *, idle: bool = False, behind: Behind = NOTHING) -> list[Output]:
        self._now = now
        complete = behind.get(PREDICTIONS, AS_TAKEN)
        if self._complete is None:
            self._complete = 0.0 if complete < AS_TAKEN else AS_TAKEN
        self._flush()
        for keys in self._implied.due(self._progress.reached(behind)):
            self._aside.require(
                WorkPiece(IMPLIED + keys[0], "", partial(_implied_words, keys)), partial(self._imply, keys), None
            )
        self._complete = complete
        self._oldest = sortable_second(max(map(self._expiry.cutoff, self.progress), default=0.0))
        outputs, self._dead = self._dead, []
        told, roles = self._progress.to_tell(behind), self._roles.take()
        for model, times in told.items():
            traces = self._traces.of(self._gathered.examples(model))
            outputs.extend(self._gathered.outputs(model, now, times, roles.get(model, ()), traces))
        self._told_idle.difference_update(told)
        outputs.extend(self._say_forgotten(now))
        if idle:
            outputs.extend(self._say_idle(now))
        if told or self._rows_since:
            self._requests.save()
        self._rows_since = 0
        self._gathered.clear()
        return outputs

    def _say_idle(self, now: float) -> list[Output]:
        """Tell monitor tasks that the input is exhausted, so that they do not wait for this task: of each model once, until it
        has events again. Monitor tasks of models that this task has never seen are told a single time in all the life of its
        state."""
        outputs: list[Output] = []
        if self._store.get(INTRODUCED) is None:
            self._store.put(INTRODUCED, b"1")
            beat = delta.encode(Delta(self._partition, "", now, True))
            outputs = [Output(PROFILES, None, beat, partition=partition) for partition in range(self._profile_partitions)]
        for model in sorted(self.progress.keys() - self._told_idle):
            reached = self.progress[model]
            said = Delta(self._partition, model, now, True, reached.predictions, reached.labels)
            outputs.append(Output(PROFILES, model.encode(), delta.encode(said)))
            self._told_idle.add(model)
        return outputs

    def _say_forgotten(self, now: float) -> list[Output]:
        """Tell every monitor task which requests to forget, after all that was said of them."""
        ids = self._forgetting.take_new()
        if not ids:
            return []
        said = delta.encode(Delta(self._partition, "", now, False, forgotten=ids))
        return [Output(PROFILES, None, said, partition=partition) for partition in range(self._profile_partitions)]

    # -- expiry --------------------------------------------------------------------------------------------------

    def expired(self, pairs: Mapping[bytes, bytes]) -> list[bytes]:
        oldest = self._oldest
        gone = self._expiry.expired_requests(pairs, oldest, self._now)
        gone += self._kpis.expired(pairs, oldest, self._expiry.cutoff)
        gone += self._searched.expired(pairs)
        return gone + old_traces(pairs, oldest) + self._forgetting.expired(pairs, oldest)

    @property
    def pending(self) -> int:
        """Requests of which only the prediction or only the label is known."""
        return self._requests.pending

    @property
    def progress(self) -> dict[str, Progress]:
        """How far each model has come."""
        return self._progress.by_model

    @property
    def unknown_members(self) -> int:
        """Accepted events that carried members the contract does not know."""
        return self._predictions.unknown + self._labels.unknown


def _schemas_matter(registry: Registry) -> bool:
    """Whether any spec says which schemas its predictions may have."""
    return any(registry.spec(model).schemas for model in registry.models())


def _implied_words(keys: Sequence[bytes]) -> str:
    return f"counting the labels that {len(keys)} predictions are taken to have"
