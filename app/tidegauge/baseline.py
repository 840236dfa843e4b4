"""A baseline: a profile of reference data, plus its bin edges, schema, metrics, their spread and lineage.

JSON on disk and in the topic ``models``. Bin edges and counts are readable; the mergeable sketches ride along packed.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from tidegauge.columns import CLASS_FEATURE, SCORE_FEATURE, VALUE_FEATURE
from tidegauge.errors import BaselineError
from tidegauge.profile.category import MAX_VALUES, OTHER, CategorySummary
from tidegauge.profile.data import DataProfile
from tidegauge.profile.numeric import NumericBlock
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.schema import DECILES, Schema, decile_edges

FORMAT = "tidegauge-baseline/1"
Spread = tuple[float, float, int]
"""Mean, standard deviation and number of windows of one metric over a baseline's windows of one length."""


class Baseline:
    """Reference data to compare with. ``schema`` says how to count so that the comparison is exact.

    ``metrics`` nests as a metrics record does; ``spread`` is window length → metric path → Spread.
    """

    def __init__(
        self,
        model: str,
        version: str,
        data: DataProfile,
        outcome: OutcomeProfile,
        schema: Schema,
        metrics: Mapping[str, Any] | None = None,
        spread: Mapping[str, Mapping[str, Spread]] | None = None,
        source: str = "reference",
    ) -> None:
        self.model, self.version = model, version
        self.data, self.outcome, self.schema = data, outcome, schema
        self.metrics = dict(metrics or {})
        self.spread = {window: dict(paths) for window, paths in (spread or {}).items()}
        self.source = source

    @classmethod
    def from_profiles(
        cls, model: str, version: str, data: DataProfile, outcome: OutcomeProfile, source: str = "learned"
    ) -> Baseline:
        """A baseline of any profile: a learned one, or a window to compare later windows with. Edges come from its
        quantile sketches."""
        return cls(model, version, data, outcome, schema_of(data), source=source)

    def to_json(self) -> bytes:
        data_raw = self.data.pack()
        return msgspec.json.encode(
            {
                "format": FORMAT,
                "model": self.model,
                "model_version": self.version,
                "source": self.source,
                "count": self.data.predictions,
                "labels": self.outcome.labels,
                "edges_id": self.schema.id,
                "features": self._features(),
                "result": {
                    "score_edges": _floats(self.schema.edges.get(SCORE_FEATURE)),
                    "value_edges": _floats(self.schema.edges.get(VALUE_FEATURE)),
                    "classes": sorted(self.schema.values.get(CLASS_FEATURE, ())),
                },
                "metrics": self.metrics,
                "spread": self.spread,
                "profile": {
                    "data": base64.b64encode(data_raw).decode(),
                    "outcome": base64.b64encode(self.outcome.pack()).decode(),
                },
            }
        )

    def _features(self) -> dict[str, Any]:
        features: dict[str, Any] = {}
        block = self.data.features
        for name, edges in self.schema.edges.items():
            if name[0] == "\x00":
                continue
            feature: dict[str, Any] = {"type": "number", "edges": edges.tolist()}
            row = block.index(name)
            if row is not None:
                feature["count"], feature["missing"] = int(block.count[row]), int(block.missing[row])
                if block.bins is not None:
                    feature["bins"] = block.bins[row].tolist()
            features[name] = feature
        for name, values in self.schema.values.items():
            if name[0] == "\x00":
                continue
            summary = self.data.categories.get(name, CategorySummary())
            features[name] = {
                "type": "category",
                "text": name in self.schema.texts,
                "missing": summary.missing,
                "values": {value: summary.counts.get(value, 0) for value in sorted(values)},
            }
        return features

    @classmethod
    def from_json(cls, raw: bytes) -> Baseline:
        """Read a baseline. Raises BaselineError for anything else."""
        try:
            held = msgspec.json.decode(raw)
            if held.get("format") != FORMAT:
                raise BaselineError(
                    f"this is not a baseline of format {FORMAT!r} (it says {held.get('format')!r}); "
                    "build one with `tidegauge baseline build`"
                )
            edges = {
                name: np.array(feature["edges"], np.float64)
                for name, feature in held["features"].items()
                if feature["type"] == "number"
            }
            values = {
                name: frozenset(feature["values"])
                for name, feature in held["features"].items()
                if feature["type"] == "category"
            }
            texts = frozenset(n for n, f in held["features"].items() if f.get("text"))
            result = held["result"]
            for name, member in ((SCORE_FEATURE, "score_edges"), (VALUE_FEATURE, "value_edges")):
                if result[member]:
                    edges[name] = np.array(result[member], np.float64)
            if result["classes"]:
                values[CLASS_FEATURE] = frozenset(result["classes"])
            return cls(
                held["model"],
                held["model_version"],
                DataProfile.unpack(base64.b64decode(held["profile"]["data"])),
                OutcomeProfile.unpack(base64.b64decode(held["profile"]["outcome"])),
                Schema(held["edges_id"], edges, values, texts),
                held["metrics"],
                {w: {p: (s[0], s[1], s[2]) for p, s in paths.items()} for w, paths in held["spread"].items()},
                held["source"],
            )
        except (KeyError, TypeError, ValueError, AttributeError, msgspec.MsgspecError) as error:
            raise BaselineError(f"the baseline cannot be read: {type(error).__name__} {error}") from error


def schema_of(data: DataProfile, edges: Mapping[str, np.ndarray[Any, Any]] | None = None) -> Schema:
    """The schema some reference data imply: deciles of its numbers, values of its categories.

    ``edges`` has exact edges where the caller knows them; the others come from the quantile sketches. A feature seen as
    number and as text is what it mostly was. Texts with more than MAX_VALUES values get no bins, only counts.
    """
    found: dict[str, np.ndarray[Any, Any]] = {}
    values: dict[str, frozenset[str]] = {}
    texts: set[str] = set()
    for name, row in _rows(data.features):
        category = data.categories.get(name)
        if category is None or category.count <= data.features.count[row]:
            found[name] = _edges_of(data.features, row)
    for name, summary in data.categories.items():
        if name not in found:
            values[name] = frozenset(summary.counts) - {OTHER}
            if any(not _is_number(value) for value in summary.counts):
                texts.add(name)
    for source, name in (("score", SCORE_FEATURE), ("value", VALUE_FEATURE)):
        place = data.results.index(source)
        if place is not None and data.results.count[place]:
            found[name] = _edges_of(data.results, place)
    if data.result_class.counts and len(data.result_class.counts) < MAX_VALUES:
        values[CLASS_FEATURE] = frozenset(data.result_class.counts)
    found.update(edges or {})
    digest = hashlib.blake2b(digest_size=8)
    for name, edge in sorted(found.items()):
        digest.update(name.encode("utf-8", "replace") + edge.tobytes())
    return Schema(digest.hexdigest(), found, values, frozenset(texts))


def _rows(block: NumericBlock) -> list[tuple[str, int]]:
    return [(name, row) for row, name in enumerate(block.names)]


def _edges_of(block: NumericBlock, row: int) -> np.ndarray[Any, Any]:
    sketch = block.kll[row]
    if sketch is None:
        return np.array([0.0, 0.0])
    inner = sketch.get_quantiles((np.arange(1, DECILES) / DECILES).tolist())
    return decile_edges(np.array([block.low[row], *inner, block.high[row]]))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _floats(edges: np.ndarray[Any, Any] | None) -> list[float] | None:
    return None if edges is None else edges.tolist()
