"""Converts scored DataFrames (pandas, polars, pyarrow) to events. They are recognised by their methods without importing
them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tidegauge_logger.events import PredictionMembers

Mapped = Mapping[str, str | Sequence[str]]
"""By member of the event its column; for ``features``, ``segments``, ``attributions`` and ``probabilities`` a list of
columns."""
_NESTED = ("features", "segments", "attributions", "probabilities")
_MEMBERS = frozenset(PredictionMembers.__struct_fields__)
_ROWS = 5000
"""How many rows are read at a time."""


def rows(frame: Any, mapping: Mapped) -> Iterator[dict[str, Any]]:
    """Yield the members of each row's event. Raises ValueError if ``frame`` is not a DataFrame or ``mapping`` does not fit
    it."""
    if hasattr(frame, "collect_schema") and not hasattr(frame, "to_dict"):
        # This is a lazy frame of polars.
        frame = frame.collect()
    columns = list(map(str, frame if isinstance(frame, Mapping) else _names(frame)))
    plain, nested = _plan(columns, mapping)
    for values in _chunks(frame):
        by_name = {str(name): column for name, column in values.items()}
        for row in zip(*(by_name[column] for column in columns), strict=True):
            of = dict(zip(columns, row, strict=True))
            members: dict[str, Any] = {member: of[column] for member, column in plain.items() if not _missing(of[column])}
            if "prediction" in plain and "prediction" not in members:
                members["prediction"] = None
            for member, parts in nested.items():
                members[member] = {name: of[column] for name, column in parts.items()}
            yield members


def _plan(columns: list[str], mapping: Mapped) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """The column of each plain member, and for each nested member its columns by their names in the event."""
    if unknown := set(mapping) - _MEMBERS:
        raise ValueError(f"the mapping names {sorted(unknown)}; members of a prediction are {sorted(_MEMBERS)}")
    plain: dict[str, str] = {}
    nested: dict[str, dict[str, str]] = {}
    for member, given in mapping.items():
        wanted = [given] if isinstance(given, str) else list(given)
        if absent := [column for column in wanted if column not in columns]:
            raise ValueError(f"the mapping of {member} names {absent}; the frame has the columns {columns}")
        if member in _NESTED:
            nested[member] = {column.removeprefix(f"{member}."): column for column in wanted}
        elif isinstance(given, str):
            plain[member] = given
        else:
            raise ValueError(f"{member} is one column, not {wanted}")
    used = {*plain.values(), *(column for parts in nested.values() for column in parts.values())}
    for column in columns:
        if column in used:
            continue
        member, dot, name = column.partition(".")
        if column in _MEMBERS and column not in mapping:
            plain[column] = column
        elif dot and member in _NESTED and member not in mapping:
            nested.setdefault(member, {})[name] = column
        elif "features" not in mapping:
            nested.setdefault("features", {})[column] = column
    return plain, nested


def _names(frame: Any) -> list[Any]:
    names = getattr(frame, "column_names", None)
    if names is None:
        names = getattr(frame, "columns", None)
    if names is None:
        raise ValueError(f"a {type(frame).__name__} is no DataFrame: pandas, polars, pyarrow or a mapping of columns is")
    return list(names)


def _chunks(frame: Any) -> Iterator[Mapping[Any, Sequence[Any]]]:
    if isinstance(frame, Mapping):
        yield frame
        return
    length = frame.num_rows if hasattr(frame, "num_rows") else len(frame)
    for start in range(0, length, _ROWS):
        if hasattr(frame, "to_pydict"):
            yield frame.slice(start, _ROWS).to_pydict()
        elif hasattr(frame, "iloc"):
            part = frame.iloc[start : start + _ROWS]
            yield {name: part[name].tolist() for name in part.columns}
        else:
            yield frame.slice(start, _ROWS).to_dict(as_series=False)


def _missing(value: Any) -> bool:
    return value is None or value != value or type(value).__name__ == "NAType"
