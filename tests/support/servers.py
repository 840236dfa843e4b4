"""Real servers around tidegauge, as tests need them: Prometheus, Alertmanager, and receivers of what it sends."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.debian import program
from support.http_receiver import Answer, HttpReceiver
from tidegauge.stream.broker import free_port
from tidegauge.stream.processes import die_with_parent


def wait_for(check: Callable[[], Any], seconds: float = 60.0, what: str = "it") -> Any:
    """What ``check`` returns once it is true of it."""
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        if found := check():
            return found
        now = time.monotonic()
        assert now < deadline, f"{what} did not come to be in {seconds} s"
        # A check that takes long, such as one that reads topics, leaves the processor to what is waited for.
        time.sleep(max(0.05, 2 * (now - began)))


def ask(url: str, body: Any = None) -> Any:
    """GET, or POST of a JSON body; the JSON answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text.strip() else None


class Server(ABC):
    """A program of Debian's, on a free port of 127.0.0.1, its data in ``directory``. Use as a context manager."""

    name, package, ready = "", "", "/-/ready"

    def __init__(self, directory: Path) -> None:
        self.directory, self.port = directory, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        directory.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def arguments(self) -> list[str]:
        """Of its command line."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()

    def start(self) -> None:
        command = [program(self.name, self.package), *self.arguments()]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent(signal.SIGKILL))
        wait_for(self._is_ready, what=self.name)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log_path.read_text()[-3000:]
        try:
            with urllib.request.urlopen(self.url + self.ready, timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    @property
    def log_path(self) -> Path:
        return self.directory / f"{self.name}.log"

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(20)


class Alertmanager(Server):
    """``config``: of Alertmanager, as text. It writes what it has paged to its disk twice a second."""

    name, package = "prometheus-alertmanager", "prometheus-alertmanager"

    def __init__(self, directory: Path, config: str, web_config: str | None = None) -> None:
        super().__init__(directory)
        self.config, self._web = directory / "alertmanager.yml", directory / "web.yml" if web_config else None
        self.config.write_text(config)
        if self._web is not None:
            self._web.write_text(web_config or "")

    def arguments(self) -> list[str]:
        web = [f"--web.config.file={self._web}"] if self._web else []
        return [
            f"--config.file={self.config}", f"--storage.path={self.directory / 'data'}", "--cluster.listen-address=",
            f"--web.listen-address=127.0.0.1:{self.port}", "--data.maintenance-interval=500ms", *web,
        ]  # fmt: skip

    def wait_on_disk(self) -> None:
        """Wait until what it has paged by now is on its disk: what it writes for the second time from now on."""
        log = self.directory / "data" / "nflog"
        for _ in range(2):
            before = log.stat().st_mtime_ns if log.exists() else 0
            wait_for(lambda before=before: log.exists() and log.stat().st_mtime_ns > before, what="Alertmanager's log")

    def alerts(self) -> list[dict[str, Any]]:
        """Those that fire, as it sees them."""
        found: list[dict[str, Any]] = ask(self.url + "/api/v2/alerts")
        return found

    def silences(self) -> list[dict[str, Any]]:
        """Those that hold."""
        return [one for one in ask(self.url + "/api/v2/silences") if one["status"]["state"] == "active"]


class Prometheus(Server):
    """``config``: of Prometheus, as a structure. It takes remote write."""

    name, package = "prometheus", "prometheus"

    def __init__(self, directory: Path, config: dict[str, Any]) -> None:
        super().__init__(directory)
        self.config = directory / "prometheus.yml"
        self.config.write_text(json.dumps(config))

    def arguments(self) -> list[str]:
        return [
            f"--config.file={self.config}", f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}", "--web.enable-remote-write-receiver",
        ]  # fmt: skip

    def query(self, query: str, moment: float | None = None) -> list[dict[str, Any]]:
        """The vector of an instant query."""
        at = {} if moment is None else {"time": f"{moment:.3f}"}
        return self._ask("query", query=query, **at)

    def query_range(self, query: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        return self._ask("query_range", query=query, start=f"{start:.3f}", end=f"{end:.3f}", step=str(step))

    def _ask(self, page: str, **parameters: str) -> list[dict[str, Any]]:
        try:
            answer = ask(f"{self.url}/api/v1/{page}?{urllib.parse.urlencode(parameters)}")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result


class Receiver(HttpReceiver):
    """Keeps every JSON body that it is sent, with its path, and answers as Alertmanager's receivers and PagerDuty do."""

    def __init__(self) -> None:
        self.received: list[tuple[str, Any]] = []
        super().__init__()

    def take(self, path: str, body: bytes) -> Answer:
        self.received.append((path, json.loads(body)))
        return Answer(b'{"status": "success", "dedup_key": "k"}', 202) if "enqueue" in path else Answer(b"ok")

    def pages(self) -> list[tuple[str, str]]:
        """(status, alert name) of each alert of each webhook message, in order."""
        return [
            (alert["status"], alert["labels"]["alertname"])
            for path, body in list(self.received) if path == "/webhook"
            for alert in body["alerts"]
        ]  # fmt: skip
