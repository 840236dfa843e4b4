"""The console of a test's application, as a process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from support.cluster import TOPICS, Cluster
from tidegauge.stream.broker import free_port


class Console:
    """One console process, and what it answers."""

    def __init__(self, cluster: Cluster) -> None:
        self.port = free_port()
        settings, log = cluster.settings, cluster.directory / "console.log"
        command = [
            sys.executable, "-m", "tidegauge", "console", "--bootstrap", settings.bootstrap, "--app-id", cluster.name,
            "--port", str(self.port), "--audit-file", str(cluster.directory / "audit.jsonl"),
        ]  # fmt: skip
        command += [part for topic in TOPICS for part in (f"--{topic}-topic", settings.topic(topic))]
        with log.open("ab") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=file)
        self.wait(lambda: self.ask("/healthz", raw=True))

    def ask(self, path: str, method: str = "GET", body: Any = None, raw: bool = False) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=20) as response:
            said = response.read()
        return said if raw else json.loads(said)

    def wait(self, said: Callable[[], Any], seconds: float = 120.0) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            try:
                found = said()
                if found:
                    return found
            except (urllib.error.URLError, ConnectionError):
                assert self._process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.3)

    def stop(self) -> int:
        self._process.terminate()
        return self._process.wait(20)
