"""Converts tables to events: the rows of CSV, Parquet and Arrow files become lines of JSON.

A column with the name of an event's member is that member, ``segments.x`` is a segment, ``business.x`` a KPI,
``attributions.x`` an attribution, ``probabilities.x`` the probability of a class, and every other column (also as
``features.x``) is a feature. Types are those of the spec or else of the column, so that the same data lead to the same events
whatever the file format.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, BinaryIO, Literal

import msgspec

from tidegauge.errors import SourceError
from tidegauge.spec import FeatureSpec, ModelSpec

Kind = Literal["text", "number", "truth", "code"]
"""How the cells of a column are read. A ``code`` is an integer category that pandas wrote as floats because of empty cells."""

TEXTS = ("request_id", "model_version", "model", "role", "error", "segment")
NUMBERS = ("score", "confidence", "latency_ms", "cost")
MEMBERS = (*TEXTS, *NUMBERS, "ts", "prediction", "label")
GROUPS = ("features", "segments", "business", "attributions", "probabilities")
_NUMBERED = ("business", "attributions", "probabilities")

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_PADDED = re.compile(r"[+-]?0\d+", re.ASCII)
_FLOATED = re.compile(r"-?\d+\.0", re.ASCII)
_TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
UNNAMED = "no name, as of row numbers, and no feature"
_NOTHING = frozenset(
    ("nan", "-nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity", "na", "n/a", "#n/a", "null", "none")
)
"""Texts that mean a missing number, in lower case. In a column of texts they are texts."""


class Columns(msgspec.Struct, frozen=True):
    """What is known in advance about a table's columns. ``features``: those of the spec; ``naive_utc``: whether a ``ts``
    without an offset is UTC; ``regression``: whether predictions and labels are numbers."""

    features: Mapping[str, FeatureSpec] = {}
    naive_utc: bool = False
    regression: bool = False

    @classmethod
    def of(cls, specs: Sequence[ModelSpec], **more: Any) -> Columns:
        """What the specs say about columns, as far as they do not contradict each other."""
        declared: dict[str, FeatureSpec] = {}
        for spec in specs:
            for name, feature in spec.features.items():
                same = name not in declared or declared[name].type == feature.type
                declared[name] = feature if same else FeatureSpec()
        return cls(declared, regression={spec.task for spec in specs} == {"regression"}, **more)


EVENTS = Columns()
"""The columns of a table of events if no spec is known."""


def csv_events(file: BinaryIO, name: str, columns: Columns, note: Callable[[str], None]) -> Iterator[bytes]:
    """Yield the rows of a CSV table (UTF-8; commas, semicolons or tabs) as events. ``note``: called with the columns that are
    left out. Raises SourceError."""
    try:
        with _csv(file) as (titles, rows):
            kinds = _kinds(titles, rows, columns)
        unnamed = _unnamed(titles, columns)
        _tell_left_out(unnamed, UNNAMED, name, note)
        kept = [title for title in titles if title not in unnamed]
        with _csv(file) as (titles, rows):
            for number, row in enumerate(rows):
                if len(row) != len(titles):
                    raise SourceError(f"{name}: row {number + 1} has {len(row)} cells, the first line names {len(titles)}")
                cells = {title: _cell(text, kinds[title]) for title, text in zip(titles, row, strict=True) if text}
                yield _event({title: cells.get(title) for title in kept}, number, name, columns)
    except (UnicodeError, csv.Error) as error:
        raise SourceError(f"{name}: cannot be read as CSV: {error}; UTF-8 and one line of column names are wanted") from error


@contextlib.contextmanager
def _csv(file: BinaryIO) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    """Yield the column names and the rows, from the beginning of the file."""
    file.seek(0)
    first = file.readline()
    delimiter = max(",;\t", key=lambda mark: first.count(mark.encode()))
    spaced = f"{delimiter} ".encode() in first
    file.seek(0)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        rows = csv.reader(text, delimiter=delimiter, strict=True, skipinitialspace=spaced)
        titles = [title.strip() for title in next(rows, [])]
        twice = {title for title in titles if title and titles.count(title) > 1}
        if twice:
            raise csv.Error(f"two columns are called {min(twice)!r}")
        yield titles, (row for row in rows if row)
    finally:
        text.detach()


def _kinds(titles: list[str], rows: Iterator[list[str]], columns: Columns) -> dict[str, Kind]:
    """How to read each column: as the spec says, else in the way in which all of its cells can be read."""
    seen = {title: _Seen() for title in titles}
    for row in rows:
        for title, text in zip(titles, row, strict=False):
            seen[title].add(text)
    return {title: _kind(title, seen[title], columns) for title in titles}


class _Seen:
    """What the cells of one column so far have in common."""

    __slots__ = ("empty", "floated", "number", "padded", "some", "truth")

    def __init__(self) -> None:
        self.number = self.truth = self.floated = True
        self.some = self.empty = self.padded = False

    def add(self, text: str) -> None:
        if not text or (self.number and text.strip().lower() in _NOTHING):
            self.empty = True
            return
        self.some = True
        self.number = self.number and _NUMBER.fullmatch(text.strip()) is not None
        self.truth = self.truth and text in _TRUTHS
        self.floated = self.floated and _FLOATED.fullmatch(text) is not None
        self.padded = self.padded or _PADDED.fullmatch(text) is not None


def _kind(title: str, seen: _Seen, columns: Columns) -> Kind:
    group, _, rest = title.partition(".")
    number: Kind = "number"
    if title == "request_id" and seen.floated and seen.some:
        # Integers that pandas converted to floats because other rows had none.
        return "code"
    if title in TEXTS or (group == "segments" and rest):
        return "text"
    if title in NUMBERS or (rest and group in _NUMBERED) or (columns.regression and title in ("prediction", "label")):
        return number
    feature = title not in MEMBERS
    declared = columns.features.get(rest if group == "features" and rest else title, FeatureSpec()).type if feature else None
    if declared == "number":
        return number
    if seen.some and seen.truth:
        return "truth"
    if declared == "category":
        return "code" if seen.floated and seen.empty and seen.some else "text"
    return number if seen.number and not seen.padded else "text"


def _cell(text: str, kind: Kind) -> Any:
    """The value of a cell. In a column of numbers, a cell that is not a number stays a text."""
    if kind == "text":
        return text
    if kind == "truth":
        return _TRUTHS.get(text)
    bare = text.strip()
    if _WHOLE.fullmatch(bare):
        return int(bare) if len(bare) <= 300 else None
    if _NUMBER.fullmatch(bare):
        number = float(bare)
        return int(number) if kind == "code" else number
    return None if bare.lower() in _NOTHING else text


def parquet_events(file: BinaryIO, name: str, columns: Columns, note: Callable[[str], None]) -> Iterator[bytes]:
    """Yield the rows of a Parquet table as events. ``note``: called with the columns that are left out. Raises SourceError."""
    with _arrow(name, "Parquet"):
        from pyarrow import parquet

        table = parquet.ParquetFile(file)
        kept = _kept(table.schema_arrow, name, columns, note)
        yield from _batch_events(table.iter_batches(columns=kept), name, columns)


def arrow_events(file: BinaryIO, name: str, columns: Columns, note: Callable[[str], None]) -> Iterator[bytes]:
    """Yield the rows of an Arrow (Feather) file as events. ``note``: called with the columns that are left out. Raises
    SourceError."""
    with _arrow(name, "Arrow"):
        import pyarrow

        table = pyarrow.ipc.open_file(file)
        kept = _kept(table.schema, name, columns, note)
        batches = (table.get_batch(number).select(kept) for number in range(table.num_record_batches))
        yield from _batch_events(batches, name, columns)


@contextlib.contextmanager
def _arrow(name: str, form: str) -> Iterator[None]:
    try:
        import pyarrow
    except ImportError as error:
        raise SourceError(f"{form} needs its extra: pip install 'tidegauge[parquet]'") from error
    try:
        yield
    except pyarrow.ArrowException as error:
        raise SourceError(f"{name}: cannot be read as {form}: {error}") from error


def _batch_events(batches: Iterable[Any], name: str, columns: Columns) -> Iterator[bytes]:
    import pyarrow

    number = 0
    for batch in batches:
        for row in pyarrow.Table.from_batches([batch]).cast(_by_microsecond(batch.schema), safe=False).to_pylist():
            yield _event({title: _plain(value) for title, value in row.items()}, number, name, columns)
            number += 1


def _unnamed(titles: Sequence[str], columns: Columns) -> set[str]:
    """The columns without a name, or with the name that pandas gives to such columns. ``to_csv`` writes row numbers like
    that."""
    return {title for title in titles if re.fullmatch(r"(Unnamed: \d+)?", title) and title not in columns.features}


def _tell_left_out(titles: set[str], what: str, name: str, note: Callable[[str], None]) -> None:
    if titles:
        note(f"{name}: left out {', '.join(title or 'a column' for title in sorted(titles))}: {what}")


def _kept(schema: Any, name: str, columns: Columns, note: Callable[[str], None]) -> list[str]:
    """The columns that are members or features, without pandas' index and without lists of values."""
    from pyarrow import types

    described = schema.pandas_metadata or {}
    index = {of for of in described.get("index_columns", ()) if isinstance(of, str) and of not in MEMBERS}
    index |= {title for title in schema.names if re.fullmatch(r"__index_level_\d+__", title)}
    nested = set()
    for field in schema:
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        if types.is_nested(kind) and not (field.name in (*GROUPS, "segment") and (types.is_struct(kind) or types.is_map(kind))):
            nested.add(field.name)
    index &= {*schema.names}
    unnamed = _unnamed(schema.names, columns) - index
    _tell_left_out(index, "an index of pandas, no feature", name, note)
    _tell_left_out(unnamed, UNNAMED, name, note)
    _tell_left_out(nested, "lists or objects, no feature", name, note)
    return [title for title in schema.names if title not in index | unnamed | nested]


def _by_microsecond(schema: Any) -> Any:
    """The schema with times in microseconds where they have a finer unit, which Python's datetime cannot represent."""
    import pyarrow
    from pyarrow import types

    return pyarrow.schema([
        field.with_type(pyarrow.timestamp("us", field.type.tz)) if types.is_timestamp(field.type) else field for field in schema
    ])  # fmt: skip


def _plain(value: Any) -> Any:
    """A value of a Parquet or Arrow table as a JSON value."""
    if isinstance(value, Decimal):
        return None if not value.is_finite() else int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, timedelta):
        # pandas' own durations, of nanoseconds, are subclasses, which the encoder refuses.
        return timedelta(seconds=value.total_seconds())
    if isinstance(value, list):
        # A map is read as a list of pairs.
        return {str(key): _plain(of) for key, of in value}
    if isinstance(value, dict):
        return {key: _plain(of) for key, of in value.items()}
    return value


def _event(row: Mapping[str, Any], number: int, name: str, columns: Columns) -> bytes:
    event: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
    for title, value in row.items():
        group, dot, rest = title.partition(".")
        if isinstance(value, float) and not math.isfinite(value):
            value = None
        if title in MEMBERS:
            if value is not None:
                event[title] = _member(title, value, number, name, columns)
        elif title in GROUPS:
            parts[title] |= _object(value, title, number, name)
        elif dot and group in parts:
            parts[group][rest] = value
        else:
            parts["features"][title] = value
    return msgspec.json.encode(event | {group: of for group, of in parts.items() if of})


def _member(title: str, value: Any, number: int, name: str, columns: Columns) -> Any:
    if title == "ts":
        return _stamp(value, number, name, columns)
    if title == "request_id" and isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if title in TEXTS and not isinstance(value, dict) else value


def _object(value: Any, title: str, number: int, name: str) -> dict[str, Any]:
    """A member with several values in one cell: an object, or its JSON text."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = json.loads(value)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SourceError(f"{name}: row {number + 1}: {title} is no object; name the columns {title}.x")
    return value


def _stamp(value: Any, number: int, name: str, columns: Columns) -> Any:
    """``ts`` in Unix seconds, or unchanged if it is a text. The machine's own time zone is never applied."""
    moment = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            return value
    elif isinstance(value, date) and not isinstance(value, datetime):
        moment = datetime(value.year, value.month, value.day)
    if not isinstance(moment, datetime):
        return value
    if moment.tzinfo is None:
        if not columns.naive_utc:
            raise SourceError(
                f"{name}: row {number + 1}: ts {moment.isoformat(' ')} has no time zone; if these are UTC say so "
                "(--naive-timestamps utc, naive_timestamps='utc'), else write them with their offset"
            )
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()
