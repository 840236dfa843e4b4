"""The middleware in real applications of FastAPI and Litestar under a real uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import threading
import time

import litestar
import pytest
import uvicorn
from fastapi import BackgroundTasks, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import StreamingResponse

from support.logged import KeptLogger
from support.servers import wait_for
from tidegauge_logger.asgi import PredictionLog

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@contextlib.contextmanager
def served(app):
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", ws="none", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started, what="uvicorn")
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)


def ask(port, path, method="POST", headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def log():
    return KeptLogger()


@pytest.fixture(scope="module")
def port(log):
    app = FastAPI()
    app.add_middleware(PredictionLog, logger=log)

    @app.post("/predict")
    def predict(request: Request):
        request.state.prediction = {"features": {"age": 41}, "prediction": 1, "score": 0.83}
        return {"request_id": request.state.request_id}

    @app.post("/crash")
    async def crash(request: Request):
        request.state.prediction = {"features": {"age": 41}}
        raise RuntimeError("out of memory")

    @app.post("/unfilled")
    def unfilled():
        raise HTTPException(503)

    @app.get("/health")
    def health():
        raise HTTPException(503)

    @app.post("/bad")
    def bad(request: Request):
        request.state.prediction = {"features": {}, "error": "the model says no"}
        raise HTTPException(422)

    @app.post("/batch")
    def batch(request: Request):
        scored = [{"features": {"age": age}, "score": age / 100} for age in (41, 23)]
        request.state.prediction = [*scored, {"request_id": "own", "score": 0.5}]

    @app.post("/scalar/{value}")
    def scalar(request: Request, value: float):
        request.state.prediction = value

    @app.post("/nothing")
    def nothing(request: Request):
        request.state.prediction = []

    @app.post("/other")
    def other():
        return "ok"

    @app.post("/stream")
    async def stream(request: Request):
        async def parts():
            yield b"a"
            await asyncio.sleep(0.1)
            request.state.prediction = {"score": 0.5}
            yield b"b"

        return StreamingResponse(parts())

    @app.post("/background")
    def background(request: Request, tasks: BackgroundTasks):
        request.state.prediction = {"score": 0.5}
        tasks.add_task(lambda: time.sleep(0.5))
        tasks.add_task(lambda: 1 / 0)

    @app.post("/endless")
    async def endless(request: Request):
        request.state.prediction = {"score": 0.5}

        async def parts():
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0.01)

        return StreamingResponse(parts())

    inner = FastAPI()
    inner.add_middleware(PredictionLog, logger=log)

    @inner.post("/predict")
    def nested(request: Request):
        request.state.prediction = {"score": 0.25}

    app.mount("/v2", inner)
    with served(app) as found:
        yield found


def test_a_prediction_is_logged_with_what_comes_by_itself(log, port):
    before = time.time()
    status, headers, body = ask(port, "/predict", headers={"X-Request-ID": "abc", "traceparent": TRACE})
    assert status == 200
    assert headers.get_all("x-request-id") == ["abc"]
    assert body == b'{"request_id":"abc"}'
    (event,) = log.taken()
    assert before <= event.pop("ts") <= time.time()
    assert 0 < event.pop("latency_ms") < 10_000
    assert event == {
        "request_id": "abc", "model_version": "churn_xgb:3", "features": {"age": 41}, "prediction": 1, "score": 0.83,
    }  # fmt: skip
    assert log.traces[-1] == TRACE


@pytest.mark.parametrize("given", [None, "x" * 300, "caf\xe9"])
def test_an_id_is_made_where_there_is_none_that_can_be_used(log, port, given):
    _, headers, _ = ask(port, "/predict", headers={"X-Request-ID": given} if given else None)
    (event,) = log.taken()
    assert headers["x-request-id"] == event["request_id"] != given
    assert len(event["request_id"]) == 36


@pytest.mark.parametrize(
    ("path", "method", "error"),
    [
        ("/crash", "POST", "RuntimeError: out of memory"), ("/unfilled", "POST", "HTTP 503"), ("/health", "GET", None),
        ("/bad", "POST", "the model says no"), ("/other", "POST", None), ("/nowhere", "POST", None),
    ],
)  # fmt: skip
def test_failures_are_logged_with_their_error(log, port, path, method, error):
    ask(port, path, method)
    events = log.taken()
    assert [event["error"] for event in events] == ([error] if error else [])


def test_only_the_paths_that_are_named_fail():
    log, app = KeptLogger(), FastAPI()
    app.add_middleware(PredictionLog, logger=log, paths=("/score",))

    @app.get("/score")
    def score():
        raise HTTPException(500)

    @app.post("/upload")
    def upload():
        raise HTTPException(500)

    with served(app) as port:
        ask(port, "/score", "GET")
        ask(port, "/upload")
    assert [event["error"] for event in log.taken()] == ["HTTP 500"]


def test_a_stream_counts_until_its_end(log, port):
    _, _, body = ask(port, "/stream")
    assert body == b"ab"
    (event,) = log.taken()
    assert event["score"] == 0.5
    assert event["latency_ms"] >= 100


def test_background_tasks_are_not_the_models(log, port):
    ask(port, "/background")
    (event,) = wait_for(log.taken)
    assert event["latency_ms"] < 500
    assert "error" not in event
    time.sleep(0.6)
    assert log.taken() == []


def test_a_client_that_goes_has_had_its_prediction(log, port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/endless")
    connection.getresponse().read(1000)
    connection.close()
    (event,) = wait_for(log.taken)
    assert event["score"] == 0.5


def test_a_sub_application_is_logged_once(log, port):
    ask(port, "/v2/predict")
    assert [event["score"] for event in log.taken()] == [0.25]


def test_a_cancelled_request_is_an_error_and_stays_cancelled():
    log = KeptLogger()
    sent = []

    async def slow(scope, receive, send):
        scope["state"]["prediction"] = {"score": 0.5}
        await asyncio.sleep(60)

    async def run():
        scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
        task = asyncio.create_task(PredictionLog(slow, log)(scope, None, sent.append))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    (event,) = log.taken()
    assert event["error"] == "CancelledError"


def test_what_is_no_request_passes_through():
    app = FastAPI()
    app.add_middleware(PredictionLog, logger=KeptLogger())

    @app.websocket("/ws")
    async def echo(socket: WebSocket):
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    async def run():
        incoming = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hello"}]
        sent = []

        async def receive():
            return incoming.pop(0)

        async def send(message):
            sent.append(message)

        scope = {
            "type": "websocket", "path": "/ws", "raw_path": b"/ws", "query_string": b"", "headers": [], "subprotocols": [],
            "scheme": "ws", "server": ("127.0.0.1", 1), "client": ("127.0.0.1", 2),
        }  # fmt: skip
        await app(scope, receive, send)
        return sent

    assert [message.get("text") for message in asyncio.run(run())] == [None, "hello", None]


def test_what_was_logged_is_sent_before_the_server_ends():
    """By the signal it was sent, so that nothing runs at exit."""

    class Flushed(KeptLogger):
        flushed = 0

        def flush(self, timeout=5.0):
            self.flushed += 1
            return super().flush(timeout)

    log = Flushed()
    app = FastAPI()
    app.add_middleware(PredictionLog, logger=log)
    with served(app):
        assert not log.flushed
    assert log.flushed == 1


def test_the_middleware_logs_requests_of_litestar():
    log = KeptLogger()

    @litestar.post("/predict")
    async def predict(request: litestar.Request) -> str:
        request.state.prediction = {"score": 0.5}
        return request.state.request_id

    @litestar.post("/crash")
    async def crash() -> None:
        raise RuntimeError

    with served(PredictionLog(litestar.Litestar([predict, crash]), log)) as port:
        _, headers, body = ask(port, "/predict")
        ask(port, "/crash")
    filled, failed = log.taken()
    assert filled["score"] == 0.5
    assert body.decode().strip('"') == headers["x-request-id"] == filled["request_id"]
    assert failed["error"] == "HTTP 500"


def test_a_batch_has_an_event_a_row(port, log):
    log.taken()
    assert ask(port, "/batch", headers={"X-Request-ID": "b1"})[0] == 200
    first, second, own = log.taken()
    assert [event["request_id"] for event in (first, second, own)] == ["b1-0", "b1-1", "own"]
    assert [event["features"] for event in (first, second)] == [{"age": 41}, {"age": 23}]
    assert first["latency_ms"] == second["latency_ms"] == own["latency_ms"] > 0
    assert ask(port, "/nothing")[0] == 200
    assert log.taken() == []


def test_what_is_no_mapping_is_the_prediction(port, log):
    log.taken()
    assert ask(port, "/scalar/2.5")[0] == 200
    assert only_prediction(log) == 2.5


def only_prediction(log):
    (event,) = log.taken()
    return event["prediction"]
