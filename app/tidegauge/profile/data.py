"""The data side of a profile: counts and sketches of what is known when a prediction is made. Nothing of it is ever taken
back."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.profile import counts
from tidegauge.profile.attribution import AttributionBlock, AttributionColumns
from tidegauge.profile.category import CategoryColumn, CategorySummary, merge_all
from tidegauge.profile.counts import SparseCounts
from tidegauge.profile.distinct import EMPTY
from tidegauge.profile.numeric import NumericBlock, NumericColumns
from tidegauge.profile.score_grid import SCORE_BINS

MAX_UNEXPECTED = 100
MAX_EXAMPLES = 5
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

RESULT_NUMBERS = ("score", "confidence", "latency_ms", "cost", "value")
"""The numbers of a prediction event beside its features; ``value`` is the prediction of a regression."""
RESOURCES = ("cpu_ratio", "memory_ratio", "memory_bytes", "gpu_ratio", "gpu_memory_ratio")
"""Numbers on the process that served a prediction; they follow RESULT_NUMBERS if any prediction of the chunk has them."""
RESULT_CLASS = "class"

PREDICTED_NEGATIVE, PREDICTED_POSITIVE, PREDICTED_NONE, SCORE_SPACE = 0, SCORE_BINS, 2 * SCORE_BINS, 3 * SCORE_BINS
"""Where the score histogram of each predicted class begins in their common key space, and where the last one ends. For a
multiclass model every predicted class counts as positive, since the score is the confidence in that class."""


class UnexpectedFeature(NamedTuple):
    """A feature of a row that is not in the schema."""

    row: int
    name: str


@dataclass(slots=True, eq=False)
class DataColumns:
    """A chunk of one version's predictions, column by column (n rows).

    ``results``: RESULT_NUMBERS, and RESOURCES if there are any. ``result_class``: the predicted classes. ``error`` (n): whether
    the prediction failed; ``abstained`` (n): whether it has no answer. ``request_ids`` (n): "" for a forgotten request.
    ``scores`` (n): keys of the score histogram, -1 for a row without a probability; None if no row has one. ``attributions``:
    None if no row has any. ``other_results``: the results if the score is read the other way (``join/score.py``); None if they
    are the same.
    """

    features: NumericColumns
    categories: list[CategoryColumn]
    results: NumericColumns
    result_class: CategoryColumn
    error: NDArray[np.bool_]
    abstained: NDArray[np.bool_]
    unexpected: list[UnexpectedFeature]
    request_ids: list[str]
    scores: NDArray[np.int64] | None = None
    attributions: AttributionColumns | None = None
    other_results: NumericColumns | None = None

    def group(self, order: NDArray[np.intp], starts: NDArray[np.intp], whole: bool) -> list[DataProfile]:
        """One profile for each run of rows (as in ``NumericColumns.group``). ``whole``: the rows are those of the whole model,
        not of a segment; only then distinct values are counted."""
        sizes = np.diff(np.append(starts, len(order))).tolist()
        errors = np.add.reduceat(self.error[order], starts, dtype=np.int64).tolist()
        abstained = np.add.reduceat(self.abstained[order], starts, dtype=np.int64).tolist()
        features = self.features.group(order, starts, whole)
        results = self.results.group(order, starts, False)
        classes = self.result_class.group(order, starts)
        columns = [(c.name, c.group(order, starts)) for c in self.categories]
        profiles = []
        for g, size in enumerate(sizes):
            profile = DataProfile()
            profile.predictions, profile.errors, profile.abstained = size, errors[g], abstained[g]
            profile.features, profile.results = features[g], results[g]
            profile.categories = {name: summaries[g] for name, summaries in columns}
            profile.result_class = classes[g]
            profiles.append(profile)
        if self.scores is not None:
            self._note_scores(order, starts, profiles)
        if self.other_results is not None:
            for profile, other in zip(profiles, self.other_results.group(order, starts, False), strict=True):
                profile.other_results = other
        if self.attributions is not None:
            for profile, block in zip(profiles, self.attributions.group(order, starts), strict=True):
                profile.attributions = block
        if self.unexpected:
            self._note_unexpected(order, starts, profiles)
        self._note_examples(order, starts, profiles)
        return profiles

    def _note_scores(self, order: NDArray[np.intp], starts: NDArray[np.intp], profiles: list[DataProfile]) -> None:
        assert self.scores is not None
        keys = self.scores[order]
        group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(order))))
        scored = keys >= 0
        ones = np.ones(int(scored.sum()), np.int64)
        histograms = counts.grouped(group[scored], keys[scored], ones, len(starts), SCORE_SPACE)
        for profile, histogram in zip(profiles, histograms, strict=True):
            profile.scores = histogram

    def _note_unexpected(self, order: NDArray[np.intp], starts: NDArray[np.intp], profiles: list[DataProfile]) -> None:
        place = np.full(int(order.max()) + 1, -1)
        place[order] = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(order))))
        for row, name in self.unexpected:
            if row < len(place) and place[row] >= 0:
                profiles[place[row]].note_unexpected(name, 1)

    def forget_requests(self, request_ids: Set[str]) -> bool:
        """Remove these request ids; returns whether there were any."""
        left = ["" if name in request_ids else name for name in self.request_ids]
        changed, self.request_ids = left != self.request_ids, left
        return changed

    def examples(self) -> list[str]:
        """The request ids of the rows that may become examples of an error or of a wrong value."""
        odd = np.zeros(len(self.error), bool)
        for _, flag in self._flags():
            odd |= flag
        return [self.request_ids[row] for row in np.flatnonzero(odd).tolist()]

    def sound_features(self) -> frozenset[str] | None:
        """The names of the features if nothing is wrong with any row, else None. A row is wrong if its prediction failed, if a
        feature is missing, of the wrong type, out of bounds or unseen in training, if it has an unexpected feature, or if its
        score is no probability."""
        numbers = self.features
        judged = (numbers.mismatch, numbers.out_of_range, self.results.mismatch)
        if self.unexpected or self.error.any() or any(of is not None and of.any() for of in judged):
            return None
        if self._no_probability().any() or np.isnan(numbers.x).any():
            return None
        if any((of.codes < 0).any() or of.unseen_codes() for of in self.categories):
            return None
        return frozenset((*numbers.names, *(of.name for of in self.categories)))

    def _no_probability(self) -> NDArray[np.bool_]:
        """Which rows (n) have a score outside 0 to 1."""
        score = self.results.x[RESULT_NUMBERS.index("score")]
        return np.asarray((score < 0.0) | (score > 1.0))

    def _flags(self) -> list[tuple[str, NDArray[np.bool_]]]:
        """For everything that may be wrong with a row: the metric path, and which rows (n) are examples of it."""
        flags = [("system.error_ratio", self.error), ("prediction.no_probability_ratio", self._no_probability())]
        for row, name in enumerate(self.features.names):
            if self.features.mismatch is not None:
                flags.append((f"data.features.{name}.type_mismatch_ratio", self.features.mismatch[row]))
            if self.features.out_of_range is not None:
                flags.append((f"data.features.{name}.out_of_range_ratio", self.features.out_of_range[row]))
            flags.append((f"data.features.{name}.missing_ratio", np.isnan(self.features.x[row])))
        for column in self.categories:
            unseen = column.unseen_codes()
            if unseen:
                flags.append((f"data.features.{column.name}.unseen_ratio", np.isin(column.codes, unseen)))
        return flags

    def _note_examples(self, order: NDArray[np.intp], starts: NDArray[np.intp], profiles: list[DataProfile]) -> None:
        ends = np.append(starts[1:], len(order))
        for what, flag in self._flags():
            if flag.any():
                sorted_flag = flag[order]
                for g, (a, b) in enumerate(zip(starts, ends, strict=True)):
                    rows = order[a + np.flatnonzero(sorted_flag[a:b])[:MAX_EXAMPLES]]
                    if len(rows):
                        profiles[g].examples[what] = [name for r in rows if (name := self.request_ids[r])]


class DataProfile:
    """Counts and sketches of some predictions of one version.

    ``scores``: a score histogram for each predicted class, on the grid of ``profile/score_grid.py``. ``other_results``: the
    results if the score is read the other way; empty if they are the same. ``unexpected``: feature that is not in the schema →
    how many predictions have it. ``examples``: metric path → request ids. ``reread``: how many scores ``read_otherwise`` has
    changed; 0 in every other profile.
    """

    __slots__ = (
        "abstained",
        "attributions",
        "categories",
        "errors",
        "examples",
        "features",
        "other_results",
        "predictions",
        "reread",
        "result_class",
        "results",
        "scores",
        "unexpected",
    )

    def __init__(self) -> None:
        self.predictions = self.errors = self.abstained = 0
        self.reread = 0
        self.features, self.results, self.other_results = NumericBlock(), NumericBlock(), NumericBlock()
        self.categories: dict[str, CategorySummary] = {}
        self.result_class = CategorySummary()
        self.scores = SparseCounts()
        self.attributions = AttributionBlock()
        self.unexpected: dict[str, int] = {}
        self.examples: dict[str, list[str]] = {}

    def note_unexpected(self, name: str, count: int) -> None:
        """Count a feature that is not in the schema, if fewer than MAX_UNEXPECTED others are counted."""
        if name in self.unexpected or len(self.unexpected) < MAX_UNEXPECTED:
            self.unexpected[name] = self.unexpected.get(name, 0) + count

    def merge(self, other: DataProfile) -> None:
        """Add the counts and sketches of ``other``."""
        rows, other_rows = self.predictions, other.predictions
        self.features.merge(other.features, rows, other_rows)
        self._merge_other_results(other)
        self.results.merge(other.results, rows, other_rows)
        self.scores.merge(other.scores)
        self._merge_rest(other)

    def _merge_other_results(self, other: DataProfile) -> None:
        """Call it before the results are merged, since these stand for the ``other_results`` of a profile that has none."""
        if not (self.other_results.names or other.other_results.names):
            return
        theirs = other.other_results if other.other_results.names else other.results
        if not self.other_results.names:
            self.other_results.merge(self.results, 0, self.predictions)
        self.other_results.merge(theirs, self.predictions, other.predictions)

    def read_otherwise(self) -> DataProfile:
        """The same predictions with their scores read the other way: if the score of a negative prediction is above one half,
        it is the probability of the negative class. The result shares data with this profile, so nothing may be merged into
        it."""
        twin = DataProfile()
        for member in self.__slots__:
            setattr(twin, member, getattr(self, member))
        if not self.other_results.names:
            return twin
        twin.results, twin.other_results = self.other_results, NumericBlock()
        keys = self.scores.keys
        moved = (keys >= PREDICTED_NEGATIVE + SCORE_BINS // 2) & (keys < PREDICTED_NEGATIVE + SCORE_BINS)
        twin.reread = int(self.scores.counts[moved].sum())
        mirrored = np.where(moved, 2 * PREDICTED_NEGATIVE + SCORE_BINS - 1 - keys, keys)
        twin.scores = counts.grouped(np.zeros(len(keys), np.intp), mirrored, self.scores.counts, 1, SCORE_SPACE)[0]
        return twin

    def _merge_rest(self, other: DataProfile) -> None:
        merge_all(self.categories, other.categories, self.predictions, other.predictions)
        self.result_class.merge(other.result_class)
        self.attributions.merge(other.attributions)
        self.predictions += other.predictions
        self.errors += other.errors
        self.abstained += other.abstained
        for name, count in other.unexpected.items():
            self.note_unexpected(name, count)
        for what, ids in other.examples.items():
            self.examples[what] = sorted({*self.examples.get(what, ()), *ids})[:MAX_EXAMPLES]

    def forget_requests(self, request_ids: Set[str]) -> bool:
        """Remove these request ids from the examples; returns whether there were any."""
        left = {what: [name for name in ids if name not in request_ids] for what, ids in self.examples.items()}
        changed, self.examples = left != self.examples, left
        return changed

    def merge_all(self, others: Sequence[DataProfile]) -> None:
        """Merge several profiles, much faster than one after the other."""
        if not self.predictions and others:
            self.merge(others[0])
            others = others[1:]
        if len(others) < 2 or any(of.other_results.names for of in (self, *others)):
            for other in others:
                self.merge(other)
            return
        rows, counts = self.predictions, [of.predictions for of in others]
        self.features.merge_all([of.features for of in others], rows, counts)
        self.results.merge_all([of.results for of in others], rows, counts)
        self.scores.merge_all([of.scores for of in others])
        for other in others:
            self._merge_rest(other)

    def sound_features(self) -> frozenset[str] | None:
        """As ``DataColumns.sound_features``, for the predictions counted here."""
        numbers = self.features
        odd = (numbers.missing, numbers.mismatch, numbers.out_of_range, self.results.mismatch)
        if self.unexpected or self.errors or any(of.any() for of in odd):
            return None
        if any(of.missing or of.mismatch or of.new for of in self.categories.values()):
            return None
        row = self.results.index("score")
        if row is not None and self.results.count[row] and not 0.0 <= self.results.low[row] <= self.results.high[row] <= 1.0:
            return None
        return frozenset((*numbers.names, *self.categories))

    def drop_sketches(self) -> None:
        """Drop quantiles, value tables and distinct values, which take most of the memory. Counts, moments and bins stay."""
        for block in (self.features, self.results, self.other_results, self.attributions.values):
            block.drop_sketches()
        for summary in (*self.categories.values(), self.result_class):
            summary.distinct = EMPTY

    def pack(self) -> bytes:
        return _encode([
            self.predictions, self.errors, self.abstained, self.features.pack(), self.results.pack(),
            {name: summary.pack() for name, summary in self.categories.items()}, self.result_class.pack(),
            self.unexpected, self.examples, self.scores.pack(),
            self.attributions.pack(), *([self.other_results.pack()] if self.other_results.names else ()),
        ])  # fmt: skip

    @classmethod
    def unpack(cls, raw: bytes) -> DataProfile:
        profile = cls()
        packed: list[Any] = _decode(raw)
        profile.predictions, profile.errors, profile.abstained = packed[:3]
        profile.features, profile.results = NumericBlock.unpack(packed[3]), NumericBlock.unpack(packed[4])
        profile.categories = {name: CategorySummary.unpack(p) for name, p in packed[5].items()}
        profile.result_class = CategorySummary.unpack(packed[6])
        profile.unexpected, profile.examples = packed[7], packed[8]
        profile.scores = SparseCounts.unpack(packed[9])
        profile.attributions = AttributionBlock.unpack(packed[10])
        if len(packed) > 11:
            profile.other_results = NumericBlock.unpack(packed[11])
        return profile
