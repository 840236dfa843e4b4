"""Converts data frames to files that the stages read, and rows to data frames of the library that the user has."""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from tidegauge.errors import SourceError

Data = Any
"""A data frame (pandas, polars, pyarrow), or the path of a file or a pattern of files as for the commands."""
Backend = Literal["pandas", "polars", "pyarrow"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
NEEDED = "data frames need the extra notebook: pip install 'tidegauge[notebook]'"


def as_path(data: Data, directory: Path, name: str) -> Path:
    """The path of a file with ``data``: itself if it is a path, else a Parquet file ``name`` that is written to ``directory``.
    An index is left out, since it is not a column. Raises SourceError if ``data`` is neither, or has columns of mixed types."""
    if isinstance(data, str | os.PathLike):
        return Path(data)
    try:
        import narwhals as nw
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise SourceError(NEEDED) from error
    try:
        frame = nw.from_native(data)
    except TypeError as error:
        raise SourceError(
            f"{name}: a {type(data).__name__} is neither a data frame (pandas, polars, pyarrow) nor a path"
        ) from error
    except nw.exceptions.DuplicateError as error:
        raise SourceError(f"{name}: two columns have one name: {error}") from error
    if frame.implementation.is_pandas():
        frame = nw.from_native(_with_plain_values(frame.to_native()))
    try:
        table = (frame.collect() if isinstance(frame, nw.LazyFrame) else frame).to_arrow()
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise SourceError(f"{name}: a column cannot be read ({error}); give it values of one plain type") from error
    path = directory / f"{name}.parquet"
    # The metadata would name the index that was left out.
    parquet.write_table(table.replace_schema_metadata(None), path)
    return path


def _with_plain_values(frame: Any) -> Any:
    """A frame of pandas without the values that Arrow does not know: intervals, as of ``pandas.cut``, become their texts, Enum
    members their values, sparse columns dense ones."""
    plain = {}
    for name, dtype in frame.dtypes.items():
        column = frame[name]
        categories = getattr(dtype, "categories", None)
        if str(dtype if categories is None else categories.dtype).startswith("interval"):
            plain[name] = column.astype(str).astype(object).mask(column.isna(), None)
        elif str(dtype).startswith("Sparse"):
            plain[name] = column.sparse.to_dense()
        elif str(dtype) == "object" and any(isinstance(value, enum.Enum) for value in column):
            plain[name] = column.map(lambda value: value.value if isinstance(value, enum.Enum) else value)
    if not plain:
        return frame
    made = frame.copy(deep=False)
    for name, column in plain.items():
        made[name] = column
    return made


def backend_of(*given: Data) -> Backend:
    """The library of the first data frame among ``given``, or else the first of BACKENDS that is installed. Raises
    SourceError."""
    for data in given:
        of = type(data).__module__.partition(".")[0]
        if of in BACKENDS:
            return BACKENDS[BACKENDS.index(of)]
    found = next((backend for backend in BACKENDS if find_spec(backend) is not None), None)
    if found is None or find_spec("narwhals") is None:
        raise SourceError(NEEDED)
    return found


def frame(columns: Mapping[str, type], rows: Sequence[Mapping[str, Any]], backend: Backend) -> Any:
    """A data frame of ``rows``. ``columns``: the type of each column (str, int, float or datetime in UTC); missing members are
    null."""
    import narwhals as nw

    kinds: dict[Any, Any] = {str: nw.String(), int: nw.Int64(), float: nw.Float64()}
    schema = {name: kinds.get(kind, nw.Datetime("us", "UTC")) for name, kind in columns.items()}
    values = {name: [row.get(name) for row in rows] for name in columns}
    return nw.from_dict(values, schema, backend=backend).to_native()
