"""Everything that the console shows, rebuilt from the topics' records. Uses no Kafka, no asyncio, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from tidegauge.alert.operations import OPERATIONS, Operations
from tidegauge.console.alert_history import AlertHistory
from tidegauge.console.dead_letters import DeadLetters
from tidegauge.console.incident_history import IncidentHistory
from tidegauge.console.published_windows import BUDGET, KeyedRecord, PublishedWindows
from tidegauge.console.unclosed_windows import OpenWindows
from tidegauge.engine.stage import ALERTS, DEAD_LETTERS, INCIDENTS, METRICS, MODELS, OPEN_WINDOWS, PROFILES
from tidegauge.errors import SpecError
from tidegauge.models.registry import Registry
from tidegauge.stream.reading_progress import Progress


class TopicRecord(KeyedRecord, Protocol):
    """The members of a record that the view uses."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...
    @property
    def timestamp(self) -> int: ...


class Changes(msgspec.Struct):
    """What has changed since the last call of ``View.changes``. ``models``: the changed models; ``alerts``: alerts, incidents,
    or how open windows beyond a limit stand."""

    models: set[str] = set()
    alerts: bool = False
    operations: bool = False
    stream: bool = False
    reading: bool = False

    def __bool__(self) -> bool:
        return bool(self.models) or self.alerts or self.operations or self.stream or self.reading


class View:
    """The content of the topics. ``take`` and ``take_older`` add records; the members answer questions.

    ``problems``: by model, the reason why its spec or baseline cannot be shown. ``read``: the share of the older records that
    has been taken in; 1 once all are.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self.windows = PublishedWindows(budget)
        self.open_windows = OpenWindows()
        self.operations = Operations()
        self.alerts = AlertHistory(self.operations.forgotten)
        self.incidents = IncidentHistory()
        self.letters = DeadLetters(self.operations.forgotten)
        self.progress = Progress()
        self.registry = Registry()
        self.problems: dict[str, str] = {}
        self.newest_record = 0.0
        self.read = 1.0
        self._changes = Changes()
        # The models of the alerts in the current block, which is shown once it is complete.
        self._older_alerts: set[str] = set()

    def take(self, topic: str, records: Iterable[TopicRecord]) -> None:
        """Take in records of the logical ``topic``, in offset order. Never raises for invalid records."""
        changes = self._changes
        if topic == METRICS:
            take = self.windows.take
            timestamp = 0
            for record in records:
                model = take(record.key, record.value)
                timestamp = record.timestamp
                if model is not None:
                    changes.models.add(model)
            self.newest_record = max(self.newest_record, timestamp / 1000)
        elif topic == OPEN_WINDOWS:
            for record in records:
                changes.alerts |= self.open_windows.take(record.key, record.value)
        elif topic == ALERTS:
            for record in records:
                model = self.alerts.take(record.value)
                if model is not None:
                    changes.models.add(model)
                    changes.alerts = True
        elif topic == INCIDENTS:
            self._take_incidents(records)
        elif topic == MODELS:
            for record in records:
                self._model(record)
        elif topic == DEAD_LETTERS:
            for record in records:
                self.letters.take(record.headers, record.key, record.value, record.timestamp)
                changes.stream = True
        elif topic == OPERATIONS:
            for record in records:
                self.operations.apply(record.key, record.value)
                changes.operations = changes.alerts = True
        elif topic == PROFILES:
            for record in records:
                model = self.progress.take(record.value)
                if model is not None:
                    changes.models.add(model)

    def take_older(self, topic: str, records: Iterable[TopicRecord]) -> None:
        """Take in records of metrics, alerts or dead letters that are older than those of ``take``: in blocks, each older than
        the previous one, and in offset order within a block."""
        changes = self._changes
        if topic == METRICS:
            changes.models |= self.windows.take_older_all(records)
        elif topic == ALERTS:
            for record in records:
                model = self.alerts.take_older(record.value)
                if model is not None:
                    self._older_alerts.add(model)
        elif topic == INCIDENTS:
            self._take_incidents(records)
        elif topic == DEAD_LETTERS:
            for record in records:
                self.letters.take(record.headers, record.key, record.value, record.timestamp, older=True)
                changes.stream = True

    def end_of_block(self, last: bool) -> None:
        """End a block of older records. ``last``: there is no further block."""
        self.windows.end_of_block(last)
        self.alerts.end_of_block()
        self.letters.end_of_block()
        self._changes.alerts |= bool(self._older_alerts)
        self._changes.models |= self._older_alerts
        self._older_alerts.clear()

    def has_read(self, share: float) -> None:
        """Note the share of the older records that has been taken in."""
        self._changes.reading |= share != self.read
        self.read = share

    def measured(self) -> None:
        """Note that ``progress`` has a new measurement."""
        self._changes.stream = True

    def operations_changed(self) -> None:
        """Note that ``operations`` was changed by something other than a record."""
        self._changes.operations = self._changes.alerts = True

    def changes(self) -> Changes:
        """Return what has changed since the last call."""
        changes, self._changes = self._changes, Changes()
        return changes

    def models(self) -> list[str]:
        """Every model that has a spec or a window."""
        return sorted({*self.registry.models(), *self.windows.models()})

    def _take_incidents(self, records: Iterable[TopicRecord]) -> None:
        for record in records:
            model = self.incidents.take(record.value)
            if model is not None:
                self._changes.models.add(model)
                self._changes.alerts = True

    def _model(self, record: TopicRecord) -> None:
        model = (record.key or b"").decode("utf-8", "replace")
        try:
            self.registry.apply(record.key or b"", record.value)
            self.problems.pop(model, None)
        except SpecError as error:
            self.problems[model] = str(error)
        self._changes.models.add(model)
