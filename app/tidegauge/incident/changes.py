"""What changed around the time an incident began: marks set by people, new versions, another spec, another baseline.

Computed on request and not stored with the incident, since a mark may be set a day later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tidegauge.engine.events import timestamp
from tidegauge.metrics.record import iso

BEFORE = 86400.0
"""A change is listed with an incident if it lies at most this many seconds before the incident's first window."""
MAX_TOLD = 20


class Change(NamedTuple):
    """Something that changed at ``time`` (Unix seconds). ``kind``: mark, version, spec or baseline; ``model``: "" means all
    models; ``by``: who changed it, or says so, if that is known."""

    time: float
    kind: str
    text: str
    model: str = ""
    by: str = ""

    def told(self) -> dict[str, Any]:
        """As the console and reports tell it."""
        said = {"time": iso(self.time), "kind": self.kind, "text": self.text}
        return said | ({"by": self.by} if self.by else {})


def seen_in(records: Iterable[Mapping[str, Any]]) -> list[Change]:
    """The changes that metrics records show: the first window of each version but the model's first one, and the first window
    that is compared with a different kind of baseline. ``records``: of whole models (no segments), in any order."""
    whole = [record for record in records if not record["segment"]]
    model_began = min((record["window_start"] for record in whole), default="")
    found: list[Change] = []
    before: dict[tuple[str, str], str] = {}
    for record in sorted(whole, key=lambda of: (of["window_start"], of["model_version"], of["window"])):
        version, start = record["model_version"], record["window_start"]
        of = (version, record["window"])
        source = record.get("compared_with", {}).get("source", "")
        if of in before and source and before[of] and source != before[of]:
            text = f"{version} is compared with a {source} baseline, with {before[of]} before"
            found.append(Change(timestamp(start), "baseline", text, record["model"]))
        elif of not in before and start > model_began:
            found.append(Change(timestamp(start), "version", f"{version} serves for the first time", record["model"]))
        before[of] = source or before.get(of, "")
    return list({(change.kind, change.text): change for change in sorted(found, reverse=True)}.values())


def at_the_time(changes: Iterable[Change], model: str, began: float) -> list[dict[str, Any]]:
    """The changes of this model or of all models, from BEFORE seconds before an incident ``began`` to a day after, the oldest
    first.

    >>> mark = Change(50_000.0, "mark", "release 2.3")
    >>> at_the_time([mark], "churn", 86400.0)
    [{'time': '1970-01-01T13:53:20Z', 'kind': 'mark', 'text': 'release 2.3'}]
    """
    near = (of for of in changes if of.model in ("", model) and began - BEFORE <= of.time <= began + BEFORE)
    told = sorted(near, key=lambda of: abs(of.time - began))[:MAX_TOLD]
    return [of.told() for of in sorted(told)]
