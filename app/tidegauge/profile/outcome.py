"""The outcome side of a profile: counts and sums over the predictions whose labels or KPIs are known.

All of them are exact and additive: a correction takes back the old outcome without a trace, and a window that late labels
change has the same numbers, to the last bit, as if they had been in time. Scores are counted on the grid of
``profile/score_grid.py``. What would change if scores were read the other way (``join/score.py``) is counted as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.profile import sums
from tidegauge.profile.category import OTHER
from tidegauge.profile.counts import SparseCounts
from tidegauge.profile.delay_grid import DELAY_BINS, delay_of_bin
from tidegauge.profile.outcome_rows import DELAYS
from tidegauge.profile.score_counts import NEGATIVE, OTHER_READING, POSITIVE
from tidegauge.profile.score_grid import SCORE_BINS, SCORES

T = TypeVar("T")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

MAX_OUTSIDE = 0.01
"""A rounding error may lift a score above 1. If more than this share of the scores lies outside 0 to 1, they are not
probabilities."""
MAX_CLASSES = 1000
"""How many classes of one model a partition counts by name, and a record has numbers of."""
ANOTHER = "__another__"
"""Stands for the actual class if both it and the predicted class, a different one, are beyond MAX_CLASSES. The predicted class
is then ``category.OTHER``: the names of a wrong prediction must differ."""
MAX_EXAMPLES = 5
MAX_TAKEN_BACK = 50
"""How many requests a profile remembers as taken back, so that merging removes them from the examples of another profile."""


class ScoreCounts(NamedTuple):
    """Outcomes by score: the ``scores`` that occur (k, ascending), and how many outcomes with each were positive and negative
    (k)."""

    scores: NDArray[np.float64]
    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]


class Scored(NamedTuple):
    """How many outcomes that have a score are positive and negative."""

    positives: int
    negatives: int

    @property
    def outcomes(self) -> int:
        return self.positives + self.negatives


class OutcomeProfile:
    """The outcomes of some predictions of one version.

    ``sums``: name → exact sum (``profile.sums``). ``histograms``: those of scores, calibration bins and label delays, in one
    key space. ``confusion``: "predicted\\x1factual" → count. ``examples``: request id → how wrong the prediction was, for the
    most wrong ones; 0 for one that was taken back. ``other``: what to add to ``histograms`` if scores are read the other way.
    What to add to the sums then is among ``sums``, under names that begin with OTHER_READING. ``ranges``: the id of a
    baseline's ranges → the losses in these (``profile/range_losses.py``), of a whole model only; what to add to them is under
    names that begin with OTHER_READING, too.
    """

    __slots__ = ("_derived", "confusion", "examples", "histograms", "other", "ranges", "sums")

    def __init__(self) -> None:
        self._derived: dict[object, Any] = {}
        self.sums: dict[str, int] = {}
        self.histograms, self.other = SparseCounts(), SparseCounts()
        self.confusion: dict[str, int] = {}
        self.examples: dict[str, float] = {}
        self.ranges: dict[str, SparseCounts] = {}

    @property
    def labels(self) -> int:
        """How many predictions have a label. An event that only has KPIs is not a label."""
        return self.sums.get("labels", 0) >> sums.UNIT_BITS

    @property
    def implied(self) -> int:
        """How many of the labels were never sent, but follow from ``labels.missing_after`` in the spec, since none came in
        time."""
        return self.sums.get("implied", 0) >> sums.UNIT_BITS

    @property
    def unreadable(self) -> int:
        """How many of the labels of a regression are not numbers."""
        return self.sums.get("unreadable", 0) >> sums.UNIT_BITS

    def sum(self, name: str) -> float:
        """One of the exact sums, as a float; 0 if there is none of this name."""
        return sums.total(self.sums.get(name, 0))

    def scaled_sum(self, name: str) -> float:
        """The total of a sum that ``sums.scaled`` divided."""
        return sums.scaled_total(self.sums, name)

    def derived(self, of: Callable[[OutcomeProfile], T]) -> T:
        """``of(self)``, which is computed once and then cached until the profile changes."""
        if of not in self._derived:
            self._derived[of] = of(self)
        found: T = self._derived[of]
        return found

    def merge(self, other: OutcomeProfile) -> None:
        """Add the outcomes of ``other``, or take back those that it counts negatively."""
        self._derived.clear()
        sums.add(self.sums, other.sums)
        sums.add(self.confusion, other.confusion)
        self.histograms.merge(other.histograms)
        self.other.merge(other.other)
        self.add_ranges(other.ranges)
        if other.examples:
            self.add_examples(other.examples)

    def changed(self) -> None:
        """To be called before the members are changed: drop what was derived from them."""
        self._derived.clear()

    def add_ranges(self, ranges: Mapping[str, SparseCounts]) -> None:
        """Add losses by ranges; ``ranges`` as the member of that name."""
        for name, of in ranges.items():
            own = self.ranges.setdefault(name, SparseCounts())
            own.merge(of)
            if not len(own.keys):
                del self.ranges[name]

    def add_examples(self, examples: dict[str, float]) -> None:
        """Add examples, or take back some; ``examples`` as the member of that name."""
        both = self.examples | examples
        self.examples = most_wrong(both) | dict.fromkeys([i for i, w in both.items() if not w][:MAX_TAKEN_BACK], 0.0)

    def forget_requests(self, request_ids: Set[str]) -> bool:
        """Remove these request ids from the examples; returns whether there were any."""
        left = {name: wrong for name, wrong in self.examples.items() if name not in request_ids}
        changed, self.examples = left != self.examples, left
        return changed

    def merge_packed(self, parts: Sequence[bytes]) -> None:
        """Merge packed profiles, much faster than one by one."""
        self._derived.clear()
        decoded = [_decode(raw) for raw in parts]
        for packed in decoded:
            sums.add_packed(self.sums, packed[0])
            sums.add(self.confusion, packed[2])
            if packed[3]:
                self.add_examples(packed[3])
        self.histograms.merge_packed([packed[1] for packed in decoded])
        self.other.merge_packed([packed[4] for packed in decoded if len(packed) > 4])
        for packed in decoded:
            if len(packed) > 5:
                self.add_ranges({name: SparseCounts.unpack(of) for name, of in packed[5].items()})

    def read_otherwise(self) -> OutcomeProfile:
        """The same outcomes with their scores read the other way. The result shares data with this profile, so nothing may be
        merged into it."""
        if not len(self.other.keys):
            return self
        twin = OutcomeProfile()
        for name, of in self.ranges.items():
            twin.add_ranges({name.removeprefix(OTHER_READING): of})
        twin.confusion, twin.examples = self.confusion, self.examples
        twin.sums = {name: units for name, units in self.sums.items() if not name.startswith(OTHER_READING)}
        sums.add(
            twin.sums, {n.removeprefix(OTHER_READING): of for n, of in self.sums.items() if n.startswith(OTHER_READING)}
        )  # fmt: skip
        twin.histograms.merge_all([self.histograms, self.other])
        return twin

    def empty(self) -> bool:
        """Whether nothing is counted, because there was nothing or all was taken back."""
        return not (self.sums or self.confusion or self.ranges or len(self.histograms.keys) or len(self.other.keys))

    @property
    def further_classes(self) -> int:
        """How many outcomes have a predicted or actual class that is not counted by name."""
        beyond = {OTHER, ANOTHER}
        return sum(count for said, true, count in self.cells() if said in beyond or true in beyond)

    def scored(self) -> ScoreCounts:
        """The outcomes that have a score, by score; computed once."""
        return self.derived(_scored)

    def scored_classes(self) -> Scored:
        """How many outcomes of each class have a score; computed once."""
        return self.derived(_scored_classes)

    def cells(self) -> Sequence[ConfusionCell]:
        """The cells of the confusion matrix; computed once."""
        return self.derived(_cells)

    @property
    def no_probability_ratio(self) -> float:
        """The share of the outcomes with a score whose score is below 0 or above 1."""
        outside = self.sum("no_probability")
        if outside <= 0:
            return 0.0
        return outside / (outside + self.scored_classes().outcomes)

    def delay_quantiles(self, shares: Sequence[float]) -> list[float]:
        """The quantiles of the label delays at ``shares`` (0 to 1), in seconds, at most 3.7 % too large; [] without labels."""
        first = int(self.histograms.keys.searchsorted(DELAYS))
        within = self.histograms.counts[first:].cumsum()
        total = int(within[-1]) if len(within) else 0
        if total <= 0:
            return []
        bins = (self.histograms.keys[first:] - DELAYS).tolist()
        places = within.searchsorted([math.ceil(share * total) for share in shares]).tolist()
        return [delay_of_bin(bins[place]) for place in places]

    def pack(self) -> bytes:
        packed = [sums.pack(self.sums), self.histograms.pack(), self.confusion, self.examples]
        if len(self.other.keys) or self.ranges:
            packed.append(self.other.pack())
        if self.ranges:
            packed.append({name: of.pack() for name, of in self.ranges.items()})
        return _encode(packed)

    @classmethod
    def unpack(cls, raw: bytes) -> OutcomeProfile:
        profile = cls()
        packed: list[Any] = _decode(raw)
        profile.sums = sums.unpack(packed[0])
        profile.histograms = SparseCounts.unpack(packed[1])
        profile.confusion, profile.examples = packed[2], packed[3]
        if len(packed) > 4:
            profile.other = SparseCounts.unpack(packed[4])
        if len(packed) > 5:
            profile.ranges = {name: SparseCounts.unpack(of) for name, of in packed[5].items()}
        return profile


def derive_all(outcomes: Sequence[OutcomeProfile], of: Callable[[Sequence[OutcomeProfile]], Sequence[T]]) -> list[T]:
    """Like ``OutcomeProfile.derived`` for many profiles: those of which ``of`` is not cached are computed together."""
    missing = [outcome for outcome in outcomes if of not in outcome._derived]
    if missing:
        for outcome, found in zip(missing, of(missing), strict=True):
            outcome._derived[of] = found
    return [outcome._derived[of] for outcome in outcomes]


def _scored(outcome: OutcomeProfile) -> ScoreCounts:
    bins, (positives, negatives) = outcome.histograms.aligned((POSITIVE, NEGATIVE), SCORE_BINS)
    return ScoreCounts(SCORES[bins], positives, negatives)


def _scored_classes(outcome: OutcomeProfile) -> Scored:
    _, positives, negatives = outcome.scored()
    return Scored(int(positives.sum()), int(negatives.sum()))


def packed_delay_counts(raw: bytes) -> NDArray[np.int64]:
    """The histogram of label delays (DELAY_BINS) in a packed OutcomeProfile."""
    return SparseCounts.unpack(_decode(raw)[1]).dense(DELAYS, DELAY_BINS)


def most_wrong(examples: Mapping[str, float]) -> dict[str, float]:
    """The MAX_EXAMPLES requests whose predictions were most wrong, the worst first. ``examples``: request id → how wrong the
    prediction was; 0 if its label was taken back, and such requests are left out."""
    left = [request_id for request_id, wrong in examples.items() if wrong]
    worst = sorted(left, key=lambda request_id: (-examples[request_id], request_id))[:MAX_EXAMPLES]
    return {request_id: examples[request_id] for request_id in worst}


class ConfusionCell(NamedTuple):
    """The number of ``outcomes`` with this predicted and this actual class."""

    predicted: str
    actual: str
    outcomes: int


def _cells(outcome: OutcomeProfile) -> list[ConfusionCell]:
    cells = []
    for cell, count in outcome.confusion.items():
        predicted, _, actual = cell.partition("\x1f")
        cells.append(ConfusionCell(predicted, actual, count))
    return cells
