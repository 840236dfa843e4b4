"""The command `tidegauge forget`, which deletes and hides everything about some requests, with an entry in the audit log."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from tidegauge.cli.options import command, kafka, option, person, stream_settings
from tidegauge.errors import SourceError

MAX_LENGTH = 256
"""The most characters of a request id, as for events."""


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    forget = command(commands, "forget", run, "deletes what is kept of requests; counts that they went into stay")
    kafka(forget)
    forget.add_argument("request_ids", nargs="*", metavar="REQUEST_ID")
    option(forget, "--from", Path, None, "a file with a request id a line, - for standard input", dest="source")
    forget.add_argument("--yes", action="store_true", help="do not ask")


def run(options: argparse.Namespace) -> int:
    """Return 0 once the workers have been told, or 1 if the person does not confirm."""
    ids = list(dict.fromkeys([*options.request_ids, *_listed(options.source)]))
    wrong = [request_id for request_id in ids if not 0 < len(request_id) <= MAX_LENGTH]
    if wrong:
        raise SourceError(f"a request id has 1 to {MAX_LENGTH} characters, {wrong[0][:40]!r} has {len(wrong[0])}")
    if not ids:
        raise SourceError("there is nothing to forget: name request ids, or a file with --from")
    if not options.yes and not _confirmed(len(ids)):
        print("tidegauge: nothing was changed", file=sys.stderr)
        return 1
    asyncio.run(_forget(options, ids))
    print(f"{len(ids)} to be forgotten; workers do so when they come to it in the topic of labels.")
    return 0


def _listed(source: Path | None) -> list[str]:
    if source is None:
        return []
    try:
        text = sys.stdin.read() if str(source) == "-" else source.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        raise SourceError(f"{source}: cannot be read: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _confirmed(count: int) -> bool:
    if not sys.stdin.isatty():
        print("tidegauge: there is nobody to ask; say --yes", file=sys.stderr)
        return False
    return input(f"Forget {count} requests for good? Type {count} to confirm: ").strip() == str(count)


async def _forget(options: argparse.Namespace, ids: list[str]) -> None:
    """Write the audit entry first, so that nothing is done without one. It has only digests of the request ids."""
    from tidegauge.alert.audit import Audit, AuditEntry, stamp
    from tidegauge.alert.operations import OPERATIONS, Forgotten, encode
    from tidegauge.client import Client
    from tidegauge.engine.forgotten import digest_of
    from tidegauge.stream.following import OperationsLog

    settings, now, actor = stream_settings(options), time.time(), person()
    digests = [digest_of(request_id).hex() for request_id in ids]
    log = OperationsLog(settings)
    await log.start()
    try:
        audit = Audit(sys.stderr.buffer, log.write)
        for digest in digests:
            await audit.log(AuditEntry(stamp(now), actor, "local", "", "forget", digest, "accepted"))
        async with Client(topics=settings.topics, **settings.client()) as client:
            sent = [await client.forget(request_id, now) for request_id in ids]
            await asyncio.gather(*sent)
        for digest in digests:
            held = Forgotten(digest, actor, now)
            await log.write(OPERATIONS, held.key, encode(held))
    finally:
        await log.stop()
