"""Requests that two versions of a model both answered: whether they agree, and which one was right. All counters are additive,
so that a corrected label takes back its pair exactly."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.profile import sums

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, bytes]).decode


class Moments(msgspec.Struct, frozen=True):
    """Sums over ``count`` pairs of one quantity: of the values of both versions, of their squares, and of their products."""

    count: float
    first: float
    second: float
    first_squares: float
    second_squares: float
    products: float

    def swapped(self) -> Moments:
        """The same sums with the two versions exchanged."""
        return Moments(self.count, self.second, self.first, self.second_squares, self.first_squares, self.products)


MEMBERS = Moments.__struct_fields__
OF_SCORES = frozenset(("score", "brier", "log_loss"))
"""The quantities that are computed from scores."""


class PairProfile:
    """The pairs of answers to the requests that both versions answered.

    ``sums``: exact sums (see ``profile.sums``). Those named ``quantity:member`` are the members of ``Moments``; ``requests`` is
    the number of pairs, ``classes`` that of pairs with two classes, and ``same_class`` that of those with the same class twice.
    The quantities of all pairs are ``score`` and ``value`` (of a regression); those of labelled pairs are ``right`` (1 or 0),
    ``brier``, ``log_loss`` and ``absolute`` (error).
    """

    __slots__ = ("sums",)

    def __init__(self) -> None:
        self.sums: dict[str, int] = {}

    def merge(self, other: PairProfile) -> None:
        """Add the pairs of ``other``, or take back those that it counts negatively."""
        sums.add(self.sums, other.sums)

    def empty(self) -> bool:
        """Whether nothing is counted."""
        return not self.sums

    @property
    def requests(self) -> int:
        """The number of pairs."""
        return self.sums.get("requests", 0) >> sums.UNIT_BITS

    @property
    def agreement(self) -> float | None:
        """The share of the pairs with two classes in which these are the same; None without such pairs."""
        classes = self.sums.get("classes", 0)
        return self.sums.get("same_class", 0) / classes if classes else None

    def moments(self, quantity: str) -> Moments | None:
        """The sums of one quantity; None if no pair has it."""
        if not self.sums.get(f"{quantity}:count"):
            return None
        return Moments(*(sums.total(self.sums.get(f"{quantity}:{member}", 0)) for member in MEMBERS))

    def without_scores(self) -> PairProfile:
        """The same pairs without the quantities that are computed from scores, for use if scores were misread."""
        found = PairProfile()
        found.sums = {name: of for name, of in self.sums.items() if name.partition(":")[0] not in OF_SCORES}
        return found

    def pack(self) -> bytes:
        return _encode(sums.pack(self.sums))

    @classmethod
    def unpack(cls, raw: bytes) -> PairProfile:
        profile = cls()
        profile.sums = sums.unpack(_decode(raw))
        return profile


class PairColumns(msgspec.Struct, frozen=True):
    """A chunk of pairs of the same two versions (n rows). ``weight`` (n): 1 if the pair is to be added, -1 if it is to be taken
    back. ``counts``: name → how much each row counts (n). ``quantities``: name → the values of both versions (2, n). NaN if
    unknown."""

    weight: NDArray[np.float64]
    counts: dict[str, NDArray[np.float64]]
    quantities: dict[str, NDArray[np.float64]]

    def group(self, order: NDArray[np.intp], starts: NDArray[np.intp]) -> list[PairProfile]:
        """One profile for each run of rows (as in ``NumericColumns.group``)."""
        terms = dict(self.counts)
        for name, (first, second) in self.quantities.items():
            products = first * second
            both = np.where(np.isnan(products), np.nan, 1.0)
            values = (both, first * both, second * both, first * first * both, second * second * both, products)
            terms |= {f"{name}:{member}": of for member, of in zip(MEMBERS, values, strict=True)}
        profiles = [PairProfile() for _ in starts]
        for name, column in terms.items():
            for profile, units in zip(profiles, sums.grouped((self.weight * column)[order], starts), strict=True):
                if units:
                    profile.sums[name] = units
        return profiles
