"""Who gets in, what is refused, and what the audit says of it."""

from __future__ import annotations

import json
import time
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from support.serving import Running, fed, outputs, running
from tidegauge.cli.main import main
from tidegauge.console.access import DECIDE, LOOK, Access, Proxy, is_loopback, networks, read_tokens
from tidegauge.console.guard import AUDITING
from tidegauge.console.view import View
from tidegauge.errors import AccessError, StreamError

SCHEMAS = Path(__file__).parents[2] / "schemas"
TOKEN = "0123456789abcdef-secret"
SAID = outputs()
SILENCE = {"matchers": {"model": "churn"}, "duration": "1h"}


@pytest.fixture(scope="module")
def guarded():
    with running(fed(View(), SAID), Access("0.0.0.0", {TOKEN: DECIDE})) as console:
        yield console


@pytest.fixture(scope="module")
def local():
    with running(fed(View(), SAID), Access("127.0.0.1", names=frozenset({"desk.example"}))) as console:
        yield console


@pytest.fixture(scope="module")
def proxied():
    access = Access("0.0.0.0", None, Proxy("X-Forwarded-User", networks("127.0.0.0/8")))
    with running(fed(View(), SAID), access) as console:
        yield console


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "console.example", ""])
def test_the_console_does_not_start_open_to_others(host: str) -> None:
    with pytest.raises(AccessError, match="--token-file"):
        Access(host)


def test_the_command_refuses_with_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["console", "--host", "0.0.0.0", "--replay", "/nowhere"]) == 2
    assert "open to everyone" in capsys.readouterr().err


def test_half_a_proxy_is_refused() -> None:
    with pytest.raises(AccessError, match="--trusted-proxy"):
        Proxy("X-User", ())
    with pytest.raises(AccessError, match="--identity-header"):
        Proxy(None, networks("10.0.0.1"))
    with pytest.raises(AccessError, match=r"10\.0\.0\.300"):
        networks("10.0.0.300")


@pytest.mark.parametrize(
    "text", ["", "short", "with a space in it, long enough", "ünïcödé-long-enough-token", "two\nlines-of-token-text"]
)
def test_weak_tokens_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    with pytest.raises(AccessError):
        read_tokens(file)
    with pytest.raises(AccessError, match="cannot be read"):
        read_tokens(tmp_path / "none")


def test_loopback_has_many_names() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "192.168.0.1", "localhost.example", "::")))


@pytest.mark.parametrize("path", ["/api/v1/models", "/api/v1/alerts", "/api/v1/stream", "/api/v1/events", "/api/v1/silences"])
@pytest.mark.parametrize(
    "authorization", [None, "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"]
)
def test_nothing_is_told_without_the_token(guarded: Running, path: str, authorization: str | None) -> None:
    status, headers, said = guarded.ask(path, headers={} if authorization is None else {"Authorization": authorization})
    assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "churn" not in json.dumps(said)


def test_the_token_lets_in(guarded: Running) -> None:
    status, _, said = guarded.ask("/api/v1/models", headers={"Authorization": f"Bearer {TOKEN}"})
    assert status == 200
    assert said["models"]


def signed_in(console: Running) -> str:
    status, headers, _ = console.ask("/api/v1/session", "POST", {"token": TOKEN})
    assert status == 200
    cookie = SimpleCookie(headers["Set-Cookie"])["tidegauge_session"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert TOKEN not in headers["Set-Cookie"]
    return f"tidegauge_session={cookie.value}"


def test_signing_in_gives_a_cookie(guarded: Running) -> None:
    cookie = signed_in(guarded)
    assert guarded.ask("/api/v1/models", headers={"Cookie": cookie})[0] == 200
    assert guarded.ask("/api/v1/session", headers={"Cookie": cookie})[2]["method"] == "session"
    status, headers, _ = guarded.ask("/api/v1/session", "DELETE", headers={"Cookie": cookie})
    assert status == 200
    assert "Max-Age=0" in headers["Set-Cookie"]
    assert guarded.ask("/api/v1/session", "POST", {"token": "wrong"})[0] == 401


def test_cookies_end_and_cannot_be_made_up() -> None:
    access, other = Access("0.0.0.0", {TOKEN: DECIDE}), Access("0.0.0.0", {TOKEN + "2": DECIDE})
    now = time.time()
    value = access.session("silence", now)

    def let_in(of: Access, cookie: str, at: float) -> bool:
        return of.actor({}, {"tidegauge_session": cookie}, None, at) is not None

    assert let_in(access, value, now)
    assert not let_in(access, value, now + 13 * 3600)
    assert not let_in(other, value, now)
    until, _, proof = value.partition(".")
    assert not let_in(access, f"{int(until.partition('-')[0]) + 1}-silence.{proof}", now)
    assert not let_in(access, f"{until.partition('-')[0]}-decide.{proof}", now), "a role cannot be made up"
    for made_up in ("", ".", until, f"{until}.", "²³." + proof, "x" * 10_000):
        assert not let_in(access, made_up, now)
    assert let_in(Access("0.0.0.0", {TOKEN: DECIDE}), value, now)


def test_a_proxy_names_the_person_only_from_its_own_address(proxied: Running) -> None:
    assert proxied.ask("/api/v1/models")[0] == 401
    status, _, said = proxied.ask("/api/v1/session", headers={"X-Forwarded-User": "ada@example.com"})
    assert (status, said["actor"], said["method"]) == (200, "ada@example.com", "proxy")
    access = Access("0.0.0.0", None, Proxy("X-Forwarded-User", networks("10.0.0.7")))
    assert access.actor({"X-Forwarded-User": "eve"}, {}, "10.0.0.8", 0.0) is None
    assert access.actor({"X-Forwarded-User": "ada"}, {}, "::ffff:10.0.0.7", 0.0) is not None
    assert access.actor({"X-Forwarded-User": " "}, {}, "10.0.0.7", 0.0) is None


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8088", "127.0.0.1.evil.example", "", "localhost.evil.example"])
def test_another_name_that_leads_here_is_refused(local: Running, host: str) -> None:
    status, _, said = local.ask("/api/v1/models", headers={"Host": host})
    assert status == 421
    assert "churn" not in json.dumps(said)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:9", "desk.example", "DESK.example:80", "localhost."])
def test_the_names_of_this_machine_are_answered(local: Running, host: str) -> None:
    assert local.ask("/api/v1/models", headers={"Host": host})[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "none"},
    ],
)  # fmt: skip
def test_other_sites_change_nothing(local: Running, headers: dict[str, str]) -> None:
    before = len(local.kept.written)
    assert local.ask("/api/v1/silences", "POST", SILENCE, headers)[0] == 403
    assert local.ask("/api/v1/silences")[2] == {"silences": []}
    assert [topic for topic, _, _ in local.kept.written[before:]] == ["tidegauge-audit"]
    assert local.audit()[-1]["reason"] == "comes from another site"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_forms_of_other_sites_are_not_json(local: Running, kind: str) -> None:
    assert local.ask("/api/v1/silences", "POST", SILENCE, {"Content-Type": kind})[0] == 415


def test_every_change_has_its_line_and_no_line_has_a_secret(guarded: Running) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    status, _, said = guarded.ask("/api/v1/silences", "POST", SILENCE | {"comment": "drill"}, bearer)
    assert status == 201
    line = guarded.audit()[-1]
    assert (line["actor"], line["method"], line["action"], line["outcome"]) == ("token", "token", "silence", "accepted")
    assert line["target"] == said["silences"][0]["id"]
    assert line["details"] == {"matchers": {"model": "churn"}, "duration": "1h", "comment": "drill"}
    assert guarded.ask(f"/api/v1/silences/{line['target']}", "DELETE", headers=bearer)[0] == 200
    assert guarded.audit()[-1]["action"] == "end silence"
    before = len(guarded.audit())
    assert guarded.ask("/api/v1/silences", "POST", SILENCE)[0] == 401
    assert guarded.ask("/api/v1/silences", "POST", {"duration": "1h"}, bearer)[0] == 400
    assert guarded.ask("/api/v1/session", "POST", {"token": "0123456789-wrong-token"})[0] == 401
    assert [line["reason"] for line in guarded.audit()[before:]] == ["not signed in", "unreadable body", "wrong token"]
    signed_in(guarded)
    assert guarded.audit()[-1]["action"] == "sign in"
    written = guarded.lines.getvalue() + b"".join((value or b"") for _, _, value in guarded.kept.written)
    assert TOKEN.encode() not in written
    assert b"wrong-token" not in written
    lines = [json.loads(value) for topic, _, value in guarded.kept.written if topic == "tidegauge-audit" and value]
    assert lines == guarded.audit()
    for kind, values in (("audit-entry", lines), ("operation", operations(guarded))):
        schema = json.loads((SCHEMAS / f"{kind}.schema.json").read_text("utf-8"))
        assert values
        assert [error.message for value in values for error in Draft202012Validator(schema).iter_errors(value)] == []


def operations(console: Running) -> list[dict[str, Any]]:
    return [json.loads(value) for topic, _, value in console.kept.written if topic == "tidegauge-operations" and value]


def test_nothing_changes_that_the_audit_could_not_write() -> None:
    with running(fed(View(), SAID)) as console:

        async def fail(topic: str, key: bytes | None, value: bytes | None) -> None:
            raise StreamError("topic tidegauge-audit cannot be written: no broker")

        console._server.app._frozen = False
        console.do(lambda: setattr(console._server.app[AUDITING], "_write", fail))
        status, _, said = console.ask("/api/v1/silences", "POST", SILENCE)
        assert (status, "nothing was changed" in said["error"]) == (503, True)
        assert console.ask("/api/v1/silences")[2] == {"silences": []}


@pytest.mark.parametrize(
    "path",
    ["/", "/app.js", "/console.css", "/api/v1/models", "/api/v1/session", "/none", "/api/v1/none", "/healthz", "/readyz"],
)
def test_every_answer_carries_the_security_headers(guarded: Running, path: str) -> None:
    _, headers, _ = guarded.ask(path)
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "no-referrer")
    assert headers["X-Frame-Options"] == "DENY"
    assert "Access-Control-Allow-Origin" not in headers
    assert "aiohttp" not in headers["Server"]


def test_only_the_shipped_files_are_served(guarded: Running) -> None:
    for path in ("/../access.py", "/%2e%2e/access.py", "/pages/../../access.py", "/index.html/..", "/static/app.js"):
        assert guarded.ask(path)[0] in (401, 404), path
    assert guarded.ask(f"/?token={TOKEN}")[0] == 400


def test_playbooks_are_pages_of_their_own(guarded: Running) -> None:
    status, headers, said = guarded.ask("/playbooks/accuracy-drop.md")
    assert (status, headers.get_content_type()) == (200, "text/html")
    assert b"<h2>Confirm</h2>" in said
    assert guarded.ask("/playbooks/none.md")[0] == guarded.ask("/playbooks/..%2Foperations.md")[0] == 404


def test_the_console_is_ready_once_the_topics_are_read(guarded: Running) -> None:
    assert guarded.ask("/readyz")[0] == 200


def test_the_pages_name_no_other_place() -> None:
    static = Path(__file__).parents[2] / "app/tidegauge/console/static"
    for file in static.rglob("*"):
        if file.is_file() and "LICENSE" not in file.name:
            text = file.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
            assert "http://" not in text or file.parent.name == "vendor", file
            assert "https://" not in text or file.parent.name == "vendor", file


# -- roles -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "role"),
    [("", "look"), ("all", "look"), ("all, on-call", "silence"), ("on-call,ml-leads", "decide"), ("x,,", "look")],
)
def test_groups_of_a_proxy_give_roles(groups: str, role: str) -> None:
    proxy = Proxy("X-User", networks("127.0.0.0/8"), "X-Groups", {"on-call": "silence", "ml-leads": "decide"})
    with running(fed(View(), SAID), Access("0.0.0.0", None, proxy)) as console:
        headers = {"X-User": "ada", "X-Groups": groups}
        assert console.ask("/api/v1/session", headers=headers)[2]["role"] == role
        status, _, said = console.ask("/api/v1/silences", "POST", SILENCE, headers)
        assert status == (403 if role == "look" else 201)
        if role == "look":
            assert said == {"error": "this needs the role 'silence'; yours is 'look'"}
            assert console.audit()[-1]["reason"] == "may look only"
        rollback = console.ask("/api/v1/models/churn/rollback", "POST", {"to": "churn_xgb:1"}, headers)
        assert (rollback[0] == 403) == (role != "decide")


def test_tokens_have_roles(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"look {TOKEN}-1\n\nsilence {TOKEN}-2\n{TOKEN}-3\n")
    tokens = read_tokens(tmp_path / "tokens")
    assert tokens == {f"{TOKEN}-1": "look", f"{TOKEN}-2": "silence", f"{TOKEN}-3": "decide"}
    with running(fed(View(), SAID), Access("0.0.0.0", tokens)) as console:
        for number, role in enumerate(("look", "silence", "decide"), 1):
            _, headers, _ = console.ask("/api/v1/session", "POST", {"token": f"{TOKEN}-{number}"})
            cookie = {"Cookie": f"tidegauge_session={SimpleCookie(headers['Set-Cookie'])['tidegauge_session'].value}"}
            assert console.ask("/api/v1/session", headers=cookie)[2]["role"] == role
            assert console.ask("/api/v1/silences", "POST", SILENCE, cookie)[0] == (403 if role == LOOK else 201)
    (tmp_path / "tokens").write_text(f"boss {TOKEN}\n")
    with pytest.raises(AccessError, match="its role"):
        read_tokens(tmp_path / "tokens")


@pytest.mark.parametrize(("header", "roles"), [("X-Groups", {}), (None, {"ops": "silence"})])
def test_half_of_the_groups_is_refused(header: str | None, roles: dict[str, str]) -> None:
    with pytest.raises(AccessError, match="--groups-header"):
        Proxy("X-User", networks("10.0.0.1"), header, roles)
