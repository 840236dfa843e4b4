"""Every command that is told to end is gone in time with all that it started: also where the broker does not answer, and its
children also where it was killed."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from support.cluster import Cluster
from support.servers import wait_for
from support.traffic import RECORD, traffic
from tidegauge.stream.broker import Broker, free_port
from tidegauge.stream.processes import die_with_parent

GONE_WITHIN = 20.0
BOTH = [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)]
SPEC = "model: churn\ntask: binary\nwindows: [1m]\n"

SERVERS = {
    "worker": ["worker", "--state-dir", "state", "--metrics-port", "{port}"],
    "worker-publishing": ["worker", "--models", "models", "--state-dir", "state", "--metrics-port", "{port}"],
    "console": ["console", "--port", "{port}"],
    "notify": ["notify", "--metrics-port", "{port}"],
    "history": ["history", "--metrics-port", "{port}"],
    "act": ["act", "--metrics-port", "{port}"],
    "ingest": ["ingest", "--listen", "127.0.0.1:{port}"],
}
"""Commands that run until they are told to end."""
OTHERS = {
    "produce": ["produce", "--predictions", "events.jsonl"],
    "report": ["report", "--model", "churn", "--from", "2025-09-27", "--to", "2025-09-28"],
    "card": ["card", "churn"],
    "alerts": ["alerts", "--follow"],
    "incidents": ["incidents"],
    "apply": ["models", "apply", "models"],
    "list": ["models", "list"],
    "mark": ["mark", "a release", "--model", "churn"],
    "forget": ["forget", "r1", "--yes"],
    "rollback": ["rollback", "churn", "--to", "churn:1", "--yes"],
    "doctor": ["doctor"],
    "rebuild": ["state", "rebuild", "--yes"],
    "repartition": ["repartition", "--partitions", "8", "--yes"],
}
"""Commands that end by themselves, if the broker answers."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A working directory with what the commands read."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models/churn.yaml").write_text(SPEC)
    (tmp_path / "events.jsonl").write_bytes(b"".join(value + b"\n" for _, value in traffic(1, 10)[0]))
    return tmp_path


@contextmanager
def started(directory: Path, name: str, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command of tidegauge in ``directory``, with its output in NAME.log there."""
    with (directory / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tidegauge", *arguments], cwd=directory, env=os.environ | environment,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent(signal.SIGTERM),
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """A process and all that it started, and these."""
    if process.poll() is not None:
        return []
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, GONE_WITHIN)
    assert not alive, [process.cmdline() for process in alive]


@pytest.mark.parametrize("number", BOTH)
@pytest.mark.parametrize("group", [SERVERS, OTHERS], ids=["servers", "others"])
def test_whoever_waits_for_a_broker_that_never_answers(
    directory: Path, group: dict[str, list[str]], number: signal.Signals
) -> None:
    with ExitStack() as stack:
        silent, runs = {}, {}
        for name, arguments in group.items():
            silent[name] = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            command = [argument.format(port=free_port()) for argument in arguments]
            address = f"127.0.0.1:{silent[name].getsockname()[1]}"
            runs[name] = stack.enter_context(started(directory, name, *command, TIDEGAUGE_BOOTSTRAP=address))
        for name, listening in silent.items():
            # A command is under way once it has connected; nothing is ever said to it.
            listening.settimeout(120)
            stack.enter_context(listening.accept()[0])
            assert runs[name].poll() is None
        end(runs, number)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[Broker, Cluster]]:
    """An application on a broker of its own, which tests may stop."""
    with Broker() as own:
        made = Cluster(own, f"ends-{random.randrange(10**6)}", tmp_path)
        made.apply(RECORD)
        yield own, made
        made.stop()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_whoever_is_at_work_when_the_broker_answers_no_more(cluster: tuple[Broker, Cluster], directory: Path) -> None:
    broker, of = cluster
    topics = {f"TIDEGAUGE_{name.upper().replace('-', '_')}_TOPIC": topic for name, topic in of.settings.topics.items()}
    environment = topics | {"TIDEGAUGE_BOOTSTRAP": of.settings.bootstrap, "TIDEGAUGE_APP_ID": of.name}
    others = {"alerts": ["alerts", "--follow"], "produce": ["produce", "--predictions", "events.jsonl", "--rate", "1"]}
    with ExitStack() as stack:
        runs, ports = {}, {}
        for name, arguments in (SERVERS | others).items():
            ports[name] = free_port()
            command = [argument.format(port=ports[name]) for argument in arguments]
            runs[name] = stack.enter_context(started(directory, name, *command, **environment))
        for name in SERVERS:
            wait_for(lambda name=name: healthy(ports[name]), 120, name)
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            end(runs, signal.SIGTERM)
        finally:
            os.kill(broker.pid, signal.SIGCONT)


def healthy(port: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def end(runs: dict[str, subprocess.Popen[bytes]], number: signal.Signals) -> None:
    """Send a signal to processes, and see that they and all that they started are gone."""
    asked = [member for process in runs.values() for member in family(process)]
    for process in runs.values():
        process.send_signal(number)
    assert_gone(asked)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.long)])
def test_a_broker_ends_with_its_command(directory: Path, number: signal.Signals) -> None:
    port = free_port()
    with started(directory, "broker", "broker", "--port", str(port), "--data", "kafka") as process:
        wait_for(lambda: "listens on" in (directory / "broker.log").read_text(), 120)
        assert len(family(process)) == 2
        end({"broker": process}, number)


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.long), signal.SIGKILL])
def test_a_broker_ends_with_its_command_while_it_starts(directory: Path, number: signal.Signals) -> None:
    with started(directory, "broker", "broker", "--port", str(free_port()), "--data", "kafka") as process:
        wait_for(lambda: len(family(process)) == 2, 120)
        end({"broker": process}, number)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_demo_ends_with_its_broker_its_workers_and_its_console(directory: Path, number: signal.Signals) -> None:
    with started(directory, "demo", "demo", "--days", "100", "--workers", "2") as process:
        wait_for(lambda: "lag" in (directory / "demo.log").read_text(), 600, "the demo")
        # Itself, a broker, a supervisor with two workers, and a console.
        assert len(family(process)) == 6
        end({"demo": process}, number)


@pytest.mark.parametrize("number", BOTH)
def test_a_replay_that_waits_for_its_input(directory: Path, number: signal.Signals) -> None:
    pipe = directory / "predictions.jsonl"
    os.mkfifo(pipe)
    command = ("replay", "--models", "models", "--predictions", str(pipe), "--output", "output")
    with started(directory, "replay", *command) as process, pipe.open("wb") as events:
        events.write((directory / "events.jsonl").read_bytes())
        events.flush()
        end({"replay": process}, number)
