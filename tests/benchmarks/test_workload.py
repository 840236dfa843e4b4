"""What all benchmarks that start a program rest on: one that ends is not waited for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from tidegauge.stream.broker import free_port
from tidegauge.stream.settings import Settings
from workload import Program, ProgramEnded, Worker


def test_a_program_that_ends_is_reported_with_its_status_and_log() -> None:
    program = Program(free_port(), "worker", "--no-such-option")
    try:
        with pytest.raises(ProgramEnded, match=r"(?s)status 2; its log:\n.*--no-such-option"):
            program.wait_until_ready()
        with pytest.raises(ProgramEnded, match="status 2"):
            program.require_running()
    finally:
        program.stop()


def test_a_metric_of_a_worker_that_was_killed_is_not_waited_for(tmp_path: Path) -> None:
    worker = Worker(Settings(bootstrap=f"127.0.0.1:{free_port()}"), tmp_path)
    try:
        worker.require_running()
        worker.process.kill()
        with pytest.raises(ProgramEnded, match="status -9"):
            worker.wait_for("tidegauge_joined_total", 1)
    finally:
        worker.stop()
