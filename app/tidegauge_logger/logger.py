"""The logger that a service calls, and its background thread."""

from __future__ import annotations

import atexit
import logging
import math
import multiprocessing
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Mapping
from multiprocessing import util
from pathlib import Path
from typing import Any, Self

import msgspec

from tidegauge_logger import metrics
from tidegauge_logger.backlog import Backlog, Inbox
from tidegauge_logger.counters import NO_PROBABILITY, Counters
from tidegauge_logger.delivery import Delivery
from tidegauge_logger.events import (
    LABELS,
    PREDICTIONS,
    Event,
    PredictionMembers,
    UnusableError,
    answer,
    checked,
    checked_id,
    encoded,
    given,
    named,
    timestamp,
)
from tidegauge_logger.frames import Mapped, rows
from tidegauge_logger.pseudonyms import Pseudonyms, read_key
from tidegauge_logger.request_ids import new_request_id
from tidegauge_logger.resources import Resources
from tidegauge_logger.settings import kafka_names, security_from_environment, topics_from_environment, truth

log = logging.getLogger("tidegauge_logger")
COLLECT_SECONDS = 0.02
"""The most seconds until an event is written to the spool and passed to the Kafka client."""
ADOPT_SECONDS = 10.0
TELL_SECONDS = 60.0
WINDOW_BYTES = 8 << 20
"""The most bytes of events that are being sent to Kafka at the same time."""
FRAME_SECONDS = 60.0
GRACE_SECONDS = 5.0
"""Additional seconds for closing the Kafka client, after the time for sending has passed."""


class Logger:
    """Logs prediction and label events to Kafka.

    ``bootstrap``: Kafka's address. ``model_version``: the version of predictions that give none. ``spool``: a directory in
    which events are kept until Kafka has them; processes may share it. ``max_buffer_bytes``: the most memory for events that
    wait; ``max_spool_bytes``: the limit for the whole directory. ``topics``: topic names that differ from ``predictions`` and
    ``labels``, by these names. ``security``: Kafka's settings (``security.protocol``, ``sasl.*``, ``ssl.cafile`` ...).
    ``pseudonym_key``: with it, events contain a keyed hash of each request id instead of the id itself.
    ``resources``: predictions contain CPU, memory and GPU use of this process, as its own thread measures them; needs the extra
    ``resources``.

    ``prediction`` and ``label`` may be called from any thread, never wait and never raise. Invalid events, and events for which
    there is no room, are counted in ``dropped`` and reported in one warning a minute by the Python logger
    ``tidegauge_logger``."""

    def __init__(
        self,
        bootstrap: str,
        *,
        model_version: str | None = None,
        spool: str | os.PathLike[str] | None = None,
        max_buffer_bytes: int = 64 << 20,
        max_spool_bytes: int = 1 << 30,
        topics: Mapping[str, str] | None = None,
        security: Mapping[str, str] | None = None,
        pseudonym_key: bytes | None = None,
        resources: bool = False,
    ) -> None:
        if not bootstrap:
            raise ValueError("bootstrap is empty; say where Kafka is, as in kafka:9092")
        if unknown := set(topics or ()) - {PREDICTIONS, LABELS}:
            raise ValueError(f"topics {sorted(unknown)} are none of a logger's: {PREDICTIONS}, {LABELS}")
        self.model_version = model_version
        self._spool = None if spool is None else Path(spool)
        self._max_buffer_bytes, self._max_spool_bytes = max_buffer_bytes, max_spool_bytes
        self._window = min(WINDOW_BYTES, max_buffer_bytes // 4)
        self._topics = {PREDICTIONS: PREDICTIONS, LABELS: LABELS, **(topics or {})}
        self._kafka = {"bootstrap.servers": bootstrap, **kafka_names(security or {})}
        self._pseudonyms = None if pseudonym_key is None else Pseudonyms(pseudonym_key)
        self.counters = Counters()
        self._measures = resources
        self._begin()
        _loggers.add(self)
        metrics.register(_loggers)

    @classmethod
    def from_env(cls, **given: Any) -> Logger:
        """A logger configured by ``TIDEGAUGE_BOOTSTRAP``, ``_MODEL_VERSION``, ``_SPOOL``, ``_MAX_BUFFER_BYTES``,
        ``_MAX_SPOOL_BYTES``, ``_PREDICTIONS_TOPIC``, ``_LABELS_TOPIC``, ``_PSEUDONYM_KEY_FILE``, ``_RESOURCES`` (true or
        false) and the security variables of a worker. ``given``: arguments that take precedence. Raises ValueError if there is
        no address, a size is not a number, a key cannot be read, or psutil is missing."""
        environment = os.environ.get
        found: dict[str, Any] = {
            "bootstrap": environment("TIDEGAUGE_BOOTSTRAP", ""),
            "model_version": environment("TIDEGAUGE_MODEL_VERSION"),
            "spool": environment("TIDEGAUGE_SPOOL") or None,
            "topics": topics_from_environment(),
            "security": security_from_environment(),
        }
        for name in ("max_buffer_bytes", "max_spool_bytes"):
            if (text := environment(f"TIDEGAUGE_{name.upper()}")) is not None:
                found[name] = int(text)
        if path := environment("TIDEGAUGE_PSEUDONYM_KEY_FILE"):
            found["pseudonym_key"] = read_key(path)
        found["resources"] = truth("TIDEGAUGE_RESOURCES", environment("TIDEGAUGE_RESOURCES"))
        found |= given
        if not found["bootstrap"]:
            raise ValueError("TIDEGAUGE_BOOTSTRAP is not set; say where Kafka is, as in kafka:9092")
        return cls(**found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _begin(self) -> None:
        self._resources = Resources() if self._measures else None
        self._inbox = Inbox(self._max_buffer_bytes - 2 * self._window)
        self._backlog = Backlog(self._inbox, self._spool, self._max_spool_bytes)
        self._delivery = Delivery(self._kafka, self._topics, self._window, self.counters, self._backlog.arrived)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._quiet = threading.Event()
        self._quiet.set()
        self._deadline: float | None = None

    # -- what a service calls --------------------------------------------------------------------------------------

    def prediction(
        self,
        *,
        request_id: Any = None,
        ts: Any = None,
        model_version: Any = None,
        model: Any = None,
        prediction: Any = msgspec.UNSET,
        score: Any = None,
        confidence: Any = None,
        features: Any = None,
        segments: Any = None,
        latency_ms: Any = None,
        error: Any = None,
        cost: Any = None,
        role: Any = None,
        attributions: Any = None,
        probabilities: Any = None,
        traceparent: str | None = None,
        **more: Any,
    ) -> str:
        """Log a prediction; the arguments are the members of the event. Returns the given ``request_id``, or a new one if none
        is given, which is the argument for ``label``.

        ``prediction=None``: the model abstained. ``traceparent``: the trace context of the request (W3C), to which alerts link.
        """
        known = new_request_id() if request_id is None else request_id
        try:
            known = checked_id(known)
            logged = self._logged(known)
            members = checked(PredictionMembers(
                logged, time.time() if ts is None else timestamp(ts), model_version or self._version(), model,
                prediction, score, confidence, features, segments, latency_ms, error, cost, role, attributions,
                probabilities, None if self._resources is None else self._resources.newest,
            ))  # fmt: skip
            self.counters.note(members)
            self._put(Event(PREDICTIONS, logged, encoded(given(members) | more if more else members), traceparent))
        except Exception as mistake:
            self._bad(mistake)
        return str(known)

    def label(self, request_id: Any, label: Any = None, *, business: Any = None, ts: Any = None, **more: Any) -> None:
        """Log the outcome of a request. ``business``: KPIs by name. ``ts``: when the outcome became known, by default now."""
        try:
            known = self._logged(checked_id(request_id))
            business, label = named(business, "business"), answer(label, "label")
            if label is None and not business:
                raise UnusableError("a label needs label or business")
            members = {"request_id": known, "ts": time.time() if ts is None else timestamp(ts), **more}
            if label is not None:
                members["label"] = label
            if business:
                members["business"] = business
            self._put(Event(LABELS, known, encoded(members)))
        except Exception as mistake:
            self._bad(mistake)

    def predictions(
        self, frame: Any, *, model_version: str | None = None, mapping: Mapped | None = None, timeout: float = FRAME_SECONDS
    ) -> list[str]:
        """Log every row of a scored DataFrame (pandas, polars, pyarrow, or a mapping of columns); returns the request ids.

        Columns with names of members of the event are these members; ``features.age`` or ``segments.region`` are one feature or
        segment; all others are features. ``mapping`` overrides this for each member: ``{"score": "p_churn", "segments":
        ["region"], "features": ["age", "plan"]}``. It is made for jobs and waits while there is no room, at most ``timeout``
        seconds for a row. Raises ValueError for an unusable frame or mapping.
        """
        ids: list[str] = []
        for members in rows(frame, mapping or {}):
            ids.append(str(members.get("request_id") or new_request_id()))
            try:
                members["request_id"] = logged = self._logged(checked_id(ids[-1]))
                members["ts"] = time.time() if members.get("ts") is None else timestamp(members["ts"])
                members["model_version"] = members.get("model_version") or model_version or self._version()
                row = checked(PredictionMembers(**members))
                self.counters.note(row)
                event = Event(PREDICTIONS, logged, encoded(row))
                self._start()
                self._inbox.wait_for_room(event, timeout)
                self._put(event)
            except Exception as mistake:
                self._bad(mistake)
        return ids

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until Kafka has everything that was logged, at most ``timeout`` seconds; return whether it has."""
        until = time.monotonic() + timeout
        self._start()
        while not self._settled():
            if time.monotonic() >= until:
                return False
            self._inbox.wake()
            time.sleep(0.005)
        return True

    def close(self, timeout: float = 5.0) -> None:
        """Send all events, for at most ``timeout`` seconds. The remaining ones stay in the spool, or are dropped and counted.
        It is also called at exit."""
        if self._spool is not None and self._deadline is None:
            self._start()
        with self._starting:
            if self._deadline is None:
                self._deadline = time.monotonic() + timeout
        if self._thread is not None:
            self._inbox.wake()
            self._thread.join(timeout + GRACE_SECONDS)

    @property
    def dropped(self) -> int:
        """The number of logged events that will not arrive."""
        return self.counters.dropped.total()

    @property
    def buffered_bytes(self) -> int:
        """The bytes of memory that waiting events take."""
        return self._inbox.held

    @property
    def spooled_bytes(self) -> int:
        """The bytes in the spool's directory when it was last measured."""
        return self._backlog.spooled

    # -- behind it -------------------------------------------------------------------------------------------------

    def _logged(self, request_id: str) -> str:
        """The request id as it is written in events."""
        return request_id if self._pseudonyms is None else self._pseudonyms.of(request_id)

    def _version(self) -> str:
        if not self.model_version:
            raise UnusableError("model_version is missing: give it to the logger, or to the prediction")
        return self.model_version

    def _bad(self, mistake: Exception) -> None:
        self.counters.drop("bad", text=str(mistake) if isinstance(mistake, UnusableError) else repr(mistake))
        # The background thread reports it.
        self._start()

    def _put(self, event: Event) -> None:
        if self._thread is None:
            self._start()
        if self._deadline is not None:
            self.counters.drop("closed")
        elif self._inbox.put(event):
            self.counters.accepted += 1
        else:
            self.counters.drop("buffer_full")

    def _start(self) -> None:
        if self._thread is not None:
            return
        with self._starting:
            if self._thread is None and self._deadline is None:
                self._thread = threading.Thread(target=self._run, name="tidegauge-logger", daemon=True)
                self._thread.start()
                if multiprocessing.parent_process() is not None:
                    # A child process of multiprocessing ends without calling functions registered with atexit.
                    util.Finalize(None, self.close, exitpriority=10)

    def _settled(self) -> bool:
        return self._inbox.empty and self._quiet.is_set()

    def _run(self) -> None:
        adopted = told_at = -math.inf
        told: Counter[str] = Counter()
        while True:
            now = time.monotonic()
            self._quiet.clear()
            try:
                if now - adopted >= ADOPT_SECONDS:
                    adopted = now
                    self._backlog.adopt()
                if self._resources is not None:
                    self._resources.measure()
                idle = self._step()
            except Exception:
                log.exception("sending events failed; it goes on")
                idle = False
                time.sleep(1.0)
            if now - told_at >= TELL_SECONDS:
                counted = self.counters.all()
                if self._tell(told, counted):
                    told_at, told = now, counted
            if self._deadline is not None and (idle or now >= self._deadline):
                break
            if idle:
                self._quiet.set()
                self._inbox.wait(ADOPT_SECONDS)
            time.sleep(COLLECT_SECONDS)
        self._end(told)

    def _step(self) -> bool:
        """Pass events on; return whether none is left."""
        self._backlog.collect()
        more = True
        while more and not self._delivery.full:
            block = self._backlog.next()
            if block is None:
                more = False
            else:
                self._delivery.send(block)
        self._delivery.poll()
        self._backlog.tidy()
        return not more and self._delivery.idle and self._inbox.empty

    def _tell(self, told: Mapping[str, int], counted: Mapping[str, int]) -> bool:
        lines = self.counters.since(told, counted)
        if lines:
            log.warning("events dropped: %s", "; ".join(lines))
        odd = counted[NO_PROBABILITY] - told[NO_PROBABILITY]
        if odd:
            log.warning("%d predictions have a score outside 0 to 1 and were sent: score and confidence are probabilities", odd)
        if self._delivery.problem:
            log.warning(
                "Kafka does not take events: %s; %d bytes wait in memory, %d in the spool",
                self._delivery.problem, self.buffered_bytes, self.spooled_bytes,
            )  # fmt: skip
        return bool(lines or odd or self._delivery.problem)

    def _end(self, told: Mapping[str, int]) -> None:
        self._backlog.collect()
        self._delivery.close()
        lost = self._backlog.close(self._delivery.under_way)
        if lost:
            self.counters.drop("closed", lost)
        self._tell(told, self.counters.all())
        self._quiet.set()

    def _forked(self) -> None:
        """Reset the logger in a forked child process: waiting events and files belong to the parent."""
        self._backlog.abandon()
        self._delivery.abandon()
        self.counters = Counters()
        closed = self._deadline
        self._begin()
        self._deadline = closed


_loggers: weakref.WeakSet[Logger] = weakref.WeakSet()


def _close_all() -> None:
    for one in list(_loggers):
        if one._thread is not None:
            one.close()


def _after_fork() -> None:
    for one in list(_loggers):
        one._forked()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork)
