"""The command `tidegauge doctor`, which prints a line for each check."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

from tidegauge.cli.options import command, kafka, option, schema_registry, stream_settings


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    doctor = command(commands, "doctor", run, "checks broker, topics, records, state directory, specs; says what to do")
    kafka(doctor)
    schema_registry(doctor)
    option(doctor, "--models", Path, None, "directory of specs to check, and to compare with what is published")
    option(doctor, "--state-dir", Path, Path("tidegauge-state"), "the workers' local state")


def run(options: argparse.Namespace) -> int:
    """Print each finding; return 1 if anything is wrong, else 0."""
    return asyncio.run(_run(options))


async def _run(options: argparse.Namespace) -> int:
    from tidegauge.stream.diagnosis import diagnose

    wrong = 0
    async for finding in diagnose(stream_settings(options, state_dir=options.state_dir), options.models):
        print(finding, flush=True)
        wrong += finding.wrong is not None
    return min(wrong, 1)
