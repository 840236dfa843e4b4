"""Notices when an alias in MLflow's registry, such as ``champion``, names another version, and writes a mark for the charts.

MLflow is asked at intervals, and at once when one of its webhooks arrives (``alias_webhook.py``). What was seen last is in the
audit log: a move made while nobody asked is noticed at the next start. ``kill -9`` between mark and audit writes the same mark
again, under its key.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from tidegauge.alert.audit import Audit, AuditEntry, stamp
from tidegauge.alert.operations import OPERATIONS, Mark, encode
from tidegauge.errors import RegistryError
from tidegauge.lineage.mlflow_server import MlflowServer
from tidegauge.lineage.rolling_back import alias_of
from tidegauge.models.registry import Registry
from tidegauge.stream.following import OperationsLog

log = logging.getLogger(__name__)
SEEN = "see alias"
"""The action of the audit entries that say what an alias names."""


class _Seen(NamedTuple):
    """What ``alias`` (``models:/NAME@ALIAS``) named, and when that was first seen (RFC 3339)."""

    alias: str
    version: str
    time: str


class AliasWatch:
    """Asks MLflow every ``seconds`` what the alias of each model names; None for only when ``ask`` is called. ``models``: reads
    the models; ``actor``: who writes the entries."""

    def __init__(
        self,
        seconds: float | None,
        models: Callable[[], Awaitable[Registry]],
        operations: OperationsLog,
        audit: Audit,
        actor: str,
    ) -> None:
        self._seconds, self._models, self._operations, self._audit = seconds, models, operations, audit
        self._actor = actor
        self._seen: dict[str, _Seen] = {}
        self._unknown: set[str] = set()
        self._news = asyncio.Event()

    def ask(self) -> None:
        """Ask MLflow now, whatever the interval."""
        self._news.set()

    def remember(self, entry: AuditEntry) -> None:
        """Take an entry of the audit log; those of other actions say nothing."""
        if entry.action == SEEN:
            details = entry.details
            self._seen[entry.target] = _Seen(str(details.get("alias")), str(details.get("version")), entry.time)

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            # Before the look, so that what is moved during it is seen by the next one.
            self._news.clear()
            registry = await self._models()
            for model in registry.models():
                await self._look(registry, model)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._news.wait()

    async def _look(self, registry: Registry, model: str) -> None:
        named = alias_of(registry.spec(model))
        if named is None:
            return
        alias = f"models:/{named.name}@{named.alias}"
        try:
            found = await asyncio.to_thread(MlflowServer.from_environment().by_alias, named.name, named.alias)
        except RegistryError as error:
            if alias not in self._unknown:
                log.info("what %s names is not known: %s", alias, error)
            self._unknown.add(alias)
            return
        self._unknown.discard(alias)
        version, seen = str(found["version"]), self._seen.get(model)
        if seen is not None and (seen.alias, seen.version) == (alias, version):
            return
        if seen is not None and seen.alias == alias:
            await self._mark(model, seen, version)
        await self._note(model, alias, found)

    async def _mark(self, model: str, seen: _Seen, version: str) -> None:
        name, _, alias = seen.alias.removeprefix("models:/").partition("@")
        text = f"{alias} of {name} moves from version {seen.version} to {version}"
        key = hashlib.blake2b("\0".join((model, *seen, version)).encode(), digest_size=16).hexdigest()
        now = time.time()
        mark = Mark(key, text[:200], now, "MLflow", now, model, version, seen.version)
        log.info("%s: %s", model, text)
        await self._operations.write(OPERATIONS, mark.key, encode(mark))

    async def _note(self, model: str, alias: str, found: dict[str, Any]) -> None:
        details = {"alias": alias, "version": str(found["version"]), "run_id": str(found.get("run_id") or "")}
        entry = AuditEntry(stamp(time.time()), self._actor, "spec", "", SEEN, model, "done", details=details)
        await self._audit.log(entry)
        self.remember(entry)
