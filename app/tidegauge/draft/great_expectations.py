"""Drafts a spec from a Great Expectations suite, in the JSON format of versions 0.x and 1.x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegauge.draft.sketch import SETS_LISTED, TARGETS, Proposal, Sketch, model_name
from tidegauge.draft.spec_text import yaml_line

_NUMBERS = ("int", "float", "double", "decimal", "numeric", "number", "real", "bigint", "smallint", "long", "short")
_TEXTS = ("str", "object", "char", "text", "category")
_COVERED = (
    "expect_column_to_exist",
    "expect_table_columns_to_match_set",
    "expect_table_columns_to_match_ordered_list",
)
"""Expectations that the default monitors missing-feature and unexpected-feature cover."""
_STATISTICS = {
    "expect_column_mean_to_be_between": "mean",
    "expect_column_stdev_to_be_between": "std",
    "expect_column_median_to_be_between": "p50",
    "expect_column_unique_value_count_to_be_between": "distinct",
}
"""The names in a metrics record of the statistics that expectations are about."""


def is_suite(document: Any) -> bool:
    """Whether a JSON document is a Great Expectations suite."""
    return isinstance(document, Mapping) and isinstance(document.get("expectations"), list)


def sketch_suite(document: Mapping[str, Any], source: str, model: str | None) -> Sketch:
    """Draft a spec from a suite that was read from ``source``."""
    name = str(document.get("name") or document.get("expectation_suite_name") or "model")
    sketch = Sketch(model or model_name(name), f"the Great Expectations suite {name!r} in {source}")
    sketch.guesses["task"] = "task: a suite does not say it; it is taken from the first predictions and labels."
    for expectation in document["expectations"]:
        if not isinstance(expectation, Mapping):
            sketch.untranslated.append(f"{expectation!r}: no expectation")
            continue
        kind = str(expectation.get("type") or expectation.get("expectation_type") or "")
        given = expectation.get("kwargs")
        _translate(sketch, kind, dict(given) if isinstance(given, Mapping) else {})
    for target in TARGETS:
        if target in sketch.features:
            sketch.features[target].remarked("if this is the label, take it out: events carry it as `label`")
    return sketch


def _translate(sketch: Sketch, kind: str, given: dict[str, Any]) -> None:
    column = given.get("column")
    columns = given.get("column_set") or given.get("column_list") or ([column] if isinstance(column, str) else [])
    for name in columns:
        sketch.feature(str(name))
    if any(isinstance(value, Mapping) and "$PARAMETER" in value for value in given.values()):
        sketch.untranslated.append(f"{_told(kind, given)}: its limits are parameters, which stand elsewhere")
    elif kind in _COVERED:
        return
    elif given.get("row_condition"):
        sketch.untranslated.append(f"{_told(kind, given)}: it holds for some rows only")
    elif kind in _STATISTICS and isinstance(column, str):
        _statistic(sketch, _STATISTICS[kind], column, given)
    elif not isinstance(column, str):
        sketch.untranslated.append(_told(kind, given))
    elif kind == "expect_column_values_to_not_be_null":
        _not_null(sketch, column, given)
    elif kind == "expect_column_values_to_be_between":
        _between(sketch, column, given, given.get("min_value"), given.get("max_value"))
    elif kind == "expect_column_min_to_be_between":
        _between(sketch, column, given, given.get("min_value"), None)
    elif kind == "expect_column_max_to_be_between":
        _between(sketch, column, given, None, given.get("max_value"))
    elif kind in ("expect_column_values_to_be_in_set", "expect_column_distinct_values_to_be_in_set"):
        _in_set(sketch, column, given)
    elif kind == "expect_column_distinct_values_to_equal_set":
        _in_set(sketch, column, given)
        sketch.feature(column).remarked("each of them occurs, says the suite: a spec does not ask for that")
    elif kind == "expect_column_quantile_values_to_be_between":
        _quantiles(sketch, column, kind, given)
    elif kind in ("expect_column_values_to_be_of_type", "expect_column_values_to_be_in_type_list"):
        _type(sketch, column, kind, given)
    else:
        sketch.untranslated.append(_told(kind, given))


def _between(sketch: Sketch, column: str, given: dict[str, Any], low: Any, high: Any) -> None:
    numbers = [bound for bound in (low, high) if isinstance(bound, int | float) and not isinstance(bound, bool)]
    if len(numbers) != sum(bound is not None for bound in (low, high)) or not numbers:
        sketch.untranslated.append(f"{column}: between {low} and {high}, which are no numbers")
        return
    feature = sketch.feature(column)
    feature.type, feature.values = feature.type or "number", None
    if feature.type != "number":
        sketch.untranslated.append(f"{column}: between {low} and {high}, of a {feature.type}")
        return
    feature.min = low if feature.min is None or low is not None else feature.min
    feature.max = high if feature.max is None or high is not None else feature.max
    if given.get("strict_min") or given.get("strict_max"):
        feature.remarked("the suite leaves a bound itself out, a spec does not")
    _mostly(sketch, column, "out_of_range_ratio", "out-of-range", given)


def _in_set(sketch: Sketch, column: str, given: dict[str, Any]) -> None:
    # Suites of the first versions have the name values_set.
    values = given.get("value_set", given.get("values_set"))
    plain = [value for value in values if isinstance(value, str | bool | int | float)] if isinstance(values, list) else []
    if not plain:
        sketch.untranslated.append(f"{column}: in a set that is no list of values")
        return
    feature = sketch.feature(column)
    feature.min = feature.max = None
    if all(isinstance(value, bool) for value in plain):
        feature.type = "boolean"
    else:
        feature.type = "category"
        feature.values = plain
    if len(plain) > SETS_LISTED:
        feature.remarked(f"{len(plain)} values")
    _mostly(sketch, column, "unseen_ratio", "unseen-values", given)


def _not_null(sketch: Sketch, column: str, given: dict[str, Any]) -> None:
    if given.get("mostly") is None:
        sketch.feature(column).remarked("never null, says the suite: the default monitor missing-values watches")
    _mostly(sketch, column, "missing_ratio", "missing-values", given)


def _mostly(sketch: Sketch, column: str, metric: str, default: str, given: dict[str, Any]) -> None:
    """Propose a monitor with the suite's tolerance, which could replace the default monitor."""
    most = given.get("mostly")
    if isinstance(most, int | float) and not isinstance(most, bool) and 0 < most < 1:
        limit, name = f"{1 - most:.6g}", metric.removesuffix("_ratio").replace("_", "-")
        why = f"The suite allows {limit} of {column}; the default monitor {default} watches already. A monitor of its own:"
        _monitor(sketch, f"{column}-{name}", f"{column}.{metric}", {"above": float(limit)}, why)


def _statistic(sketch: Sketch, metric: str, column: str, given: dict[str, Any]) -> None:
    low, high = given.get("min_value"), given.get("max_value")
    bounds = [bound if isinstance(bound, int | float) and not isinstance(bound, bool) else None for bound in (low, high)]
    if bounds == [None, None]:
        sketch.untranslated.append(f"{column}: {metric} between {low} and {high}")
        return
    condition = {"outside": bounds} if None not in bounds else {"above": high} if bounds[0] is None else {"below": low}
    _monitor(sketch, f"{column}-{metric}", f"{column}.{metric}", condition, f"The suite bounds the {metric} of {column}:")


def _quantiles(sketch: Sketch, column: str, kind: str, given: dict[str, Any]) -> None:
    """Propose a monitor of the median, the only quantile of a feature that a record has; list the others."""
    ranges = given.get("quantile_ranges")
    levels, bounds = (
        (ranges.get(name) for name in ("quantiles", "value_ranges")) if isinstance(ranges, Mapping) else (None, None)
    )
    if not isinstance(levels, list) or not isinstance(bounds, list) or len(levels) != len(bounds):
        sketch.untranslated.append(_told(kind, given))
        return
    for level, bound in zip(levels, bounds, strict=True):
        if level == 0.5 and isinstance(bound, list) and len(bound) == 2:
            _statistic(sketch, "p50", column, dict(zip(("min_value", "max_value"), bound, strict=True)))
        else:
            sketch.untranslated.append(f"{column}: the {level} quantile between {bound}")


def _monitor(sketch: Sketch, name: str, metric: str, condition: dict[str, Any], why: str) -> None:
    sketch.proposals.append(Proposal(
        f"- {yaml_line({'name': name, 'metric': f'data.features.{metric}', 'window': '1d', **condition})}",
        f"{why} (under `monitors:`, where the defaults must then be named too)",
    ))  # fmt: skip


def _type(sketch: Sketch, column: str, kind: str, given: dict[str, Any]) -> None:
    named = given.get("type_list") if kind.endswith("type_list") else [given.get("type_")]
    names = [str(name).lower() for name in named] if isinstance(named, list) else []
    kinds = {
        "boolean" if "bool" in name else "number" if name.startswith(("uint", *_NUMBERS)) else "category"
        if any(part in name for part in _TEXTS) else ""
        for name in names
    }  # fmt: skip
    kinds.discard("") if len(kinds) > 1 else None
    if len(kinds) != 1 or kinds == {""}:
        sketch.untranslated.append(_told(kind, given))
        return
    feature = sketch.feature(column)
    found = kinds.pop()
    if feature.values is None:
        feature.type = found


def _told(kind: str, given: Mapping[str, Any]) -> str:
    said = ", ".join(f"{name}={value!r}" for name, value in given.items() if name != "batch_id")
    return f"{kind.removeprefix('expect_') or 'an expectation without a type'}({said})"
