"""Makes the records of the topic ``models`` from a directory of specs and baselines."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tidegauge.baseline.baseline import Baseline
from tidegauge.errors import BaselineError, SpecError
from tidegauge.models.read import load_with_files
from tidegauge.models.read_baselines import baseline_file
from tidegauge.models.registry import ModelRecord
from tidegauge.spec import ModelSpec

ALL_VERSIONS = ""
"""The version under which a record holds the baseline for all versions that the spec does not name."""


def records_of(directory: Path) -> list[ModelRecord]:
    """A record for each spec, with the baselines it names. Raises SpecError, whose message lists every mistake."""
    return [record_of(file.path, file.spec) for file in load_with_files(directory)]


def record_of(path: Path, spec: ModelSpec) -> ModelRecord:
    """The record of the spec in the file ``path``, with the baselines it names. Raises SpecError."""
    wanted = {ALL_VERSIONS: spec.baseline, **spec.baselines}
    files = {version: of.file for version, of in wanted.items() if of.file is not None}
    baselines = {version: msgspec.Raw(_read(path, file).to_json()) for version, file in files.items()}
    return ModelRecord(spec.model, spec, baselines)


def baseline_files(path: Path, spec: ModelSpec) -> set[Path]:
    """The absolute paths of the baseline files that the spec in the file ``path`` names."""
    named = (spec.baseline, *spec.baselines.values())
    return {baseline_file(path, of.file).resolve() for of in named if of.file is not None}


def unnamed_baselines(directory: Path) -> list[Path]:
    """The files ``*.baseline.json`` of the directory that no spec names, and that are therefore not used."""
    named = {file for spec in load_with_files(directory) for file in baseline_files(spec.path, spec.spec)}
    return sorted(file for file in directory.glob("*.baseline.json") if file.resolve() not in named)


def _read(path: Path, name: str) -> Baseline:
    file = baseline_file(path, name)
    try:
        return Baseline.from_json(file.read_bytes())
    except OSError as error:
        raise SpecError(f"{path}: baseline {file} cannot be read: {error.strerror}") from error
    except BaselineError as error:
        raise SpecError(f"{path}: baseline {file}: {error}") from error
