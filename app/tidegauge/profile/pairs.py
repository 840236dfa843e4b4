"""Two versions of a model that answered the same requests: what they said, and who was right. Additive counters only, so
that a corrected label takes its pair back exactly."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.profile import sums

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, bytes]).decode


class Moments(msgspec.Struct, frozen=True):
    """Sums over ``count`` pairs of one quantity of both versions: of the values, their squares and their product."""

    count: float
    first: float
    second: float
    first_squares: float
    second_squares: float
    products: float

    def swapped(self) -> Moments:
        """The same with the versions the other way round."""
        return Moments(self.count, self.second, self.first, self.second_squares, self.first_squares, self.products)


MEMBERS = Moments.__struct_fields__
OF_SCORES = frozenset(("score", "brier", "log_loss"))
"""Quantities that rest on scores."""


class PairProfile:
    """Requests that both versions answered. ``sums``: exact sums (see ``profile.sums``) named ``quantity:member`` for the
    members of ``Moments``; ``requests`` counts the pairs, ``same_class`` and ``classes`` those that agree among those with
    two classes.

    Quantities: ``score`` and ``value`` (a regression's number) of all pairs; of labelled pairs ``right`` (1 or 0),
    ``brier``, ``log_loss`` and ``absolute`` error.
    """

    __slots__ = ("sums",)

    def __init__(self) -> None:
        self.sums: dict[str, int] = {}

    def merge(self, other: PairProfile) -> None:
        sums.add(self.sums, other.sums)

    def empty(self) -> bool:
        return not self.sums

    @property
    def requests(self) -> int:
        return self.sums.get("requests", 0) >> sums.UNIT_BITS

    @property
    def agreement(self) -> float | None:
        """Share of the pairs with two classes whose classes are the same."""
        classes = self.sums.get("classes", 0)
        return self.sums.get("same_class", 0) / classes if classes else None

    def moments(self, quantity: str) -> Moments | None:
        """The sums of one quantity; None without pairs that have it."""
        if not self.sums.get(f"{quantity}:count"):
            return None
        return Moments(*(sums.total(self.sums.get(f"{quantity}:{member}", 0)) for member in MEMBERS))

    def without_scores(self) -> PairProfile:
        """The same without what rests on scores, for where these were misread."""
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
    """A chunk of pairs of the same two versions (n rows), each to be added (``weight`` 1) or taken back (-1). ``counts``: name
    → what each row counts (n); ``quantities``: name → values (2, n) of both versions. NaN where unknown."""

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
