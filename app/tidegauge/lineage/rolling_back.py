"""Rolls a model back: moves MLflow's alias, or calls a hook of the spec. The caller asks for confirmation and writes the audit
log."""

from __future__ import annotations

import os
import re
import uuid
from typing import NamedTuple

import msgspec

from tidegauge.errors import RegistryError
from tidegauge.lineage import hook
from tidegauge.lineage.mlflow_server import MlflowServer
from tidegauge.spec import ModelSpec

SECRET = "TIDEGAUGE_HOOK_SECRET"
"""The environment variable with the secret that hooks are signed with."""
DEFAULT_ALIAS = "champion"
_ALIAS = re.compile(r"models:/([^/@]+)@([^/@]+)")


class MoveAlias:
    """The step of moving MLflow's ``alias`` of the registered model ``name`` to the version ``number``. Raises RegistryError if
    MLflow does not know this version, or if the alias names it already."""

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
        """Move the alias; return a sentence on the result. Raises RegistryError."""
        self._server.move_alias(self._name, self._alias, self._number)
        now = str(self._server.by_alias(self._name, self._alias)["version"])
        if now != self._number:
            raise RegistryError(f"MLflow was told, but the alias {self._alias} of {self._name} names version {now}")
        return f"the alias {self._alias} of {self._name} names version {now}"


class RollbackRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """The request to a hook. ``id``: the same for all repetitions; ``to``: the version to roll back to; ``labels``: of the
    alert that is the reason."""

    action: str
    model: str
    id: str
    to: str = ""
    labels: dict[str, str] = {}


class CallHook:
    """The step of calling a hook of the spec. Raises RegistryError if there is no secret to sign the request with."""

    def __init__(self, url: str, order: RollbackRequest) -> None:
        secret = os.environ.get(SECRET, "")
        if not secret:
            raise RegistryError(f"the hook is signed, but there is no secret: set {SECRET}")
        self._url, self._secret = url, secret
        self._delivery, self._body = order.id, msgspec.json.encode(order)

    def __str__(self) -> str:
        return f"the hook {self._url} is called"

    def carry_out(self) -> str:
        """Call the hook; return its answer as a text. Raises RegistryError."""
        answer = hook.call(self._url, self._body, self._secret, self._delivery)
        return f"the hook answered {answer.status}: {answer.text}".rstrip(": ")


class Alias(NamedTuple):
    """An alias of the registered model ``name`` in MLflow."""

    name: str
    alias: str


def alias_of(spec: ModelSpec) -> Alias | None:
    """The alias that says which version of the model serves; None if the spec names a hook instead, or nothing that can be
    one.

    >>> alias_of(ModelSpec("churn")), alias_of(ModelSpec("churn", rollback="https://deploy.example/hook"))
    (Alias(name='churn', alias='champion'), None)
    """
    named = _ALIAS.fullmatch(spec.rollback or f"models:/{spec.model}@{DEFAULT_ALIAS}")
    return None if named is None else Alias(named[1], named[2])


def plan(spec: ModelSpec, version: str, asked: str | None = None) -> MoveAlias | CallHook:
    """The step that rolls the model of ``spec`` back to ``version`` (``churn:2``, or only MLflow's number). ``asked``: the id
    of the request, None for a new one. Raises RegistryError."""
    target = spec.rollback
    if target is not None and not target.startswith("models:/"):
        return CallHook(target, RollbackRequest("roll_back", spec.model, asked or str(uuid.uuid4()), version))
    named = alias_of(spec)
    if named is None:
        raise RegistryError(f"rollback {target!r} names no alias; write models:/NAME@ALIAS, or the URL of a hook")
    return MoveAlias(MlflowServer.from_environment(), named.name, named.alias, version.rpartition(":")[2])
