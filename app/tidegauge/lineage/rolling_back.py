"""Rolling a model back: moves MLflow's alias, or calls a hook of the spec. The caller asks for consent, and audits."""

from __future__ import annotations

import os
import re
import uuid

import msgspec

from tidegauge.errors import RegistryError
from tidegauge.lineage import hook
from tidegauge.lineage.mlflow_server import MlflowServer
from tidegauge.spec import ModelSpec

SECRET = "TIDEGAUGE_HOOK_SECRET"
"""The variable that holds what hooks are signed with."""
DEFAULT_ALIAS = "champion"
_ALIAS = re.compile(r"models:/([^/@]+)@([^/@]+)")


class MoveAlias:
    """MLflow's alias ``alias`` of the registered model ``name`` is to name ``number``. Raises RegistryError where MLflow does
    not know that version, or the alias names it already."""

    def __init__(self, server: MlflowServer, name: str, alias: str, number: str) -> None:
        self._server, self._name, self._alias, self._number = server, name, alias, number
        server.version(name, number)
        self._before = str(server.by_alias(name, alias)["version"])
        if self._before == number:
            raise RegistryError(f"the alias {alias} of {name} names version {number} already")

    def __str__(self) -> str:
        return (
            f"the alias {self._alias} of {self._name} at {self._server.url} moves from version {self._before} to {self._number}"
        )

    def carry_out(self) -> str:
        """Move it; what MLflow says of it then. Raises RegistryError."""
        self._server.move_alias(self._name, self._alias, self._number)
        now = str(self._server.by_alias(self._name, self._alias)["version"])
        if now != self._number:
            raise RegistryError(f"MLflow was told, but the alias {self._alias} of {self._name} names version {now}")
        return f"the alias {self._alias} of {self._name} names version {now}"


class Order(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a hook is asked for. ``id``: the same however often it is asked; ``labels``: of the alert that asks."""

    action: str
    model: str
    id: str
    to: str = ""
    labels: dict[str, str] = {}


class CallHook:
    """A hook of the spec is to be told. Raises RegistryError where there is no secret to sign with."""

    def __init__(self, url: str, order: Order) -> None:
        secret = os.environ.get(SECRET, "")
        if not secret:
            raise RegistryError(f"the hook is signed, but there is no secret: set {SECRET}")
        self._url, self._secret = url, secret
        self._delivery, self._body = order.id, msgspec.json.encode(order)

    def __str__(self) -> str:
        return f"the hook {self._url} is called"

    def carry_out(self) -> str:
        """Call it; its answer. Raises RegistryError."""
        answer = hook.call(self._url, self._body, self._secret, self._delivery)
        return f"the hook answered {answer.status}: {answer.text}".rstrip(": ")


def plan(spec: ModelSpec, version: str, asked: str | None = None) -> MoveAlias | CallHook:
    """How ``spec``'s model is rolled back to ``version`` (``churn:2``, or MLflow's number alone). ``asked``: the id of what
    asks for it, None for a new one. Raises RegistryError."""
    target = spec.rollback
    if target is not None and not target.startswith("models:/"):
        return CallHook(target, Order("roll_back", spec.model, asked or str(uuid.uuid4()), version))
    named = _ALIAS.fullmatch(target or f"models:/{spec.model}@{DEFAULT_ALIAS}")
    if named is None:
        raise RegistryError(f"rollback {target!r} names no alias; write models:/NAME@ALIAS, or the URL of a hook")
    return MoveAlias(MlflowServer.from_environment(), named[1], named[2], version.rpartition(":")[2])
