"""The demo's console: a process that runs beside the workers and, if wanted, after the demo."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tidegauge.errors import TidegaugeError
from tidegauge.stream.broker import free_port
from tidegauge.stream.processes import die_with_parent, end
from tidegauge.stream.settings import Settings

PORT = 8088
"""The console's port, unless it is in use."""


@contextlib.contextmanager
def console(settings: Settings, output: Path) -> Iterator[str]:
    """Run `tidegauge console` on 127.0.0.1 and yield its address. Its audit log is written to the directory ``output``."""
    port = _port()
    command = [
        sys.executable, "-m", "tidegauge", "console", "--bootstrap", settings.bootstrap, "--port", str(port),
        "--audit-file", str(output / "console-audit.jsonl"),
    ]  # fmt: skip
    with (output / "console.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent(signal.SIGTERM))
    try:
        address = f"http://127.0.0.1:{port}/"
        _wait(address, process)
        yield address
    finally:
        end(process, 10)


def keep_running(address: str) -> None:
    """Wait until Ctrl-C."""
    print(f"the console stays at {address} until Ctrl-C", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)


def _port() -> int:
    with contextlib.suppress(OSError), socket.socket() as probe:
        probe.bind(("127.0.0.1", PORT))
        return PORT
    return free_port()


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{address}healthz", timeout=2).read()
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise TidegaugeError("the console did not start; see console.log")
        time.sleep(0.1)
