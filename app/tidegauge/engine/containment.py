"""No input stops a stage: a record it cannot process becomes a dead letter, and the others count as if it had not come.

A stage never undoes anything. So when processing or a checkpoint raises, whatever it raises, the stage is thrown away and built
again from what was last settled, the records since then are given to it once more, a checkpoint at once, and where that raises
again they are halved until the record that does it stands alone. A failure at a checkpoint, long after its record was read, is
thus found like any other. What fails without any record at hand (a disk, memory that is not there, the state itself) is not the
fault of a record and is raised.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Generic, Protocol, TypeVar

from tidegauge.engine.refusals import UNPROCESSABLE, dead_letter
from tidegauge.engine.stage import AS_TAKEN, NOTHING, Behind, Counters, InputRecord, Output, Stage, Store
from tidegauge.errors import StreamError

log = logging.getLogger(__name__)
NOT_THE_INPUT = (StreamError, OSError)
"""What no record is to blame for."""
TOLD = 5
"""Dead letters that one line of the log names."""
S = TypeVar("S", bound=Stage)


class RevertibleStore(Store, Protocol):
    """A store that can go back to what was last settled."""

    def revert(self) -> None: ...


class ContainedStage(Generic[S]):
    """A stage of one ``partition`` that ``build`` makes upon a store. ``counters``, shared by a worker's tasks, are told what
    the stage counts once a checkpoint has settled it."""

    def __init__(
        self, build: Callable[[Store, Counters], S], store: RevertibleStore, partition: int, counters: Counters
    ) -> None:
        self._build, self._store, self._partition, self._counters = build, store, partition, counters
        self._counted: Counters = Counter()
        self.stage = build(store, self._counted)
        self._since: list[tuple[str, Sequence[InputRecord]]] = []
        self._failed = False
        self._buried: list[str] = []

    @property
    def unfinished(self) -> bool:
        return self.stage.unfinished

    def process(self, topic: str, records: Sequence[InputRecord]) -> None:
        """As ``Stage.process``; what fails is seen to at the next checkpoint."""
        self._since.append((topic, records))
        if not self._failed:
            try:
                self.stage.process(topic, records)
            except NOT_THE_INPUT:
                raise
            except Exception as error:
                self._note(error)

    def checkpoint(self, now: float, *, idle: bool = False, behind: Behind = NOTHING) -> list[Output]:
        """As ``Stage.checkpoint``."""
        outputs: list[Output] = []
        if not self._failed:
            try:
                outputs = self.stage.checkpoint(now, idle=idle, behind=behind)
            except NOT_THE_INPUT:
                raise
            except Exception as error:
                self._note(error)
        if self._failed:
            outputs = self._without_poison(now, behind)
            outputs.extend(self.stage.checkpoint(now, idle=idle, behind=behind))
            self._failed = False
        self._since.clear()
        self._counters.update(self._counted)
        self._counted.clear()
        return outputs

    def kept(self, value: bytes | None) -> bytes | None:
        """As ``Stage.kept``."""
        return self.stage.kept(value)

    def expired(self, pairs: Mapping[bytes, bytes]) -> list[bytes]:
        """As ``Stage.expired``."""
        return self.stage.expired(pairs)

    def _note(self, error: Exception) -> None:
        self._failed = True
        log.error("%d records are looked through for what cannot be processed", self._waiting(), exc_info=error)

    def _waiting(self) -> int:
        return sum(len(records) for _, records in self._since)

    def _without_poison(self, now: float, behind: Behind) -> list[Output]:
        """Settle the records since the last checkpoint upon a stage built anew, less those that cannot be processed."""
        self._store.revert()
        self._counted.clear()
        layer = _Layer(self._store)
        stage = self._build(layer, self._counted)
        outputs: list[Output] = []
        parts = [[(topic, record) for topic, records in self._since for record in records]]
        behind = {**dict.fromkeys((topic for topic, _ in self._since), AS_TAKEN), **behind}
        while parts:
            part = parts.pop()
            before = self._counted.copy()
            try:
                for topic, records in groupby(part, key=itemgetter(0)):
                    stage.process(topic, [record for _, record in records])
                said = stage.checkpoint(now, behind=behind)
            except NOT_THE_INPUT:
                raise
            except Exception as error:
                if not part:
                    raise
                layer.changes.clear()
                self._counted.clear()
                self._counted.update(before)
                stage = self._build(layer, self._counted)
                if len(part) > 1:
                    middle = len(part) // 2
                    parts += (part[middle:], part[:middle])
                else:
                    outputs.append(self._bury(*part[0], error))
            else:
                layer.settle()
                outputs.extend(said)
        log.error("%d dead letters, which cannot be processed: %s", len(self._buried), "; ".join(self._buried[:TOLD]))
        self._buried.clear()
        self.stage = self._build(self._store, self._counted)
        return outputs

    def _bury(self, topic: str, record: InputRecord, error: Exception) -> Output:
        self._counted["events", topic] += 1
        self._counted["dead_lettered", UNPROCESSABLE] += 1
        kept = self.stage.kept(record.value)
        # An error's message may quote the record.
        words = f"{type(error).__name__}: {error}" if kept == record.value else type(error).__name__
        self._buried.append(f"{topic} {self._partition}, offset {record.offset}: {words}")
        return dead_letter(topic, self._partition, record, UNPROCESSABLE, words, kept)


class _Layer:
    """A store whose changes lie above another's until they are settled; None is a delete."""

    def __init__(self, below: Store) -> None:
        self._below = below
        self.changes: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        return self.changes[key] if key in self.changes else self._below.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        found = self._below.get_many(keys)
        return [self.changes.get(key, value) for key, value in zip(keys, found, strict=True)]

    def put(self, key: bytes, value: bytes) -> None:
        self.changes[key] = value

    def put_many(self, pairs: Mapping[bytes, bytes]) -> None:
        self.changes.update(pairs)

    def delete(self, key: bytes) -> None:
        self.changes[key] = None

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        pairs: dict[bytes, bytes | None] = dict(self._below.scan(prefix))
        pairs |= {key: value for key, value in self.changes.items() if key.startswith(prefix)}
        for key in sorted(pairs):
            value = pairs[key]
            if value is not None:
                yield key, value

    def settle(self) -> None:
        for key, value in self.changes.items():
            if value is None:
                self._below.delete(key)
            else:
                self._below.put(key, value)
        self.changes.clear()
