"""Parts of deltas without the requests that are forgotten on demand: what is counted stays, what names a request goes."""

from __future__ import annotations

from collections.abc import Set

import msgspec

from tidegauge.engine.delta import Part, RowsDelta
from tidegauge.profile import data_rows
from tidegauge.profile.data import DataColumns, DataProfile
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.outcome_table import OutcomeTable


def without(part: Part, request_ids: Set[str]) -> Part:
    """A part that names none of these requests; the same one if it named none."""
    if isinstance(part, RowsDelta):
        table = None if part.outcome is None else OutcomeTable.unpack(part.outcome)
        columns = None if part.data is None else data_rows.unpack(part.data)
        return _changed(part, request_ids, columns, table)
    outcome = None if part.outcome is None else OutcomeProfile.unpack(part.outcome)
    return _changed(part, request_ids, None if part.data is None else DataProfile.unpack(part.data), outcome)


def _changed(
    part: Part, request_ids: Set[str], data: DataProfile | DataColumns | None, outcome: OutcomeProfile | OutcomeTable | None
) -> Part:  # fmt: skip
    new: dict[str, bytes] = {}
    if data is not None and data.forget_requests(request_ids):
        new["data"] = data_rows.pack(data) if isinstance(data, DataColumns) else data.pack()
    if outcome is not None and outcome.forget_requests(request_ids):
        new["outcome"] = outcome.pack()
    return msgspec.structs.replace(part, **new) if new else part
