"""The logger in gunicorn, whose workers are forks of a process that has loaded the service, and its thread with it."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import threading

import pytest

from support.cluster import Cluster
from support.servers import wait_for
from support.topics import made, read
from tidegauge.models.registry import ModelRecord
from tidegauge.spec import ModelSpec
from tidegauge.stream.broker import free_port
from tidegauge.stream.processes import die_with_parent
from tidegauge_logger.spool import Segment

CLIENTS = 4
FLASK = """
import os
import flask
from tidegauge_logger import Logger
from tidegauge_logger.wsgi import PredictionLog
log = Logger.from_env()
log.prediction(request_id="preloaded-flask", score=0.5)
app = flask.Flask("service")
app.wsgi_app = PredictionLog(app.wsgi_app, log)

@app.post("/predict")
def predict():
    flask.request.environ["tidegauge.prediction"] = {"features": {"age": 41}, "score": 0.5}
    return str(os.getpid())
"""
FASTAPI = """
import os
from fastapi import FastAPI, Request
from tidegauge_logger import Logger
from tidegauge_logger.asgi import PredictionLog
log = Logger.from_env()
log.prediction(request_id="preloaded-fastapi", score=0.5)
app = FastAPI()
app.add_middleware(PredictionLog, logger=log)

@app.post("/predict")
async def predict(request: Request) -> int:
    request.state.prediction = {"features": {"age": 41}, "score": 0.5}
    return os.getpid()
"""


class Gunicorn:
    """Two workers of a service. ``answered``: the process that answered each request, by its id."""

    def __init__(self, directory, text, topics, bootstrap, *flags):
        (directory / "service.py").write_text(text)
        self.spool, self.log, self.port = directory / "spool", directory / "gunicorn.log", free_port()
        environment = os.environ | {
            "TIDEGAUGE_BOOTSTRAP": bootstrap, "TIDEGAUGE_SPOOL": str(self.spool), "TIDEGAUGE_MODEL_VERSION": "churn:3",
            "TIDEGAUGE_PREDICTIONS_TOPIC": topics["predictions"], "TIDEGAUGE_LABELS_TOPIC": topics["labels"],
        }  # fmt: skip
        command = [
            sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--bind", f"127.0.0.1:{self.port}",
            "--no-control-socket", *flags, "service:app",
        ]  # fmt: skip
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                command, cwd=directory, env=environment, stdout=out, stderr=out, preexec_fn=die_with_parent(signal.SIGTERM)
            )
        self.answered = {}
        wait_for(lambda: self.ask(), 60, "gunicorn")

    def ask(self):
        """One request; the process that answered it, None if none did."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("POST", "/predict")
            answer = connection.getresponse()
            process = int(answer.read())
            self.answered[answer.headers["x-request-id"]] = process
            return process

    def ask_often(self, count, between=None):
        """Requests of several clients at once; in the midst of them, ``between``."""
        before, barrier = set(self.answered), threading.Barrier(CLIENTS + 1)

        def client():
            for number in range(count):
                if number == count // 2:
                    barrier.wait()
                self.ask()

        threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        barrier.wait()
        if between is not None:
            between()
        for thread in threads:
            thread.join()
        return {one: process for one, process in self.answered.items() if one not in before}

    def spooled(self, ids):
        held = b"".join(path.read_bytes() for path in self.spool.glob("*.events"))
        return all(one.encode() in held for one in ids)


@contextlib.contextmanager
def standing_still(broker):
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(broker.pid, signal.SIGCONT)


def killed(service, broker):
    """Ask both workers while Kafka stands still, kill one, go on and end the service; what was at risk of being lost."""
    wait_for(lambda: len({service.ask() for _ in range(20)}) == 2, what="both workers")
    service.ask_often(20)
    with standing_still(broker):
        kept = service.ask_often(20)
        wait_for(lambda: service.spooled(kept), what="the spool")
        victim = next(iter(kept.values()))
        meanwhile = service.ask_often(20, lambda: os.kill(victim, signal.SIGKILL))
    service.ask_often(20)
    wait_for(lambda: len({service.ask() for _ in range(20)} - {victim}) == 2, what="another worker")
    service.process.terminate()
    assert service.process.wait(60) == 0, service.log.read_text()
    return {one for one, process in meanwhile.items() if process == victim}


@pytest.mark.timeout(240)
def test_workers_of_a_preloaded_service_are_killed_and_only_what_the_spool_had_not_taken_is_lost(broker, tmp_path):
    cluster = Cluster(broker, "gunicorn", tmp_path)
    topics = {name: cluster.settings.topic(name) for name in ("predictions", "labels")}
    made(broker, *topics.values())
    for name, text, kind in (("flask", FLASK, "sync"), ("fastapi", FASTAPI, "uvicorn.workers.UvicornWorker")):
        (tmp_path / name).mkdir()
        service = Gunicorn(tmp_path / name, text, topics, broker.bootstrap, "--worker-class", kind)
        try:
            at_risk = killed(service, broker)
        finally:
            service.process.kill()
            service.process.wait()
        found = {record.key.decode() for record in read(broker, topics["predictions"])}
        assert set(service.answered) - found <= at_risk
        assert f"preloaded-{name}" in found
        assert "Traceback" not in service.log.read_text()
        assert [path for path in service.spool.glob("*.events") if Segment(path).read()] == [], "all was sent"
    # What Kafka had taken of a killed worker without confirming it is there twice.
    count = len({record.key for record in read(broker, topics["predictions"])})
    cluster.apply(ModelRecord("churn", ModelSpec("churn", task="binary", windows=("10s",), grace=1.0, publish_interval=1.0)))
    cluster.start()
    try:
        records = cluster.wait_for_predictions(count, "10s")
    finally:
        cluster.stop()
    assert sum(r["predictions"] for r in records.values() if "kind" not in r and not r["segment"]) == count
