"""TLS and passwords of /metrics, as Prometheus's own file has them; served on a real port."""

from __future__ import annotations

import asyncio
import ssl
import urllib.error
import urllib.request
from base64 import b64encode

import bcrypt
import pytest
import trustme
from prometheus_client import CollectorRegistry, Gauge

from tidegauge.errors import StreamError
from tidegauge.stream.broker import free_port
from tidegauge.stream.health_endpoints import Listen, serve
from tidegauge.stream.web_config import WebConfig

PASSWORD = "correct horse battery staple"


def ask(tmp_path, url, requests, **config):
    """Statuses (0 where TLS is refused) of requests (page, headers, TLS of the client) to pages with this file."""
    (tmp_path / "web.yml").write_text("".join(f"{name}: {text}\n" for name, text in config.items()))
    registry, port = CollectorRegistry(), free_port()
    Gauge("something", "to see", registry=registry).set(1)

    def get(page, headers, tls):
        try:
            request = urllib.request.Request(f"{url}:{port}{page}", headers=headers)
            with urllib.request.urlopen(request, timeout=20, context=tls) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    async def run():
        server = await serve(Listen("127.0.0.1", port, tmp_path / "web.yml"), registry, lambda: True)
        try:
            return [await asyncio.to_thread(get, *request) for request in requests]
        finally:
            await server.cleanup()

    return asyncio.run(run())


def basic(name, password):
    return {"Authorization": "Basic " + b64encode(f"{name}:{password}".encode()).decode()}


def test_metrics_need_a_right_password(tmp_path):
    users = "{prometheus: " + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode() + "}"
    right = basic("prometheus", PASSWORD)
    others = ("Basic ?", "Bearer x", right["Authorization"].replace("Basic", "Bearer"))
    wrong = [{}, basic("prometheus", "wrong"), basic("eve", PASSWORD), *({"Authorization": other} for other in others)]
    for page in ("/metrics", "/healthz", "/readyz"):
        asked = [(page, headers, None) for headers in (*wrong, right, right, *wrong)]
        assert ask(tmp_path, "http://127.0.0.1", asked, basic_auth_users=users) == [401] * 6 + [200, 200] + [401] * 6


def test_metrics_over_tls_need_a_client_certificate_if_the_file_says_so(tmp_path):
    authority, stranger = trustme.CA(), trustme.CA()
    served = authority.issue_cert("127.0.0.1")
    served.cert_chain_pems[0].write_to_path(str(tmp_path / "server.crt"))
    served.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))

    def client(signed_by=None):
        tls = ssl.create_default_context()
        authority.configure_trust(tls)
        if signed_by is not None:
            signed_by.issue_cert("prometheus@example.org").configure_cert(tls)
        return tls

    clients = [client(), client(authority), client(stranger), ssl.create_default_context()]
    asked = [("/metrics", {}, one) for one in clients]
    plain = "{cert_file: server.crt, key_file: server.key}"
    assert ask(tmp_path, "https://127.0.0.1", asked, tls_server_config=plain) == [200, 200, 200, 0]
    mutual = plain[:-1] + ", client_ca_file: ca.crt, client_auth_type: RequireAndVerifyClientCert}"
    assert ask(tmp_path, "https://127.0.0.1", asked, tls_server_config=mutual) == [0, 200, 0, 0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("basic_auth_users: {a: plain}", "a: no bcrypt hash"),
        ("tls_server_config: {cert_file: none, key_file: none}", "certificates cannot be used"),
        ("http_server_config: {}", "http_server_config"),
        ("[", "web.yml"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path, text, said):
    (tmp_path / "web.yml").write_text(text)
    with pytest.raises(StreamError, match=said):
        WebConfig.read(tmp_path / "web.yml").context(tmp_path / "web.yml")
