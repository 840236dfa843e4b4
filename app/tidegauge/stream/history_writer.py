"""`tidegauge history`: writes the topic ``metrics`` to Prometheus by remote write, at the times of the windows.

It is a separate process and not part of the worker, since an unavailable Prometheus must not delay the stream; here it only
delays this consumer. Offsets are committed once the records are written. After a crash the same samples are written again,
which changes nothing, since the time and value of a revision are always the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import cramjam
import msgspec
from prometheus_client import Counter

from tidegauge.engine.stage import METRICS
from tidegauge.errors import RejectedError, UnavailableError
from tidegauge.prometheus.remote_write import PastSample, past_samples, write_request
from tidegauge.stream import bridge
from tidegauge.stream.endpoint import Endpoint, RetryPauses, ask
from tidegauge.stream.feed import Feed
from tidegauge.stream.settings import Settings

log = logging.getLogger(__name__)
MAX_RECORDS = 500
MAX_SAMPLES = 5000
MARGIN_SECONDS = 60.0
"""Seconds before the end of the out-of-order window. A sample this close to it may be too old when it arrives."""
WAIT_SECONDS = 1.0
TOO_OLD = "too old sample"
_HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


class HistoryWriter:
    """Writes samples to ``target``. ``out_of_order``: how many seconds in the past Prometheus accepts samples in any order (its
    setting ``out_of_order_time_window``). Prometheus would reject the whole request because of an older sample, so those are
    not sent."""

    def __init__(self, settings: Settings, target: Endpoint, out_of_order: float) -> None:
        self._feed = Feed(settings, METRICS, f"{settings.app_id}-history")
        self._target, self._out_of_order = target, out_of_order
        self._patience = RetryPauses("Prometheus")
        self._caught_up = False
        self._meters = bridge.Meters("tidegauge_remote_write", lambda: self._feed.lag)
        self.registry = self._meters.registry
        self._samples = Counter(
            "tidegauge_remote_write_samples", "Samples of closed windows", ["outcome"], registry=self.registry
        )
        for outcome in ("written", "too_old", "rejected"):
            self._samples.labels(outcome)

    @property
    def ready(self) -> bool:
        return self._caught_up and not self._patience.failures

    async def run(self) -> None:
        async with self._target.session() as self._session:
            await self._feed.start()
            try:
                log.info("windows are written to %s, up to %.1f days back", self._target.url, self._out_of_order / 86400)
                while True:
                    records = await self._feed.take(WAIT_SECONDS, MAX_RECORDS)
                    if records:
                        await self._hand_over(records)
                    self._caught_up = self._caught_up or not await self._feed.behind()
            finally:
                await self._feed.stop()

    async def _hand_over(self, records: Sequence[Any]) -> None:
        due = self._due(records)
        while samples := list(islice(due, MAX_SAMPLES)):
            await self._write(samples)
        await self._feed.commit()

    def _due(self, records: Sequence[Any]) -> Iterator[PastSample]:
        oldest = (time.time() - self._out_of_order + MARGIN_SECONDS) * 1000
        for record in records:
            if record.value is None:
                continue
            try:
                samples = list(past_samples(msgspec.json.decode(record.value)))
            except (msgspec.MsgspecError, KeyError, TypeError, ValueError, AttributeError) as error:
                self._meters.unreadable.inc()
                log.error("a record of the metrics topic is passed over: %r", error)
                continue
            if samples and samples[0].timestamp < oldest:
                self._samples.labels("too_old").inc(len(samples))
            else:
                yield from samples

    async def _write(self, samples: Sequence[PastSample]) -> None:
        """Repeat until the samples are written. Refused requests are halved, so that only the refused sample itself is lost."""
        body = bytes(cramjam.snappy.compress_raw(write_request(samples)))
        while True:
            try:
                await ask(self._session, "POST", self._target.url, body, _HEADERS, _permanent)
                break
            except UnavailableError as error:
                self._meters.requests.labels("unavailable").inc()
                await self._patience.failed(error)
            except RejectedError as error:
                self._meters.requests.labels("rejected").inc()
                self._patience.worked()
                if len(samples) > 1:
                    middle = len(samples) // 2
                    await self._write(samples[:middle])
                    await self._write(samples[middle:])
                else:
                    self._samples.labels("rejected").inc()
                    log.warning("%s; given up: %s", error, dict(samples[0].labels))
                return
        self._patience.worked()
        self._meters.taken()
        self._samples.labels("written").inc(len(samples))


def _permanent(status: int, text: str) -> bool:
    """Whether an answer means that another attempt is useless. For a sample older than its out-of-order window, Prometheus
    answers with status 500, which otherwise means that the request should be repeated."""
    return status in (400, 413, 422) or (status == 500 and TOO_OLD in text)
