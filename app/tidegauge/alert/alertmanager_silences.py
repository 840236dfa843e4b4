"""Copies silences made in the console to Alertmanager.

Alertmanager then stores and shows them, and pages when a silence ends while its alert still fires, even if the bridge is down
at that moment. Each silence carries the console's id at the end of its comment, by which it is recognised.

    console                     Alertmanager                     what is done
    stands                      has none                         make it
    stands                      has it, with other values        change it
    stands                      has it twice                     end all but the one of the least id
    stands                      somebody ended it there          nothing: people decide
    ended or unknown            has it                           end it

Two members of an Alertmanager cluster that are told at the same time each create one, so there are two; ending all but the one
with the smallest id keeps the same one whichever member is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec

from tidegauge.alert.operations import Silence
from tidegauge.metrics.record import iso

_MARK = re.compile(r" \[tidegauge (\S+)\]$")
_TOLERANCE = 1.0
"""Times that differ by at most this many seconds count as equal, since Alertmanager keeps only milliseconds."""


class _Matcher(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    value: str
    is_regex: bool
    is_equal: bool = True


class _Status(msgspec.Struct, frozen=True):
    state: Literal["active", "pending", "expired"]


class AlertmanagerSilence(msgspec.Struct, frozen=True, rename="camel"):
    """A silence as Alertmanager's API v2 lists it."""

    id: str
    status: _Status
    matchers: list[_Matcher]
    ends_at: datetime
    comment: str = ""

    @property
    def mark(self) -> str | None:
        """The console's id of this silence; None if somebody made it in Alertmanager."""
        found = _MARK.search(self.comment)
        return None if found is None else found[1]

    def agrees_with(self, silence: Silence) -> bool:
        said = {(m.name, m.value, m.is_regex, m.is_equal) for m in self.matchers}
        meant = {(name, value, False, True) for name, value in silence.matchers.items()}
        return said == meant and abs(self.ends_at.timestamp() - silence.ends_at) <= _TOLERANCE


decode = msgspec.json.Decoder(list[AlertmanagerSilence]).decode
"""Decodes the answer to ``GET /api/v2/silences``; raises ``msgspec.MsgspecError``."""


class Changes(NamedTuple):
    """The bodies to post to Alertmanager, and the ids of the silences to end there."""

    posts: list[dict[str, Any]]
    ended: list[str]


def changes(standing: Iterable[Silence], held: Sequence[AlertmanagerSilence], now: float) -> Changes:
    """The changes after which Alertmanager, which now has the silences ``held``, has those of ``standing`` that are in force
    at ``now`` (Unix seconds)."""
    wanted = {silence.id: silence for silence in standing if silence.ends_at > now}
    met: set[str] = set()
    posts, ended = [], []
    for one in sorted(held, key=lambda one: (one.status.state == "expired", one.id)):
        mark = one.mark
        if mark is None:
            continue
        silence = wanted.get(mark)
        if one.status.state != "expired":
            if silence is None or mark in met:
                ended.append(one.id)
            elif not one.agrees_with(silence):
                posts.append(posted(silence) | {"id": one.id})
        met.add(mark)
    return Changes([*posts, *(posted(silence) for silence in wanted.values() if silence.id not in met)], ended)


def posted(silence: Silence) -> dict[str, Any]:
    """The body of ``POST /api/v2/silences`` for a silence."""
    matchers = [{"name": n, "value": v, "isRegex": False, "isEqual": True} for n, v in silence.matchers.items()]
    return {
        "matchers": matchers,
        "startsAt": iso(silence.starts_at),
        "endsAt": iso(silence.ends_at),
        "createdBy": silence.by,
        "comment": f"{silence.comment or 'made in the console'} [tidegauge {silence.id}]",
    }
