"""The history of each feature over a range of windows: how far it was beyond its limits, or one measure of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

MEASURES = ("shift", "psi", "missing_ratio", "type_mismatch_ratio", "odd_ratio")
"""The measures besides ``limits``. ``odd_ratio``: the share of values that are unseen (category) or out of range (number)."""
LIMITS = "limits"
_PREFIX = "data.features."
_FAR = 10.0
"""The largest ratio of a value to its limit that is reported; also the ratio of any value above a limit of 0."""


class _Feature(msgspec.Struct):
    """Those members of a feature for which monitors may have limits and that people would look at."""

    shift: float | None = None
    mix_shift: float | None = None
    psi: float | None = None
    missing_ratio: float | None = None
    type_mismatch_ratio: float | None = None
    unseen_ratio: float | None = None
    out_of_range_ratio: float | None = None

    def measure(self, name: str) -> float | None:
        if name == "shift":
            return self.shift if self.shift is not None else self.mix_shift
        if name == "odd_ratio":
            found = [ratio for ratio in (self.unseen_ratio, self.out_of_range_ratio) if ratio is not None]
            return max(found, default=None)
        value: float | None = getattr(self, name)
        return value


class _Data(msgspec.Struct):
    features: dict[str, _Feature] = {}
    missing_features: list[str] = []


class _Record(msgspec.Struct):
    data: _Data = msgspec.field(default_factory=_Data)


_ABSENT = _Feature(missing_ratio=1.0)
_decode = msgspec.json.Decoder(_Record).decode


def feature_history(
    windows: Mapping[str, bytes], limits: Iterable[dict[str, Any]], measure: str = LIMITS
) -> dict[str, Any]:  # fmt: skip
    """For each feature its values in the ``windows`` (None if a window has none), and ``since``, the start of the first window
    in which it was beyond a limit. ``windows``: the metrics records, encoded, by the start of their window, the oldest first.

    If ``measure`` is ``limits``, a value is the largest ratio, at most 10, of a number of the feature to its upper limit
    (``limits`` as ``monitor_limits`` returns them), ``why`` names the number that was furthest beyond its limit in the window
    ``since``, and ``furthest`` that with the largest ratio of all windows. A feature that is missing entirely has a
    missing ratio of 1.
    """
    held = _held(limits)
    starts, records = list(windows), [_read(raw) for raw in windows.values()]
    names = sorted({name for record in records for name in (*record.features, *record.missing_features)})
    features = []
    for name in names:
        row = [record.features.get(name) or (_ABSENT if name in record.missing_features else None) for record in records]
        worst = [max(_ratios(of, held.get(name, {})), default=None) for of in row]
        told: dict[str, Any] = {"feature": name}
        if measure == LIMITS:
            told["values"] = [None if one is None else round(one[0], 3) for one in worst]
        else:
            told["values"] = [None if of is None else _rounded(of.measure(measure)) for of in row]
        beyond = [(start, one) for start, one in zip(starts, worst, strict=True) if one is not None and one[0] > 1]
        if beyond:
            since, (_, why) = beyond[0]
            told |= {"since": since, "why": why, "furthest": max(one for _, one in beyond)[1]}
        features.append(told)
    return {"measure": measure, "watched": bool(held), "windows": starts, "features": features}


def _read(raw: bytes) -> _Data:
    try:
        return _decode(raw).data
    except msgspec.MsgspecError:
        return _Data()


def _held(limits: Iterable[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The lowest upper limit by feature and member."""
    held: dict[str, dict[str, float]] = {}
    for limit in limits:
        path = str(limit["metric"])
        name, _, member = path.removeprefix(_PREFIX).rpartition(".")
        if path.startswith(_PREFIX) and member in _Feature.__struct_fields__ and "high" in limit:
            own = held.setdefault(name, {})
            own[member] = min(own.get(member, math.inf), limit["high"])
    return held


def _ratios(of: _Feature | None, limits: dict[str, float]) -> Iterable[tuple[float, str]]:
    for member, limit in limits.items():
        value = None if of is None else getattr(of, member)
        if value is not None:
            yield (min(value / limit, _FAR) if limit > 0 else _FAR * (value > limit)), member


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
