"""Predictions in another schema of the schema registry than their model's spec names, as what breaks a schema."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tidegauge.engine.events import Prediction
from tidegauge.engine.stage import SCHEMA_ID, InputRecord
from tidegauge.join.contexts import model_of_event
from tidegauge.profile.schema import RESERVED
from tidegauge.spec import ModelSpec


def note_other_schemas(
    events: Sequence[Prediction], records: Sequence[InputRecord], spec_of: Callable[[str], ModelSpec]
) -> None:
    """Give each prediction whose schema its spec does not name an unexpected feature that is called by that schema, which no
    baseline learns. ``records`` (n): those of the ``events`` (n). Plain JSON has no schema, and is as expected as any."""
    for event, record in zip(events, records, strict=True):
        schema_id = next((value or b"" for name, value in record.headers if name == SCHEMA_ID), b"").decode("ascii", "replace")
        accepted = spec_of(model_of_event(event)).schemas if schema_id else ()
        if accepted and schema_id not in map(str, accepted):
            event.features = {**(event.features or {}), f"{RESERVED}schema {schema_id} of the registry": None}
