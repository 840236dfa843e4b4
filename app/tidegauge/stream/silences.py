"""Copies the console's silences to Alertmanager: at once when one is made or ended, and before alerts are sent, in case
Alertmanager has lost them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

import aiohttp
import msgspec
from aiokafka.errors import KafkaError

from tidegauge.alert.alertmanager_silences import changes, decode
from tidegauge.alert.operations import OPERATIONS, Operations
from tidegauge.errors import RejectedError, StreamError, UnavailableError
from tidegauge.stream.endpoint import Endpoint, ask
from tidegauge.stream.feed import Feed
from tidegauge.stream.settings import Settings

log = logging.getLogger(__name__)
MAX_RECORDS = 1000
LOOK_SECONDS = 5.0
"""Seconds between two searches for the topic, as long as no console has created it."""
_JSON = {"Content-Type": "application/json"}


class Silencer:
    """Keeps the silences of all ``alertmanagers`` equal to those in the topic of operations."""

    def __init__(self, settings: Settings, alertmanagers: Sequence[Endpoint]) -> None:
        self._settings, self._alertmanagers = settings, alertmanagers
        # Nothing is ever committed, so every start reads the whole compacted topic.
        self._feed = Feed(settings, OPERATIONS, f"{settings.app_id}-silences")
        self._found = False
        self.operations = Operations()
        self._sessions: Sequence[aiohttp.ClientSession] = ()
        self._one_at_a_time = asyncio.Lock()
        self._failures: dict[str, str] = {}

    @property
    def standing(self) -> int:
        now = time.time()
        return sum(now < silence.ends_at for silence in self.operations.silences.values())

    async def start(self, sessions: Sequence[aiohttp.ClientSession]) -> None:
        """Read the existing silences. ``sessions``: one for each Alertmanager."""
        self._sessions = sessions
        await self._find()

    async def _find(self) -> None:
        """Start to read the topic if it exists. Only the console creates it, with its own replication setting."""
        try:
            await self._feed.start()
        except StreamError:
            log.debug("no console has made the topic of silences yet")
            return
        self._found = True
        async for record in self._feed.before():
            self.operations.apply(record.key, record.value)

    async def stop(self) -> None:
        if self._found:
            await self._feed.stop()

    async def run(self) -> None:
        """Copy silences that are made or ended, until cancelled."""
        while not self._found:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._find()
            except KafkaError as error:
                log.warning("silences cannot be looked for: %s", error)
        await self.tell()
        while True:
            records = await self._feed.take(60.0, MAX_RECORDS)
            for record in records:
                self.operations.apply(record.key, record.value)
            if records:
                await self.tell()

    async def tell(self) -> None:
        """Correct the silences of each Alertmanager. One that cannot be reached is updated the next time."""
        async with self._one_at_a_time:
            await asyncio.gather(*map(self._tell, self._alertmanagers, self._sessions))

    async def _tell(self, alertmanager: Endpoint, session: aiohttp.ClientSession) -> None:
        url = f"{alertmanager.url}/api/v2/silence"
        try:
            held = decode(await ask(session, "GET", f"{url}s"))
            posts, ended = changes(self.operations.silences.values(), held, time.time())
            for body in posts:
                try:
                    await ask(session, "POST", f"{url}s", msgspec.json.encode(body), _JSON)
                except RejectedError as error:
                    log.error("%s; this silence does not hold pages back: %s", error, body["comment"])
            for name in ended:
                await ask(session, "DELETE", f"{url}/{name}")
        except (UnavailableError, RejectedError, msgspec.MsgspecError) as error:
            if self._failures.get(url) != str(error):
                log.error("silences of the console are not passed on: %s", error)
            self._failures[url] = str(error)
        else:
            self._failures.pop(url, None)
