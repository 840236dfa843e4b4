"""The Alertmanager configuration that is shipped: a real Alertmanager sends by it to Slack's, PagerDuty's and a mail server's
place, and what arrives shows the evidence."""

import email
import email.policy
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from aiosmtpd.controller import Controller

from support.alert_events import alert_event
from support.debian import program
from support.servers import Alertmanager, Receiver, ask, wait_for
from tidegauge.alert.operations import Operations
from tidegauge.alert.paging import PagedAlerts, decode, posted
from tidegauge.stream.broker import free_port

DIRECTORY = Path(__file__).parents[2] / "deploy/alertmanager"
SHIPPED = (DIRECTORY / "alertmanager.yml").read_text()
EVIDENCE = (
    "roc_auc is 0.81, below 0.85, in the 1d window", "performance.roc_auc below 0.85", "0.81 (baseline 0.9)",
    "1d from 2025-09-27T00:00:00Z to 2025-09-28T00:00:00Z, revision 1", "region=eu: 0.7, 40% of the change",
    "age: PSI 0.4, p 0.001, 12.5 standard deviations from usual", "breached: auc", "r1", "r2",
    "https://playbooks/accuracy-drop.md",
)  # fmt: skip


class Mailbox:
    """Keeps the messages a mail server is handed."""

    def __init__(self):
        self.messages = []

    async def handle_DATA(self, server, session, envelope):
        self.messages.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"


@pytest.fixture
def mailbox():
    kept = Mailbox()
    server = Controller(kept, hostname="127.0.0.1", port=free_port())
    server.start()
    kept.address = f"127.0.0.1:{server.port}"
    yield kept
    server.stop()


@pytest.fixture
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture
def alertmanager(tmp_path, receiver, mailbox):
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "slack-url").write_text(f"{receiver.url}/slack")
    (secrets / "pagerduty-key").write_text("key")
    (secrets / "smtp-password").write_text("password")
    config = SHIPPED.replace("/etc/alertmanager/secrets", str(secrets)).replace("/etc/alertmanager", str(DIRECTORY))
    changed = yaml.safe_load(config)
    # The test's servers stand for the real ones; its mail server has neither TLS nor users. And it does not wait.
    changed["global"] |= {
        "smtp_smarthost": mailbox.address, "smtp_require_tls": False, "pagerduty_url": f"{receiver.url}/v2/enqueue",
    }  # fmt: skip
    del changed["global"]["smtp_auth_username"], changed["global"]["smtp_auth_password_file"]
    routes = [changed["route"]]
    for route in routes:
        route |= {"group_wait": "0s", "group_interval": "1s"}
        routes += route.get("routes", [])
    with Alertmanager(tmp_path / "alertmanager", yaml.safe_dump(changed)) as made:
        yield made


def say(alertmanager, paged, *events):
    now = datetime.now(UTC).timestamp()
    for _, value in events:
        for notice in paged.take(decode(value), now):
            ask(alertmanager.url + "/api/v2/alerts", [posted(notice, now, 300.0, "https://console")])


def to(receiver, path):
    return [body for at, body in list(receiver.received) if at == path]


def test_amtool_accepts_the_shipped_file():
    checked = subprocess.run(
        [program("amtool", "prometheus-alertmanager"), "check-config", DIRECTORY / "alertmanager.yml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
    assert yaml.safe_load(SHIPPED)["templates"] == ["/etc/alertmanager/templates/*.tmpl"]


def test_critical_goes_to_slack_mail_and_pagerduty_with_its_evidence(alertmanager, receiver, mailbox):
    paged = PagedAlerts(Operations().silenced_since)
    say(alertmanager, paged, alert_event("auc", "firing", 1))
    wait_for(lambda: to(receiver, "/slack") and to(receiver, "/v2/enqueue") and mailbox.messages)
    (attachment,) = to(receiver, "/slack")[0]["attachments"]
    assert attachment["title"] == "[CRITICAL] auc churn_xgb:3 region=eu"
    assert attachment["color"] == "danger"
    assert attachment["title_link"].startswith("https://console/")
    page = to(receiver, "/v2/enqueue")[0]
    assert (page["event_action"], page["payload"]["severity"]) == ("trigger", "critical")
    assert page["payload"]["summary"] == attachment["title"]
    message = mailbox.messages[0]
    assert message["Subject"] == attachment["title"]
    texts = [attachment["text"], page["payload"]["custom_details"]["alerts"]]
    texts += [message.get_body([kind]).get_content() for kind in ("plain", "html")]
    for text in texts:
        assert [fact for fact in EVIDENCE if fact not in text] == []
        assert re.search("[Ss]ince 2025-09-27 00:00:00 UTC", text)
    say(alertmanager, paged, alert_event("auc", "resolved", 2))
    wait_for(lambda: len(to(receiver, "/slack")) == 2 and len(to(receiver, "/v2/enqueue")) == 2 and len(mailbox.messages) == 2)
    (attachment,) = to(receiver, "/slack")[1]["attachments"]
    assert attachment["title"] == "[RESOLVED] auc churn_xgb:3 region=eu"
    assert "AUC is 0.9 again" in attachment["text"]
    assert to(receiver, "/v2/enqueue")[1]["event_action"] == "resolve"
    assert to(receiver, "/v2/enqueue")[1]["dedup_key"] == page["dedup_key"]


def test_a_warning_pages_nobody_and_turning_critical_does(alertmanager, receiver, mailbox):
    paged = PagedAlerts(Operations().silenced_since)
    say(alertmanager, paged, alert_event("drift", "firing", 1, severity="warning"))
    wait_for(lambda: to(receiver, "/slack") and mailbox.messages)
    assert to(receiver, "/slack")[0]["attachments"][0]["color"] == "warning"
    assert to(receiver, "/v2/enqueue") == []
    say(alertmanager, paged, alert_event("drift", "firing", 2, severity="critical"))
    wait_for(lambda: to(receiver, "/v2/enqueue"))
    wait_for(lambda: len(to(receiver, "/slack")) == 2)
    # The warning is over, but nobody is told "resolved" while it is critical.
    assert [message["attachments"][0]["title"].split("]")[0] for message in to(receiver, "/slack")] == ["[WARNING", "[CRITICAL"]
