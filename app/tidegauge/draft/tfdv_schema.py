"""Drafts a spec from a schema of TensorFlow Data Validation (`schema.pbtxt`), without TensorFlow."""

from __future__ import annotations

import math
from typing import Any

from tidegauge.draft.protobuf_text import Message
from tidegauge.draft.sketch import SETS_LISTED, TARGETS, Proposal, Sketch, SketchedFeature, model_name
from tidegauge.draft.spec_text import yaml_line

_TYPES = {"INT": "number", "FLOAT": "number", "BYTES": "category"}
_SAID = frozenset(("name", "type", "domain", "int_domain", "float_domain", "string_domain", "bool_domain", "presence",
                   "value_count", "shape", "drift_comparator", "skew_comparator", "not_in_environment", "in_environment",
                   "lifecycle_stage", "unique_constraints", "natural_language_domain", "image_domain", "url_domain",
                   "time_domain", "mid_domain", "time_of_day_domain", "annotation", "group_presence", "value_counts",
                   "distribution_constraints", "struct_domain", "deprecated"))  # fmt: skip
_PLAIN = frozenset(("name", "path", "type", "domain", "int_domain", "float_domain", "string_domain", "bool_domain",
                    "annotation", "lifecycle_stage", "deprecated", "presence"))  # fmt: skip
_LEFT = frozenset(("feature", "string_domain", "int_domain", "float_domain", "default_environment",
                   "generate_legacy_feature_spec", "annotation"))  # fmt: skip
_GONE = ("DEPRECATED", "DISABLED", "PLANNED", "ALPHA", "DEBUG_ONLY")


def sketch_schema(schema: Message, source: str, model: str | None, name: str) -> Sketch:
    """Draft a spec from the ``schema`` that was read from ``source``. ``model``: the model's name, None for one made from
    ``name``, the file's name."""
    sketch = Sketch(model or model_name(name), f"the TFDV schema {source}")
    sketch.guesses["task"] = "task: a schema does not say it; it is taken from the first predictions and labels."
    domains = {kind: {_one(domain, "name"): domain for domain in schema.get(kind, [])}
               for kind in ("string_domain", "int_domain", "float_domain")}  # fmt: skip
    for given in schema.get("feature", []):
        _feature(sketch, given, domains)
    for member in sorted(schema.keys() - _LEFT):
        sketch.untranslated.append(f"{member}: {len(schema[member])} of them")
    return sketch


def _feature(sketch: Sketch, given: Message, domains: dict[str, dict[Any, Message]]) -> None:
    steps = [str(step) for step in _first(given, "path").get("step", [])]
    name, kind = str(_one(given, "name") or ".".join(steps) or "a feature without a name"), _one(given, "type")
    if _one(given, "lifecycle_stage") in _GONE or _one(given, "deprecated") is True:
        sketch.untranslated.append(f"{name}: left out, since its stage is {_one(given, 'lifecycle_stage') or 'deprecated'}")
        return
    environments = [*given.get("not_in_environment", []), *given.get("in_environment", [])]
    if "not_in_environment" in given or name in TARGETS:
        sketch.untranslated.append(f"{name}: left out, since it looks like the label"
                                   + (f" (not in {', '.join(map(str, environments))})" if environments else ""))  # fmt: skip
        return
    if len(steps) > 1:
        sketch.untranslated.append(f"{name}: left out, since it lies within another feature")
        return
    if (shape := _several(given)) is not None:
        sketch.untranslated.append(f"{name}: left out, since it is no single value but {shape}")
        return
    if kind not in _TYPES:
        sketch.untranslated.append(f"{name}: left out, since features of type {kind} are no single values")
        return
    feature = sketch.feature(name)
    feature.type = _TYPES[kind]
    _domain(sketch, feature, name, given, domains)
    fraction = _one(_first(given, "presence"), "min_fraction")
    if isinstance(fraction, int | float) and 0 < fraction < 1:
        monitor = {"name": f"{name}-missing", "metric": f"data.features.{name}.missing_ratio", "window": "1d"}
        sketch.proposals.append(Proposal(
            f"- {yaml_line(monitor | {'above': float(f'{1 - fraction:.6g}')})}",
            f"The schema wants {name} in {fraction:.6g} of the rows; the default monitor missing-values watches already. A "
            "monitor of its own (under `monitors:`, where the defaults must then be named too):",
        ))  # fmt: skip
    _comparators(sketch, name, given)
    several = _one(_first(given, "value_count"), "max")
    if isinstance(several, int) and several > 1:
        sketch.untranslated.append(f"{name}: up to {several} values; a feature here has one")
    for member in sorted(
        given.keys() - _PLAIN - {"drift_comparator", "skew_comparator", "value_count", "shape", "in_environment"}
    ):
        sketch.untranslated.append(f"{name}: {member}" if member in _SAID else f"{name}: {member}, not known here")


def _domain(
    sketch: Sketch, feature: SketchedFeature, name: str, given: Message, domains: dict[str, dict[Any, Message]]
) -> None:
    shared = _one(given, "domain")
    found = {kind: _first(given, kind) for kind in domains}
    if shared is not None:
        found |= {kind: of[shared] for kind, of in domains.items() if shared in of}
    if "bool_domain" in given:
        feature.type = "boolean"
    numbers = found["int_domain"] or found["float_domain"]
    if numbers:
        if _one(numbers, "is_categorical") is True:
            feature.type = "category"
            feature.remarked("whole numbers that are codes")
        else:
            feature.min, feature.max = _bound(numbers, "min"), _bound(numbers, "max")
    values = found["string_domain"].get("value", [])
    if values:
        feature.type, feature.values = "category", [str(value) for value in values]
        if len(values) > SETS_LISTED:
            feature.remarked(f"{len(values)} values")
    elif shared is not None and not any(found.values()):
        sketch.untranslated.append(f"{name}: domain {shared!r}, which the schema does not define")


def _comparators(sketch: Sketch, name: str, given: Message) -> None:
    for kind in ("drift_comparator", "skew_comparator"):
        for measure, threshold in _first(given, kind).items():
            limit = _one(threshold[0], "threshold") if isinstance(threshold[0], dict) else threshold[0]
            sketch.untranslated.append(f"{name}: {kind} {measure} {limit}; drift is watched by the defaults")


def _several(given: Message) -> str | None:
    """The shape of a feature that is an array, as 28 × 28; None of one that is a single value or of any length."""
    sizes = [_one(dim, "size") for dim in _first(given, "shape").get("dim", []) if isinstance(dim, dict)]
    return " × ".join(map(str, sizes)) if any(size != 1 for size in sizes) else None


def _bound(numbers: Message, member: str) -> int | float | None:
    """A bound of a domain; None of one that bounds nothing, as ``inf``."""
    value = _one(numbers, member)
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _first(message: Message, member: str) -> Message:
    found = message.get(member, [{}])[0]
    return found if isinstance(found, dict) else {}


def _one(message: Message, member: str) -> Any:
    return message.get(member, [None])[0]
