"""Reads the output of `tidegauge replay` into the view."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from tidegauge.alert.operations import OPERATIONS
from tidegauge.console.view import View
from tidegauge.engine.stage import ALERTS, DEAD_LETTERS, INCIDENTS, METRICS, MODELS
from tidegauge.errors import TidegaugeError
from tidegauge.models.directory import records_of
from tidegauge.models.registry import encode
from tidegauge.report.archive import MARKS

_decode = msgspec.json.Decoder().decode


class Line(msgspec.Struct, frozen=True):
    """A line of a file as the record that it would be in its topic."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int = 0


def read(view: View, directory: Path, models: Path | None = None) -> None:
    """Take in ``metrics.jsonl``, ``alerts.jsonl``, ``incidents.jsonl``, ``dead-letters.jsonl`` and ``marks.jsonl`` of a
    directory, and the specs and baselines in ``models``. Raises TidegaugeError if there are no metrics, or if a line is not a
    record."""
    if not (directory / "metrics.jsonl").is_file():
        raise TidegaugeError(f"{directory}: there is no metrics.jsonl; give the --output directory of `tidegauge replay`")
    if models is not None:
        view.take(MODELS, [Line(r.model.encode(), encode(r)) for r in records_of(models)])
    view.take(METRICS, (Line(_key(record), raw) for raw, record in _lines(directory / "metrics.jsonl")))
    view.take(ALERTS, (Line(None, raw) for raw, _ in _lines(directory / "alerts.jsonl")))
    view.take(INCIDENTS, (Line(None, raw) for raw, _ in _lines(directory / "incidents.jsonl")))
    view.take(OPERATIONS, (Line(b"mark/", raw) for raw, _ in _lines(directory / MARKS)))
    view.take(DEAD_LETTERS, (_letter(record) for _, record in _lines(directory / "dead-letters.jsonl")))


def _lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            raw = line.strip()
            if raw:
                try:
                    yield raw, _decode(raw)
                except msgspec.MsgspecError as error:
                    raise TidegaugeError(f"{path}:{number}: not JSON: {error}") from error


def _key(record: dict[str, Any]) -> bytes:
    what = ("kind", "champion", "monitor") if "kind" in record else ("segment",)
    try:
        return msgspec.json.encode([record[m] for m in ("model", "model_version", *what, "window", "window_start")])
    except LookupError as error:
        raise TidegaugeError(f"metrics.jsonl: a record without {error}") from error


def _letter(record: dict[str, Any]) -> Line:
    headers = tuple((name, str(of).encode()) for name, of in record.items() if name != "value")
    return Line(None, str(record.get("value", "")).encode(), headers)
