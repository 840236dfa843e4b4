"""The checks of `tidegauge doctor` on its own machine and on the models: versions, state directory, specs, baselines."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

import tidegauge
from tidegauge.errors import SpecError
from tidegauge.models.directory import record_of
from tidegauge.models.read import check_directory, load_file
from tidegauge.models.registry import ModelRecord, Registry
from tidegauge.stream.finding import Finding, judged

MIN_FREE_BYTES = 1 << 30
FETCH, INIT_PRODUCER_ID = 1, 22
READ_COMMITTED_FETCH = 4
_PINNED = re.compile(r"([\w.-]+)==([\w.!+-]+)$")


def versions(broker: Mapping[int, int] | None) -> Finding:
    """Check the versions of libraries and broker. ``broker``: the newest version of each request that it supports; None if it
    could not be asked."""
    wrong = []
    for requirement in importlib.metadata.requires("tidegauge") or ():
        pinned = _PINNED.match(requirement)
        if pinned is not None:
            name, wanted = pinned.groups()
            found = importlib.metadata.version(name)
            if found != wanted:
                wrong.append(f"{name} is {found}, tidegauge is made for {wanted}: install it again, with nothing beside it")
    if broker is not None and (broker.get(FETCH, 0) < READ_COMMITTED_FETCH or INIT_PRODUCER_ID not in broker):
        wrong.append(
            "the broker has no transactions: Kafka 0.11 or later is needed, or a service that speaks its whole protocol"
        )
    speaks = "" if broker is None else f"; the broker speaks Fetch up to version {broker.get(FETCH)}"
    return judged(
        "versions", wrong, f"tidegauge {tidegauge.__version__}, Python {platform.python_version()}, aiokafka "
        f"{importlib.metadata.version('aiokafka')}{speaks}",
    )  # fmt: skip


def state_directory(path: Path) -> Finding:
    """Check whether a worker can keep its state in the directory ``path`` or create it."""
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not there.is_dir():
        return Finding("state", wrong=f"{there} is no directory: name another one with --state-dir")
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding(
            "state", wrong=f"{there} cannot be written by this user: give it to the worker's user, or say --state-dir"
        )
    unwritable = (
        [held for held in path.rglob("*") if held.is_dir() and not os.access(held, os.W_OK | os.X_OK)] if path.exists() else []
    )
    if unwritable:
        return Finding("state", wrong=f"{unwritable[0]} cannot be written by this user: give it to the worker's user")
    held = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else 0
    free = shutil.disk_usage(there).free
    needed = max(MIN_FREE_BYTES, held)
    if free < needed:
        return Finding("state", wrong=f"{there} has {free / 2**30:.2f} GiB free, the state takes {held / 2**30:.2f} GiB and "
                       f"compaction may double that: {needed / 2**30:.2f} GiB are wanted")  # fmt: skip
    return Finding("state", f"{path} can be written, {free / 2**30:.0f} GiB are free")


class SpecFiles(NamedTuple):
    """The finding on the specs in a directory, and the records of the valid ones."""

    finding: Finding
    records: list[ModelRecord]


class PublishedModels(NamedTuple):
    """The finding on the published models, and these models."""

    finding: Finding
    registry: Registry


def spec_files(directory: Path) -> SpecFiles:
    """Check whether the specs in a directory and their baselines are valid."""
    problems = check_directory(directory)
    if problems:
        more = f" (and {len(problems) - 1} more, see `tidegauge models check {directory}`)" if len(problems) > 1 else ""
        return SpecFiles(Finding("specs", wrong=f"{problems[0]}{more}"), [])
    records, wrong = [], []
    for path in sorted(file for file in directory.iterdir() if file.suffix in (".yaml", ".yml")):
        try:
            records.append(record_of(path, load_file(path)))
        except SpecError as error:
            wrong.append(f"{error}; build it again with `tidegauge baseline build`")
    return SpecFiles(judged("specs", wrong, f"{len(records)} in {directory} are sound"), records)


def published(pairs: list[tuple[bytes, bytes | None]]) -> PublishedModels:
    """Check whether the specs and baselines in the topic of models can still be read. ``pairs``: key and value of its records,
    in order."""
    registry, wrong = Registry(), dict[bytes, str]()
    for key, value in pairs:
        wrong.pop(key, None)
        try:
            registry.apply(key, value)
        except SpecError as error:
            wrong[key] = f"{error}; build its baseline again and publish it with `tidegauge models apply DIR`"
    counted = sum(len(registry.baseline_versions(model)) for model in registry.models())
    well = f"{len(registry.models())} specs and {counted} baselines can be read"
    return PublishedModels(judged("baselines", list(wrong.values()), well), registry)


def unpublished(files: list[ModelRecord], registry: Registry) -> Finding:
    """Check whether the specs of the directory are the published ones."""
    wrong = []
    for record in files:
        if not registry.known(record.model):
            wrong.append(f"the spec of {record.model} is not published; say `tidegauge models apply DIR`")
        elif msgspec.structs.replace(registry.spec(record.model), task=record.spec.task) != record.spec:
            wrong.append(f"the spec of {record.model} differs from what is published; say `tidegauge models apply DIR`")
    return judged("published", wrong, "the workers have the specs of the directory")
