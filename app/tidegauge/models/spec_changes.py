"""What differs between two records of a model, told to people: which members of the spec, which baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tidegauge.models.condition_text import condition_text
from tidegauge.spec import Condition, ModelSpec

LONGEST = 200
"""The most characters that are told of one change; what does not fit is counted."""
LONGEST_VALUE = 60
_ONE_OF = {
    "monitors": "monitor", "detectors": "detector", "rollouts": "rollout", "features": "feature", "kpis": "kpi",
    "baselines": "baseline of",
}  # fmt: skip
"""How one member of a list or mapping of the spec is called."""


def spec_changes(before: ModelSpec, after: ModelSpec) -> str:
    """The members of a spec that differ, at most LONGEST characters; "" if none do.

    >>> spec_changes(ModelSpec("m", windows=("1h",)), ModelSpec("m", windows=("1h", "1d"), grace=30.0))
    'windows 1h → 1h, 1d; grace 60 → 30'
    """
    return shortened(_between("", before, after))


def baseline_changes(
    before: Mapping[str, msgspec.Raw], after: Mapping[str, msgspec.Raw], specs: tuple[ModelSpec, ModelSpec]
) -> str:  # fmt: skip
    """The baselines by version that differ; "" if none do. ``specs``: before and after, which name the files."""
    return shortened(
        f"{version or 'all versions'}: {_named(before.get(version), specs[0], version)} → "
        f"{_named(after.get(version), specs[1], version)}"
        for version in sorted({*before, *after})
        if before.get(version) != after.get(version)
    )


def shortened(told: Iterator[str]) -> str:
    """What is told, separated by semicolons, as far as it fits.

    >>> shortened(iter(["a" * 120, "b" * 120, "c"]))[-12:]
    'a; 2 further'
    """
    parts = list(told)
    text = "; ".join(parts)
    kept = len(parts)
    while len(text) > LONGEST and kept > 1:
        kept -= 1
        text = "; ".join([*parts[:kept], f"{len(parts) - kept} further"])
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


class _BaselineSummary(msgspec.Struct):
    """What of a baseline tells people which it is."""

    source: str
    count: int
    labels: int
    edges_id: str
    lineage: dict[str, Any] = {}


def _named(raw: msgspec.Raw | None, spec: ModelSpec, version: str) -> str:
    if raw is None:
        return "none"
    of = msgspec.json.decode(raw, type=_BaselineSummary)
    name = spec.baseline_for(version).file or of.source
    data = of.lineage.get("data_snapshot")
    return f"{name} ({of.count} predictions{f', {data}' if data else ''}, {of.edges_id[:8]})"


def _between(name: str, before: Any, after: Any) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, Condition) and isinstance(after, Condition) and condition_text(before) != condition_text(after):
        yield f"{name}: {condition_text(before)} → {condition_text(after)}"
    elif isinstance(before, msgspec.Struct) and type(before) is type(after):
        yield from _members(name, before, after)
    elif _by_name(before) is not None and _by_name(after) is not None:
        yield from _entries(name, _by_name(before) or {}, _by_name(after) or {})
    else:
        yield f"{name} {_brief(before)} → {_brief(after)}"


def _members(name: str, before: msgspec.Struct, after: msgspec.Struct) -> Iterator[str]:
    metric = getattr(after, "metric", None)
    for member in after.__struct_fields__:
        own = f"{name} ({metric})" if member == "condition" else f"{name} {member}".strip()
        yield from _between(own, getattr(before, member), getattr(after, member))


def _entries(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    first, _, last = name.rpartition(" ")
    own = " ".join(filter(None, (first, _ONE_OF.get(last, last))))
    for key in dict.fromkeys((*before, *after)):
        if key not in after:
            yield f"{own} {key} removed"
        elif key not in before:
            yield f"{own} {key} added{_meaning(after[key])}"
        else:
            yield from _between(f"{own} {key}", before[key], after[key])


def _by_name(of: Any) -> Mapping[str, Any] | None:
    """A mapping as it is, or structs that have names by these; None for anything else."""
    if isinstance(of, Mapping):
        return of
    if isinstance(of, tuple) and all(hasattr(one, "name") for one in of):
        return {one.name: one for one in of}
    return None


def _meaning(of: Any) -> str:
    condition = getattr(of, "condition", None)
    return f": {of.metric} {condition_text(condition)}" if isinstance(condition, Condition) else ""


def _brief(of: Any) -> str:
    if isinstance(of, tuple):
        text = ", ".join("+".join(map(str, one)) if isinstance(one, tuple) else str(one) for one in of) or "none"
    elif isinstance(of, float):
        text = f"{of:.6g}"
    elif isinstance(of, msgspec.Struct):
        text = ", ".join(f"{name} {_brief(value)}" for name, value in msgspec.structs.asdict(of).items() if value is not None)
    else:
        text = "none" if of is None or of == "" else str(of)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
