"""Drafts a spec from training data: rows of CSV, Parquet or JSON lines with features and, optionally, label and prediction."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from tidegauge.draft.sketch import SETS_LISTED, TARGETS, Proposal, Sketch, SketchedFeature, model_name
from tidegauge.draft.spec_text import yaml_line
from tidegauge.engine.events import MAX_FEATURES, model_of
from tidegauge.errors import SourceError
from tidegauge.offline.sources import event_lines
from tidegauge.offline.tables import GROUPS, MEMBERS, Columns
from tidegauge.spec import DEFAULT_WINDOWS, SECONDS, duration

MAX_DISTINCT = 2000
"""The most distinct values of a column that are counted."""
MOST_CLASSES = 20
"""A column of integers with more distinct values than this is taken for a quantity, not for classes."""
SEGMENT_ROWS = 200
"""A breakdown is proposed only if each value has at least this many rows, the default ``min_count`` of monitors."""
SEGMENT_VALUES = 20
WINDOWS = ("5m", "15m", "1h", "6h", "1d", "1w")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_NUMERAL = re.compile(r"\s*[-+]?[$€£]?\s*\d+([.,\d ]*\d)?([eE][-+]?\d+)?\s*[%€$£]?\s*")
"""A number as people write it: with a comma, a currency, a percent sign."""
_POSITIVES = ("1", "true", "yes", "y", "positive")


class ColumnSummary:
    """A summary of the values of one column so far."""

    def __init__(self) -> None:
        self.rows = self.missing = self.numbers = self.truths = self.whole = self.emails = self.numerals = self.nested = 0
        self.low, self.high = float("inf"), float("-inf")
        self.counts: dict[Any, int] = {}

    def add(self, value: Any) -> None:
        self.rows += 1
        if value is None:
            self.missing += 1
            return
        if isinstance(value, list | dict):
            self.nested += 1
            return
        if isinstance(value, bool):
            self.truths += 1
        elif isinstance(value, int | float):
            self.numbers += 1
            self.whole += float(value).is_integer()
            self.low, self.high = min(self.low, value), max(self.high, value)
        else:
            value = str(value)
            self.emails += _EMAIL.fullmatch(value) is not None
            self.numerals += _NUMERAL.fullmatch(value) is not None
        if value in self.counts or len(self.counts) < MAX_DISTINCT:
            self.counts[value] = self.counts.get(value, 0) + 1

    @property
    def present(self) -> int:
        return self.rows - self.missing

    @property
    def kind(self) -> str | None:
        """The type that a feature with these values has in a spec; None if there are no values."""
        if not self.present:
            return None
        if self.truths == self.present:
            return "boolean"
        return "number" if self.numbers == self.present else "category"

    def distinct(self) -> str:
        return f"{len(self.counts)}" if len(self.counts) < MAX_DISTINCT else f"{MAX_DISTINCT} or more"


def sketch_data(path: Path, model: str | None, target: str | None, note: Callable[[str], None]) -> Sketch:
    """Draft the spec of ``model`` from the rows in ``path``. ``model``: None for the name in the data or of the file;
    ``target``: the column with the label if it has an unusual name; ``note``: called with what is left out. Raises
    SourceError."""
    columns: dict[str, ColumnSummary] = {}
    first, last, rows = float("inf"), float("-inf"), 0
    for row in _rows(path, note):
        rows += 1
        for name, value in row.items():
            columns.setdefault(name, ColumnSummary()).add(value)
        if isinstance(row.get("ts"), int | float):
            first, last = min(first, row["ts"]), max(last, row["ts"])
    if not rows:
        raise SourceError(f"{path}: holds no rows")
    columns = _of_single_values(path, columns, note)
    for summary in columns.values():
        summary.missing += rows - summary.rows
        summary.rows = rows
    if target is not None and target not in columns:
        raise SourceError(f"{path}: has no column {target!r}; it has {', '.join(sorted(columns))}")
    label = target or next((name for name in TARGETS if name in columns), None)
    sketch = Sketch(model or _model(columns) or model_name(path.name.split(".")[0]), f"{path} ({rows} rows)")
    _task(sketch, columns, label)
    if sketch.task != "regression":
        _scores(path, columns, note)
    _features(sketch, columns, label)
    if len(sketch.features) > MAX_FEATURES:
        note(f"{path}: {len(sketch.features)} features, of which an event may have {MAX_FEATURES}: choose what to send")
    _segments(sketch, columns)
    _windows(sketch, rows, first, last)
    version = next(iter(columns["model_version"].counts)) if "model_version" in columns else f"{sketch.model}:1"
    sketch.proposals.append(Proposal(
        f"baseline: {sketch.model}.baseline.json",
        "The baseline is learned from the first 5000 predictions. Better is one from this data: `tidegauge baseline build "
        f"--spec THIS_FILE --version {version} --input {path} --output {sketch.model}.baseline.json`, and then",
    ))  # fmt: skip
    return sketch


def _rows(path: Path, note: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Yield each row as a flat dictionary: members and features by their names, members of other groups as ``segments.x``."""
    for number, line in enumerate(event_lines(path, Columns(naive_utc=True), note), 1):
        try:
            event = msgspec.json.decode(line)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise SourceError(f"{path}: row {number} is no JSON: {error}") from error
        if not isinstance(event, dict):
            raise SourceError(f"{path}: row {number} is no object, but training data are rows of named values")
        row: dict[str, Any] = {}
        for name, value in event.items():
            group = "features" if name == "features_summary" else name
            if group in GROUPS and isinstance(value, dict):
                prefix = "" if group == "features" else f"{group}."
                row |= {f"{prefix}{member}": of for member, of in value.items()}
            else:
                row[name] = value
        yield row


def _of_single_values(path: Path, columns: dict[str, ColumnSummary], note: Callable[[str], None]) -> dict[str, ColumnSummary]:
    """The columns without those that hold lists or objects, which are no features."""
    nested = [name for name, summary in columns.items() if summary.nested]
    if len(nested) == len(columns):
        raise SourceError(f"{path}: is an object of columns, but training data are rows: pandas writes them with "
                          "to_json(orient='records', lines=True)")  # fmt: skip
    if nested:
        note(f"{path}: left out {', '.join(nested)}: lists or objects, no feature")
    return {name: summary for name, summary in columns.items() if not summary.nested}


def _model(columns: dict[str, ColumnSummary]) -> str | None:
    """The name of the model in the rows, if all rows have the same; else None."""
    for name, of in (("model", str), ("model_version", model_of)):
        named = {of(value) for value in columns[name].counts} if name in columns else set()
        if len(named) == 1:
            return str(named.pop())
    return None


def _task(sketch: Sketch, columns: dict[str, ColumnSummary], label: str | None) -> None:
    shown = label if label is not None and columns[label].present else "prediction" if "prediction" in columns else None
    if shown is None:
        sketch.guesses["task"] = (
            "task: no column tells; it is taken from the first predictions and labels. Name the label's column with --label."
        )
        return
    summary = columns[shown]
    distinct, of = len(summary.counts), f"column {shown!r}"
    if distinct == 2 or summary.kind == "boolean":
        sketch.task = "binary"
        sketch.guesses["task"] = f"{of} has two values"
        _positive(sketch, summary)
    elif distinct < 2:
        sketch.guesses["task"] = f"task: {of} has one value alone; the task is taken from the first predictions and labels."
    elif summary.kind == "number" and (summary.whole < summary.present or distinct > MOST_CLASSES):
        sketch.task = "regression"
        sketch.guesses["task"] = f"{of} holds numbers, {summary.distinct()} different ones"
    else:
        sketch.task = "multiclass"
        count = "counts or ratings, say regression" if summary.kind == "number" else ""
        sketch.guesses["task"] = f"{of} has {summary.distinct()} values" + (f"; if these are {count}" if count else "")


def _scores(path: Path, columns: dict[str, ColumnSummary], note: Callable[[str], None]) -> None:
    for name in ("score", "confidence"):
        summary = columns.get(name)
        if summary is not None and summary.numbers and not 0.0 <= summary.low <= summary.high <= 1.0:
            note(f"{path}: {name} is {summary.low:g} to {summary.high:g}, but has to be a probability: divide percent by 100, "
                 "make 1 / (1 + exp(-x)) of a logit x")  # fmt: skip


def _positive(sketch: Sketch, summary: ColumnSummary) -> None:
    values = sorted(summary.counts, key=lambda value: summary.counts[value])
    likely = [value for value in values if str(int(value) if isinstance(value, bool | float) else value).lower() in _POSITIVES]
    positive = likely[0] if len(likely) == 1 else values[0]
    if str(int(positive) if isinstance(positive, bool | float) else positive) == "1":
        return
    sketch.positive_label = positive
    if len(likely) != 1:
        sketch.guesses["positive_label"] = f"the rarer of {values[0]!r} and {values[1]!r}; a guess, please check"


def _features(sketch: Sketch, columns: dict[str, ColumnSummary], label: str | None) -> None:
    for name, summary in columns.items():
        if name in MEMBERS or name == label or name.partition(".")[0] in GROUPS[1:]:
            continue
        feature = SketchedFeature(summary.kind)
        missing = f", {summary.missing / summary.rows:.2%} missing" if summary.missing else ""
        if feature.type is None:
            feature.remark = "no value at all"
        elif feature.type == "number":
            feature.remark = f"{summary.low:g} to {summary.high:g}{missing}"
            if len(summary.counts) <= MOST_CLASSES and summary.whole == summary.present:
                numbers = "a whole number" if len(summary.counts) == 1 else f"{len(summary.counts)} whole numbers"
                feature.remarked(f"{numbers}: if these are codes, it is a category")
        elif feature.type == "category":
            few = len(summary.counts) <= SETS_LISTED
            feature.remark = (", ".join(map(str, summary.counts)) if few else f"{summary.distinct()} values") + missing
            _of_texts(feature, summary)
        else:
            feature.remark = f"{summary.counts.get(True, 0) / summary.present:.0%} true{missing}"
        sketch.features[name] = feature


def _of_texts(feature: SketchedFeature, summary: ColumnSummary) -> None:
    if summary.emails > summary.present / 2:
        feature.pii = "drop"
        feature.remark = "looks like e-mail addresses: dropped on arrival"
    elif len(summary.counts) > SETS_LISTED and summary.numerals > summary.present / 2:
        share = summary.numerals / summary.present
        feature.remarked(f"{share:.0%} are numbers written as text: unless these are codes, send numbers, and null for what is "
                         "none; then it is {type: number}")  # fmt: skip
    elif len(summary.counts) > SETS_LISTED and len(summary.counts) > summary.present / 2:
        feature.remarked("nearly each row has its own: an identifier or free text is no use here, leave it out of the events")


def _segments(sketch: Sketch, columns: dict[str, ColumnSummary]) -> None:
    given = [name.removeprefix("segments.") for name in columns if name.startswith("segments.")]
    if given:
        sketch.segments = given
        sketch.guesses["segments"] = "as the data have them"
        return
    fit = [
        name for name, feature in sketch.features.items()
        if feature.type in ("category", "boolean") and feature.pii is None
        and 2 <= len(columns[name].counts) <= SEGMENT_VALUES and min(columns[name].counts.values()) >= SEGMENT_ROWS
    ]  # fmt: skip
    if fit:
        sketch.proposals.append(Proposal(
            f"segments: {yaml_line(fit)}",
            f"Breakdowns worth having, each value with {SEGMENT_ROWS} rows or more; services then send them as `segments` too:",
        ))  # fmt: skip


def _windows(sketch: Sketch, rows: int, first: float, last: float) -> None:
    """Set windows that are long enough for the default ``min_count`` at the rate of the data, unless the default windows
    are."""
    if not last > first:
        sketch.guesses["windows"] = ""
        return
    rate = rows / (last - first)
    long_enough = [name for name in WINDOWS if rate * duration(name) >= SEGMENT_ROWS] or [WINDOWS[-1]]
    if long_enough[0] == DEFAULT_WINDOWS[0]:
        return
    longest = "1d" if "1d" in long_enough[1:] else "1w"
    sketch.windows = list(dict.fromkeys((long_enough[0], longest)))
    sketch.guesses["windows"] = (
        f"{rate * SECONDS['d']:.0f} rows a day: {long_enough[0]} is the shortest with {SEGMENT_ROWS} of them"
    )
