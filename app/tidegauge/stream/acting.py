"""`tidegauge act`: does what the member ``on`` of a spec says when alerts begin.

start      alerts that began before the first start are ignored; later starts continue where the last run stopped
retrain    the hook is called with the alert's own id, so that its receiver can ignore repetitions
rollout    the audit log gets its entry before the model is rolled back, and is read at the start: a version is rolled back at
           most once, and never to a version that was itself rolled back, so that versions do not alternate
kill -9    a hook may be called again, with the same id; a rollback that was begun is not begun again
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from functools import partial
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client import Counter

from tidegauge.alert.audit import Audit, AuditEntry, stamp
from tidegauge.alert.operations import AUDIT, OPERATIONS
from tidegauge.engine.stage import ALERTS
from tidegauge.errors import RegistryError, StreamError
from tidegauge.lineage import rolling_back
from tidegauge.lineage.mlflow_server import MlflowServer
from tidegauge.models.registry import Registry
from tidegauge.spec import ROLLOUT, ModelVersion
from tidegauge.stream import alias_webhook, bridge, models_topic
from tidegauge.stream.alias_watch import AliasWatch
from tidegauge.stream.feed import Feed
from tidegauge.stream.following import OperationsLog
from tidegauge.stream.reading import records
from tidegauge.stream.settings import Settings

log = logging.getLogger(__name__)
MAX_EVENTS, WAIT_SECONDS = 200, 1.0
ACTOR, METHOD, ROLL_BACK, RETRAIN = "tidegauge act", "spec", "roll back", "retrain"


class _Comparison(msgspec.Struct, frozen=True):
    champion: str


class _Evidence(msgspec.Struct, frozen=True):
    comparison: _Comparison | None = None


class _Data(msgspec.Struct, frozen=True):
    status: str
    fingerprint: str
    kind: str
    labels: dict[str, str]
    evidence: _Evidence = _Evidence()


class AlertEvent(msgspec.Struct, frozen=True):
    """Those members of an alert event that actions need. ``id``: unique for each transition."""

    id: str
    data: _Data


_decode = msgspec.json.Decoder(AlertEvent).decode


class Actor:
    """Performs the actions of specs when alerts begin. ``alias_interval``: seconds after which MLflow, if the environment names
    it, is asked again which versions serve; 0 for never. ``webhook_secret``: with it MLflow is also asked whenever one of its
    webhooks, signed with this secret, arrives; "" for none."""

    def __init__(self, settings: Settings, alias_interval: float = 0.0, webhook_secret: str = "") -> None:
        self._settings = settings
        self._feed = Feed(settings, ALERTS, f"{settings.app_id}-act")
        watches = (alias_interval > 0 or bool(webhook_secret)) and MlflowServer.is_named()
        self._operations = OperationsLog(settings, (OPERATIONS, AUDIT) if watches else (AUDIT,))
        self._audit = Audit(sys.stderr.buffer, self._operations.write)
        self._aliases: AliasWatch | None = None
        self.pages: list[web.RouteDef] = []
        """Its own pages, beside those of every bridge."""
        if watches:
            models = partial(models_topic.read, settings)
            self._aliases = AliasWatch(alias_interval or None, models, self._operations, self._audit, ACTOR)
            if webhook_secret:
                self.pages.append(alias_webhook.page(webhook_secret, self._aliases.ask))
        self._left: set[ModelVersion] = set()
        """Versions that were rolled back by themselves, with their models."""
        self._firing: set[str] = set()
        self._caught_up = False
        self._meters = bridge.Meters("tidegauge_act", lambda: self._feed.lag)
        self.registry = self._meters.registry
        self._actions = Counter(
            "tidegauge_act_actions", "Actions by kind and outcome", ["action", "outcome"], registry=self.registry
        )

    @property
    def ready(self) -> bool:
        return self._caught_up

    async def run(self) -> None:
        await self._operations.start()
        try:
            await self._feed.start()
            try:
                await self._run()
            finally:
                await self._feed.stop()
        finally:
            await self._operations.stop()

    async def _run(self) -> None:
        await models_topic.read(self._settings)
        await self._audit.log(
            AuditEntry(stamp(time.time()), ACTOR, METHOD, "", "begin to act", self._settings.app_id, "accepted")
        )
        async for record in records(self._settings, AUDIT):
            self._remember(record.value or b"")
        async for record in self._feed.before():
            self._begins(record)
        await self._feed.commit()
        self._caught_up = True
        log.info("acting on alerts; %d versions were rolled back before", len(self._left))
        await asyncio.gather(self._follow(), *([] if self._aliases is None else [self._aliases.run()]))

    async def _follow(self) -> None:
        while True:
            begun = [event for record in await self._feed.take(WAIT_SECONDS, MAX_EVENTS) if (event := self._begins(record))]
            if begun:
                models = await models_topic.read(self._settings)
                for event in begun:
                    await self._act(event, models)
            await self._feed.commit()

    def _remember(self, raw: bytes) -> None:
        try:
            entry = msgspec.json.decode(raw, type=AuditEntry)
        except msgspec.MsgspecError:
            return
        if self._aliases is not None:
            self._aliases.remember(entry)
        if (entry.action, entry.method, entry.outcome) == (ROLL_BACK, METHOD, "accepted"):
            self._left.add(ModelVersion(entry.target, str(entry.details.get("from", ""))))

    def _begins(self, record: Any) -> AlertEvent | None:
        """The event in a record if its alert begins; None if the alert ends or only changes its severity."""
        try:
            event = _decode(record.value or b"")
        except msgspec.MsgspecError as error:
            self._meters.unreadable.inc()
            log.error("a record of the alert topic is no alert event and is passed over: %s", error)
            return None
        if event.data.status != "firing":
            self._firing.discard(event.data.fingerprint)
            return None
        if event.data.fingerprint in self._firing:
            return None
        self._firing.add(event.data.fingerprint)
        return event

    async def _act(self, event: AlertEvent, models: Registry) -> None:
        labels = event.data.labels
        model = labels.get("model", "")
        if not models.known(model):
            return
        spec = models.spec(model)
        url = spec.on.retrain.get(labels.get("alertname", ""))
        if url is not None:
            try:
                call = rolling_back.CallHook(url, rolling_back.RollbackRequest(RETRAIN, model, event.id, labels=labels))
            except RegistryError as error:
                await self._note(RETRAIN, model, "refused", str(error), {"alert": event.id})
            else:
                await self._carry_out(RETRAIN, model, call, {"alert": event.id, "alertname": labels["alertname"]})
        comparison = event.data.evidence.comparison
        if event.data.kind == ROLLOUT and comparison is not None and spec.on.rollout == "roll_back":
            await self._roll_back(event, models, comparison.champion)

    async def _roll_back(self, event: AlertEvent, models: Registry, to: str) -> None:
        model, version = event.data.labels["model"], event.data.labels["model_version"]
        details = {"from": version, "to": to, "alert": event.id}
        if ModelVersion(model, version) in self._left:
            log.info("%s was rolled back from %s before; people decide what comes now", model, version)
            return
        if ModelVersion(model, to) in self._left:
            await self._note(ROLL_BACK, model, "refused", f"{to} was itself rolled back: people decide what serves", details)
            return
        try:
            step = await asyncio.to_thread(rolling_back.plan, models.spec(model), to, event.id)
        except RegistryError as error:
            await self._note(ROLL_BACK, model, "refused", str(error), details)
            return
        self._left.add(ModelVersion(model, version))
        await self._carry_out(ROLL_BACK, model, step, details | {"step": str(step)})

    async def _carry_out(
        self, action: str, model: str, step: rolling_back.MoveAlias | rolling_back.CallHook, details: dict[str, str]
    ) -> None:
        """Carry out a step, with an entry in the audit log before and another one with its result."""
        await self._note(action, model, "accepted", "", details)
        try:
            said = await asyncio.to_thread(step.carry_out)
        except RegistryError as error:
            await self._note(action, model, "refused", str(error), details)
            return
        self._meters.taken()
        await self._note(action, model, "done", "", details | {"answer": said})

    async def _note(self, action: str, model: str, outcome: str, reason: str, details: dict[str, str]) -> None:
        self._actions.labels(action, outcome).inc()
        if outcome == "refused":
            log.error("%s of %s: %s", action, model, reason)
        try:
            await self._audit.log(AuditEntry(stamp(time.time()), ACTOR, METHOD, "", action, model, outcome, reason, details))
        except StreamError:
            if outcome == "accepted":
                raise
            log.exception("the audit lacks what came of it")
