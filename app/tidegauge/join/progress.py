"""The event time that each model has reached in one join task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tidegauge.engine.events import Label
from tidegauge.engine.stage import AS_TAKEN, LABELS, PREDICTIONS, Behind, Store

PREFIX = b"w"


class Progress(msgspec.Struct, array_like=True, gc=False):
    """The event time that one model has reached in one join task.

    ``predictions``, ``labels``: the largest ``ts`` of its predictions and of the labels joined to them. ``label_lag``: by how
    many seconds labels are behind predictions when everything is read. ``labels_read``: the largest label ``ts`` in the
    partition, of any model. ``complete``: the value of ``predictions`` when all labels were last read. ``live``, ``live_at``:
    the version of the newest live prediction, and its ``ts``. ``told_behind``: whether the monitor stage was last told of less
    than this, since the task lagged behind; True if it may have been.
    """

    predictions: float = 0.0
    labels: float = 0.0
    label_lag: float = 0.0
    labels_read: float = 0.0
    complete: float = 0.0
    live: str = ""
    live_at: float = 0.0
    told_behind: bool = True


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Progress).decode


class Watermarks(NamedTuple):
    """The event times of a model in a delta: the largest ``ts`` of its predictions and of its labels, and the event time up to
    which both inputs have been read."""

    predictions: float
    labels: float
    read: float


class TaskProgress:
    """The progress of all models in one join task, stored under ``w<model>``. ``touched``: the models that had events since the
    last checkpoint; ``labels_read``: the largest label ``ts`` in the partition."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.by_model: dict[str, Progress] = {key[1:].decode(): _decode(raw) for key, raw in store.scan(PREFIX)}
        self.labels_read = max((of.labels_read for of in self.by_model.values()), default=0.0)
        self.touched: set[str] = set()
        # Whoever takes the task over has to tell the monitor stage the rest, even if no event follows.
        self._told_behind = {model for model, of in self.by_model.items() if of.told_behind}

    def predicted(self, model: str, ts: float) -> None:
        progress = self.touch(model)
        progress.predictions = max(progress.predictions, ts)

    def note_live(self, model: str, version: str, ts: float) -> None:
        """Note that a live version made a prediction at ``ts``."""
        progress = self.by_model.setdefault(model, Progress())
        if (ts, version) > (progress.live_at, progress.live):
            progress.live, progress.live_at = version, ts

    def live_version(self, model: str) -> str:
        """The version of the newest live prediction; "" if there is none."""
        return self.by_model.get(model, Progress()).live

    def labelled(self, model: str, ts: float) -> None:
        progress = self.touch(model)
        progress.labels = max(progress.labels, ts)

    def read_labels(self, labels: Sequence[Label]) -> None:
        """Note labels as read, whether or not their predictions are known."""
        if labels:
            self.labels_read = max(self.labels_read, float(max([label.ts for label in labels])))

    def touch(self, model: str) -> Progress:
        self.touched.add(model)
        return self.by_model.setdefault(model, Progress())

    def reached(self, behind: Behind) -> float:
        """The event time up to which both inputs have been read, for any model. ``behind``: as in ``Stage.checkpoint``."""
        time = max((of.predictions for of in self.by_model.values()), default=0.0)
        if LABELS not in behind:
            time = max(time, self.labels_read)
        elif behind[LABELS] == AS_TAKEN:
            time = min(time, self.labels_read)
        return min(time, *behind.values()) if behind else time

    def to_tell(self, behind: Behind) -> dict[str, Watermarks]:
        """The event times of the models about which the monitor stage must be told, by model; their progress is stored.
        ``behind``: as in ``Stage.checkpoint``."""
        told: dict[str, Watermarks] = {}
        complete = [behind.get(topic, AS_TAKEN) for topic in (PREDICTIONS, LABELS)]
        for model in sorted(self.touched | self._told_behind):
            progress, read = self.by_model[model], self._read(model, behind)
            predictions, labels = min(progress.predictions, complete[0]), min(progress.labels, complete[1])
            told[model] = Watermarks(predictions, labels, read)
            said_all = (predictions, labels) == (progress.predictions, progress.labels) and AS_TAKEN not in behind.values()
            progress.told_behind = not (said_all and read >= progress.predictions)
            (self._told_behind.add if progress.told_behind else self._told_behind.discard)(model)
            self._store.put(PREFIX + model.encode(), _encode(progress))
        self.touched.clear()
        return told

    def _read(self, model: str, behind: Behind) -> float:
        progress = self.by_model[model]
        read = behind.get(PREDICTIONS, math.inf)
        if PREDICTIONS in behind and read == AS_TAKEN:
            read = progress.predictions
        if LABELS not in behind:
            progress.complete = progress.predictions
            if self.labels_read:
                progress.label_lag = max(progress.predictions - self.labels_read, 0.0)
        elif behind[LABELS] == AS_TAKEN:
            # If labels come weeks later, all that is known is the event time of predictions when all labels were last read.
            read = min(read, max(self.labels_read + progress.label_lag, progress.complete))
        else:
            read = min(read, behind[LABELS])
        progress.labels_read = self.labels_read
        return read
