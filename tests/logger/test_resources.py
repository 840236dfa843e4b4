"""What the logger measures of its own process, and what becomes of it in the metrics."""

import json
import os
import random
import subprocess
import sys
import time

import msgspec
import psutil
import pytest

from support.driver import SPEC, Pipeline
from support.events import START, prediction
from tidegauge.engine.stage import ALERTS, PREDICTIONS
from tidegauge.prometheus.window_samples import window_samples
from tidegauge.spec import Condition, MonitorSpec
from tidegauge_logger import Logger, resources
from tidegauge_logger.resources import Resources, cpus, memory_limit

MEMBERS = ("cpu_ratio", "memory_ratio", "memory_bytes", "gpu_ratio", "gpu_memory_ratio")


def test_memory_is_what_the_system_says(tmp_path):
    measured = Resources(tmp_path)
    measured.measure()
    own = psutil.Process().memory_info().rss
    assert measured.newest["memory_bytes"] == pytest.approx(own, rel=0.05)
    assert measured.newest["memory_ratio"] == measured.newest["memory_bytes"] / psutil.virtual_memory().total
    held = bytearray(os.urandom(1)) * (200 << 20)
    measured._measured = -1e9
    measured.measure()
    assert measured.newest["memory_bytes"] > own + 0.9 * len(held)


def test_cpu_is_the_time_used_of_the_cpus_there_are(monkeypatch, tmp_path):
    monkeypatch.setattr(resources, "SECONDS", 0.0)
    measured = Resources(tmp_path)
    measured.measure()
    assert "cpu_ratio" not in measured.newest
    began, used = time.monotonic(), time.process_time()
    while time.process_time() - used < 0.5:
        sum(range(1000))
    measured.measure()
    wanted = (time.process_time() - used) / (time.monotonic() - began) / len(os.sched_getaffinity(0))
    assert measured.newest["cpu_ratio"] == pytest.approx(wanted, rel=0.2)


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"cpu.max": "50000 100000\n", "memory.max": "1073741824\n"}, (0.5, 1 << 30)),
        ({"cpu.max": "max 100000\n", "memory.max": "max\n"}, (None, None)),
        ({"cpu/cpu.cfs_quota_us": "25000", "cpu/cpu.cfs_period_us": "100000", "memory/memory.limit_in_bytes": "4096"},
         (0.25, 4096)),
        ({"cpu/cpu.cfs_quota_us": "-1", "memory/memory.limit_in_bytes": "9223372036854771712"}, (None, None)),
    ],
)  # fmt: skip
def test_a_container_has_what_its_limits_say(tmp_path, files, wanted):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    cpu, memory = wanted
    assert cpus(tmp_path) == (len(os.sched_getaffinity(0)) if cpu is None else cpu)
    assert memory_limit(tmp_path) == memory


def test_no_gpu_is_no_member_and_no_error():
    measured = Resources()
    measured.measure()
    if not os.path.exists("/proc/driver/nvidia"):
        assert not any("gpu" in name for name in measured.newest)


def test_predictions_carry_what_was_measured_and_a_request_measures_nothing(tmp_path):
    """Kafka is away: events lie in the spool, as they will be sent."""
    log = Logger("127.0.0.1:1", model_version="m:1", spool=tmp_path, resources=True)
    log.prediction(prediction=1)
    deadline = time.monotonic() + 20
    while log._resources.newest is None and time.monotonic() < deadline:
        time.sleep(0.01)
    log.prediction(prediction=1)
    log.prediction(prediction=1, more="members")
    log.close(1.0)
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert kept.count(b'"memory_bytes":') == 2
    assert log.dropped == 0


def test_a_child_of_a_fork_measures_itself(tmp_path):
    code = (
        "import os, sys, time\n"
        "from tidegauge_logger import Logger\n"
        "log = Logger('127.0.0.1:1', model_version='m:1', resources=True)\n"
        "if os.fork() == 0:\n"
        "    held = b'x' * (300 << 20)\n"
        "    log.prediction(prediction=1)\n"
        "    while log._resources.newest is None: time.sleep(0.01)\n"
        "    print(log._resources.newest['memory_bytes'] > 300 << 20, log._resources._process.pid == os.getpid(), flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["True", "True"], done.stderr


@pytest.mark.parametrize(("text", "wanted"), [("true", True), ("0", False), (None, False)])
def test_the_environment_says_it(monkeypatch, text, wanted):
    monkeypatch.setenv("TIDEGAUGE_BOOTSTRAP", "127.0.0.1:1")
    if text is not None:
        monkeypatch.setenv("TIDEGAUGE_RESOURCES", text)
    log = Logger.from_env()
    assert (log._resources is not None) is wanted
    monkeypatch.setenv("TIDEGAUGE_RESOURCES", "perhaps")
    with pytest.raises(ValueError, match="neither true nor false"):
        Logger.from_env()


def play(rows_at_once, segments):
    """Four minutes of predictions, every third without resources; the last minute's memory is above its limit."""
    monitor = MonitorSpec("memory", "system.memory_ratio.max", "1m", Condition("above", high=0.9), min_count=20)
    pipeline = Pipeline(msgspec.structs.replace(SPEC, monitors=(monitor,)))
    rng = random.Random(3)
    said = []
    for start in range(0, 400, rows_at_once):
        values = []
        for number in range(start, min(start + rows_at_once, 400)):
            of = {name: round(rng.uniform(0, 0.8), 6) for name in MEMBERS[:3]} if number % 3 else None
            if number == 390:
                of = {"memory_ratio": 0.97, "cpu_ratio": None, "unknown": 5.0}
            said.append((number // 100, of))
            event = prediction(number, START + number * 0.6, prediction=1, score=0.5, features={"age": number % 5})
            if segments:
                event["segments"] = {"region": f"r{number % 40}"}
            if of is not None or number % 2:
                event["resources"] = of
            values.append(json.dumps(event).encode())
        pipeline.send(PREDICTIONS, values)
        pipeline.checkpoint()
    pipeline.finish()
    return pipeline, said


@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize("rows_at_once", [1, 400])
def test_records_and_alerts_say_it(rows_at_once, segments):
    """One by one predictions travel as rows, all at once as profiles; segments are many, so that those stay rows."""
    pipeline, said = play(rows_at_once, segments)
    records = sorted(
        (r for r in pipeline.records().values() if r["window"] == "1m" and not r["segment"]), key=lambda r: r["window_start"]
    )
    assert len(records) == 4
    for minute, record in enumerate(records):
        for name in MEMBERS[:3]:
            wanted = [of[name] for at, of in said if at == minute and of and of.get(name) is not None]
            found = record["system"][name]
            assert found["max"] == max(wanted)
            below = sum(value <= found["p95"] for value in wanted) / len(wanted)
            assert 0.93 <= below <= 0.98, (found, len(wanted))
            assert 0.45 <= sum(value <= found["p50"] for value in wanted) / len(wanted) <= 0.56
        assert "gpu_ratio" not in record["system"]
    fired = [alert["data"] for alert in pipeline.of(ALERTS) if alert["data"]["status"] == "firing"]
    assert [(one["labels"]["alertname"], one["value"]) for one in fired] == [("memory", 0.97)]
    assert fired[0]["annotations"]["runbook_url"].endswith("resources.md")
    samples = {(one.name, one.labels.get("quantile")): one.value for one in window_samples(records[3])}
    assert samples["tidegauge_system_memory_ratio", "1"] == 0.97
    assert samples["tidegauge_system_cpu_ratio", "0.95"] == records[3]["system"]["cpu_ratio"]["p95"]
