"""`tidegauge ingest --bentoml DIR`: the files that a monitor of BentoML writes, into Kafka.

What was sent before is sent again by the next run, and dropped by the join as a duplicate.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

from tidegauge.client import Client
from tidegauge.errors import EventError, SourceError
from tidegauge.ingest.bento_lines import BentoRows, BentoSchema
from tidegauge.ingest.exchanges import SpecOf

log = logging.getLogger(__name__)
LOOK_SECONDS, FLUSH_EVERY = 1.0, 1000
MAX_TOLD = 10
"""Bad lines that are told one by one."""


class BentoMonitor:
    """The directory of one monitor, whose name is the model's at the server. Raises SourceError where it is none."""

    def __init__(self, directory: Path, spec_of: SpecOf) -> None:
        self._directory, self._spec_of = directory, spec_of
        self._files: dict[tuple[int, int], tuple[int, BentoRows]] = {}
        """By device and inode, which a rotation leaves: the position behind the last whole line, and what reads on there."""
        if not (directory / "data").is_dir():
            raise SourceError(f"{directory} has no directory data; name that of one monitor, as monitoring/churn")
        self.refused = 0

    def new_lines(self) -> Iterator[tuple[str, bytes, bytes]]:
        """Logical topic, key and value of the events in whole lines that nobody has read yet."""
        for path in sorted((self._directory / "data").iterdir(), key=lambda path: (path.stat().st_mtime_ns, path.name)):
            yield from self._read(path)

    def _read(self, path: Path) -> Iterator[tuple[str, bytes, bytes]]:
        with path.open("rb") as file:
            stat = path.stat()
            known = (stat.st_dev, stat.st_ino)
            position, rows = self._files.get(known) or (0, self._rows())
            file.seek(position)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                position += len(line)
                self._files[known] = position, rows
                try:
                    yield from rows.records(line)
                except EventError as error:
                    self.refused += 1
                    if self.refused <= MAX_TOLD:
                        log.error("%s: the line that ends at byte %d is left out: %s", path, position, error)

    def _rows(self) -> BentoRows:
        files = sorted((self._directory / "schema").glob("*"), key=lambda path: path.stat().st_mtime_ns)
        try:
            schema = BentoSchema(line for file in files for line in file.read_bytes().splitlines())
        except EventError as error:
            raise SourceError(f"{self._directory / 'schema'}: {error}") from error
        if not schema.roles:
            raise SourceError(f"{self._directory / 'schema'} says nothing of the columns yet")
        return BentoRows(schema, self._spec_of(self._directory.resolve().name))


async def send(client: Client, monitor: BentoMonitor, *, follow: bool) -> int:
    """Send what is there, with ``follow`` also what comes; how many events that were."""
    sent = 0
    while True:
        for topic, key, value in monitor.new_lines():
            await client.send(topic, key, value)
            sent += 1
            if sent % FLUSH_EVERY == 0:
                await client.flush()
        await client.flush()
        if not follow:
            return sent
        await asyncio.sleep(LOOK_SECONDS)
