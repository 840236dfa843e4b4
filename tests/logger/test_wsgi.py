"""The middleware around real applications of Flask and Django, under a real HTTP server."""

from __future__ import annotations

import contextlib
import http.client
import threading
import wsgiref.simple_server

import flask
import pytest

from support.logged import KeptLogger
from support.servers import wait_for
from tidegauge_logger.wsgi import PredictionLog


class Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *arguments):
        pass

    def log_exception(self, *arguments):
        pass


@contextlib.contextmanager
def served(application):
    server = wsgiref.simple_server.make_server("127.0.0.1", 0, application, handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(port, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def flask_application(log):
    app = flask.Flask("service")

    @app.post("/predict")
    def predict():
        flask.request.environ["tidegauge.prediction"] = {"features": {"age": 41}, "score": 0.5}
        return flask.request.environ["tidegauge.request_id"]

    @app.post("/crash")
    def crash():
        flask.request.environ["tidegauge.prediction"] = {"features": {"age": 41}}
        raise RuntimeError("out of memory")

    @app.post("/other")
    def other():
        return "ok"

    @app.post("/stream")
    def stream():
        environ = flask.request.environ

        def parts():
            yield b"a"
            environ["tidegauge.prediction"] = {"score": 0.75}
            yield b"b"

        return flask.Response(parts())

    app.wsgi_app = PredictionLog(app.wsgi_app, log)
    return app


def django_application(log):
    import django
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse, StreamingHttpResponse
    from django.urls import path

    def predict(request):
        request.META["tidegauge.prediction"] = {"features": {"age": 41}, "score": 0.5}
        return HttpResponse(request.META["tidegauge.request_id"])

    def crash(request):
        request.META["tidegauge.prediction"] = {"features": {"age": 41}}
        raise RuntimeError("out of memory")

    def stream(request):
        def parts():
            yield b"a"
            request.META["tidegauge.prediction"] = {"score": 0.75}
            yield b"b"

        return StreamingHttpResponse(parts())

    class Urls:
        urlpatterns = (
            path("predict", predict), path("crash", crash), path("stream", stream),
            path("other", lambda request: HttpResponse("ok")),
        )  # fmt: skip

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="x", ROOT_URLCONF=Urls, LOGGING_CONFIG=None)
        django.setup()
    return PredictionLog(get_wsgi_application(), log)


@pytest.mark.parametrize("make", [flask_application, django_application])
def test_requests_are_logged(make):
    log = KeptLogger()
    with served(make(log)) as port:
        status, headers, body = ask(port, "/predict", **{"X-Request-ID": "abc", "traceparent": "t"})
        assert (status, headers.get_all("x-request-id"), body) == (200, ["abc"], b"abc")
        # The server has sent the response before it asks for what follows it.
        (event,) = wait_for(log.taken)
        assert event.pop("ts") > 0
        assert 0 < event.pop("latency_ms") < 10_000
        assert event == {"request_id": "abc", "model_version": "churn_xgb:3", "features": {"age": 41}, "score": 0.5}
        assert log.traces == ["t"]

        assert ask(port, "/crash")[0] == 500
        (event,) = wait_for(log.taken)
        assert event["error"] == "HTTP 500"
        assert event["features"] == {"age": 41}

        assert ask(port, "/stream")[2] == b"ab"
        assert [event["score"] for event in wait_for(log.taken)] == [0.75]

        assert ask(port, "/other")[0] == 200
        assert log.taken() == []
    assert log.dropped == 0


def test_an_exception_that_reaches_the_server_is_an_error():
    log = KeptLogger()

    def broken(environ, start_response):
        raise RuntimeError("out of memory")

    def breaks_later(environ, start_response):
        start_response("200 OK", [])
        yield b"a"
        raise RuntimeError("later")

    for application, error in ((broken, "RuntimeError: out of memory"), (breaks_later, "RuntimeError: later")):
        with served(PredictionLog(application, log)) as port, contextlib.suppress(http.client.HTTPException):
            ask(port, "/predict")
        (event,) = wait_for(log.taken)
        assert event["error"] == error


def test_a_client_that_goes_has_had_its_prediction():
    log = KeptLogger()

    def endless(environ, start_response):
        environ["tidegauge.prediction"] = {"score": 0.5}
        start_response("200 OK", [])
        while True:
            yield b"x" * 10_000

    started = []
    body = PredictionLog(endless, log)({"REQUEST_METHOD": "POST"}, lambda status, headers: started.append(status))
    parts = iter(body)
    next(parts)
    parts.close()
    body.close()
    (event,) = log.taken()
    assert "error" not in event
    assert started == ["200 OK"]
