"""The console's silences to Alertmanager, beside the alerts: at once when one is made or ended, and before alerts are said
again, for an Alertmanager that has forgotten."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

import aiohttp
import msgspec

from tidegauge.errors import RejectedError, UnavailableError
from tidegauge.operations import OPERATIONS, Operations
from tidegauge.silencing import changes, decode
from tidegauge.stream.endpoint import Endpoint, ask
from tidegauge.stream.feed import Feed
from tidegauge.stream.following import OperationsLog
from tidegauge.stream.settings import Settings

log = logging.getLogger(__name__)
MAX_RECORDS = 1000
_JSON = {"Content-Type": "application/json"}


class Silencer:
    """Keeps every one of ``alertmanagers`` at the silences that stand in the topic of operations."""

    def __init__(self, settings: Settings, alertmanagers: Sequence[Endpoint]) -> None:
        self._settings, self._alertmanagers = settings, alertmanagers
        # Nothing is ever committed: what stands is read anew from the compacted topic.
        self._feed = Feed(settings, OPERATIONS, f"{settings.app_id}-silences")
        self._operations = Operations()
        self._sessions: Sequence[aiohttp.ClientSession] = ()
        self._one_at_a_time = asyncio.Lock()
        self._failures: dict[str, str] = {}
        self.behind = True
        """Whether an Alertmanager may lack what it should have."""

    @property
    def standing(self) -> int:
        now = time.time()
        return sum(now < silence.ends_at for silence in self._operations.silences.values())

    async def start(self, sessions: Sequence[aiohttp.ClientSession]) -> None:
        """Read what stands. ``sessions``: one for each Alertmanager."""
        self._sessions = sessions
        # The console makes the topic too, whoever is first.
        operations = OperationsLog(self._settings)
        await operations.start()
        await operations.stop()
        await self._feed.start()
        async for record in self._feed.before():
            self._operations.apply(record.key, record.value)

    async def stop(self) -> None:
        await self._feed.stop()

    async def run(self) -> None:
        """Pass on what is made and ended, until cancelled."""
        while True:
            records = await self._feed.take(60.0, MAX_RECORDS)
            for record in records:
                self._operations.apply(record.key, record.value)
            if records:
                await self.tell()

    async def tell(self) -> None:
        """Make right what each Alertmanager has. One that cannot be reached is told the next time."""
        async with self._one_at_a_time:
            await asyncio.gather(*map(self._tell, self._alertmanagers, self._sessions))
            self.behind = bool(self._failures)

    async def _tell(self, alertmanager: Endpoint, session: aiohttp.ClientSession) -> None:
        url = f"{alertmanager.url}/api/v2/silence"
        try:
            held = decode(await ask(session, "GET", f"{url}s"))
            posts, ended = changes(self._operations.silences.values(), held, time.time())
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
