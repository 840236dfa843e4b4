"""Reads model specs from YAML files (``contract.md`` defines them). Every mistake of a directory is found in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from tidegauge.baseline.baseline import MIN_SPREAD_WINDOWS, Baseline
from tidegauge.baseline.tuning import untuned
from tidegauge.errors import BaselineError, SpecError
from tidegauge.judge.metric_names import names, suggestion
from tidegauge.models import read_monitors, read_rollouts
from tidegauge.models.read_monitors import Surroundings
from tidegauge.models.yaml_reader import Item, Problem, parse, required
from tidegauge.spec import (
    DEFAULT_HORIZON,
    DEFAULT_WINDOWS,
    BaselineSpec,
    FeatureSpec,
    ImpliedLabelSpec,
    KpiSpec,
    Lineage,
    ModelSpec,
    Task,
    duration,
    span_name,
)

MODEL = ("model", "task", "positive_label", "confidence_is", "segments", "windows", "grace", "label_horizon", "retention",
         "publish_interval", "baseline", "features", "champion", "kpis", "labels", "monitors", "detectors",
         "lineage", "intended_use", "rollback")  # fmt: skip
SOURCES = ("first", "previous", "file")
NEEDS_BASELINE = ("auto ", "false_alarms ", "against ")
"""How the messages begin of mistakes that a newly built baseline may mend."""


def load_file(path: Path) -> ModelSpec:
    """The spec in a file. Raises SpecError, whose message has a line for each mistake."""
    problems: list[Problem] = []
    spec = _read(path, problems)
    if problems or spec is None:
        raise SpecError(_all(problems))
    return spec[0]


def load_to_build(path: Path) -> ModelSpec:
    """The spec in a file whose baseline is about to be built: that it is not there yet is no mistake, nor that what needs it
    cannot be checked against it."""
    problems: list[Problem] = []
    spec = _read(path, problems)
    real = [p for p in problems if not p.member.startswith("baseline") and not p.message.startswith(NEEDS_BASELINE)]
    if real or spec is None:
        raise SpecError(_all(real or problems))
    return spec[0]


def load_directory(path: Path) -> list[ModelSpec]:
    """The specs of a directory's ``*.yaml`` and ``*.yml`` files. Raises SpecError with the mistakes of all files."""
    return [spec for spec, _ in load_with_files(path)]


def load_with_files(path: Path) -> list[tuple[ModelSpec, Path]]:
    """As ``load_directory``, with the file of each spec."""
    specs, problems = _read_directory(path)
    if problems:
        raise SpecError(_all(problems))
    return specs


def check_directory(path: Path) -> list[Problem]:
    """Every mistake in a directory's specs; [] where there is none."""
    return _in_order(_read_directory(path)[1])


def baseline_file(spec_file: Path, written: str) -> Path:
    """Where a baseline file named in a spec lies: beside the spec, unless the path is absolute."""
    return spec_file.parent / written


def _all(problems: list[Problem]) -> str:
    return "\n".join(map(str, _in_order(problems)))


def _in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (problem.file, problem.line))


def _read_directory(path: Path) -> tuple[list[tuple[ModelSpec, Path]], list[Problem]]:
    problems: list[Problem] = []
    specs: list[tuple[ModelSpec, Path]] = []
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
        specs.append((spec, file))
    return specs, problems


def _read(path: Path, problems: list[Problem]) -> tuple[ModelSpec, Item] | None:
    """The spec of a file, as far as it can be read, and its member ``model``."""
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
                value = of.class_name()
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
            case "kpis":
                value = {name: kpi for name, item in of.members().items() if (kpi := _kpi(name, item)) is not None}
            case "labels":
                value = _labels(of)
            case "lineage":
                value = _lineage(of)
        if value is not None:
            found[member] = value
    if "labels" in found:
        _make_room(given, found)
    around = Surroundings(
        found.get("task"), found.get("windows") or DEFAULT_WINDOWS, found.get("segments") or (), found.get("kpis") or {}
    )  # fmt: skip
    if "monitors" in given:
        found["monitors"] = read_monitors.monitors(given["monitors"], around)
        found["rollouts"] = read_rollouts.rollouts(given["monitors"], around)
    if "detectors" in given:
        found["detectors"] = read_monitors.detectors(given["detectors"], around)
    read_monitors.unique_names(given[member] for member in ("monitors", "detectors") if member in given)
    if "baseline" in given:
        found |= _baseline(given["baseline"])
    if model is None or "model" not in found:
        return None
    spec = ModelSpec(**found)
    held = _held_baselines(given.get("baseline"), spec)
    if "baseline" in given:
        _check_previous(given["baseline"], spec)
    if spec.monitors is not None:
        _check_auto(given["monitors"], spec, held)
    if "detectors" in given:
        _check_tuned(given["detectors"], spec, held)
    return spec, model


def _segments(of: Item) -> tuple[tuple[str, ...], ...]:
    found: list[tuple[str, ...]] = []
    for item in of.items():
        if item.kind == "seq":
            breakdown = tuple(name for _, name in item.names())
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
    low, high = found.get("min"), found.get("max")
    if low is not None and high is not None and low > high:
        given["min"].wrong(f"the smallest, {low:g}, is above the largest, {high:g}; swap them")
    kind = found.get("type")
    for member, fitting in (("min", "number"), ("max", "number"), ("values", "category")):
        if member in given and kind not in (None, fitting):
            given[member].wrong(f"belongs to features of type {fitting}, this one is a {kind}; remove it or change the type")
    return FeatureSpec(**found)


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
                    return KpiSpec(winsorise=(low, high))
                item.wrong(f"the lowest, {low:g}, is not below the highest, {high:g}; correct them")
        else:
            above, below = (part.name() for part in parts)
            if name in (above, below) or above == below:
                item.wrong("is a ratio of two different KPIs that the events carry, and has a name of its own")
            elif above is not None and below is not None:
                return KpiSpec(ratio=(above, below))
    return None


def _labels(of: Item) -> ImpliedLabelSpec | None:
    given = of.members(ImpliedLabelSpec.__struct_fields__)
    after, means = (required(given, name, of, "as {missing_after: 30d, means: 0}") for name in ("missing_after", "means"))
    seconds, name = None if after is None else after.seconds(), None if means is None else means.class_name()
    return None if seconds is None or name is None else ImpliedLabelSpec(seconds, name)


def _make_room(given: Mapping[str, Item], found: dict[str, Any]) -> None:
    """A label may still come, and take an implied one back, after that has been counted."""
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


def _baseline(of: Item) -> dict[str, Any]:
    """The members ``baseline`` and ``baselines`` of the ModelSpec."""
    if of.kind != "map":
        source = _source(of)
        return {} if source is None else {"baseline": source}
    versions = of.members()
    if not versions or set(versions) & set(SOURCES):
        source = _source(of)
        return {} if source is None else {"baseline": source}
    found = {}
    for version, item in versions.items():
        near = suggestion(version, SOURCES)
        if near.startswith("did you mean") and item.kind != "map":
            item.wrong(f"unknown member; {near}")
        elif (source := _source(item)) is not None:
            found[version] = source
    return {"baselines": found}


def _source(of: Item) -> BaselineSpec | None:
    if of.kind == "str":
        return _file(of)
    if of.kind != "map":
        of.expected("a baseline: a file's name, {first: 5000} or {previous: 7d}")
        return None
    given = of.members(SOURCES)
    if len(given) != 1:
        of.wrong("must have exactly one of first, previous, file; as {first: 5000} or {previous: 7d}")
        return None
    ((member, item),) = given.items()
    if member == "file":
        return _file(item)
    if member == "first":
        first = item.integer(1)
        return None if first is None else BaselineSpec(first=first)
    previous = item.seconds()
    return None if previous is None else BaselineSpec(previous=previous)


def _file(of: Item) -> BaselineSpec | None:
    written = of.text()
    if written is None:
        return None
    try:
        exists = baseline_file(of.file, written).is_file()
    except (OSError, ValueError):
        exists = False
    if not exists:
        of.wrong(
            f"there is no file {written!r} beside the spec; make it with `tidegauge baseline build --output {written}`, "
            "or write {first: 5000}"
        )
        return None
    return BaselineSpec(file=written)


def _held_baselines(of: Item | None, spec: ModelSpec) -> dict[str, Baseline]:
    """The baselines in files, by file name as written; one that cannot be read is a mistake."""
    held: dict[str, Baseline] = {}
    for source in (spec.baseline, *spec.baselines.values()):
        if of is None or source.file is None or source.file in held:
            continue
        try:
            held[source.file] = Baseline.from_json(baseline_file(of.file, source.file).read_bytes())
        except BaselineError as error:
            of.wrong(f"{source.file}: {error}")
        except OSError as error:
            of.wrong(f"{source.file} cannot be read: {error.strerror}")
    return held


def _check_previous(of: Item, spec: ModelSpec) -> None:
    kept = max(spec.retention, spec.label_horizon)
    for source in (spec.baseline, *spec.baselines.values()):
        if source.previous is None:
            continue
        if not any(source.previous % duration(window) == 0 for window in spec.windows):
            of.wrong(f"previous is no multiple of any of the windows {', '.join(spec.windows)}, so there is nothing to "
                     "compare with; write one that is")  # fmt: skip
        if source.previous > kept:
            of.wrong(f"previous reaches back {source.previous:.0f} s, but windows are kept for {kept:.0f} s; raise retention")


def _check_auto(of: Item, spec: ModelSpec, held: Mapping[str, Baseline]) -> None:
    """Limits that are ``auto`` need baselines which span enough windows."""
    by_name = {monitor.name: monitor for monitor in spec.monitors or ()}
    sources = list(spec.baselines.values()) or [spec.baseline]
    for item in of.items():
        given = item.members() if item.kind == "map" else {}
        name = given.get("name")
        monitor = by_name.get(name.source()) if name is not None else None
        if monitor is None or not monitor.condition.auto:
            continue
        for source in sources:
            if source.file is None:
                item.wrong(f"auto takes its limit from a baseline's spread over {MIN_SPREAD_WINDOWS} or more windows of "
                           f"{monitor.window}, and this baseline is no file; build one with `tidegauge baseline build`, or "
                           "write a number")  # fmt: skip
                break
            baseline = held.get(source.file)
            if baseline is None:
                continue
            spread = baseline.spread.get(monitor.window, {})
            most = max((of[2] for path, of in spread.items() if names(monitor.metric, path)), default=0)
            if most < MIN_SPREAD_WINDOWS:
                item.wrong(f"auto needs {monitor.metric} in at least {MIN_SPREAD_WINDOWS} windows of {monitor.window}; "
                           f"{source.file} has it in {most}; build it from a longer time, or write a number")  # fmt: skip


def _check_tuned(given: Item, spec: ModelSpec, held: Mapping[str, Baseline]) -> None:
    """Budgets of false alarms and cycles need baselines that were built for them."""
    sources = {"": spec.baseline, **spec.baselines}
    tunings = {version: found.tunings for version, of in sources.items() if (found := held.get(of.file or "")) is not None}
    by_name = {detector.name: detector for detector in spec.detectors}
    for item in given.items():
        name = item.members().get("name") if item.kind == "map" else None
        detector = by_name.get(name.source()) if name is not None else None
        if detector is not None and detector.tuned:
            reason = untuned(spec, detector, tunings)
            if reason is not None:
                item.wrong(reason)
