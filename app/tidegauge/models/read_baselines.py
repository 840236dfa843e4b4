"""Reads the sources of a spec's baselines, and checks the members that need a baseline against the existing ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidegauge.baseline.baseline import MIN_SPREAD_WINDOWS, Baseline
from tidegauge.baseline.tuning import untuned
from tidegauge.errors import BaselineError
from tidegauge.judge.metric_names import names, suggestion
from tidegauge.models.yaml_reader import Item
from tidegauge.spec import BaselineSpec, ModelSpec, duration

SOURCES = ("first", "previous", "file")
NEEDS_BASELINE = ("auto ", "false_alarms ", "against ")
"""The beginnings of the messages about mistakes that building the baseline anew may correct."""


def baseline_file(spec_file: Path, written: str) -> Path:
    """The path of a baseline file named in a spec, which is relative to the spec's directory unless it is absolute."""
    return spec_file.parent / written


def baselines(of: Item) -> dict[str, Any]:
    """The values of the members ``baseline`` and ``baselines`` of ModelSpec, by name."""
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


def check(given: Mapping[str, Item], spec: ModelSpec) -> None:
    """Note the mistakes that only show when the spec's members are compared with its baselines or its retention."""
    of = given.get("baseline")
    files = _files(of, spec)
    if of is not None:
        _check_previous(of, spec)
    if spec.monitors is not None:
        _check_auto(given["monitors"], spec, files)
    if "detectors" in given:
        _check_tuned(given["detectors"], spec, files)


def _files(of: Item | None, spec: ModelSpec) -> dict[str, Baseline]:
    """The baselines in files, by file name as written in the spec; a file that cannot be read is a mistake."""
    found: dict[str, Baseline] = {}
    for source in (spec.baseline, *spec.baselines.values()):
        if of is None or source.file is None or source.file in found:
            continue
        try:
            found[source.file] = Baseline.from_json(baseline_file(of.file, source.file).read_bytes())
        except BaselineError as error:
            of.wrong(f"{source.file}: {error}")
        except OSError as error:
            of.wrong(f"{source.file} cannot be read: {error.strerror}")
    return found


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


def _check_auto(of: Item, spec: ModelSpec, files: Mapping[str, Baseline]) -> None:
    """Limits that are ``auto`` need baselines that span enough windows."""
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
            baseline = files.get(source.file)
            if baseline is None:
                continue
            spread = baseline.spread.get(monitor.window, {})
            most = max((of[2] for path, of in spread.items() if names(monitor.metric, path)), default=0)
            if most < MIN_SPREAD_WINDOWS:
                item.wrong(f"auto needs {monitor.metric} in at least {MIN_SPREAD_WINDOWS} windows of {monitor.window}; "
                           f"{source.file} has it in {most}; build it from a longer time, or write a number")  # fmt: skip


def _check_tuned(given: Item, spec: ModelSpec, files: Mapping[str, Baseline]) -> None:
    """Detectors with a budget of false alarms, or with daily or weekly cycles, need baselines that were built for them."""
    sources = {"": spec.baseline, **spec.baselines}
    tunings = {version: found.tunings for version, of in sources.items() if (found := files.get(of.file or "")) is not None}
    by_name = {detector.name: detector for detector in spec.detectors}
    for item in given.items():
        name = item.members().get("name") if item.kind == "map" else None
        detector = by_name.get(name.source()) if name is not None else None
        if detector is not None and detector.tuned:
            reason = untuned(spec, detector, tunings)
            if reason is not None:
                item.wrong(reason)
