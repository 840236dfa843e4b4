"""A baseline: a profile of reference data, plus its bin edges, schema, metrics, their spread and lineage.

It is JSON on disk and in the topic ``models``. Bin edges and counts are readable; mergeable sketches are included in packed
form.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from tidegauge.baseline.binning import bin_by, bins_of_block
from tidegauge.baseline.blocks import BlockDispersions
from tidegauge.baseline.contrasts import Contrasts
from tidegauge.baseline.dispersion import Dispersions
from tidegauge.baseline.isotonic import Calibration, calibration_of
from tidegauge.baseline.searched_ranges import SearchedRanges, searched_ranges
from tidegauge.baseline.spread import Spread
from tidegauge.baseline.tuning import Tuning
from tidegauge.engine.delta import Segment
from tidegauge.errors import BaselineError
from tidegauge.profile.category import MAX_VALUES, NONE_FURTHER, OTHER, CategorySummary
from tidegauge.profile.data import DataProfile
from tidegauge.profile.numeric import NumericBlock
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.schema import (
    ATTRIBUTION,
    CLASS_FEATURE,
    RESERVED,
    SCORE_FEATURE,
    SHARES,
    VALUE_FEATURE,
    Bins,
    Schema,
)
from tidegauge.spec import Lineage

Reading = Literal["positive", "predicted"]
RESULT_BINS = {SCORE_FEATURE: "score", VALUE_FEATURE: "value"}
"""The names, by their name in the schema, of those numbers of the prediction itself that are counted in bins."""
MAX_PARTS = 100
"""The most segments for which a baseline keeps separate counts."""
RECENT_PREFIX = "recent "
"""The prefix, before the window length, of the key of spreads over windows that are taken together with the previous one."""
BLOCK, TWO_BLOCKS = "block", "two blocks"
"""The keys of the spreads over blocks of rows, and over blocks of twice the length."""
MIN_SPREAD_WINDOWS = 8
"""A baseline must span at least this many windows for these alone to tell how much windows differ."""
FORMAT = "tidegauge-baseline/6"


class KnownNumber(NamedTuple):
    """A number and its standard error."""

    value: float
    error: float


class Baseline:
    """Reference data that windows are compared with. ``schema``: defines how to count so that the comparison is exact.

    ``metrics``: nested like a metrics record. ``spread``: Spread by window length and metric path. ``parts``: the segments' own
    baselines, which share the schema and have no quantile sketches. ``tunings``: what detectors need. ``lineage``: what trained
    the version, and on which data. ``confidence_is``: whose probability the confidences are that it was learned from, if the
    spec leaves that open. ``contrasts``, ``columns`` of those of many numbers side by side, and the places of those that can be
    ``compared`` among many, are made of its bin counts when numbers are first compared, ``performance_errors`` (by number) of
    its outcomes. ``searched_share``: the share of requests whose losses are counted by ranges of features; 0 if the baseline
    cannot tell which range carries a drop.
    """

    def __init__(self, model: str, version: str, data: DataProfile, outcome: OutcomeProfile, schema: Schema) -> None:
        """A baseline of profiles alone. Their examples are dropped, since a baseline contains no request ids. The caller sets
        the other members if they are known."""
        data.examples, outcome.examples = {}, {}
        self.model, self.version = model, version
        self.data, self.outcome, self.schema = data, outcome, schema
        self.metrics: dict[str, Any] = {}
        self.spread: dict[str, dict[str, Spread]] = {}
        self.source = "reference"
        self.parts: dict[Segment, Baseline] = {}
        self.tunings: tuple[Tuning, ...] = ()
        self.lineage = Lineage()
        self.confidence_is: Reading = "positive"
        self.contrasts: dict[str, Contrasts] = {}
        self.columns: dict[tuple[str, ...], Any] = {}
        self.compared: dict[tuple[str, ...], tuple[int, ...]] = {}
        self.performance_errors: dict[str, KnownNumber] | None = None
        self.searched_share = 0.0
        self._dispersions: dict[tuple[str, bool], Dispersions] = {}

    def dispersions(self, window: str, recent: bool = False) -> Dispersions:
        """The dispersions of standard scores over the baseline's windows of this length. ``recent``: over windows taken
        together with the previous one."""
        key = (window, recent)
        if key not in self._dispersions:
            single = self.dispersions(window) if recent else None
            blocks = None if self.spans_enough(window) else self.blocks
            self._dispersions[key] = Dispersions(self.spreads(window, recent), single, blocks)
        return self._dispersions[key]

    @cached_property
    def always_missing(self) -> frozenset[str]:
        """The features known by name of which no row of the reference had a value."""
        block, categories = self.data.features, self.data.categories
        held = set(block.names[row] for row in np.flatnonzero(block.count + block.mismatch))
        held.update(name for name, of in categories.items() if of.count + of.mismatch)
        return frozenset({*block.names, *categories} - held)

    @cached_property
    def blocks(self) -> BlockDispersions | None:
        """The dispersions that follow from blocks of the baseline's rows for windows of any length; None if there were too few
        rows."""
        held, doubled = self.spreads(BLOCK), self.spreads(TWO_BLOCKS)
        if not held or not doubled:
            return None
        return BlockDispersions(held, doubled, self.data.predictions)

    def spans_enough(self, window: str) -> bool:
        """Whether there are enough windows of this length for these alone to tell how much windows differ."""
        return any(of.windows >= MIN_SPREAD_WINDOWS for of in self.spreads(window).values())

    def knows_pairs(self, window: str) -> bool:
        """Whether it is known how much windows of this length, taken together with the previous one, differ."""
        return bool(self.spreads(window, recent=True)) or self.blocks is not None

    def spreads(self, window: str, recent: bool = False) -> Mapping[str, Spread]:
        """The spread over the baseline's windows of this length by metric path. ``recent``: over windows taken together with
        the previous one."""
        return self.spread.get(RECENT_PREFIX + window if recent else window, {})

    @cached_property
    def ranges(self) -> SearchedRanges:
        """The ranges of features among which those that carry a drop are searched. They follow from ``schema``, ``data`` and
        ``metrics``, so ask for them when these are known."""
        attributed = self.metrics.get("attributions", {})
        return searched_ranges(self.schema, self.data, {name: of.get("mean_abs", 0.0) for name, of in attributed.items()})

    def part(self, segment: Segment) -> Baseline | None:
        """The baseline of a segment: the whole one for the empty segment, None for a segment that is not in the reference."""
        return self.parts.get(segment) if segment else self

    @cached_property
    def calibration(self) -> Calibration | None:
        """The calibration of scores by the reference labels; None if there are too few labels."""
        return calibration_of(self.outcome)

    def calibration_for(self, segment: Segment) -> Calibration | None:
        """The segment's own calibration if it has enough labels, else that of the whole model."""
        part = self.part(segment)
        own = None if part is None else part.calibration
        return self.calibration if own is None else own

    @classmethod
    def learned(
        cls, model: str, version: str, data: Mapping[Segment, DataProfile], confidence_is: Reading = "positive"
    ) -> Baseline:  # fmt: skip
        """A baseline of the first predictions, given by segment with the whole model under (). They were counted before bin
        edges existed, so edges and counts come from their quantile sketches. The profiles must not be used afterwards."""
        if confidence_is == "predicted":
            data = {segment: of.read_otherwise() for segment, of in data.items()}
        schema = schema_of(data[()])
        baselines: dict[Segment, Baseline] = {}
        for segment, of in data.items():
            baselines[segment] = cls(model, version, of, OutcomeProfile(), schema)
            baselines[segment].source = "learned"
            count_in_bins(of, schema)
            if segment:
                of.drop_sketches()
        whole = baselines.pop(())
        whole.parts, whole.confidence_is = baselines, confidence_is
        return whole

    def to_json(self) -> bytes:
        return msgspec.json.encode(
            {
                "format": FORMAT,
                "model": self.model,
                "model_version": self.version,
                "source": self.source,
                "count": self.data.predictions,
                "labels": self.outcome.labels,
                "edges_id": self.schema.id,
                **({"confidence_is": self.confidence_is} if self.confidence_is == "predicted" else {}),
                "features": self._features(),
                "result": {
                    "score": self._bins(SCORE_FEATURE),
                    "value": self._bins(VALUE_FEATURE),
                    # Only for people who read the file: the quantiles of scores and values.
                    "score_quantiles": self._quantiles(SCORE_FEATURE),
                    "value_quantiles": self._quantiles(VALUE_FEATURE),
                    "classes": sorted(self.schema.values.get(CLASS_FEATURE, ())),
                },
                "attributions": {name: self._bins(ATTRIBUTION + name) for name in sorted(self.schema.attributions)},
                "metrics": self.metrics,
                "spread": self.spread,
                "profile": self._profile(),
                "detectors": self.tunings,
                "lineage": self.lineage,
                **({"searched_share": self.searched_share} if self.searched_share else {}),
                "segments": [
                    {
                        "segment": dict(segment),
                        "count": part.data.predictions,
                        "labels": part.outcome.labels,
                        "metrics": part.metrics,
                        "spread": part.spread,
                        "profile": part._profile(),
                    }
                    for segment, part in sorted(self.parts.items())
                ],
            }
        )

    def _profile(self) -> dict[str, str]:
        return {
            "data": base64.b64encode(self.data.pack()).decode(),
            "outcome": base64.b64encode(self.outcome.pack()).decode(),
        }

    def _bins(self, name: str) -> dict[str, list[float]] | None:
        """The definition of the bins of a number, with ``values`` and ``rest`` only if some values have a bin of their own."""
        bins = self.schema.bins.get(name)
        if bins is None:
            return None
        said = {"quantiles": bins.quantiles.tolist()}
        if len(bins.values):
            said["values"] = bins.values.tolist()
            if bins.rest is not None:
                said["rest"] = bins.rest.tolist()
        return said

    def _quantiles(self, name: str) -> list[float] | None:
        bins = self.schema.bins.get(name)
        return None if bins is None else bins.quantiles.tolist()

    def _features(self) -> dict[str, Any]:
        features: dict[str, Any] = {}
        block = self.data.features
        for name, bins in self.schema.bins.items():
            if name.startswith(RESERVED):
                continue
            feature: dict[str, Any] = {"type": "number", **(self._bins(name) or {})}
            row = block.index(name)
            if row is not None:
                feature["count"], feature["missing"] = int(block.count[row]), int(block.missing[row])
                if block.bins is not None:
                    feature["bins"] = block.bins[row, : bins.size].tolist()
            features[name] = feature
        for name, values in self.schema.values.items():
            if name.startswith(RESERVED):
                continue
            summary = self.data.categories.get(name, CategorySummary())
            features[name] = {
                "type": "category",
                "text": name in self.schema.texts,
                "missing": summary.missing,
                "values": {value: summary.of(value) for value in sorted(values)},
            }
            if name in self.schema.further:
                hashes = self.schema.further[name]
                features[name]["further"] = None if hashes is None else base64.b64encode(hashes.tobytes()).decode()
        return features

    @classmethod
    def from_json(cls, raw: bytes) -> Baseline:
        """Read a baseline. Raises BaselineError for anything else."""
        try:
            held = msgspec.json.decode(raw)
            if held.get("format") != FORMAT:
                raise BaselineError(
                    f"this is not a baseline of format {FORMAT!r} (it says {held.get('format')!r}); "
                    "build it anew with `tidegauge baseline build`"
                )
            bins = {name: _bins(feature) for name, feature in held["features"].items() if feature["type"] == "number"}
            values = {
                name: frozenset(feature["values"])
                for name, feature in held["features"].items()
                if feature["type"] == "category"
            }
            further = {
                name: None if of["further"] is None else np.frombuffer(base64.b64decode(of["further"]), np.uint32)
                for name, of in held["features"].items()
                if "further" in of
            }
            texts = frozenset(n for n, f in held["features"].items() if f.get("text"))
            result = held["result"]
            for name, of in held["attributions"].items():
                bins[ATTRIBUTION + name] = _bins(of)
            for name, member in RESULT_BINS.items():
                if result[member]:
                    bins[name] = _bins(result[member])
            if result["classes"]:
                values[CLASS_FEATURE] = frozenset(result["classes"])
            schema = Schema(held["edges_id"], bins, values, texts, further)
            baseline = cls._of(held, held, schema)
            baseline.tunings = msgspec.convert(held.get("detectors", ()), tuple[Tuning, ...])
            baseline.lineage = msgspec.convert(held.get("lineage", {}), Lineage)
            baseline.confidence_is = msgspec.convert(held.get("confidence_is", "positive"), Reading)
            baseline.searched_share = float(held.get("searched_share", 0.0))
            baseline.parts = {tuple(of["segment"].items()): cls._of(held, of, schema) for of in held["segments"]}
            return baseline
        except (LookupError, TypeError, ValueError, AttributeError, msgspec.MsgspecError) as error:
            raise BaselineError(f"the baseline cannot be read: {type(error).__name__} {error}") from error

    @classmethod
    def _of(cls, held: dict[str, Any], of: dict[str, Any], schema: Schema) -> Baseline:
        """The baseline of the whole model or of one segment, from a decoded file."""
        data = DataProfile.unpack(base64.b64decode(of["profile"]["data"]))
        outcome = OutcomeProfile.unpack(base64.b64decode(of["profile"]["outcome"]))
        baseline = cls(held["model"], held["model_version"], data, outcome, schema)
        baseline.metrics = dict(of["metrics"])
        baseline.spread = {window: {path: Spread(*s) for path, s in paths.items()} for window, paths in of["spread"].items()}
        baseline.source = held["source"]
        return baseline


def schema_of(data: DataProfile, exact: Mapping[str, Bins] | None = None) -> Schema:
    """The schema some reference data imply: bins of its numbers, values of its categories.

    ``exact`` has the bins where the caller knows all values; the others come from the profile. A feature seen as
    number and as text is what it mostly was. Of a category with more than MAX_VALUES values, the commonest are
    counted one by one, and the others known by their hashes.
    """
    found: dict[str, Bins] = {}
    values: dict[str, frozenset[str]] = {}
    texts: set[str] = set()
    further: dict[str, np.ndarray[Any, Any] | None] = {}
    for name, row in _rows(data.features):
        category = data.categories.get(name)
        if category is None or category.count <= data.features.count[row]:
            found[name] = bins_of_block(data.features, row)
    for name, summary in data.categories.items():
        if name not in found:
            values[name] = frozenset(summary.counts) - {OTHER}
            if OTHER in summary.counts:
                further[name] = summary.further
            if any(not _is_number(value) for value in summary.counts):
                texts.add(name)
    for name, source in RESULT_BINS.items():
        place = data.results.index(source)
        if place is not None and data.results.count[place]:
            found[name] = bins_of_block(data.results, place)
    for name, row in _rows(data.attributions.values):
        if data.attributions.values.count[row]:
            found[ATTRIBUTION + name] = bins_of_block(data.attributions.values, row)
    if data.result_class.counts and len(data.result_class.counts) < MAX_VALUES:
        values[CLASS_FEATURE] = frozenset(data.result_class.counts)
    found.update(exact or {})
    digest = hashlib.blake2b(digest_size=8)
    for name, of in sorted(found.items()):
        digest.update(name.encode("utf-8", "replace") + of.quantiles.tobytes() + of.edges.tobytes())
    return Schema(digest.hexdigest(), found, values, frozenset(texts), further)


def _rows(block: NumericBlock) -> list[tuple[str, int]]:
    return [(name, row) for row, name in enumerate(block.names)]


def _bins(said: Mapping[str, Any]) -> Bins:
    values, rest = said.get("values"), said.get("rest")
    return Bins(
        _shares(said["quantiles"]),
        None if values is None else np.array(values, np.float64),
        None if rest is None else _shares(rest),
    )


def count_in_bins(data: DataProfile, schema: Schema) -> None:
    """Count the values of a profile without bin edges in the schema's bins, by its sketches."""
    for summary in data.categories.values():
        summary.further = NONE_FURTHER
    bin_by(data.features, schema, {name: name for name in schema.bins})
    bin_by(data.results, schema, RESULT_BINS)
    bin_by(data.attributions.values, schema, {ATTRIBUTION + name: name for name in schema.attributions})


def _shares(quantiles: list[float]) -> np.ndarray[Any, Any]:
    if len(quantiles) != len(SHARES):
        raise BaselineError(f"a number has {len(SHARES)} quantiles, not {len(quantiles)}")
    return np.array(quantiles, np.float64)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
