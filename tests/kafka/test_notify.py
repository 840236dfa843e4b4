"""`tidegauge notify` between a real Kafka and a real Alertmanager that pages a webhook: each page once, whoever dies."""

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import time

import pytest
from aiokafka import AIOKafkaProducer

from support.alert_events import alert_event
from support.bridges import Bridge
from support.cluster import Cluster
from support.debian import program
from support.servers import Alertmanager, Receiver, wait_for
from tidegauge.alert.operations import OPERATIONS, Silence, encode
from tidegauge.stream import models_topic
from tidegauge.stream.broker import free_port
from tidegauge.stream.following import OperationsLog

CONFIG = """
route: {{receiver: webhook, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 24h}}
receivers: [{{name: webhook, webhook_configs: [{{url: "{url}/webhook", send_resolved: true}}]}}]
"""


OFTEN, SELDOM = 1.0, 60.0
"""Seconds between two refreshes: what fires lasts four times as long, which has to be longer than what is down is down."""


def notifier(cluster, url, interval=OFTEN, **environment):
    flags = ("--alertmanager", url, "--interval", str(interval), "--console", "http://console")
    return Bridge(cluster, "notify", *flags, **environment)


@pytest.fixture
def cluster(broker, tmp_path):
    made = Cluster(broker, f"notify-{random.randrange(10**6)}", tmp_path)
    asyncio.run(models_topic.ensure_topics(made.settings))
    return made


@pytest.fixture
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture
def alertmanager(tmp_path, receiver):
    with Alertmanager(tmp_path / "alertmanager", CONFIG.format(url=receiver.url)) as made:
        yield made


@pytest.fixture
def notify(cluster, alertmanager):
    with notifier(cluster, alertmanager.url) as made:
        yield made.wait_ready()


def send(cluster, *events):
    async def run():
        async with AIOKafkaProducer(**cluster.settings.client()) as producer:
            for key, value in events:
                await producer.send_and_wait(cluster.settings.topic("alerts"), value, key=key)

    asyncio.run(run())


def settled(receiver, expected):
    """The pages, once they are as many as expected and no more come in the time of two refreshes."""
    wait_for(lambda: len(receiver.pages()) >= len(expected), what=f"{expected}, but {receiver.pages()}")
    time.sleep(2.5)
    return sorted(receiver.pages())


def test_a_page_when_it_fires_and_one_when_it_resolves(cluster, receiver, alertmanager, notify):
    send(cluster, alert_event("auc", "firing", 1))
    wait_for(receiver.pages)
    # Refreshed for longer than what it was last said to last.
    time.sleep(4 * OFTEN + 1)
    (alert,) = alertmanager.alerts()
    assert alert["generatorURL"].startswith("http://console/")
    assert alert["labels"] == {
        "alertname": "auc", "model": "churn", "model_version": "churn_xgb:3", "segment": "region=eu", "severity": "critical"
    }  # fmt: skip
    assert alert["annotations"]["segments"] == "region=eu: 0.7, 40% of the change"
    assert alert["annotations"]["runbook_url"] == "https://playbooks/accuracy-drop.md"
    send(cluster, alert_event("auc", "resolved", 2))
    assert settled(receiver, [1, 2]) == [("firing", "auc"), ("resolved", "auc")]
    assert notify.number('tidegauge_notify_events_total{status="firing"}') == 1
    assert notify.number("tidegauge_notify_firing_alerts") == notify.number("tidegauge_notify_lag_records") == 0
    assert notify.get("/healthz") == "ok\n"
    assert notify.stop() == 0


def test_notify_is_killed_and_pages_neither_twice_nor_too_few(cluster, receiver, alertmanager):
    notify = notifier(cluster, alertmanager.url, SELDOM).start().wait_ready()
    send(cluster, alert_event("stays", "firing", 1), alert_event("ends", "firing", 1))
    # At once, and not with the next refresh.
    wait_for(lambda: len(receiver.pages()) == 2, SELDOM / 2)
    notify.kill()
    # While nobody is there: one begins, one ends, one comes and goes.
    send(
        cluster, alert_event("begins", "firing", 1), alert_event("ends", "resolved", 2), alert_event("blip", "firing", 1),
        alert_event("blip", "resolved", 2),
    )  # fmt: skip
    time.sleep(1)
    for _ in range(2):
        notify.start().wait_ready()
        notify.kill()
    expected = [
        ("firing", "begins"), ("firing", "blip"), ("firing", "ends"), ("firing", "stays"), ("resolved", "blip"),
        ("resolved", "ends"),
    ]  # fmt: skip
    with notify.start().wait_ready():
        assert settled(receiver, expected) == expected


def test_alertmanager_is_killed_and_pages_neither_twice_nor_too_few(cluster, receiver, alertmanager, notify):
    send(cluster, alert_event("stays", "firing", 1), alert_event("ends", "firing", 1))
    wait_for(lambda: len(receiver.pages()) == 2)
    alertmanager.wait_on_disk()
    alertmanager.kill()
    send(cluster, alert_event("begins", "firing", 1), alert_event("ends", "resolved", 2))
    wait_for(lambda: not notify.get("/readyz"))
    assert "Connect call failed" in notify.log.read_text()
    alertmanager.start()
    notify.wait_ready()
    expected = [("firing", "begins"), ("firing", "ends"), ("firing", "stays"), ("resolved", "ends")]
    assert settled(receiver, expected) == expected
    # And once more, in order, with nothing happening meanwhile; then it ends.
    alertmanager.stop()
    alertmanager.start()
    assert settled(receiver, expected) == expected
    send(cluster, alert_event("begins", "resolved", 2))
    assert settled(receiver, [*expected, 1]) == sorted([*expected, ("resolved", "begins")])


def test_alertmanager_dies_with_a_resolution_it_has_taken_but_not_passed_on(cluster, receiver, tmp_path):
    slow = CONFIG.format(url=receiver.url).replace("group_interval: 1s", "group_interval: 60s")
    with Alertmanager(tmp_path / "slow", slow) as alertmanager, notifier(cluster, alertmanager.url, SELDOM) as notify:
        send(cluster, alert_event("ends", "firing", 1))
        wait_for(receiver.pages, 60)
        alertmanager.wait_on_disk()
        send(cluster, alert_event("ends", "resolved", 2))
        wait_for(lambda: notify.number('tidegauge_notify_events_total{status="resolved"}'))
        alertmanager.kill()
        notify.kill()
        assert receiver.pages() == [("firing", "ends")]
        alertmanager.start()
        notify.start()
        assert settled(receiver, [1, 2]) == [("firing", "ends"), ("resolved", "ends")]


def test_a_change_of_severity_is_a_page_of_its_own(cluster, receiver, alertmanager, notify):
    send(cluster, alert_event("drift", "firing", 1, severity="warning"))
    wait_for(receiver.pages)
    send(cluster, alert_event("drift", "firing", 2, severity="critical"))
    expected = [("firing", "drift"), ("firing", "drift"), ("resolved", "drift")]
    assert settled(receiver, expected) == expected
    assert [alert["labels"]["severity"] for alert in alertmanager.alerts()] == ["critical"]


def test_the_first_start_pages_what_fires_not_what_is_past_and_one_alertmanager_of_two_is_enough(
    cluster, receiver, alertmanager
):  # fmt: skip
    send(
        cluster, alert_event("past", "firing", 1), alert_event("past", "resolved", 2), alert_event("now", "firing", 1),
        (b"x", b"no event"),
    )  # fmt: skip
    with notifier(cluster, f"http://127.0.0.1:{free_port()},{alertmanager.url}/") as notify:
        notify.wait_ready()
        assert settled(receiver, [1]) == [("firing", "now")]
        assert notify.number("tidegauge_notify_unreadable_total") == 1
        assert notify.number('tidegauge_notify_requests_total{outcome="unavailable"}') > 0
        assert notify.number('tidegauge_notify_requests_total{outcome="taken"}') > 0


def decide(cluster, key, value):
    """As the console does."""

    async def run():
        operations = OperationsLog(cluster.settings)
        await operations.start()
        try:
            await operations.write(OPERATIONS, key, value)
        finally:
            await operations.stop()

    asyncio.run(run())


def silenced(name, seconds):
    now = time.time()
    return Silence(f"s-{name}", {"alertname": name, "model": "churn"}, now, now + seconds, "anna", now, "known")


def test_what_is_silenced_in_the_console_pages_nobody_until_that_ends(cluster, receiver, alertmanager):
    notify = notifier(cluster, alertmanager.url).start().wait_ready()
    night, brief = silenced("night", 3600), silenced("brief", 15)
    for silence in (night, brief):
        decide(cluster, silence.key, encode(silence))
    wait_for(lambda: len(alertmanager.silences()) == 2, what="two silences")
    send(cluster, *(alert_event(name, "firing", 1) for name in ("night", "brief", "loud")))
    assert settled(receiver, [1]) == [("firing", "loud")]
    # Nor does it page while the bridge is killed, or after Alertmanager has lost all it knew.
    notify.kill()
    alertmanager.kill()
    shutil.rmtree(alertmanager.directory / "data")
    alertmanager.start()
    with notify.start().wait_ready():
        expected = [("firing", "brief"), ("firing", "loud"), ("firing", "loud")]
        assert settled(receiver, expected) == expected
        assert notify.number("tidegauge_notify_silences") == 1
        # Ended by hand in the console.
        decide(cluster, night.key, None)
        assert settled(receiver, [*expected, 1]) == sorted([*expected, ("firing", "night")])
        assert notify.stop() == 0


def test_who_was_paged_before_a_silence_learns_after_it_that_all_is_well(cluster, receiver, alertmanager):
    with notifier(cluster, alertmanager.url) as notify:
        notify.wait_ready()
        send(cluster, alert_event("auc", "firing", 1))
        wait_for(receiver.pages)
        silence = silenced("auc", 3600)
        decide(cluster, silence.key, encode(silence))
        wait_for(alertmanager.silences, what="a silence")
        send(cluster, alert_event("auc", "resolved", 2))
        assert settled(receiver, [1]) == [("firing", "auc")]
        notify.kill()
        notify.start().wait_ready()
        assert settled(receiver, [1]) == [("firing", "auc")]
        decide(cluster, silence.key, None)
        assert settled(receiver, [1, 2]) == [("firing", "auc"), ("resolved", "auc")]


class LockedAlertmanager(Alertmanager):
    """HTTPS, and a password: its readiness cannot be asked for without."""

    def __init__(self, directory, config, web_config):
        super().__init__(directory, config, web_config)
        self.url = self.url.replace("http:", "https:")

    def _is_ready(self):
        return "Listening on" in self.log_path.read_text()


def test_pages_arrive_over_tls_with_the_right_credentials_only(cluster, receiver, tmp_path):
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = [program("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, *names, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    web = json.dumps({
        "tls_server_config": {"cert_file": str(certificate), "key_file": str(key)},
        # "secret", by bcrypt.
        "basic_auth_users": {"tidegauge": "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"},
    })  # fmt: skip
    given = {"USERNAME": "tidegauge", "PASSWORD": "secret", "CAFILE": str(certificate)}
    given = {f"TIDEGAUGE_ALERTMANAGER_{name}": value for name, value in given.items()}
    with LockedAlertmanager(tmp_path / "locked", CONFIG.format(url=receiver.url), web) as alertmanager:
        for name, wrong, said in (("PASSWORD", "wrong", "answers 401"), ("CAFILE", "", "CERTIFICATE_VERIFY_FAILED")):
            changed = given | {f"TIDEGAUGE_ALERTMANAGER_{name}": wrong}
            with notifier(cluster, alertmanager.url, **changed) as refused:
                wait_for(lambda refused=refused, said=said: said in refused.log.read_text(), 60)
                assert refused.stop() == 0
        with notifier(cluster, alertmanager.url, **given) as right:
            right.wait_ready()
            send(cluster, alert_event("auc", "firing", 1))
            wait_for(receiver.pages)


def test_wrong_settings_are_told_with_what_to_do(cluster):
    def run(*arguments, **environment):
        command = [sys.executable, "-m", "tidegauge", "notify", "--bootstrap", cluster.settings.bootstrap, *arguments]
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        return done.stderr

    assert "write it as http://HOST:PORT" in run("--alertmanager", "alertmanager:9093")
    assert "TIDEGAUGE_ALERTMANAGER_USERNAME" in run("--alertmanager", "http://me:secret@host")
    assert "shows no topic nowhere" in run("--alerts-topic", "nowhere")
    assert "are these files right" in run("--alertmanager", "https://host", TIDEGAUGE_ALERTMANAGER_CAFILE="/nowhere")
    assert "--interval 0" in run("--interval", "0")
