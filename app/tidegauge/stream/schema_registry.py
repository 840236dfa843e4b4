"""The schema registry that says how records are to be read, by Confluent's REST API: a schema is asked for once.

Decoding waits while the registry is away, as everything waits while a broker is: what cannot be read yet is not lost, and is no
dead letter. What names a schema that the registry does not know is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
import urllib.parse
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

import aiohttp

from tidegauge.engine.stage import InputRecord
from tidegauge.errors import RejectedError, StreamError, UnavailableError
from tidegauge.stream.endpoint import PAUSES, ask, endpoint

if TYPE_CHECKING:
    from tidegauge.serdes.registered_schema import RegisteredSchema

log = logging.getLogger(__name__)
ASKED_AGAIN = 60.0
"""Seconds after which ids that the registry did not know are asked for again."""
SAID_EVERY = 12
"""Attempts between two lines in the log while the registry is away; a minute at least."""
AT_ONCE = 2_000
"""Records decoded without a pause; 15 µs each."""
MAX_DEPTH = 32
"""How deep references may be."""


class SchemaRegistry:
    """The registry at ``url``; credentials and certificates in ``TIDEGAUGE_SCHEMA_REGISTRY_...``. To be made in the event loop.
    Raises StreamError where these cannot be used, or the libraries that read the formats are not installed."""

    def __init__(self, url: str) -> None:
        try:
            from tidegauge.serdes.event_decoding import EventDecoding
        except ImportError as error:
            raise StreamError("a schema registry needs its extra: pip install 'tidegauge[registry]'") from error
        self._endpoint = endpoint(url, "SCHEMA_REGISTRY")
        self._session: aiohttp.ClientSession = self._endpoint.session()
        self._decoding = EventDecoding()
        self._asking = asyncio.Lock()
        self._forgot = time.monotonic()
        self.attempts = 0
        """Requests made: a mark of progress while records wait."""
        self.away_since: float | None = None
        """Since when (wall clock) records wait for it; None while none do."""

    async def close(self) -> None:
        await self._session.close()

    async def decoded(self, records: Sequence[InputRecord]) -> Sequence[InputRecord]:
        """The records as JSON; waits as long as the registry is away."""
        if self._unknown(records):
            async with self._asking:
                for schema_id in sorted(self._unknown(records)):
                    schema = await self._in_the_end(schema_id)
                    # A schema may have to be compiled.
                    await asyncio.to_thread(self._decoding.learn, schema_id, schema)
        if len(records) <= AT_ONCE:
            return self._decoding.decoded(records)
        found: list[InputRecord] = []
        for start in range(0, len(records), AT_ONCE):
            found += self._decoding.decoded(records[start : start + AT_ONCE])
            # Others have their turn: a fetch may hold a hundred thousand records.
            await asyncio.sleep(0)
        return found

    async def check(self) -> list[str]:
        """The types of schemas it knows. Raises StreamError where it does not answer as a registry does."""
        return [str(name) for name in await self._get("schemas/types")]

    def _unknown(self, records: Sequence[InputRecord]) -> set[int]:
        if time.monotonic() - self._forgot > ASKED_AGAIN:
            self._forgot = time.monotonic()
            self._decoding.ask_again()
        return self._decoding.to_ask_for(records)

    async def _in_the_end(self, schema_id: int) -> RegisteredSchema | None:
        """The schema of an id, however long the registry takes; None where it knows none."""
        attempts = 0
        while True:
            try:
                found = await self._schema(f"schemas/ids/{schema_id}", MAX_DEPTH)
                break
            except RejectedError as error:
                log.error("schema %d: %s; records that name it are dead letters", schema_id, error)
                found = None
                break
            except UnavailableError as error:
                if not attempts % SAID_EVERY:
                    log.error("records wait for schema %d of the schema registry: %s", schema_id, error)
                self.away_since = self.away_since or time.time()
                await asyncio.sleep(PAUSES[min(attempts, len(PAUSES) - 1)])
                attempts += 1
        if self.away_since is not None:
            log.warning("the schema registry answers again, after %.0f s", time.time() - self.away_since)
            self.away_since = None
        return found

    async def _schema(self, path: str, depth: int) -> RegisteredSchema:
        """The schema at a path, and those it refers to. Raises RejectedError where there is none."""
        from tidegauge.serdes.registered_schema import RegisteredSchema

        if not depth:
            raise RejectedError(f"its references are more than {MAX_DEPTH} deep")
        said = await self._get(path)
        references = []
        for of in said.get("references") or ():
            place = f"subjects/{urllib.parse.quote(of['subject'], safe='')}/versions/{int(of['version'])}"
            references.append((str(of["name"]), await self._schema(place, depth - 1)))
        return RegisteredSchema(said.get("schemaType") or "AVRO", said["schema"], tuple(references))

    async def _get(self, path: str) -> Any:
        self.attempts += 1
        url = f"{self._endpoint.url}/{path}"
        answer = await ask(self._session, "GET", url, headers={"Accept": "application/json"}, permanent=_no_such)
        try:
            return json.loads(answer)
        except ValueError as error:
            raise UnavailableError(f"{url} does not answer as a schema registry does; is the address right?") from error


def _no_such(status: int, text: str) -> bool:
    """Whether a registry says that it has no such schema, subject or version, which no other server says with a 404."""
    try:
        return status == 404 and str(json.loads(text)["error_code"]).startswith("404")
    except (ValueError, KeyError, TypeError):
        return False


@contextlib.asynccontextmanager
async def registry_at(url: str | None) -> AsyncIterator[SchemaRegistry | None]:
    """A registry as long as it is needed; None without an address."""
    if url is None:
        yield None
        return
    registry = SchemaRegistry(url)
    try:
        yield registry
    finally:
        await registry.close()
