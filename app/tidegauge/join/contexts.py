"""Contexts: the combinations of model version and segment values that predictions have, each interned as a small number that
the join's state can hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from sys import intern

import msgspec

from tidegauge.class_names import class_name
from tidegauge.engine.delta import Segment
from tidegauge.engine.events import Prediction, model_of, segments_of
from tidegauge.engine.stage import Store
from tidegauge.errors import EventError
from tidegauge.join.feature_ranges import ranges_of
from tidegauge.profile.category import OTHER
from tidegauge.spec import ModelSpec, ModelVersion

MAX_SEGMENT_VALUES = 200
MAX_CONTEXTS = 100_000
MAX_VERSIONS = 1000
"""The most of one model that has a spec, so that none can use up what others need. Models without a spec, which anybody can
invent, have as many all together."""
UNWATCHED = ""
PREFIX = b"c"


class Context(msgspec.Struct, array_like=True, frozen=True):
    """One combination of model version and segment values. ``values``: only those of dimensions that the spec names."""

    model: str
    version: str
    values: Segment


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Context).decode


class Contexts:
    """The contexts of one join task, numbered in the order they came, kept in its store under ``c<number>``. ``watched``:
    whether a model has a spec."""

    def __init__(self, store: Store, watched: Callable[[str], bool]) -> None:
        self._store, self._watched = store, watched
        self.by_id: list[Context] = []
        self._ids: dict[Context, int] = {}
        self._values: dict[tuple[str, str], set[str]] = {}
        # Each dimension's value is in many contexts, and in memory once.
        self._pairs: dict[tuple[str, str], tuple[str, str]] = {}
        self._versions: set[ModelVersion] = set()
        # By model, or UNWATCHED for all models without a spec.
        self._versions_held: Counter[str] = Counter()
        self._contexts_held: Counter[str] = Counter()
        for _, raw in store.scan(PREFIX):
            self._admit(_decode(raw))

    def id_of(self, event: Prediction, model: str, spec: ModelSpec) -> int:
        """The number of the event's context; a new one is numbered and stored.

        Raises EventError (too_many_versions).
        """
        holder = self._holder(model)
        if (model, event.model_version) not in self._versions and self._versions_held[holder] >= MAX_VERSIONS:
            whose = "of models without a spec" if holder == UNWATCHED else f"of model {model!r}"
            raise EventError("too_many_versions", f"more than {MAX_VERSIONS} versions {whose} in one partition")
        values = [(d, self._bounded(model, d, value)) for d, value in segment_values(event, spec).items()]
        context = Context(model, event.model_version, tuple(values))
        number = self._ids.get(context)
        if number is None:
            if self._contexts_held[holder] >= MAX_CONTEXTS:
                context = Context(model, event.model_version, tuple((d, OTHER) for d, _ in values))
                number = self._ids.get(context)
            if number is None:
                number = len(self.by_id)
                self._store.put(PREFIX + number.to_bytes(4, "big"), _encode(context))
                self._admit(context)
        return number

    def _holder(self, model: str) -> str:
        return model if self._watched(model) else UNWATCHED

    def _bounded(self, model: str, dimension: str, value: str) -> str:
        seen = self._values.get((model, dimension), ())
        return value if value in seen or len(seen) < MAX_SEGMENT_VALUES else OTHER

    def _admit(self, new: Context) -> None:
        values = tuple([self._pairs.setdefault(of, of) for of in new.values])
        context = Context(intern(new.model), intern(new.version), values)
        self._ids[context] = len(self.by_id)
        self.by_id.append(context)
        holder, version = self._holder(context.model), ModelVersion(context.model, context.version)
        self._contexts_held[holder] += 1
        self._versions_held[holder] += version not in self._versions
        self._versions.add(version)
        for dimension, value in context.values:
            self._values.setdefault((context.model, dimension), set()).add(value)


def segment_values(event: Prediction, spec: ModelSpec) -> dict[str, str]:
    """The event's value of each dimension that the spec names and the event has: its own, else the range of the feature of
    that name."""
    given = segments_of(event.segments) or {}
    if isinstance(given, str):
        given = {"segment": given}
    ranges = ranges_of(event.features, spec)
    if not given and not ranges:
        return {}
    named = dict.fromkeys(dimension for breakdown in spec.segments for dimension in breakdown)
    known = ((d, value if (value := given.get(d)) not in (None, "") else ranges.get(d)) for d in named)
    return {d: class_name(value) for d, value in known if value is not None}


def model_of_event(event: Prediction) -> str:
    return event.model or model_of(event.model_version)
