"""The commands `tidegauge state rebuild` and `repartition`, after which the workers rebuild all state from the topics."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING, Any

from tidegauge.cli.options import DefaultsHelpFormatter, command, kafka, option, stream_settings

if TYPE_CHECKING:
    from tidegauge.stream.rebuilding import ExpiredRecords


def add(commands: Any) -> None:
    """Add the commands to ``commands``."""
    state = commands.add_parser("state", help="what workers keep", formatter_class=DefaultsHelpFormatter)
    actions = state.add_subparsers(required=True, metavar="ACTION")
    rebuild = command(actions, "rebuild", _rebuild, "makes state anew from the input topics, while no worker runs")
    repartition = command(
        commands,
        "repartition",
        _repartition,
        "more partitions of inputs and of state, which is made anew, while no worker runs",
    )
    repartition.add_argument("--partitions", type=int, required=True, help="how many predictions, labels and state are to have")
    option(repartition, "--replication", int, 1, "of topics that are missing")
    for parser in (rebuild, repartition):
        kafka(parser)
        parser.add_argument(
            "--accept-loss", action="store_true", help="also where the topics no longer hold all records that were counted"
        )
        parser.add_argument("--yes", action="store_true", help="do not ask")


def _rebuild(options: argparse.Namespace) -> int:
    """Return 0 once the group is reset, or 1 if that was refused or the person does not confirm."""
    from tidegauge.stream.rebuilding import rebuild

    if not (options.yes or _confirmed(options.app_id)):
        return 1
    return _report(asyncio.run(rebuild(stream_settings(options), accept_loss=options.accept_loss)))


def _repartition(options: argparse.Namespace) -> int:
    """Like ``_rebuild``."""
    from tidegauge.stream.repartitioning import repartition

    if not (options.yes or _confirmed(options.app_id)):
        return 1
    settings = stream_settings(options, replication=options.replication)
    return _report(asyncio.run(repartition(settings, options.partitions, accept_loss=options.accept_loss)))


def _report(expired: list[ExpiredRecords]) -> int:
    """Print what can no longer be counted; return the exit status."""
    for lost in expired:
        print(f"gone for good: {lost}")
    print("The state is void; workers make it anew from the topics when they start.")
    return 0


def _confirmed(app_id: str) -> bool:
    """Whether the person confirms."""
    if sys.stdin.isatty():
        question = f"Make the state of {app_id} anew? All events are read again. Type {app_id} to confirm: "
        if input(question).strip() == app_id:
            return True
    else:
        print("tidegauge: there is nobody to ask; say --yes", file=sys.stderr)
    print("tidegauge: nothing was changed", file=sys.stderr)
    return False
