"""`tidegauge notify`: the topic ``alerts`` to Alertmanager.

start      which alerts fire is rebuilt from the events that were handed over before; later ones are handed over now
event      posted at once, and committed once an Alertmanager has taken it
interval   everything that fires is posted again, good for four intervals: Alertmanager forgets when it restarts, and
           resolves an alert itself when nobody speaks of it any more
silences   those made in the console are made in Alertmanager (``alert/alertmanager_silences.py``), which then pages nobody
kill -9    costs nothing: events not yet committed are posted again, which pages nobody twice
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any

import aiohttp
import msgspec
from prometheus_client import Counter, Gauge

from tidegauge.alert.paging import AlertEvent, Notice, PagedAlerts, decode, posted, requests
from tidegauge.engine.stage import ALERTS
from tidegauge.errors import RejectedError, UnavailableError
from tidegauge.stream import bridge
from tidegauge.stream.endpoint import Endpoint, Patience, ask
from tidegauge.stream.feed import Feed
from tidegauge.stream.settings import Settings
from tidegauge.stream.silences import Silencer

log = logging.getLogger(__name__)
LASTING_INTERVALS = 4
MAX_EVENTS = 200
PATH = "/api/v2/alerts"
_HEADERS = {"Content-Type": "application/json"}


class Notifier:
    """Hands alerts to every one of ``alertmanagers``: those of a cluster tell each other whom they have paged, not what
    fires. One that takes an alert is enough to go on. ``interval`` in seconds."""

    def __init__(
        self, settings: Settings, alertmanagers: Sequence[Endpoint], interval: float, console: str | None = None
    ) -> None:
        self._feed = Feed(settings, ALERTS, f"{settings.app_id}-notify")
        self._alertmanagers, self._interval, self._console = alertmanagers, interval, console
        self._sessions: list[aiohttp.ClientSession] = []
        self._silencer = Silencer(settings, alertmanagers)
        self._paged = PagedAlerts(self._silencer.operations.silenced_since)
        self._patience = Patience("Alertmanager")
        self._caught_up = False
        self._meters = bridge.Meters("tidegauge_notify", lambda: self._feed.lag)
        self.registry = made = self._meters.registry
        self._events = Counter("tidegauge_notify_events", "Alert events handed over", ["status"], registry=made)
        firing = Gauge("tidegauge_notify_firing_alerts", "Alerts that fire", registry=made)
        firing.set_function(lambda: len(self._paged.firing))
        silences = Gauge("tidegauge_notify_silences", "Silences of the console that stand", registry=made)
        silences.set_function(lambda: self._silencer.standing)

    @property
    def ready(self) -> bool:
        return self._caught_up and not self._patience.failures

    async def run(self) -> None:
        try:
            self._sessions = [alertmanager.session() for alertmanager in self._alertmanagers]
            await self._feed.start()
            try:
                await self._silencer.start(self._sessions)
                try:
                    await asyncio.gather(self._run(), self._silencer.run())
                finally:
                    await self._silencer.stop()
            finally:
                await self._feed.stop()
        finally:
            await asyncio.gather(*(session.close() for session in self._sessions))

    async def _run(self) -> None:
        async for record in self._feed.before():
            event = self._decode(record.value)
            if event is not None:
                self._paged.take(event, record.timestamp / 1000)
        # What was resolved while nobody was here may have been said already: it is not said to fire once more.
        while await self._feed.behind():
            await self._hand_over(await self._feed.take(0.2, MAX_EVENTS), again=False)
        log.info("%d alerts firing; alerts go to %s", len(self._paged.firing), ", ".join(a.url for a in self._alertmanagers))
        due = time.monotonic()
        while True:
            if time.monotonic() >= due:
                await self._say(list(requests(self._paged.refresh(time.time()))) or [[]])
                await self._feed.commit()
                due = time.monotonic() + self._interval
                self._caught_up = True
            await self._hand_over(await self._feed.take(due - time.monotonic(), MAX_EVENTS), again=True)

    async def _hand_over(self, records: Sequence[Any], *, again: bool) -> None:
        if not records:
            return
        notices: list[Notice] = []
        for record in records:
            event = self._decode(record.value)
            if event is not None:
                notices += self._paged.take(event, time.time(), again=again)
                self._events.labels(event.data.status).inc()
        await self._say(requests(notices))
        await self._feed.commit()

    def _decode(self, value: bytes | None) -> AlertEvent | None:
        try:
            return decode(value or b"")
        except msgspec.MsgspecError as error:
            self._meters.unreadable.inc()
            log.error("a record of the alert topic is no alert event and is passed over: %s", error)
            return None

    async def _say(self, said: Iterable[Sequence[Notice]]) -> None:
        """Every request, one after the other, until it is taken or refused. An empty one tells whether anybody listens."""
        for request in said:
            while True:
                # Nobody is paged for what is silenced, by an Alertmanager that has lost its silences either.
                await self._silencer.tell()
                try:
                    await self._send(request)
                    break
                except UnavailableError as error:
                    await self._patience.failed(error)
                except RejectedError as error:
                    log.error("%s; given up: %s", error, ", ".join(sorted(notice.fingerprint for notice in request)))
                    break

    async def _send(self, request: Sequence[Notice]) -> None:
        """One request to all of them. Raises what the first said unless one has taken it."""
        now = time.time()
        lasting = LASTING_INTERVALS * self._interval
        body = msgspec.json.encode([posted(notice, now, lasting, self._console) for notice in request])
        answers = await asyncio.gather(
            *(
                ask(session, "POST", alertmanager.url + PATH, body, _HEADERS)
                for session, alertmanager in zip(self._sessions, self._alertmanagers, strict=True)
            ),
            return_exceptions=True,
        )
        failures: list[RejectedError | UnavailableError] = []
        for answer in answers:
            if isinstance(answer, bytes):
                self._meters.taken()
            elif isinstance(answer, RejectedError | UnavailableError):
                self._meters.requests.labels("rejected" if isinstance(answer, RejectedError) else "unavailable").inc()
                failures.append(answer)
            else:
                raise answer
        if len(failures) == len(answers):
            # A refusal says more than that a server could not be reached.
            raise next((failure for failure in failures if isinstance(failure, RejectedError)), failures[0])
        self._patience.worked()
