"""A client for MLflow's tracking server and registry: its REST API (2.0), which MLflow 2 and 3 support."""

from __future__ import annotations

import base64
import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from tidegauge.errors import RegistryError

TIMEOUT = 20.0
MAX_ANSWER = 16 << 20


def _named() -> str:
    return os.environ.get("MLFLOW_REGISTRY_URI") or os.environ.get("MLFLOW_TRACKING_URI") or ""


class MlflowServer:
    """One server. ``url``: as in ``MLFLOW_TRACKING_URI``; user, password and token come from MLflow's environment variables."""

    def __init__(self, url: str) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise RegistryError(f"{url!r} is no address of an MLflow server; set MLFLOW_TRACKING_URI=https://HOST:PORT")
        self.url = url.rstrip("/")

    @classmethod
    def from_environment(cls) -> MlflowServer:
        """The server that MLflow's own clients would use. Raises RegistryError if none is configured."""
        return cls(_named())

    @staticmethod
    def is_named() -> bool:
        """Whether the environment names a server."""
        return bool(_named())

    def run(self, run_id: str) -> dict[str, Any]:
        """A run, with the members ``info``, ``data`` (metrics, params, tags) and ``inputs``."""
        return dict(self._get("runs/get", run_id=run_id)["run"])

    def version(self, name: str, version: str) -> dict[str, Any]:
        """A version of a registered model."""
        return dict(self._get("model-versions/get", name=name, version=version)["model_version"])

    def by_alias(self, name: str, alias: str) -> dict[str, Any]:
        """The version of a registered model that an alias names."""
        return dict(self._get("registered-models/alias", name=name, alias=alias)["model_version"])

    def newest(self, name: str) -> dict[str, Any]:
        """The newest version of a registered model."""
        found = self._get("model-versions/search", filter=f"name='{name}'", max_results="1", order_by="version_number DESC")
        if not found.get("model_versions"):
            raise RegistryError(f"MLflow at {self.url} has no version of {name}")
        return dict(found["model_versions"][0])

    def move_alias(self, name: str, alias: str, version: str) -> None:
        """Make ``alias`` name another version."""
        self._ask("POST", "api/2.0/mlflow/registered-models/alias", {"name": name, "alias": alias, "version": version})

    def artifact_of_run(self, run_id: str, path: str) -> bytes:
        """A file of a run."""
        return self._raw("GET", f"get-artifact?{urllib.parse.urlencode({'path': path, 'run_uuid': run_id})}")

    def artifact_of_logged_model(self, model_id: str, path: str) -> bytes:
        """A file of a logged model, which MLflow 3 stores separately from the run that logged it."""
        asked = urllib.parse.urlencode({"artifact_file_path": path})
        return self._raw("GET", f"ajax-api/2.0/mlflow/logged-models/{urllib.parse.quote(model_id)}/artifacts/files?{asked}")

    def artifact_of_version(self, name: str, version: str, path: str) -> bytes:
        """A file of a version of a registered model."""
        asked = urllib.parse.urlencode({"path": path, "name": name, "version": version})
        return self._raw("GET", f"model-versions/get-artifact?{asked}")

    def run_page(self, experiment: str, run_id: str) -> str:
        """The address of a run's page."""
        return f"{self.url}/#/experiments/{experiment}/runs/{run_id}"

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        return self._ask("GET", f"api/2.0/mlflow/{path}?{urllib.parse.urlencode(parameters)}", None)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        raw = self._raw(method, path, None if body is None else json.dumps(body).encode())
        try:
            return dict(json.loads(raw or b"{}"))
        except ValueError as error:
            raise RegistryError(
                f"MLflow at {self.url} answered {path.partition('?')[0]} with what is no JSON: {error}"
            ) from error

    def _raw(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(
            f"{self.url}/{path}", body, {"Content-Type": "application/json", **_authorization()}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return bytes(answer.read(MAX_ANSWER))
        except urllib.error.HTTPError as error:
            raise RegistryError(f"MLflow at {self.url} refused {path.partition('?')[0]}: {_reason(error)}") from error
        except (OSError, http.client.HTTPException) as error:
            raise RegistryError(
                f"MLflow at {self.url} cannot be asked: {error}; is it up, and MLFLOW_TRACKING_URI right?"
            ) from error


def _authorization() -> dict[str, str]:
    token, user = os.environ.get("MLFLOW_TRACKING_TOKEN"), os.environ.get("MLFLOW_TRACKING_USERNAME")
    if user:
        pair = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {"Authorization": f"Bearer {token}"} if token else {}


def _reason(error: urllib.error.HTTPError) -> str:
    text = error.read(4096).decode("utf-8", "replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"
