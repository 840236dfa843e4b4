"""`tidegauge.build_baseline` and `tidegauge.replay`: the commands `baseline build` and `replay` for data frames."""

from __future__ import annotations

import html
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from tidegauge.baseline.baseline import Baseline
from tidegauge.engine.events import model_of
from tidegauge.engine.stage import ALERTS, DEAD_LETTERS, INCIDENTS, LABELS, METRICS, PREDICTIONS, Output
from tidegauge.errors import BaselineError, ReportError, SpecError
from tidegauge.models.directory import ALL_VERSIONS, record_of
from tidegauge.models.read import load_file, load_to_build
from tidegauge.models.registry import ModelRecord, Registry, encode
from tidegauge.notebook import tidy
from tidegauge.notebook.frames import Backend, Data, as_path, backend_of, frame
from tidegauge.offline import reference as reference_data
from tidegauge.offline.replay import Lines, Replay, dead_letter_json, not_counted
from tidegauge.offline.sources import event_lines
from tidegauge.offline.tables import Columns
from tidegauge.report.archive import Archive
from tidegauge.report.build import build, since
from tidegauge.report.page import render
from tidegauge.report.period import Period, moment
from tidegauge.spec import BaselineSpec, ModelSpec

log = logging.getLogger("tidegauge.notebook")
Spec = str | os.PathLike[str] | Mapping[str, Any]
"""A spec: the path of its file, its YAML as a text, or the same content as a dictionary."""
Naive = Literal["refuse", "utc"]
"""Whether timestamps without an offset are refused or are UTC."""


class _Version(msgspec.Struct):
    model_version: str | None = None


def build_baseline(reference: Data, spec: Spec, *, version: str | None = None, naive_timestamps: Naive = "refuse") -> Baseline:
    """Build a baseline from reference data like `tidegauge baseline build`. Its ``to_json()`` is the content of the file.

    ``version``: only needed if the data have several versions. What is left out of the data is logged. Raises SpecError,
    SourceError and BaselineError.
    """
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        known = load_to_build(_spec_file(spec, directory))
        path = as_path(reference, directory, "reference")
        return reference_data.build(
            known, version or _version_of(path, known), path, note=log.warning, naive_utc=naive_timestamps == "utc"
        )


def replay(
    predictions: Data, labels: Data = None, *, spec: Spec | None = None, baseline: Baseline | Data = None,
    naive_timestamps: Naive = "refuse",
) -> Run:  # fmt: skip
    """Process events like `tidegauge replay`, which gives windows, alerts and incidents.

    ``labels``: None for no labels. ``spec``: None for the defaults of a model without a spec. ``baseline``: replaces the spec's
    own baselines for all versions; the result of ``build_baseline`` or the path of a baseline file. What is left out of the
    data, and events that are not counted, are logged. Raises SpecError, BaselineError and SourceError, the last also if all
    events are refused.
    """
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        registry, specs = Registry(), []
        if spec is not None:
            record = _record(_spec_file(spec, directory), baseline)
            registry.apply(record.model.encode(), encode(record))
            specs.append(record.spec)
        elif baseline is not None:
            raise SpecError("a baseline goes with a spec: give at least spec={'model': …}")
        columns = Columns.of(specs, naive_utc=naive_timestamps == "utc")
        events, known = (
            Lines(None if data is None else as_path(data, directory, name), columns, log.warning)
            for name, data in (("predictions", predictions), ("labels", labels))
        )
        outputs: list[Output] = []
        replayed = Replay(registry, outputs.append)
        replayed.run(events, known)
        for topic, lines, source in ((PREDICTIONS, events, predictions), (LABELS, known, labels)):
            replayed.require_read(topic, len(lines), str(source) if isinstance(source, str | os.PathLike) else "data frame")
        left_out = not_counted(replayed)
        if left_out:
            log.warning("%d events read%s", len(events) + len(known), left_out)
        for sentence in replayed.likely_mistakes(events, known):
            log.warning("%s", sentence)
        return Run(outputs, backend_of(predictions, labels))


class Run:
    """The results of a replay. ``backend``: the library of the returned data frames."""

    def __init__(self, outputs: list[Output], backend: Backend) -> None:
        self._outputs, self._backend = outputs, backend

    @cached_property
    def metrics(self) -> Any:
        """A data frame with the numbers in the newest revision of every window: model, version, segment ("" for the whole
        model), window, start, end, metric (as in a spec's monitor), feature (what the ``*`` in the metric stands for), value,
        low and high (of the 95 % interval), p_value."""
        return frame(tidy.METRICS, list(tidy.metric_rows(self.records)), self._backend)

    @cached_property
    def alerts(self) -> Any:
        """A data frame with the transitions of alerts: one row whenever an alert fired, changed its severity or resolved."""
        return frame(tidy.ALERTS, list(tidy.alert_rows(self._decoded(ALERTS))), self._backend)

    @cached_property
    def incidents(self) -> Any:
        """A data frame with the last state of each incident."""
        return frame(tidy.INCIDENTS, list(tidy.incident_rows(self._decoded(INCIDENTS))), self._backend)

    @cached_property
    def dead_letters(self) -> Any:
        """A data frame with the refused events: reason, message, value."""
        rows = [msgspec.json.decode(dead_letter_json(output)) for output in self._of(DEAD_LETTERS)]
        return frame(dict.fromkeys(("topic", "reason", "message", "value"), str), rows, self._backend)

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The newest revision of each window's metrics record, as in the topic ``metrics``."""
        newest = {output.key: output.value for output in self._of(METRICS)}
        decoded = (msgspec.json.decode(raw) for raw in newest.values() if raw is not None)
        return [record for record in decoded if "kind" not in record]

    def report(
        self, path: str | os.PathLike[str] | None = None, *, model: str | None = None, start: str | None = None,
        end: str | None = None,
    ) -> Report:  # fmt: skip
        """The report on ``model``, which is only needed if there are several, over all of its windows or those from ``start``
        up to ``end`` (dates or RFC 3339). It is also written to ``path`` if given, and a notebook shows it inline. Raises
        ReportError."""
        model = model or self._model()
        whole = [record for record in self.records if record["model"] == model and not record["segment"]]
        if not whole:
            raise ReportError(f"there is no window of {model}; known models: {', '.join(sorted(self._models()))}")
        longest = max(whole, key=lambda record: moment(record["window_end"]) - moment(record["window_start"]))["window"]
        spans = [(moment(of["window_start"]), moment(of["window_end"])) for of in whole if of["window"] == longest]
        period = Period(
            min(begin for begin, _ in spans) if start is None else moment(start),
            max(finish for _, finish in spans) if end is None else moment(end),
        )
        archive = Archive(model, since(period), period.end)
        archive.incidents = {}
        for topic, add in ((METRICS, archive.add_metric), (ALERTS, archive.add_alert), (INCIDENTS, archive.add_incident)):
            for output in self._of(topic):
                add(output.value or b"")
        report = Report(render(build(archive, model, period, None)))
        if path is not None:
            Path(path).write_text(report.html, "utf-8")
        return report

    def __repr__(self) -> str:
        models, windows = ", ".join(sorted(self._models())) or "no model", len(self.records)
        return f"<Run of {models}: windows {windows}, changes of alerts {len(self.alerts)}, incidents {len(self.incidents)}>"

    def _of(self, topic: str) -> list[Output]:
        return [output for output in self._outputs if output.topic == topic and output.value is not None]

    def _decoded(self, topic: str) -> list[dict[str, Any]]:
        return [msgspec.json.decode(output.value or b"") for output in self._of(topic)]

    def _models(self) -> set[str]:
        return {record["model"] for record in self.records}

    def _model(self) -> str:
        found = self._models()
        if len(found) != 1:
            raise ReportError(f"say which model the report is on: {', '.join(sorted(found)) or 'there is none'}")
        return found.pop()


class Report(msgspec.Struct, frozen=True):
    """A report as a self-contained HTML page."""

    html: str

    def _repr_html_(self) -> str:
        """The report in an HTML frame, so that its styles do not interfere with those of the notebook."""
        return f'<iframe srcdoc="{html.escape(self.html)}" style="width: 100%; height: 48em; border: 0"></iframe>'


def _record(spec_file: Path, baseline: Baseline | Data) -> ModelRecord:
    if baseline is None:
        return record_of(spec_file, load_file(spec_file))
    if not isinstance(baseline, Baseline):
        try:
            baseline = Baseline.from_json(Path(baseline).read_bytes())
        except OSError as error:
            raise BaselineError(f"baseline {baseline} cannot be read: {error.strerror}") from error
    spec = msgspec.structs.replace(load_to_build(spec_file), baseline=BaselineSpec(file="given"), baselines={})
    return ModelRecord(spec.model, spec, {ALL_VERSIONS: msgspec.Raw(baseline.to_json())})


def _spec_file(spec: Spec, directory: Path) -> Path:
    """The path of a file with the spec. A text with a line break, or with a colon and a space, is YAML and not a path."""
    if isinstance(spec, os.PathLike) or (isinstance(spec, str) and "\n" not in spec and ": " not in spec):
        return Path(spec)
    path = directory / "spec.yaml"
    path.write_text(spec if isinstance(spec, str) else yaml.safe_dump(dict(spec), sort_keys=False), "utf-8")
    return path


def _version_of(path: Path, spec: ModelSpec) -> str:
    """The version of the rows, or a default name if they have none. Raises BaselineError if there are several."""
    decode = msgspec.json.Decoder(_Version).decode
    versions: Counter[str] = Counter()
    columns = Columns.of([spec], naive_utc=True)
    for line in event_lines(path, columns, lambda text: None):
        try:
            found = decode(line).model_version
        except msgspec.MsgspecError:
            continue
        if found is not None and model_of(found) == spec.model:
            versions[found] += 1
    if len(versions) > 1:
        raise BaselineError(f"the data are of several versions, say version=: {', '.join(sorted(versions))}")
    return next(iter(versions), f"{spec.model}:reference")
