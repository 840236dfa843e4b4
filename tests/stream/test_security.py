"""How clients prove who they are: settings, certificates that are renewed, tokens."""

from __future__ import annotations

import asyncio
import base64
import ssl
import urllib.parse

import pytest
import trustme

from support.secured import PASSWORD, USER, TokenServer
from tidegauge.errors import StreamError
from tidegauge.stream.security import ClientCredentials, Tokens, client_security, security_from_environment
from tidegauge.stream.settings import Settings

LOGIN = {"sasl.username": "u", "sasl.password": "p"}


@pytest.mark.parametrize(
    ("security", "said"),
    [
        ({"security.protocol": "TLS"}, "TLS' is not one of PLAINTEXT, SSL"),
        ({"security.protocol": "SASL_SSL"}, "SASL needs SASL_SSL"),
        (LOGIN, "do not go together"),
        ({"security.protocol": "SASL_SSL", "sasl.mechanism": "GSSAPI", **LOGIN}, "GSSAPI' is not one of PLAIN, SCRAM"),
        ({"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.username": "u"}, "PLAIN needs sasl.password"),
        ({"security.protocol": "SASL_SSL", "sasl.oauthbearer.scope": "s", **LOGIN}, "does not take sasl.oauthbearer.scope"),
        (
            {"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER", "sasl.oauthbearer.client.id": "c"},
            "needs sasl.oauthbearer.token.endpoint.url, sasl.oauthbearer.client.secret",
        ),
        ({"security.protocol": "SASL_SSL", "sasl.mechanism": "AWS_MSK_IAM", **LOGIN}, "needs sasl.aws.region"),
        ({"security.protocol": "SSL", "ssl.truststore": "x"}, "unknown security setting ssl.truststore"),
        ({"security.protocol": "SSL", "ssl.cafile": "/nowhere/ca.pem"}, "TLS cannot be set up with ssl.cafile /nowhere/ca.pem"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(security, said):
    with pytest.raises(StreamError, match=said):
        client_security(security)


def test_security_by_the_usual_names():
    given = {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "u", "sasl.password": "p"}
    client = Settings(security=given).client()
    assert client["sasl_plain_username"] == "u"
    assert client["ssl_context"] is not None


def test_secrets_come_from_files_too(tmp_path, monkeypatch):
    (tmp_path / "password").write_text("from-the-file\n")
    monkeypatch.setenv("TIDEGAUGE_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("TIDEGAUGE_SASL_USERNAME", "u")
    monkeypatch.setenv("TIDEGAUGE_SASL_PASSWORD_FILE", str(tmp_path / "password"))
    assert client_security(security_from_environment())["sasl_plain_password"] == "from-the-file"
    monkeypatch.setenv("TIDEGAUGE_SASL_PASSWORD", "twice")
    with pytest.raises(StreamError, match="TIDEGAUGE_SASL_PASSWORD and TIDEGAUGE_SASL_PASSWORD_FILE say the same"):
        security_from_environment()
    monkeypatch.delenv("TIDEGAUGE_SASL_PASSWORD")
    monkeypatch.setenv("TIDEGAUGE_SASL_PASSWORD_FILE", str(tmp_path / "none"))
    with pytest.raises(StreamError, match="TIDEGAUGE_SASL_PASSWORD_FILE"):
        security_from_environment()


def test_settings_do_not_show_their_secrets():
    shown = repr(Settings(security={"security.protocol": "SASL_SSL", "sasl.username": "u", "sasl.password": PASSWORD}))
    assert "sasl.password" in shown
    assert PASSWORD not in shown


def test_a_certificate_that_was_renewed_on_disk_is_taken_up(tmp_path):
    """Without a new context, as a worker that runs for a year has but one."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    paths = tmp_path / "client.pem", tmp_path / "client.key"

    def renew(name):
        issued = authority.issue_cert(f"{name}@example.org", common_name=name)
        paths[0].write_bytes(issued.cert_chain_pems[0].bytes())
        paths[1].write_bytes(issued.private_key_pem.bytes())

    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_context)
    authority.configure_trust(server_context)
    server_context.verify_mode = ssl.CERT_REQUIRED

    async def run():
        async def answer(reader, writer):
            subject = writer.get_extra_info("ssl_object").getpeercert()["subject"]
            writer.write(dict(pair for part in subject for pair in part)["commonName"].encode())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "localhost", 0, ssl=server_context)
        port = server.sockets[0].getsockname()[1]

        async def who():
            reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
            name = (await reader.read()).decode()
            writer.close()
            return name

        renew("first")
        names = ("cafile", "certfile", "keyfile")
        files = dict(zip((f"ssl.{name}" for name in names), map(str, (tmp_path / "ca.pem", *paths)), strict=True))
        context = client_security({"security.protocol": "SSL", **files})["ssl_context"]
        seen = [await who()]
        renew("second")
        seen.append(await who())
        paths[0].write_text("half of a")
        seen.append(await who())
        server.close()
        return seen

    assert asyncio.run(run()) == ["first", "second", "second"]


def test_a_token_is_used_until_it_is_nearly_spent():
    server = TokenServer(seconds=3600)
    try:

        async def ask(secret):
            provider = Tokens(ClientCredentials(f"{server.url}/token", USER, secret, None).fetch)
            return [await provider.token() for _ in range(3)]

        assert len(set(asyncio.run(ask(PASSWORD)))) == 1
        assert server.given == 1
        with pytest.raises(StreamError, match=f"{server.url}/token gives no token: HTTP Error 401"):
            asyncio.run(ask("wrong"))
    finally:
        server.close()


def test_a_token_for_msk_is_a_signed_request(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    security = {"security.protocol": "SASL_SSL", "sasl.mechanism": "AWS_MSK_IAM", "sasl.aws.region": "eu-west-1"}
    arguments = client_security(security)
    assert arguments["sasl_mechanism"] == "OAUTHBEARER"
    token = asyncio.run(arguments["sasl_oauth_token_provider"].token())
    url = urllib.parse.urlsplit(base64.urlsafe_b64decode(token + "==").decode())
    said = urllib.parse.parse_qs(url.query)
    assert url.netloc == "kafka.eu-west-1.amazonaws.com"
    assert said["Action"] == ["kafka-cluster:Connect"]
    assert said["X-Amz-Credential"][0].startswith("AKIDEXAMPLE/")
    assert "X-Amz-Signature" in said
