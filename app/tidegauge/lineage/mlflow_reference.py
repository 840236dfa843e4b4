"""Resolves references like ``runs:/RUN_ID``, ``models:/churn/3`` and ``models:/churn@champion`` to a model in MLflow, with its
signature, metrics and lineage."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import yaml

from tidegauge.errors import RegistryError
from tidegauge.lineage.mlflow_server import MlflowServer
from tidegauge.spec import Lineage

_RUN = re.compile(r"runs:/([^/]+)(?:/(.+?))?/?")
_MODEL = re.compile(r"models:/([^/@]+)(?:/([^/]+)|@([^/]+))?")
COMMIT, HISTORY = "mlflow.source.git.commit", "mlflow.log-model.history"


class MlflowModel(msgspec.Struct, frozen=True):
    """A run or a version of a registered model. ``signature``: as in the file MLmodel, with ``inputs`` and ``outputs`` decoded;
    {} if the model was logged without one. ``page``: the address of the run's page."""

    reference: str
    name: str | None
    version: str | None
    run_id: str | None
    page: str | None
    metrics: dict[str, float] = {}
    parameters: dict[str, str] = {}
    tags: dict[str, str] = {}
    datasets: list[str] = []
    signature: dict[str, list[dict[str, Any]]] = {}
    flavours: list[str] = []

    @property
    def lineage(self) -> Lineage:
        """The lineage as in a spec or a baseline."""
        return Lineage(
            run_id=self.run_id, commit=self.tags.get(COMMIT), data_snapshot=", ".join(self.datasets) or None,
            url=self.page, parameters=self.parameters,
        )  # fmt: skip


def is_reference(text: str) -> bool:
    """Whether ``text`` is a reference to MLflow and not a file."""
    return text.startswith(("runs:/", "models:/"))


def read_reference(server: MlflowServer, text: str) -> MlflowModel:
    """The model that the reference ``text`` names. Raises RegistryError."""
    run, model = _RUN.fullmatch(text), _MODEL.fullmatch(text)
    if run is not None:
        return _of_run(server, text, run[1], run[2])
    if model is None:
        raise RegistryError(f"{text!r} names nothing in MLflow; write runs:/RUN_ID, models:/NAME/VERSION or models:/NAME@ALIAS")
    name, version, alias = model.groups()
    if alias:
        found = server.by_alias(name, alias)
    elif version and version != "latest":
        found = server.version(name, version)
    else:
        found = server.newest(name)
    number = str(found["version"])
    mlmodel = _mlmodel(lambda path: server.artifact_of_version(name, number, path), ["MLmodel"])
    made = _of_run(server, text, str(found["run_id"]), None, mlmodel) if found.get("run_id") else None
    tags = {tag["key"]: tag["value"] for tag in found.get("tags", [])}
    if made is None:
        return MlflowModel(text, name, number, None, None, tags=tags, **_described(mlmodel))
    return msgspec.structs.replace(made, name=name, version=number, tags={**made.tags, **tags})


def _of_run(
    server: MlflowServer, text: str, run_id: str, path: str | None, mlmodel: dict[str, Any] | None = None
) -> MlflowModel:
    run = server.run(run_id)
    info, data = run["info"], run.get("data", {})
    tags = {tag["key"]: tag["value"] for tag in data.get("tags", [])}
    logged = [str(of["model_id"]) for of in run.get("outputs", {}).get("model_outputs", [])]
    if mlmodel is None and logged and not path:
        mlmodel = _mlmodel(lambda file: server.artifact_of_logged_model(logged[-1], file), ["MLmodel"])
    if not mlmodel:
        mlmodel = _mlmodel(
            lambda file: server.artifact_of_run(run_id, file), [f"{place}/MLmodel" for place in _places(path, tags)]
        )  # fmt: skip
    return MlflowModel(
        text, None, None, run_id, server.run_page(str(info["experiment_id"]), run_id),
        {metric["key"]: metric["value"] for metric in data.get("metrics", []) if isinstance(metric["value"], int | float)},
        {parameter["key"]: parameter["value"] for parameter in data.get("params", [])},
        tags, _datasets(run), **_described(mlmodel),
    )  # fmt: skip


def _places(path: str | None, tags: dict[str, str]) -> list[str]:
    """The paths at which a run may have its model: the given one, those that MLflow 2 notes in tags, and the usual one."""
    if path:
        return [path]
    try:
        logged = [str(model["artifact_path"]) for model in json.loads(tags.get(HISTORY, "[]"))]
    except (ValueError, KeyError, TypeError):
        logged = []
    return [*logged[-1:], "model"]


def _datasets(run: dict[str, Any]) -> list[str]:
    """The data sets that were logged as inputs: name, digest, and their location if the source gives it."""
    found = []
    for given in run.get("inputs", {}).get("dataset_inputs", []):
        of = given["dataset"]
        try:
            source = json.loads(of.get("source", "{}"))
        except ValueError:
            source = {}
        where = next(
            (source[member] for member in ("uri", "url", "path", "table") if isinstance(source.get(member), str)), None
        )
        found.append(f"{where or of['name']}@{of['digest']}")
    return found


def _mlmodel(read: Any, paths: list[str]) -> dict[str, Any]:
    """The content of the file MLmodel at the first of ``paths`` that has one; {} if none has."""
    for path in paths:
        try:
            found = yaml.safe_load(read(path))
        except (RegistryError, yaml.YAMLError):
            continue
        if isinstance(found, dict):
            return found
    return {}


def _described(mlmodel: dict[str, Any]) -> dict[str, Any]:
    signature = {}
    for side in ("inputs", "outputs"):
        given = (mlmodel.get("signature") or {}).get(side)
        columns = json.loads(given) if isinstance(given, str) else None
        if isinstance(columns, list):
            signature[side] = columns
    return {"signature": signature, "flavours": sorted(mlmodel.get("flavors") or {})}
