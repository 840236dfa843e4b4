"""The tutorial as it stands: what its page says to type is typed, in order, on a real broker, and does what the page says."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from support.deployment import ROOT
from tidegauge.stream.broker import free_port

PAGE = (ROOT / "docs/tutorial.md").read_text()
PORTS = ("9092", "9464", "8088", "8000")
"""The ports that the page names; others are taken here, as something may listen there."""


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    script = "".join(re.findall(r"^```sh\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL))
    for port in PORTS:
        assert port in script
        script = script.replace(f":{port}", f":{(own := free_port())}").replace(f"port {port}", f"port {own}")
    script = script.replace("/tmp/tidegauge-tutorial", str(tmp_path))
    # The commands of this checkout, as an installation of it would have them on the path.
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, module in (("tidegauge", "tidegauge"), ("uvicorn", "uvicorn")):
        (commands / name).write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
        (commands / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{commands}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "app")}
    shell = subprocess.Popen(
        ["bash", "-e", "-c", script], cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    try:
        said, _ = shell.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        said = "the page is not done after four minutes"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
    assert shell.returncode == 0, (said[-3000:], {log.name: log.read_text()[-1500:] for log in tmp_path.glob("*.log")})
    assert re.search(r"FIRING +critical plans \[plan\]", said), said[-3000:]
    (report,) = (tmp_path / "reports").glob("**/*.json")
    assert '"alertname":"plans"' in said
    assert "plans" in json.dumps(json.loads(report.read_text()))
    assert len(list((tmp_path / "reports").glob("**/*.html"))) == 1


def test_every_command_of_the_page_is_run() -> None:
    blocks = re.findall(r"^```(\w*)\n", PAGE, flags=re.MULTILINE)
    opened = blocks[::2]
    assert opened[0] == ""
    assert set(opened[1:]) == {"sh"}
