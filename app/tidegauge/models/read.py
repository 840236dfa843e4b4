"""Reads model specs from YAML files (``contract.md`` defines them). Every mistake of a directory is found in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, get_args

from tidegauge.class_names import outcome_class
from tidegauge.errors import SpecError
from tidegauge.models import read_actions, read_baselines, read_inputs, read_monitors, read_rollouts
from tidegauge.models.read_monitors import SpecContext
from tidegauge.models.yaml_reader import Item, Problem, parse, required
from tidegauge.spec import (
    DEFAULT_HORIZON,
    DEFAULT_WINDOWS,
    FeatureSpec,
    ImpliedLabelSpec,
    KpiRatio,
    KpiSpec,
    Lineage,
    ModelSpec,
    Task,
    WinsorLimits,
    span_name,
)

MODEL = ("model", "task", "positive_label", "confidence_is", "segments", "windows", "grace", "label_horizon", "retention",
         "publish_interval", "baseline", "features", "schemas", "champion", "kpis", "labels", "monitors", "detectors",
         "lineage", "intended_use", "rollback", "on", "inputs")  # fmt: skip


MAX_RANGES = 20


class SpecFile(NamedTuple):
    """A spec and the file it was read from."""

    spec: ModelSpec
    path: Path


def load_file(path: Path) -> ModelSpec:
    """The spec in a file. Raises SpecError, whose message has a line for each mistake."""
    problems: list[Problem] = []
    spec = _read(path, problems)
    if problems or spec is None:
        raise SpecError(_all(problems))
    return spec[0]


def load_to_build(path: Path) -> ModelSpec:
    """The spec in a file whose baseline is about to be built. That the baseline is missing is not a mistake here, and members
    that need it are not checked. Raises SpecError as ``load_file`` does."""
    problems: list[Problem] = []
    spec = _read(path, problems)
    real = [
        p for p in problems if not p.member.startswith("baseline") and not p.message.startswith(read_baselines.NEEDS_BASELINE)
    ]
    if real or spec is None:
        raise SpecError(_all(real or problems))
    return spec[0]


def load_directory(path: Path) -> list[ModelSpec]:
    """The specs of a directory's ``*.yaml`` and ``*.yml`` files. Raises SpecError with the mistakes of all files."""
    return [file.spec for file in load_with_files(path)]


def load_with_files(path: Path) -> list[SpecFile]:
    """Like ``load_directory``, with the file of each spec."""
    specs, problems = _read_directory(path)
    if problems:
        raise SpecError(_all(problems))
    return specs


def check_directory(path: Path) -> list[Problem]:
    """Every mistake in a directory's specs."""
    return _in_order(_read_directory(path)[1])


def _all(problems: list[Problem]) -> str:
    return "\n".join(map(str, _in_order(problems)))


def _in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (problem.file, problem.line))


def _read_directory(path: Path) -> tuple[list[SpecFile], list[Problem]]:
    problems: list[Problem] = []
    specs: list[SpecFile] = []
    if not path.is_dir():
        return [], [Problem(str(path), 0, "", "is not a directory; name the one that holds the specs, one YAML file a model")]
    files = sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml"))
    if not files:
        problems.append(Problem(str(path), 0, "", "holds no specs; write one YAML file a model, as churn.yaml"))
    seen: dict[str, Path] = {}
    for file in files:
        read = _read(file, problems)
        if read is None:
            continue
        spec, item = read
        if spec.model in seen:
            item.wrong(f"{spec.model!r} has a spec in {seen[spec.model].name} already; merge the two, or rename one")
        seen.setdefault(spec.model, file)
        specs.append(SpecFile(spec, file))
    return specs, problems


def _read(path: Path, problems: list[Problem]) -> tuple[ModelSpec, Item] | None:
    """The spec of a file, as far as it can be read, and its member ``model``; None if the file cannot be read at all."""
    document = parse(path, problems)
    if document is None:
        return None
    given = document.members(MODEL)
    if document.kind != "map":
        return None
    found: dict[str, Any] = {}
    model = required(given, "model", document, "the name events carry, as model: churn")
    for member, of in given.items():
        value: Any = None
        match member:
            case "model" | "champion" | "intended_use" | "rollback":
                value = of.name()
            case "task":
                value = of.choice(get_args(Task))
            case "positive_label":
                value = None if (name := of.class_name()) is None else outcome_class(name)
            case "confidence_is":
                value = of.choice(("positive", "predicted"))
            case "segments":
                value = _segments(of)
            case "windows":
                value = _windows(of)
            case "grace":
                value = of.seconds(zero=True)
            case "label_horizon" | "retention" | "publish_interval":
                value = of.seconds()
            case "features":
                value = {name: _feature(feature) for name, feature in of.members().items()}
            case "schemas":
                value = tuple(number for item in of.items() if (number := item.integer(0, 2**31 - 1)) is not None)
            case "kpis":
                value = {name: kpi for name, item in of.members().items() if (kpi := _kpi(name, item)) is not None}
            case "labels":
                value = _labels(of)
            case "lineage":
                value = _lineage(of)
            case "inputs":
                value = read_inputs.inputs(of)
        if value is not None:
            found[member] = value
    if "labels" in found:
        _make_room(given, found)
    if found.get("positive_label", "1") != "1" and "task" not in given:
        # Only a binary model has a positive class.
        found["task"] = "binary"
    around = SpecContext(
        found.get("task"), found.get("windows") or DEFAULT_WINDOWS, found.get("segments") or (), found.get("kpis") or {}
    )  # fmt: skip
    if "monitors" in given:
        found["monitors"] = read_monitors.monitors(given["monitors"], around)
        found["rollouts"] = read_rollouts.rollouts(given["monitors"], around)
    if "detectors" in given:
        found["detectors"] = read_monitors.detectors(given["detectors"], around)
    if "on" in given:
        own = found["monitors"] + found["rollouts"] if "monitors" in given else None
        names = None if own is None else [alert.name for alert in (*own, *found.get("detectors", ()))]
        found["on"] = read_actions.actions(given["on"], names)
    read_monitors.unique_names(given[member] for member in ("monitors", "detectors") if member in given)
    if "baseline" in given:
        found |= read_baselines.baselines(given["baseline"])
    if model is None or "model" not in found:
        return None
    spec = ModelSpec(**found)
    read_baselines.check(given, spec)
    return spec, model


def _segments(of: Item) -> tuple[tuple[str, ...], ...]:
    found: list[tuple[str, ...]] = []
    for item in of.items():
        if item.kind == "seq":
            breakdown = tuple(entry.name for entry in item.names())
            if not breakdown:
                item.wrong("names no dimension; write one or more, as [region, device]")
        else:
            name = item.name()
            breakdown = () if name is None else (name,)
        if len(set(breakdown)) < len(breakdown) or breakdown in found:
            item.wrong("is there twice; keep one")
        elif breakdown:
            found.append(breakdown)
    return tuple(found)


def _windows(of: Item) -> tuple[str, ...]:
    found: dict[float, str] = {}
    items = of.items()
    if of.kind == "seq" and not items:
        of.wrong("there must be at least one window; write some, as [5m, 1h, 1d], or remove it")
    for item in items:
        length = item.seconds()
        if length is None:
            continue
        if abs(length * 1000 - round(length * 1000)) > 1e-6 or round(length * 1000) < 1:
            item.wrong(f"{item.source()} is not a whole number of milliseconds; round it")
        elif length in found:
            item.wrong(f"{item.source()} is as long as {found[length]}; keep one")
        else:
            found[length] = item.source().strip()
    return tuple(found.values())


def _feature(of: Item) -> FeatureSpec:
    given = of.members(FeatureSpec.__struct_fields__)
    found: dict[str, Any] = {}
    for member, item in given.items():
        match member:
            case "type":
                found[member] = item.choice(("number", "category", "boolean"))
            case "min" | "max":
                found[member] = item.number()
            case "values":
                found[member] = tuple(name for entry in item.items() if (name := entry.class_name()) is not None)
            case "pii":
                found[member] = item.choice(("drop", "hash"))
            case "source":
                found[member] = item.name()
            case "ranges":
                found[member] = _ranges(item)
    if "ranges" in given and found.get("pii"):
        given["ranges"].wrong("what is dropped or hashed on arrival has no ranges; remove one of the two")
    low, high = found.get("min"), found.get("max")
    if low is not None and high is not None and low > high:
        given["min"].wrong(f"the smallest, {low:g}, is above the largest, {high:g}; swap them")
    kind = found.get("type")
    for member, fitting in (("min", "number"), ("max", "number"), ("ranges", "number"), ("values", "category")):
        if member in given and kind not in (None, fitting):
            given[member].wrong(f"belongs to features of type {fitting}, this one is a {kind}; remove it or change the type")
    return FeatureSpec(**found)


def _ranges(of: Item) -> tuple[float, ...] | None:
    """The numbers that separate the ranges of a numeric feature, ascending."""
    entries = of.items()
    if of.kind == "seq" and not 1 <= len(entries) <= MAX_RANGES:
        of.wrong(f"must be 1 to {MAX_RANGES} numbers, where the ranges part; as [30, 45, 60]")
        return None
    found = [value for entry in entries if (value := entry.number()) is not None]
    if any(low >= high for low, high in pairwise(found)):
        of.wrong("must ascend; sort the numbers, each once")
    return tuple(found)


def _kpi(name: str, of: Item) -> KpiSpec | None:
    given = of.members(KpiSpec.__struct_fields__)
    if of.kind == "map" and len(given) != 1:
        of.wrong("must have one of winsorise, ratio; as {winsorise: [0, 500]} or {ratio: [revenue, orders]}")
        return None
    for member, item in given.items():
        parts = item.items() if item.kind == "seq" else []
        if len(parts) != 2:
            item.expected("[lowest, highest]" if member == "winsorise" else "[numerator, denominator], two KPIs of the events")
        elif member == "winsorise":
            low, high = (part.number() for part in parts)
            if low is not None and high is not None:
                if low < high:
                    return KpiSpec(winsorise=WinsorLimits(low, high))
                item.wrong(f"the lowest, {low:g}, is not below the highest, {high:g}; correct them")
        else:
            above, below = (part.name() for part in parts)
            if name in (above, below) or above == below:
                item.wrong("is a ratio of two different KPIs that the events carry, and has a name of its own")
            elif above is not None and below is not None:
                return KpiSpec(ratio=KpiRatio(above, below))
    return None


def _labels(of: Item) -> ImpliedLabelSpec | None:
    given = of.members(ImpliedLabelSpec.__struct_fields__)
    after, means = (required(given, name, of, "as {missing_after: 30d, means: 0}") for name in ("missing_after", "means"))
    seconds, name = None if after is None else after.seconds(), None if means is None else means.class_name()
    return None if seconds is None or name is None else ImpliedLabelSpec(seconds, name)


def _make_room(given: Mapping[str, Item], found: dict[str, Any]) -> None:
    """Extend the label horizon if needed: after ``missing_after`` a label must still have time to arrive and replace the
    implied one."""
    after = found["labels"].missing_after
    if "label_horizon" not in given:
        found["label_horizon"] = after + DEFAULT_HORIZON
    elif found.get("label_horizon", after) < after:
        given["labels"].wrong(f"missing_after is longer than label_horizon, {span_name(found['label_horizon'])}; raise that")


def _lineage(of: Item) -> Lineage:
    given = of.members(Lineage.__struct_fields__)
    parameters = given.pop("parameters", None)
    values = {} if parameters is None else {name: item.name() or "" for name, item in parameters.members().items()}
    names = {member: item.name() for member, item in given.items()}
    return Lineage(names.get("run_id"), names.get("commit"), names.get("data_snapshot"), names.get("url"), values)
