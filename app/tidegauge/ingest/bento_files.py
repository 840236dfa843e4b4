"""`tidegauge ingest --bentoml DIR`: sends the events in the files of a BentoML monitor to Kafka.

Each run sends all of the files again; the join drops the events that it already has as duplicates.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tidegauge.client import Client
from tidegauge.errors import EventError, SourceError
from tidegauge.ingest.bento_lines import BentoRows, BentoSchema
from tidegauge.ingest.event_rows import EventRecord
from tidegauge.ingest.exchanges import SpecOf

log = logging.getLogger(__name__)
LOOK_SECONDS, FLUSH_EVERY = 1.0, 1000
MAX_TOLD = 10
"""How many of the lines that are left out are logged one by one."""


class _FileId(NamedTuple):
    """What stays the same when a file is renamed by rotation."""

    device: int
    inode: int


class _Progress(NamedTuple):
    """How far a file has been read: the ``position`` in bytes behind the last whole line, and the reader of the next lines."""

    position: int
    rows: BentoRows


class BentoMonitor:
    """The directory of one monitor; its name is the model's name at the server. Raises SourceError if it is not such a
    directory. ``refused``: how many lines were left out."""

    def __init__(self, directory: Path, spec_of: SpecOf) -> None:
        self._directory, self._spec_of = directory, spec_of
        self._files: dict[_FileId, _Progress] = {}
        if not (directory / "data").is_dir():
            raise SourceError(f"{directory} has no directory data; name that of one monitor, as monitoring/churn")
        self.refused = 0

    def new_lines(self) -> Iterator[EventRecord]:
        """The events in whole lines that were not read before."""
        for path in sorted((self._directory / "data").iterdir(), key=lambda path: (path.stat().st_mtime_ns, path.name)):
            yield from self._read(path)

    def _read(self, path: Path) -> Iterator[EventRecord]:
        with path.open("rb") as file:
            stat = path.stat()
            known = _FileId(stat.st_dev, stat.st_ino)
            position, rows = self._files.get(known) or _Progress(0, self._rows())
            file.seek(position)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                position += len(line)
                self._files[known] = _Progress(position, rows)
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
    """Send all events of the files, with ``follow`` also those that are written later. Returns how many events were sent."""
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
