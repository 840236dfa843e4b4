"""The command `tidegauge report`, which writes reports from the topics or from the output of a replay."""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegauge.cli.card_command import write_cards
from tidegauge.cli.options import command, kafka, option, stream_settings

if TYPE_CHECKING:
    from tidegauge.report.archive import Archive


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    report = command(commands, "report", run, "a model's day, week or any other period, as HTML and JSON")
    kafka(report)
    option(report, "--model", str, None, "which model", required=True)
    option(report, "--from", str, None, "first day, 2025-09-22, or moment", dest="start")
    option(report, "--to", str, None, "the day or moment it ends before", dest="end")
    option(report, "--every", str, None, "a report for each day or week; without --from the last one", choices=("day", "week"))
    option(report, "--replay", Path, None, "take the output of `tidegauge replay` instead of the topics")
    option(report, "--output", Path, Path("reports"), "directory; reports already there tell what has been restated since")
    report.add_argument("--card", action="store_true", help="a card of the version that served last, too")
    option(report, "--models", Path, None, "directory of specs, with --replay: for --card, and for where versions came from")


def run(options: argparse.Namespace) -> int:
    """Write the reports and print their paths; return the exit status."""
    from tidegauge.engine.stage import ALERTS, INCIDENTS, METRICS
    from tidegauge.lineage import openlineage_events
    from tidegauge.lineage.openlineage_events import Job, of_file, of_topic
    from tidegauge.models import directory
    from tidegauge.models.registry import registry_of
    from tidegauge.report.period import moment, periods
    from tidegauge.report.write import write
    from tidegauge.stream import reading

    start, end = (None if text is None else moment(text) for text in (options.start, options.end))
    wanted = list(periods(start, end, options.every, time.time()))

    def collect(archive: Archive) -> None:
        if options.replay is not None:
            archive.read(options.replay)
            if options.models is not None:
                archive.specs = registry_of(directory.records_of(options.models))
        else:
            asyncio.run(reading.fill_archive(stream_settings(options), archive))

    job = Job(f"report {options.model}", "REPORT", f"Writes reports on {options.model}")
    with openlineage_events.told(job) as told:
        told.tags["model"] = options.model
        if options.replay is not None:
            told.read += map(of_file, sorted(options.replay.glob("*.jsonl")))
        else:
            settings = stream_settings(options)
            told.read += [of_topic(settings.bootstrap, settings.topic(topic)) for topic in (METRICS, ALERTS, INCIDENTS)]
        pages = write(options.model, wanted, options.output, collect)
        told.wrote += [of_file(file) for page in pages for file in (page, page.with_suffix(".json"))]
    for page in pages:
        print(page)
    if options.card:
        for page in write_cards(options, options.model, None):
            print(page)
    return 0
