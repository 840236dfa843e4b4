"""The commands that hand topics on, as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request

from support.cluster import Cluster
from support.servers import wait_for
from tidegauge.stream.broker import free_port


class Bridge:
    """The command ``name`` on the topics of ``cluster``, with its log beside the cluster's. Use as a context manager."""

    def __init__(self, cluster: Cluster, name: str, *flags: str, **environment: str) -> None:
        settings = cluster.settings
        self.port = free_port()
        self.log = cluster.directory / f"{name}-{self.port}.log"
        self._environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        self._command = [
            sys.executable, "-m", "tidegauge", name, "--bootstrap", settings.bootstrap, "--app-id", settings.app_id,
            "--alerts-topic", settings.topic("alerts"), "--metrics-topic", settings.topic("metrics"),
            "--models-topic", settings.topic("models"),
            "--metrics-port", str(self.port), *flags,
        ]  # fmt: skip

    def __enter__(self) -> Bridge:
        return self if self.process is not None else self.start()

    def __exit__(self, *error: object) -> None:
        self.kill()

    def start(self) -> Bridge:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, env=os.environ | self._environment, stdout=log, stderr=log)
        return self

    def get(self, page: str) -> str:
        """A page of it; "" if it does not answer, or not with 200."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{page}", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    def number(self, metric: str) -> float:
        """One value of its /metrics, by name and labels; 0 if it is not there."""
        lines = (line.rpartition(" ") for line in self.get("/metrics").splitlines())
        return next((float(value) for name, _, value in lines if name == metric), 0.0)

    def wait_ready(self) -> Bridge:
        wait_for(lambda: self.get("/readyz"), 60, f"readiness; {self.log}")
        return self

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(15)
