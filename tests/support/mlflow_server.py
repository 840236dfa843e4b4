"""A real MLflow server, from an environment of its own, and what a training job logs there."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.deployment import ROOT
from support.servers import ask, wait_for
from tidegauge.stream.broker import free_port
from tidegauge.stream.processes import die_with_parent

MLFLOW = ROOT / ".venv-mlflow"
_LOG = """
import sys, mlflow, pandas
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression
mlflow.set_tracking_uri(sys.argv[1])
frame = pandas.DataFrame({"age": [20.0, 30, 40, 50] * 10, "visits": [1, 2, 3, 4] * 10, "plan": ["a", "b"] * 20})
label = [0, 1] * 20
for depth in (4, 6):
    with mlflow.start_run(run_name="churn training") as run:
        mlflow.log_params({"depth": depth})
        mlflow.log_metric("val_roc_auc", 0.87)
        mlflow.set_tags({"team": "growth", "mlflow.source.git.commit": "9fceb02d"})
        data = mlflow.data.from_pandas(frame, source="s3://data/churn.parquet", name="churn-train")
        mlflow.log_input(data, context="training")
        model = LogisticRegression().fit(frame[["age", "visits"]], label)
        made = mlflow.sklearn.log_model(
            model, name="model", signature=infer_signature(frame, label), registered_model_name="churn"
        )
        print(run.info.run_id)
client = mlflow.MlflowClient()
client.set_registered_model_alias("churn", "champion", "2")
"""


class MlflowServer:
    """On a free port of 127.0.0.1, with two runs and two versions of the model ``churn``, of which 2 is the champion."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._command = [
            str(MLFLOW / "bin/python"), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{directory}/mlflow.db", "--artifacts-destination", str(directory / "artifacts"),
        ]  # fmt: skip
        self._environment = os.environ | {"MLFLOW_TRACKING_URI": self.url, "GIT_PYTHON_REFRESH": "quiet",
                                          "DO_NOT_TRACK": "1", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                                          "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
                                          "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
                                          "MLFLOW_WEBHOOK_CACHE_TTL": "0"}  # fmt: skip
        self._environment.pop("PYTHONPATH", None)
        self._process: subprocess.Popen[bytes] | None = None
        self.runs: list[str] = []

    def __enter__(self) -> Self:
        if not (MLFLOW / ".ready").exists():
            subprocess.run(["make", ".venv-mlflow/.ready"], cwd=ROOT, check=True, timeout=900)
        with (self.directory / "mlflow.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, start_new_session=True, cwd=self.directory,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )  # fmt: skip
        wait_for(self._answers, 180, "MLflow")
        done = subprocess.run(
            [str(MLFLOW / "bin/python"), "-c", _LOG, self.url], env=self._environment, capture_output=True, text=True,
            timeout=280, cwd=self.directory,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
        self.runs = [line for line in done.stdout.split() if len(line) == 32]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(30)

    def champion(self) -> str:
        """The version that the alias names, as MLflow itself says."""
        answer = ask(f"{self.url}/api/2.0/mlflow/registered-models/alias?name=churn&alias=champion")
        return str(answer["model_version"]["version"])

    def _answers(self) -> Any:
        assert self._process is not None
        assert self._process.poll() is None, (self.directory / "mlflow.log").read_text()[-4000:]
        try:
            return ask(f"{self.url}/api/2.0/mlflow/experiments/search?max_results=1")
        except OSError:
            return None
