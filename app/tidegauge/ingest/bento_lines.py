"""Makes prediction events from the lines that BentoML's monitoring writes, and labels if a column has the role ``target``.

Each line is a row with its ``timestamp``, ``request_id`` and ``trace_id``. The schema of the monitor says which role each
column has: ``feature``, ``prediction`` or ``target``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.errors import EventError
from tidegauge.ingest.bodies import Instances
from tidegauge.ingest.event_rows import EventRecord, encoded, of_request, of_response, version_of
from tidegauge.ingest.messages import bad, checked_id
from tidegauge.spec import ModelSpec

UNKNOWN_VERSION = "not available"
"""BentoML's word for the version of a service that was not built into a Bento."""
ID_FORMAT = "016x"
"""How BentoML shows a request's id to its client, in the header X-BentoML-Request-ID; the line has it in decimal digits."""


class BentoSchema:
    """The roles of the columns of a monitor, from the lines of its schema. ``roles``: column → role, by the last line that has
    it; ``version``: that of the Bento, None if unknown. Raises EventError for a line that is not a schema."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self.roles: dict[str, str] = {}
        self.version: str | None = None
        for line in lines:
            try:
                said = json.loads(line)
                self.roles |= {column["name"]: column["role"] for column in said["columns"]}
                version = said["meta_data"]["bento_version"]
            except (ValueError, LookupError, TypeError) as error:
                raise bad(f"no line of a schema of BentoML's: {error!r}") from None
            self.version = None if version == UNKNOWN_VERSION else version

    def named(self, role: str) -> list[str]:
        """The columns of this role."""
        return [name for name, of in self.roles.items() if of == role]


class BentoRows:
    """Makes events of the lines of one file. The rows of one request follow each other: the first event has the id of the
    request, later ones that id, ``-`` and the number of the row."""

    def __init__(self, schema: BentoSchema, spec: ModelSpec) -> None:
        inputs, predictions = spec.inputs, schema.named("prediction")
        if not inputs.features:
            inputs = msgspec.structs.replace(inputs, features={name: name for name in schema.named("feature")})
        if inputs.prediction is None and not inputs.probabilities and predictions:
            inputs = msgspec.structs.replace(inputs, prediction=predictions[0])
        self._inputs, self._model = inputs, spec.model
        self._version = version_of(spec, schema.version)
        self._targets = schema.named("target")
        self._last, self._row = "", 0

    def records(self, line: bytes) -> list[EventRecord]:
        """The events of a line: a prediction and, if there is one, its label. Raises EventError."""
        row = _row(line)
        id_ = _id(row.get("request_id"))
        self._row = self._row + 1 if id_ == self._last else 0
        self._last = id_
        body = Instances([row])
        (event,) = of_request(self._inputs, id_ if not self._row else f"{id_}-{self._row}", body)
        (answered,) = of_response(self._inputs, body)
        ts = _time(row.get("timestamp"))
        event |= answered | {"ts": ts, "model": self._model, "model_version": self._version}
        found = [(PREDICTIONS, event)]
        label = next((row[name] for name in self._targets if row.get(name) is not None), None)
        if label is not None:
            found.append((LABELS, {"request_id": event["request_id"], "ts": ts, "label": label, "model": self._model}))
        return [EventRecord(topic, of["request_id"].encode(), encoded(of)) for topic, of in found]


def _row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise bad(f"the line cannot be read as JSON: {error}") from None
    if not isinstance(row, dict):
        raise bad("the line is no object")
    return row


def _id(given: Any) -> str:
    """The id as the client saw it.

    >>> _id("11195858718751768937")
    '9b5fae2fbea8c169'
    """
    text = checked_id(given if isinstance(given, str) else None if given is None else str(given), "request_id")
    if text == "None":
        raise EventError("bad_request_id", "the line was written outside of a request, and has no request_id")
    return format(int(text), ID_FORMAT) if text.isdecimal() and text.isascii() else text


def _time(given: Any) -> float:
    """Unix seconds; BentoML writes local time without its offset."""
    try:
        return datetime.fromisoformat(given).astimezone().timestamp()
    except (TypeError, ValueError, OverflowError) as error:
        raise EventError("bad_timestamp", f"timestamp {given!r}: {error}") from None
