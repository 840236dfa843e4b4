"""Asks a schema registry, by Confluent's REST API, for the schemas that records are decoded with; once for each schema.

While the registry is unavailable decoding waits, as everything waits while a broker is unavailable, and no record is lost or
becomes a dead letter. A record whose schema the registry does not have becomes one.
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
"""How many attempts there are between two log lines while the registry is unavailable; they take at least a minute."""
AT_ONCE = 2_000
"""How many records are decoded without a pause; each takes 15 µs."""
MAX_DEPTH = 32
"""How many levels of references a schema may have."""


class SchemaRegistry:
    """The registry at ``url``, with the credentials and certificates in ``TIDEGAUGE_SCHEMA_REGISTRY_...``. Make it within the
    event loop. Raises StreamError if these cannot be used, or if the libraries for the formats are not installed."""

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
        """How many requests were made, which shows progress while records wait."""
        self.away_since: float | None = None
        """Since when (Unix seconds) records have waited for the registry; None if none wait."""

    async def close(self) -> None:
        await self._session.close()

    async def decoded(self, records: Sequence[InputRecord]) -> Sequence[InputRecord]:
        """The decoded records. Waits as long as the registry is unavailable."""
        if self._unknown(records):
            async with self._asking:
                for schema_id in sorted(self._unknown(records)):
                    schema = await self._in_the_end(schema_id)
                    # A schema may have to be compiled, which would block the event loop.
                    await asyncio.to_thread(self._decoding.learn, schema_id, schema)
        if len(records) <= AT_ONCE:
            return self._decoding.decoded(records)
        found: list[InputRecord] = []
        for start in range(0, len(records), AT_ONCE):
            found += self._decoding.decoded(records[start : start + AT_ONCE])
            # Let other tasks run, since a fetch may return a hundred thousand records.
            await asyncio.sleep(0)
        return found

    async def check(self) -> list[str]:
        """The types of schemas that the registry knows. Raises StreamError if it does not answer like a schema registry."""
        return [str(name) for name in await self._get("schemas/types")]

    def _unknown(self, records: Sequence[InputRecord]) -> set[int]:
        if time.monotonic() - self._forgot > ASKED_AGAIN:
            self._forgot = time.monotonic()
            self._decoding.ask_again()
        return self._decoding.to_ask_for(records)

    async def _in_the_end(self, schema_id: int) -> RegisteredSchema | None:
        """The schema of an id; None if the registry has none. Waits as long as the registry is unavailable."""
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
        """The schema at a path of the API, with those it refers to. Raises RejectedError if there is none."""
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
    """Whether this answer says that the registry has no such schema, subject or version. A 404 of another server does not have
    its error code."""
    try:
        return status == 404 and str(json.loads(text)["error_code"]).startswith("404")
    except (ValueError, KeyError, TypeError):
        return False


@contextlib.asynccontextmanager
async def registry_at(url: str | None) -> AsyncIterator[SchemaRegistry | None]:
    """A context with the registry at ``url``; with None if that is None."""
    if url is None:
        yield None
        return
    registry = SchemaRegistry(url)
    try:
        yield registry
    finally:
        await registry.close()
