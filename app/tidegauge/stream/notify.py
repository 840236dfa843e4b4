"""`tidegauge notify`: sends the topic ``alerts`` to Alertmanager.

start      the set of firing alerts is rebuilt from the events that were sent before; later events are sent now
event      posted at once, and committed once an Alertmanager has accepted it
interval   all firing alerts are posted again and are valid for four intervals, since Alertmanager forgets alerts when it
           restarts and resolves an alert that is not posted again
silences   silences made in the console are copied to Alertmanager (``alert/alertmanager_silences.py``)
kill -9    loses nothing: events that are not committed are posted again, which pages nobody twice
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
from tidegauge.stream.endpoint import Endpoint, RetryPauses, ask
from tidegauge.stream.feed import Feed
from tidegauge.stream.settings import Settings
from tidegauge.stream.silences import Silencer

log = logging.getLogger(__name__)
LASTING_INTERVALS = 4
MAX_EVENTS = 200
PATH = "/api/v2/alerts"
_HEADERS = {"Content-Type": "application/json"}


class Notifier:
    """Sends alerts to all ``alertmanagers``: the members of a cluster share notifications but not alerts. An alert counts as
    sent once one of them has accepted it. ``interval``: in seconds; ``console``: the address of the console, None without
    one."""

    def __init__(
        self, settings: Settings, alertmanagers: Sequence[Endpoint], interval: float, console: str | None = None
    ) -> None:
        self._feed = Feed(settings, ALERTS, f"{settings.app_id}-notify")
        self._alertmanagers, self._interval, self._console = alertmanagers, interval, console
        self._sessions: list[aiohttp.ClientSession] = []
        self._silencer = Silencer(settings, alertmanagers)
        self._paged = PagedAlerts(self._silencer.operations.silenced_since)
        self._patience = RetryPauses("Alertmanager")
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
        # Alerts that resolved while this process was down may have been reported already, so they are not posted as firing
        # again.
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
        """Send every request in turn until it is accepted or refused. An empty request only tests the connection."""
        for request in said:
            while True:
                # Silences come first, so that an Alertmanager that has lost its silences pages nobody for silenced alerts.
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
        """Send one request to all Alertmanagers. Raises the first error unless one has accepted the request."""
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
            # A refusal is more informative than the error that a server could not be reached.
            raise next((failure for failure in failures if isinstance(failure, RejectedError)), failures[0])
        self._patience.worked()
