"""The outcome side of a profile: what labels say. Additive counters only, so that a correction takes the old outcome
back exactly and a window that late labels change is restated to the last bit.

Scores are counted on the grid of ``profile/score_grid.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.profile import counts, sums
from tidegauge.profile.counts import SparseCounts
from tidegauge.profile.delay_grid import DELAY_BINS, delay_bins, delay_of_bin
from tidegauge.profile.score_grid import SCORE_BINS, SCORES, score_bins

T = TypeVar("T")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

CALIBRATION_BINS = 10
NEGATIVE, POSITIVE, CALIBRATED, DELAYS, SPACE = (
    0,
    SCORE_BINS,
    2 * SCORE_BINS,
    2 * SCORE_BINS + 2 * CALIBRATION_BINS,
    2 * SCORE_BINS + 2 * CALIBRATION_BINS + DELAY_BINS,
)
"""Where each histogram begins in the joint key space: scores of negatives and positives, the ten calibration bins of
negatives and of positives, label delays."""

LOG_CLIP = 1e-15
MAX_OUTSIDE = 0.01
"""A rounding error may lift a score above 1; where more of them than this share are no probability, scores are
something else."""
MAX_EXAMPLES = 5
MAX_TAKEN_BACK = 50
EXAMPLE_FROM = 0.5
"""A classification less wrong than this (distance of score and outcome) is no example."""


class OutcomeColumns:
    """A chunk of one version's outcomes, column-wise (n rows), each to be added (``sign`` 1) or taken back (-1).

    ``predicted`` and ``actual`` are class names or None, ``numbers`` predicted and actual as numbers (2, n) or NaN,
    ``score`` and ``positive`` the probability of the positive class and whether it came true (-1 where unknown), ``hit``
    (n) the same of the class a multiclass model predicted, whose probability its score is, else None; ``log_loss`` the
    multiclass loss (n) or NaN; ``business`` KPI → values (n) or NaN; ``delay`` seconds, NaN where no label was sent; ``ids``
    request ids (n), () where no examples are wanted; ``implied`` (n) whether no label says so but that none has come, or None.
    """

    __slots__ = (
        "actual",
        "business",
        "delay",
        "hit",
        "ids",
        "implied",
        "labelled",
        "log_loss",
        "numbers",
        "positive",
        "predicted",
        "score",
        "sign",
    )

    def __init__(
        self,
        sign: NDArray[np.int64],
        labelled: NDArray[np.bool_],
        predicted: Sequence[str | None],
        actual: Sequence[str | None],
        numbers: NDArray[np.float64] | None,
        score: NDArray[np.float64],
        positive: NDArray[np.int64],
        log_loss: NDArray[np.float64] | None,
        business: dict[str, NDArray[np.float64]],
        delay: NDArray[np.float64],
        ids: Sequence[bytes] = (),
        hit: NDArray[np.int64] | None = None,
        implied: NDArray[np.bool_] | None = None,
    ) -> None:
        self.hit, self.implied = hit, implied
        self.sign, self.labelled, self.ids = sign, labelled, ids
        self.predicted, self.actual = predicted, actual
        self.numbers, self.score, self.positive = numbers, score, positive
        self.log_loss, self.business, self.delay = log_loss, business, delay

    def terms(self) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Per row: the terms of the exact sums by name, and (row, key, weight) of the histogram entries."""
        n = len(self.sign)
        sign = self.sign.astype(np.float64)
        terms: dict[str, NDArray[np.float64]] = {"labels": sign * self.labelled}
        if self.implied is not None and self.implied.any():
            terms["implied"] = sign * self.implied
        rows = np.flatnonzero(~np.isnan(self.delay))
        entry_rows, entry_keys = [rows], [DELAYS + delay_bins(self.delay[rows])]
        truth = self.positive if self.hit is None else self.hit
        scored = np.flatnonzero((truth >= 0) & (self.score >= 0.0) & (self.score <= 1.0))
        outside = (truth >= 0) & ((self.score < 0.0) | (self.score > 1.0))
        if outside.any():
            terms["no_probability"] = sign * outside
        if len(scored):
            p, y, s = self.score[scored], truth[scored], sign[scored]
            tenth = np.minimum((p * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
            entry_rows += [scored, scored]
            entry_keys += [
                np.where(y == 1, POSITIVE, NEGATIVE) + score_bins(p),
                CALIBRATED + y * CALIBRATION_BINS + tenth,
            ]
            clipped = np.clip(p, LOG_CLIP, 1 - LOG_CLIP)
            loss = -np.log(np.where(y == 1, clipped, 1 - clipped))
            for name, values in (
                ("brier", (p - y) ** 2),
                ("log_loss", loss),
                ("log_loss_squares", loss * loss),
                ("score_squares", p * p),
            ):
                terms[name] = np.zeros(n)
                terms[name][scored] = s * values
        if self.log_loss is not None:
            terms["class_log_loss"] = sign * self.log_loss
            terms["class_log_loss_squares"] = sign * self.log_loss * self.log_loss
            terms["class_log_loss_count"] = sign * ~np.isnan(self.log_loss)
        if self.numbers is not None:
            self._regression(terms, sign)
        for kpi, values in self.business.items():
            terms[f"kpi_count:{kpi}"] = sign * ~np.isnan(values)
            terms[f"kpi_sum:{kpi}"] = sign * values
            with np.errstate(over="ignore"):
                terms |= sums.scaled(f"kpi_squares:{kpi}", sign * values * values)
        row = np.concatenate(entry_rows)
        return terms, row, np.concatenate(entry_keys), self.sign[row]

    def tenths(self) -> NDArray[np.int64]:
        """The calibration bin (n) of each score whose outcome is known, else -1."""
        known = (self.positive >= 0) & (self.score >= 0.0) & (self.score <= 1.0)
        tenth = (np.where(known, self.score, 0.0) * CALIBRATION_BINS).astype(np.int64)
        return np.where(known, np.minimum(tenth, CALIBRATION_BINS - 1), -1)

    def wrongness(self) -> NDArray[np.float64]:
        """How wrong each prediction (n) was: the distance of score and outcome, else 1 for a wrong class, else the absolute
        error; 0 where that is unknown or small."""
        if self.numbers is not None and not np.isnan(self.numbers).all():
            return np.asarray(np.nan_to_num(np.abs(self.numbers[0] - self.numbers[1])))
        known = (self.positive >= 0) & ~np.isnan(self.score)
        wrong = np.abs(self.score - self.positive)
        if not known.all():
            pairs = zip(self.predicted, self.actual, strict=True)
            classes = np.fromiter((p is not None and a is not None and p != a for p, a in pairs), float)
            wrong = np.where(known, wrong, classes)
        return np.asarray(np.where(wrong > EXAMPLE_FROM, wrong, 0.0))

    def _regression(self, terms: dict[str, NDArray[np.float64]], sign: NDArray[np.float64]) -> None:
        assert self.numbers is not None
        predicted, actual = self.numbers
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            error = predicted - actual
            truth = np.where(np.isnan(error), np.nan, actual)
            relative = np.where(actual != 0, np.abs(error / actual), np.nan)
            squared, actual_squared = error * error, truth * truth
            terms["errors"] = sign * ~np.isnan(error)
            terms["error_sum"], terms["absolute"] = sign * error, sign * np.abs(error)
            terms["relative"], terms["relative_count"] = sign * relative, sign * ~np.isnan(relative)
            terms["actual_sum"] = sign * truth
            for name, values in (
                ("squares", squared),
                ("actual_squares", actual_squared),
                # What the intervals of RMSE, MAPE and R² rest on.
                ("fourths", squared * squared),
                ("squares_actual", squared * truth),
                ("squares_actual_squares", squared * actual_squared),
                ("actual_cubes", actual_squared * truth),
                ("actual_fourths", actual_squared * actual_squared),
                ("relative_squares", relative * relative),
            ):
                terms |= sums.scaled(name, sign * values)


class OutcomeProfile:
    """What became of some predictions of one version.

    ``sums`` exact sums by name (see ``profile.sums``), ``histograms`` the joint sparse histogram, ``confusion``
    "predicted\\x1factual" → count. ``examples``: the requests that were most wrong → by how much; 0 takes one back.
    """

    __slots__ = ("_derived", "confusion", "examples", "histograms", "sums")

    def __init__(self) -> None:
        self._derived: dict[object, Any] = {}
        self.sums: dict[str, int] = {}
        self.histograms = SparseCounts()
        self.confusion: dict[str, int] = {}
        self.examples: dict[str, float] = {}

    @property
    def labels(self) -> int:
        """Labelled predictions (a label event with business values only is no label)."""
        return self.sums.get("labels", 0) >> sums.UNIT_BITS

    @property
    def implied(self) -> int:
        """Those of the labels that nobody sent: none had come in time, which means something too."""
        return self.sums.get("implied", 0) >> sums.UNIT_BITS

    def sum(self, name: str) -> float:
        return sums.total(self.sums.get(name, 0))

    def scaled_sum(self, name: str) -> float:
        """A sum that is kept by magnitude (see ``sums.scaled``)."""
        return sums.scaled_total(self.sums, name)

    def derived(self, of: Callable[[OutcomeProfile], T]) -> T:
        """What ``of`` makes of the profile, made once for as long as it does not change."""
        if of not in self._derived:
            self._derived[of] = of(self)
        found: T = self._derived[of]
        return found

    def merge(self, other: OutcomeProfile) -> None:
        self._derived.clear()
        sums.add(self.sums, other.sums)
        sums.add(self.confusion, other.confusion)
        self.histograms.merge(other.histograms)
        if other.examples:
            self._merge_examples(other.examples)

    def _merge_examples(self, examples: dict[str, float]) -> None:
        both = self.examples | examples
        self.examples = most_wrong(both.items()) | dict.fromkeys([i for i, w in both.items() if not w][:MAX_TAKEN_BACK], 0.0)

    def merge_packed(self, parts: Sequence[bytes]) -> None:
        """Take in packed profiles: many at once at a fraction of what each by itself would take."""
        self._derived.clear()
        decoded = [_decode(raw) for raw in parts]
        for packed in decoded:
            sums.add_packed(self.sums, packed[0])
            sums.add(self.confusion, packed[2])
            if packed[3]:
                self._merge_examples(packed[3])
        self.histograms.merge_packed([packed[1] for packed in decoded])

    def empty(self) -> bool:
        return not (self.sums or self.confusion or len(self.histograms.keys))

    def scored(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """How many outcomes were positive and negative at each score that any has: scores (k, ascending), counts (k)."""
        bins, (positives, negatives) = self.histograms.side_by_side((POSITIVE, NEGATIVE), SCORE_BINS)
        return SCORES[bins], positives, negatives

    @property
    def no_probability_ratio(self) -> float:
        """Share of the outcomes with a score whose score is no probability, below 0 or above 1."""
        outside = self.sum("no_probability")
        return outside / (outside + int(sum(of.sum() for of in self.scored()[1:]))) if outside > 0 else 0.0

    def delay_counts(self) -> NDArray[np.int64]:
        return self.histograms.dense(DELAYS, DELAY_BINS)

    def delay_quantiles(self, shares: Sequence[float]) -> list[float]:
        """Label delays in seconds below which these shares of the outcomes came in, within 3.7 %; [] where none did."""
        delays = self.delay_counts()
        within = np.cumsum(delays)
        total = int(within[-1])
        if total <= 0:
            return []
        return [delay_of_bin(int(np.searchsorted(within, math.ceil(share * total)))) for share in shares]

    def pack(self) -> bytes:
        return _encode([sums.pack(self.sums), self.histograms.pack(), self.confusion, self.examples])

    @classmethod
    def unpack(cls, raw: bytes) -> OutcomeProfile:
        profile = cls()
        packed: list[Any] = _decode(raw)
        profile.sums = sums.unpack(packed[0])
        profile.histograms = SparseCounts.unpack(packed[1])
        profile.confusion, profile.examples = packed[2], packed[3]
        return profile


def packed_delay_counts(raw: bytes) -> NDArray[np.int64]:
    """The label delays (DELAY_BINS) of a packed profile."""
    return SparseCounts.unpack(_decode(raw)[1]).dense(DELAYS, DELAY_BINS)


class OutcomeGroups:
    """Groups the rows of OutcomeColumns into profiles, once for each breakdown, sharing the per-row work."""

    def __init__(self, columns: OutcomeColumns) -> None:
        terms, self._row, self._key, self._weight = columns.terms()
        self._names, self._limbs = list(terms), sums.limbs(np.stack(list(terms.values())))
        self._tenth = columns.tenths()
        self._scores = sums.limbs(columns.sign * columns.score) if (self._tenth >= 0).any() else None
        pairs = _Pairs()
        self._pair = np.fromiter(map(pairs.__getitem__, zip(columns.predicted, columns.actual, strict=True)), np.int64)
        self._pairs, self._sign = pairs.names, columns.sign
        self._ids, self._wrong = columns.ids, columns.wrongness() if columns.ids else None

    def group(self, order: NDArray[np.intp], starts: NDArray[np.intp]) -> list[OutcomeProfile]:
        """One profile for each run of rows (as in ``NumericColumns.group``)."""
        groups = len(starts)
        group_of_row = np.full(len(self._sign), -1)
        group_of_row[order] = np.repeat(np.arange(groups), np.diff(np.append(starts, len(order))))
        profiles = [OutcomeProfile() for _ in range(groups)]
        parts = np.add.reduceat(self._limbs[:, :, order], starts, axis=2).transpose(1, 2, 0).tolist()
        for name, by_profile in zip(self._names, parts, strict=True):
            for profile, limbs in zip(profiles, by_profile, strict=True):
                units = sums.of_limbs(*limbs)
                if units:
                    profile.sums[name] = units
        if self._scores is not None:
            self._sum_scores(self._scores, profiles, order, group_of_row[order])
        place = group_of_row[self._row]
        taken = place >= 0
        histograms = counts.grouped(place[taken], self._key[taken], self._weight[taken], groups, SPACE)
        for profile, histogram in zip(profiles, histograms, strict=True):
            profile.histograms = histogram
        if self._wrong is not None:
            self._note_examples(profiles, order, starts)
        if self._pairs:
            taken = (group_of_row >= 0) & (self._pair >= 0)
            width = len(self._pairs)
            cells = np.bincount(
                group_of_row[taken] * width + self._pair[taken], weights=self._sign[taken], minlength=groups * width
            ).astype(np.int64)
            where = np.flatnonzero(cells)
            for cell, count in zip(where.tolist(), cells[where].tolist(), strict=True):
                profiles[cell // width].confusion[self._pairs[cell % width]] = count
        return profiles

    def _sum_scores(
        self, scores: NDArray[np.int64], profiles: list[OutcomeProfile], order: NDArray[np.intp], group: NDArray[np.int64]
    ) -> None:
        """The sum of the scores in each calibration bin, as ``score_<bin>``."""
        width = CALIBRATION_BINS + 1
        joint = group * width + self._tenth[order] + 1
        sort = np.argsort(joint.astype(np.int16) if len(profiles) * width < 2**15 else joint, kind="stable")
        joint = joint[sort]
        starts = np.flatnonzero(np.append(True, np.diff(joint) != 0))
        parts = np.add.reduceat(scores[:, order[sort]], starts, axis=1).T.tolist()
        for cell, limbs in zip(joint[starts].tolist(), parts, strict=True):
            units = sums.of_limbs(*limbs)
            if cell % width and units:
                profiles[cell // width].sums[f"score_{cell % width - 1}"] = units

    def _note_examples(self, profiles: list[OutcomeProfile], order: NDArray[np.intp], starts: NDArray[np.intp]) -> None:
        assert self._wrong is not None
        ends = np.append(starts[1:], len(order))
        for profile, start, end in zip(profiles, starts.tolist(), ends.tolist(), strict=True):
            rows = order[start:end]
            gone = rows[self._sign[rows] < 0][:MAX_TAKEN_BACK].tolist()
            profile.examples = {self._ids[row].decode(): 0.0 for row in gone}
            wrong = self._wrong[rows] * (self._sign[rows] > 0)
            if wrong.any():
                top = rows[np.argsort(-wrong, kind="stable")[:MAX_EXAMPLES]].tolist()
                profile.examples |= {self._ids[row].decode(): float(self._wrong[row]) for row in top if self._wrong[row]}


def most_wrong(examples: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The examples that were most wrong, the worst first."""
    return dict(sorted((e for e in examples if e[1]), key=lambda e: (-e[1], e[0]))[:MAX_EXAMPLES])


class _Pairs(dict[tuple[str | None, str | None], int]):
    """Numbers pairs of classes in the order they are first asked for, -1 where one is None; ``names`` are the cells of
    ``OutcomeProfile.confusion``."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __missing__(self, pair: tuple[str | None, str | None]) -> int:
        code = -1
        if None not in pair:
            code = len(self.names)
            self.names.append(f"{pair[0]}\x1f{pair[1]}")
        self[pair] = code
        return code


def confusion_counts(confusion: dict[str, int]) -> Iterable[tuple[str, str, int]]:
    """(predicted, actual, count) of each cell."""
    for cell, count in confusion.items():
        predicted, _, actual = cell.partition("\x1f")
        yield predicted, actual, count
