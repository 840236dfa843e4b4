"""The commands that read files of events: `baseline build`, `models init`, `models check`, `produce` and `replay`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegauge.cli.options import command, kafka, option, stream_settings
from tidegauge.errors import SourceError, TidegaugeError

if TYPE_CHECKING:
    from tidegauge.client import EventToSend

FILES = "JSONL (also gzipped), CSV or Parquet; a file, a pattern in quotes, or - for standard input"


def add_build(commands: Any) -> None:
    """Add `baseline build` to the subparsers ``commands``."""
    build = command(commands, "build", _build, "from reference data")
    option(build, "--spec", Path, None, "the model's spec", required=True)
    option(build, "--version", str, None, "model version, as churn_xgb:3; rows of others are left out", required=True)
    option(build, "--input", Path, None, f"prediction events (with label): {FILES}", required=True)
    option(build, "--output", Path, None, "the baseline", required=True)
    option(
        build,
        "--lineage",
        str,
        None,
        "what trained it: runs:/RUN_ID or models:/NAME/VERSION in MLflow, or a run's directory of wandb",
    )
    _naive(build)


def add_check(commands: Any) -> None:
    """Add `models check`."""
    check = command(commands, "check", _check, "names file, line and member of every mistake")
    check.add_argument("directory", type=Path)
    option(check, "--input", Path, None, f"prediction events that the specs are to fit: {FILES}")


def add_init(commands: Any) -> None:
    """Add `models init`."""
    init = command(commands, "init", _init, "drafts a spec, with comments, from what there is")
    option(
        init, "--from", str, None,
        "training data (JSONL, CSV, Parquet), an MLflow run or model (runs:/ID, models:/NAME/3, models:/NAME@ALIAS), a Great "
        "Expectations suite (JSON) or a TFDV schema (pbtxt)",
        required=True, dest="source",
    )  # fmt: skip
    option(init, "--model", str, None, "the model's name, if the source's own is not wanted")
    option(init, "--label", str, None, "the column that holds the label, if it has another name than usual")
    option(init, "--output", Path, None, "the spec; without it on standard output")


def add(commands: Any) -> None:
    """Add `produce` and `replay`."""
    produce = command(commands, "produce", _produce, "files of events into Kafka")
    kafka(produce)
    option(produce, "--predictions", Path, None, f"prediction events: {FILES}")
    option(produce, "--labels", Path, None, f"label events: {FILES}")
    option(produce, "--rate", float, None, "events a second at most")
    _naive(produce)

    replay = command(commands, "replay", _replay, "the same stages over files, no Kafka")
    option(replay, "--models", Path, None, "directory of specs")
    option(replay, "--predictions", Path, None, f"prediction events: {FILES}", required=True)
    option(replay, "--labels", Path, None, f"label events: {FILES}")
    option(replay, "--output", Path, None, "directory for metrics, alerts and dead letters", required=True)
    option(replay, "--order", str, "ts", "ts, or file: predictions as they stand, then labels", choices=("ts", "file"))
    _naive(replay)


def _naive(parser: argparse.ArgumentParser) -> None:
    option(
        parser, "--naive-timestamps", str, "refuse", "a ts without an offset in CSV and Parquet: refuse it, or read it as utc",
        choices=("refuse", "utc"),
    )  # fmt: skip


def say(text: str) -> None:
    """Print progress, but only on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _note(text: str) -> None:
    say("")
    print(f"note: {text}", file=sys.stderr)


def _build(options: argparse.Namespace) -> int:
    from tidegauge.lineage import openlineage_events
    from tidegauge.lineage.openlineage_events import Job, of_file
    from tidegauge.models import directory
    from tidegauge.models.read import load_to_build
    from tidegauge.offline import reference
    from tidegauge.offline.sources import expand

    spec, naive_utc = load_to_build(options.spec), options.naive_timestamps == "utc"
    job = Job(f"baseline build {spec.model}", "BASELINE", f"Summarises the reference data of {spec.model}")
    with openlineage_events.told(job) as told:
        told.read += [of_file(options.spec), *map(of_file, expand(options.input))]
        told.tags |= {"model": spec.model, "model_version": options.version}
        baseline = reference.build(spec, options.version, options.input, say, _note, naive_utc=naive_utc)
        if options.lineage is not None:
            baseline.lineage = _lineage(options.lineage)
            told.tags |= {name: text for name in ("run_id", "commit") if (text := getattr(baseline.lineage, name))}
        options.output.write_bytes(baseline.to_json())
        told.wrote.append(of_file(options.output, baseline.data.predictions)._replace(version=baseline.schema.id))
    say("")
    print(
        f"{options.output}: {baseline.data.predictions} predictions, {baseline.outcome.labels} labels, "
        f"{len(baseline.to_json()) / 1024:.0f} KiB"
    )
    if options.output.resolve() not in directory.baseline_files(options.spec, spec):
        name = os.path.relpath(options.output, options.spec.parent)
        _note(f"{options.spec} does not name it yet; say there: baseline: {name}")
    return 0


def _lineage(text: str) -> Any:
    """The lineage that MLflow, or the directory of a run of Weights & Biases, says."""
    from tidegauge.lineage import wandb_run
    from tidegauge.lineage.mlflow_reference import read_reference
    from tidegauge.lineage.mlflow_server import MlflowServer

    if wandb_run.is_run(text):
        return wandb_run.read_run(text)
    return read_reference(MlflowServer.from_environment(), text).lineage


def _init(options: argparse.Namespace) -> int:
    from tidegauge.draft.recognition import sketch_from
    from tidegauge.draft.spec_text import spec_text

    text = spec_text(sketch_from(options.source, options.model, options.label, _note))
    if options.output is None:
        print(text, end="")
        return 0
    try:
        with options.output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise SourceError(f"{options.output}: is there already, and is not written over") from error
    except OSError as error:
        raise SourceError(f"{options.output}: cannot be written: {error.strerror}") from error
    print(options.output)
    return 0


def _check(options: argparse.Namespace) -> int:
    from tidegauge.models import directory
    from tidegauge.models.cautions import cautions
    from tidegauge.models.read import check_directory

    problems = check_directory(options.directory)
    for problem in problems:
        print(problem)
    if problems:
        return 1
    records = directory.records_of(options.directory)
    if options.input is not None:
        from tidegauge.offline.input_check import check_input

        for sentence in (found := check_input([record.spec for record in records], options.input, _note)):
            print(sentence)
        if found:
            return 1
    for record in records:
        print(f"{record.model}: sound")
        for sentence in cautions(record.spec):
            _note(sentence)
    for file in directory.unnamed_baselines(options.directory):
        _note(f"{file}: no spec names it, so it is not used; say there: baseline: {file.name}")
    return 0


def _produce(options: argparse.Namespace) -> int:
    from itertools import chain

    from tidegauge.client import Client, produce
    from tidegauge.engine.stage import LABELS, PREDICTIONS
    from tidegauge.stream import models_topic

    settings = stream_settings(options)
    _at_most_one_pipe(options)
    events = chain(_lines(options, options.predictions, PREDICTIONS), _lines(options, options.labels, LABELS))

    async def send() -> int:
        await models_topic.ensure_topics(settings, (PREDICTIONS, LABELS))
        async with Client(topics={t: settings.topic(t) for t in (PREDICTIONS, LABELS)}, **settings.client()) as client:
            return await produce(client, events, options.rate, lambda sent: say(f"{sent} events sent"))

    began = time.monotonic()
    sent = asyncio.run(send())
    say("")
    if not sent:
        raise SourceError("nothing was sent: say --predictions or --labels, with files that hold events")
    print(f"{sent} events acknowledged in {time.monotonic() - began:.1f} s")
    return 0


def _lines(options: argparse.Namespace, path: Path | None, topic: str) -> Iterator[EventToSend]:
    from tidegauge.client import EventToSend
    from tidegauge.offline.sources import event_lines
    from tidegauge.offline.tables import Columns

    if path is not None:
        columns = Columns(naive_utc=options.naive_timestamps == "utc")
        yield from (EventToSend(topic, line) for line in event_lines(path, columns, _note))


def _at_most_one_pipe(options: argparse.Namespace) -> None:
    if options.predictions == options.labels == Path("-"):
        raise SourceError("predictions and labels cannot both be read from standard input")


def _replay(options: argparse.Namespace) -> int:
    from tidegauge.engine.stage import DEAD_LETTERS, LABELS, PREDICTIONS
    from tidegauge.models import directory
    from tidegauge.models.registry import registry_of
    from tidegauge.offline.replay import Files, Lines, Replay, not_counted
    from tidegauge.offline.tables import Columns

    _at_most_one_pipe(options)
    records = [] if options.models is None else directory.records_of(options.models)
    known = registry_of(records)
    # As in a worker: events are short-lived and form no reference cycles.
    gc.set_threshold(100_000, 50, 50)
    began = time.monotonic()
    columns = Columns.of([record.spec for record in records], naive_utc=options.naive_timestamps == "utc")
    read = {
        PREDICTIONS: (options.predictions, Lines(options.predictions, columns, _note)),
        LABELS: (options.labels, Lines(options.labels, columns, _note)),
    }
    predictions, labels = read[PREDICTIONS][1], read[LABELS][1]
    try:
        with contextlib.closing(Files(options.output)) as files:
            replay = Replay(known, files)
            replay.run(predictions, labels, options.order == "file")
    except OSError as error:
        raise TidegaugeError(f"{options.output}: cannot be written: {error.strerror}") from error
    count, seconds = len(predictions) + len(labels), time.monotonic() - began
    print(
        f"{count} events in {seconds:.1f} s ({count / max(seconds, 1e-9):,.0f}/s): {files.counts['metrics']} metrics "
        f"records, {files.counts['alerts']} alerts, {files.counts[DEAD_LETTERS]} dead letters in {options.output}"
        f"{not_counted(replay)}"
    )
    for topic, (path, lines) in read.items():
        replay.require_read(topic, len(lines), str(path))
    for sentence in replay.likely_mistakes(predictions, labels):
        _note(sentence)
    return 0
