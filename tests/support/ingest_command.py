"""`tidegauge ingest` as a user starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from support.servers import wait_for
from tidegauge.stream.broker import free_port
from tidegauge.stream.processes import die_with_parent


class Ingest:
    """The command, with its log beside the cluster's. Use as a context manager."""

    def __init__(self, cluster, *flags, **environment):
        self._environment = os.environ | environment
        self.port = free_port()
        self.log = cluster.directory / f"ingest-{self.port}.log"
        settings = cluster.settings
        topics = (flag for name in ("predictions", "labels", "models", "dead-letters", "metrics", "alerts", "incidents")
                  for flag in (f"--{name}-topic", settings.topic(name)))  # fmt: skip
        self.command = [
            sys.executable, "-m", "tidegauge", "ingest", "--bootstrap", settings.bootstrap, "--app-id",
            settings.app_id, *topics, "--listen", f"127.0.0.1:{self.port}", *map(str, flags),
        ]  # fmt: skip

    def __enter__(self):
        return self.start()

    def __exit__(self, *error):
        self.kill()

    def start(self):
        self.launch()
        wait_for(lambda: self.process.poll() is not None or self.ask("/readyz")[0] == 200, 90, f"readiness; {self.log}")
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        return self

    def launch(self):
        """Start it, whatever comes of that."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, env=self._environment, preexec_fn=die_with_parent(signal.SIGTERM)
            )

    def kill(self):
        self.process.kill()
        self.process.wait()

    def ask(self, path, headers=None, body=None):
        """Status and text."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, headers or {})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def number(self, metric, **labels):
        for family in text_string_to_metric_families(self.ask("/metrics")[1]):
            for sample in family.samples:
                if (sample.name, sample.labels) == (metric, labels):
                    return sample.value
        return 0.0
