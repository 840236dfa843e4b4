"""The command `tidegauge mark`, which records a change made by people; it is shown with incidents that begin around that
time."""

from __future__ import annotations

import argparse
import asyncio
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegauge.cli.options import command, kafka, option, person, stream_settings

if TYPE_CHECKING:
    from tidegauge.alert.operations import Mark

MAX_TEXT = 200


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    mark = command(commands, "mark", run, "notes a change, as a release, to be told with the incidents that begin then")
    kafka(mark)
    mark.add_argument("text", help=f'what was changed, in at most {MAX_TEXT} characters: "release 2.3"')
    option(mark, "--model", str, "", "the model it concerns; all if not given")
    option(mark, "--at", str, None, "when, in event time: 2025-09-22, or a moment; now if not given")
    option(mark, "--replay", Path, None, "add it to the output of `tidegauge replay` instead of the topic")


def run(options: argparse.Namespace) -> int:
    """Write the mark and confirm it."""
    from tidegauge.alert.operations import Mark
    from tidegauge.metrics.record import iso
    from tidegauge.report.period import moment

    text, now = " ".join(options.text.split()), time.time()
    if not 1 <= len(text) <= MAX_TEXT:
        options.parser.error(f"a mark says something, in at most {MAX_TEXT} characters; this one has {len(text)}")
    ts = now if options.at is None else moment(options.at)
    mark = Mark(uuid.uuid4().hex, text, ts, person(), now, options.model)
    if options.replay is not None:
        _append(mark, options.replay)
    else:
        asyncio.run(_write(mark, stream_settings(options)))
    print(f"{iso(round(ts))}  {options.model or 'all models'}  {text}")
    return 0


def _append(mark: Mark, directory: Path) -> None:
    from tidegauge.alert.operations import encode
    from tidegauge.errors import ReportError
    from tidegauge.report.archive import MARKS

    if not directory.is_dir():
        raise ReportError(f"{directory} is no directory; give the --output directory of `tidegauge replay`")
    with (directory / MARKS).open("ab") as lines:
        lines.write(encode(mark) + b"\n")


async def _write(mark: Mark, settings: Any) -> None:
    from tidegauge.alert.operations import OPERATIONS, encode
    from tidegauge.stream.following import OperationsLog

    log = OperationsLog(settings)
    await log.start()
    try:
        await log.write(OPERATIONS, mark.key, encode(mark))
    finally:
        await log.stop()
