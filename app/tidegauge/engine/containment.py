"""Keeps a stage running whatever its input: a record that cannot be processed becomes a dead letter, and all others are
counted.

A stage cannot undo its work. When processing or a checkpoint raises any error, the stage is therefore discarded and built anew
from what was last settled. The records since then are processed again with a checkpoint; if that fails again, they are halved
until the failing record is alone. This also finds records that make a checkpoint fail long after they were read. If very many
records fail, the last ones become dead letters many at a time, including sound ones, so that no input can occupy a stage for
ever. Work on earlier records that fails is set aside (``engine/set_aside.py``), whatever the new records are. Errors that
neither records nor work cause (of a disk, or for lack of memory) are raised.
"""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Generic, NamedTuple, Protocol, TypeVar

from tidegauge.engine.refusals import SET_ASIDE, UNPROCESSABLE, dead_letter, letter_of_piece
from tidegauge.engine.set_aside import NOT_THE_INPUT, WorkFailed, set_aside
from tidegauge.engine.stage import AS_TAKEN, NOTHING, Behind, Counters, InputRecord, Output, Stage, Store

log = logging.getLogger(__name__)
TOLD = 5
"""The most dead letters that one line of the log names."""
MAX_TRIALS = 300
"""After this many failed trials at one checkpoint, records are no longer halved down to single ones."""
COARSE = 64
"""Records are then divided into this many parts at most; a part that fails becomes dead letters as a whole."""
MAX_ROUNDS = 50
"""How often work may be set aside at one checkpoint before the records are taken to be the cause."""
S = TypeVar("S", bound=Stage)
F = TypeVar("F", bound="FinishableStage")


class _TakenRecord(NamedTuple):
    """An input record and the logical topic it came from."""

    topic: str
    record: InputRecord


class RevertibleStore(Store, Protocol):
    """A store that can go back to what was last settled."""

    def revert(self) -> None: ...


class FinishableStage(Stage, Protocol):
    """A stage whose input can end, as that of files does."""

    def finish(self) -> list[Output]: ...


class ContainedStage(Generic[S]):
    """The stage of one ``partition``. ``build`` makes the stage from a store and its counters; ``counters``: shared by a
    worker's tasks, to which the stage's counts are added once a checkpoint has settled."""

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
        """Like ``Stage.process``; a failure is handled at the next checkpoint."""
        self._since.append((topic, records))
        if not self._failed:
            try:
                self.stage.process(topic, records)
            except NOT_THE_INPUT:
                raise
            except Exception as error:
                self._note(error)

    def checkpoint(self, now: float, *, idle: bool = False, behind: Behind = NOTHING) -> list[Output]:
        """Like ``Stage.checkpoint``, but failing records become dead letters and failing work is set aside."""
        outputs: list[Output] = []
        if not self._failed:
            try:
                outputs = self.stage.checkpoint(now, idle=idle, behind=behind)
            except NOT_THE_INPUT:
                raise
            except Exception as error:
                self._note(error)
        if self._failed:
            outputs = self._without_poison(now, idle, behind)
            self._failed = False
        self._since.clear()
        self._counters.update(self._counted)
        self._counted.clear()
        return outputs

    def finish(self: ContainedStage[F]) -> list[Output]:
        """Like ``FinishableStage.finish``. Call it after a settled checkpoint."""
        letters: list[Output] = []
        while True:
            try:
                outputs = self.stage.finish()
            except WorkFailed as error:
                self._store.revert()
                self._counted.clear()
                letters.extend(self._set_aside(self._store, error))
                self.stage = self._build(self._store, self._counted)
            else:
                self._counters.update(self._counted)
                self._counted.clear()
                self._counters["dead_lettered", SET_ASIDE] += len(letters)
                return letters + outputs

    def kept(self, value: bytes | None) -> bytes | None:
        """Like ``Stage.kept``; None if that fails."""
        try:
            return self.stage.kept(value)
        except Exception as error:
            log.error("what may be kept of a dead letter cannot be said; its value is left out: %s", _where(error))
            return None

    def expired(self, pairs: Mapping[bytes, bytes]) -> list[bytes]:
        """Like ``Stage.expired``; pairs for which that fails are kept."""
        try:
            return self.stage.expired(pairs)
        except NOT_THE_INPUT:
            raise
        except Exception as error:
            log.error("one of %d stored pairs cannot be read to see whether it has expired", len(pairs), exc_info=error)
        return [key for pair in pairs.items() for key in self._expired_alone(*pair)]

    def _expired_alone(self, key: bytes, value: bytes) -> list[bytes]:
        try:
            return self.stage.expired({key: value})
        except Exception:
            return []

    def _note(self, error: Exception) -> None:
        self._failed = True
        if not isinstance(error, WorkFailed):
            log.error("%d records are looked through for what cannot be processed: %s", self._waiting(), _where(error))

    def _waiting(self) -> int:
        return sum(len(records) for _, records in self._since)

    def _without_poison(self, now: float, idle: bool, behind: Behind) -> list[Output]:
        """Build the stage anew and settle the records since the last checkpoint, except those that cannot be processed, and
        without the work that fails."""
        self._store.revert()
        self._counted.clear()
        layer = _Layer(self._store)
        stage = self._build(layer, self._counted)
        outputs: list[Output] = []
        # Only the last checkpoint has the arguments of the failed one; the checkpoints before it have further records to come.
        parts: list[list[_TakenRecord]] = [
            [],
            [_TakenRecord(topic, record) for topic, records in self._since for record in records],
        ]
        smallest = max(len(parts[1]) // COARSE, 1)
        between = {**dict.fromkeys((topic for topic, _ in self._since), AS_TAKEN), **behind}
        trials = rounds = 0
        while parts:
            part = parts.pop()
            before = self._counted.copy()
            try:
                for topic, taken_records in groupby(part, key=attrgetter("topic")):
                    stage.process(topic, [taken.record for taken in taken_records])
                said = stage.checkpoint(now, idle=idle and not parts, behind=between if parts else behind)
                while stage.unfinished:
                    said.extend(stage.checkpoint(now, behind=between if parts else behind))
            except NOT_THE_INPUT:
                raise
            except Exception as error:
                layer.changes.clear()
                self._counted.clear()
                self._counted.update(before)
                trials += 1
                if isinstance(error, WorkFailed) and (rounds < MAX_ROUNDS or not part):
                    rounds += 1
                    outputs.extend(self._set_aside(layer, error))
                    self._counted["dead_lettered", SET_ASIDE] += len(error.failures)
                    layer.settle()
                    parts.append(part)
                elif not part:
                    raise
                elif len(part) > (smallest if trials > MAX_TRIALS else 1):
                    middle = len(part) // 2
                    parts += (part[middle:], part[:middle])
                else:
                    outputs.extend(self._bury(*taken, error, len(part)) for taken in part)
                stage = self._build(layer, self._counted)
            else:
                layer.settle()
                outputs.extend(said)
        if self._buried:
            log.error("%d dead letters, which cannot be processed: %s", len(self._buried), "; ".join(self._buried[:TOLD]))
        self._buried.clear()
        self.stage = self._build(self._store, self._counted)
        return outputs

    def _set_aside(self, store: Store, failed: WorkFailed) -> list[Output]:
        """Set the failed work aside, and return the records that report it."""
        outputs = []
        for piece, error in failed.failures:
            set_aside(store, piece)
            log.error("%s is set aside; everything else goes on", piece.words(), exc_info=error)
            outputs.append(letter_of_piece(piece, self._partition, error))
        return outputs

    def _bury(self, topic: str, record: InputRecord, error: Exception, together: int) -> Output:
        """The dead letter of a record. ``together``: how many records failed as one part."""
        self._counted["events", topic] += 1
        self._counted["dead_lettered", UNPROCESSABLE] += 1
        kept = self.kept(record.value)
        # The message of an error may quote the record, which may have personal data.
        words = f"{type(error).__name__}: {error}" if kept == record.value else type(error).__name__
        if together > 1:
            words = f"one of {together} records at least, of very many that failed: {words}"
        self._buried.append(f"{topic} {self._partition}, offset {record.offset}: {words}")
        return dead_letter(topic, self._partition, record, UNPROCESSABLE, words, kept)


def _where(error: Exception) -> str:
    """The type of an error and where it was raised. Its message may quote a record, which may have personal data."""
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"


class _Layer:
    """A store that holds its changes above another store until they are settled; None marks a deleted key."""

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
