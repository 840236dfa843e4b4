"""From a directory of specs and baselines to the records of the topic ``models``."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tidegauge.baseline import Baseline
from tidegauge.errors import BaselineError, SpecError
from tidegauge.monitors import MIN_SPREAD_WINDOWS
from tidegauge.registry import ModelRecord
from tidegauge.spec import BaselineSpec, ModelSpec
from tidegauge.spec_yaml import load_directory

ALL_VERSIONS = ""
"""Under this version a record holds the baseline of every version the spec does not name."""


def records_of(directory: Path) -> list[ModelRecord]:
    """A record for each spec, with the baselines it names. Raises SpecError with every mistake."""
    return [_record(path, spec) for path, spec in load_directory(directory)]


def _record(path: Path, spec: ModelSpec) -> ModelRecord:
    baselines = {}
    wanted = {ALL_VERSIONS: spec.baseline, **spec.baselines}
    for version, of in wanted.items():
        if of.file is not None:
            baselines[version] = _read(path, of.file)
    for monitor in spec.monitors or ():
        if monitor.condition.auto:
            for version, of in wanted.items():
                reason = _no_spread(of, baselines.get(version), monitor.window)
                if reason and (version or not spec.baselines):
                    raise SpecError(f"{path}: monitor {monitor.name!r}: auto needs a baseline's spread, but {reason}")
    return ModelRecord(spec.model, spec, {version: msgspec.Raw(b.to_json()) for version, b in baselines.items()})


def _read(path: Path, name: str) -> Baseline:
    file = path.parent / name
    try:
        return Baseline.from_json(file.read_bytes())
    except OSError as error:
        raise SpecError(f"{path}: baseline {file} cannot be read: {error.strerror}") from error
    except BaselineError as error:
        raise SpecError(f"{path}: baseline {file}: {error}") from error


def _no_spread(of: BaselineSpec, baseline: Baseline | None, window: str) -> str | None:
    if baseline is None:
        return "it is learned from the stream or a window of it; build one from reference data with `baseline build`"
    windows = max((of[2] for of in baseline.spread.get(window, {}).values()), default=0)
    if windows < MIN_SPREAD_WINDOWS:
        return f"its reference data span {windows} windows of {window}, at least {MIN_SPREAD_WINDOWS} are needed"
    return None
