"""The command `tidegauge rollback`, which says what will be done, asks, writes the audit entry, and reports the result."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import Any

from tidegauge.cli.options import command, kafka, person, stream_settings


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    rollback = command(
        commands, "rollback", run, "an earlier version serves again: MLflow's alias is moved, or the spec's hook called"
    )
    kafka(rollback)
    rollback.add_argument("model")
    rollback.add_argument("--to", required=True, metavar="VERSION", help="the version to go back to, as churn_xgb:2")
    rollback.add_argument("--yes", action="store_true", help="do not ask")


def run(options: argparse.Namespace) -> int:
    """Return 0 once the model is rolled back, or 1 if that was refused or the person does not confirm."""
    return asyncio.run(_run(options))


async def _run(options: argparse.Namespace) -> int:
    from tidegauge.alert.audit import Audit, AuditEntry, stamp
    from tidegauge.errors import RegistryError
    from tidegauge.lineage.rolling_back import plan
    from tidegauge.stream import models_topic
    from tidegauge.stream.following import OperationsLog

    settings = stream_settings(options)
    registry = await models_topic.read(settings)
    if not registry.known(options.model):
        known = ", ".join(registry.models()) or "none"
        raise RegistryError(f"there is no model {options.model!r} in the topic of models; known are {known}")
    step = await asyncio.to_thread(plan, registry.spec(options.model), options.to)
    print(f"Roll {options.model} back to {options.to}: {step}.", flush=True)
    if not options.yes and not _confirmed(options.to):
        print("tidegauge: nothing was changed", file=sys.stderr)
        return 1
    log = OperationsLog(settings)
    await log.start()
    try:
        audit = Audit(sys.stderr.buffer, log.write)

        async def note(outcome: str, reason: str = "") -> None:
            details = {"to": options.to, "step": str(step)}
            await audit.log(AuditEntry(
                stamp(time.time()), person(), "local", "", "roll back", options.model, outcome, reason, details
            ))  # fmt: skip

        await note("accepted")
        try:
            done = await asyncio.to_thread(step.carry_out)
        except RegistryError as error:
            await note("refused", str(error))
            raise
    finally:
        await log.stop()
    print(f"Done: {done}.")
    return 0


def _confirmed(version: str) -> bool:
    if not sys.stdin.isatty():
        print("tidegauge: there is nobody to ask; say --yes", file=sys.stderr)
        return False
    return input(f"Type {version} to confirm: ").strip() == version
