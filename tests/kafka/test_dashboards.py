"""The dashboards and rules on a real Prometheus that scrapes a real run: every query is understood and returns numbers.

Not tested: how a real Grafana draws them.
"""

import json
import math
import random
import re
import subprocess
import time
import urllib.request

import pytest

from support.bridges import Bridge
from support.cluster import Cluster
from support.dashboards import DASHBOARDS
from support.debian import program
from support.events import START, prediction, stream
from support.prometheus_rules import RULES, rules
from support.servers import Alertmanager, Prometheus, Receiver, ask, wait_for
from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.models.registry import ModelRecord
from tidegauge.profile.data import RESOURCES
from tidegauge.spec import BaselineSpec, Condition, ModelSpec, MonitorSpec

WINDOW = 300
MINUTES = 30
COUNT = 5000
CHURN = ModelSpec(
    "churn", task="binary", segments=(("region",),), windows=("5m",), grace=1.0, baseline=BaselineSpec(first=400),
    monitors=(MonitorSpec("errors", "system.error_ratio", "5m", Condition("above", high=0.02), min_count=20),),
)  # fmt: skip
PRICE = ModelSpec("price", task="regression", windows=("5m",), grace=1.0, baseline=BaselineSpec(first=200))
SIZES = {"age": 3.0, "plan": 1.0, "visits": 2.0, "income": 0.5}
"""Of the attributions."""
CHOSEN = {"$model_version": ".*", "$model": ".*", "$window": "5m", "$__rate_interval": "15s", "$__range": "1h"}
CONFIG = """
route: {{receiver: webhook, group_by: ['...'], group_wait: 0s}}
receivers: [{{name: webhook, webhook_configs: [{{url: "{url}/webhook"}}]}}]
"""


def traffic():
    """Half an hour up to five minutes ago: two models, and everything a panel counts."""
    rng = random.Random(5)
    shift = (time.time() // WINDOW - 7) * WINDOW - START
    events = []
    for topic, value in stream(5, COUNT, MINUTES):
        event = json.loads(value)
        event["ts"] += shift
        if topic == PREDICTIONS:
            event |= {"cost": 0.01, "attributions": {name: rng.gauss(0, size) for name, size in SIZES.items()}}
            event |= {"error": "no memory"} if rng.random() < 0.05 else {}
            event["resources"] = {name: rng.random() for name in RESOURCES}
        events.append((topic, event))
        if rng.random() < 0.01:
            events.append((topic, event))
    for number in range(600):
        ts = START + shift + number * MINUTES * 60 / 600
        house = {"request_id": f"h{number}", "ts": ts, "model_version": "price:1", "prediction": rng.gauss(100, 20)}
        events += [(PREDICTIONS, house), (LABELS, {"request_id": f"h{number}", "ts": ts + 5, "label": rng.gauss(100, 20)})]
    last = START + shift + MINUTES * 60 + WINDOW - 60
    for number in range(64):
        events.append((PREDICTIONS, prediction(10**6 + number, last, score=0.5, prediction=1)))
        events.append((PREDICTIONS, {"request_id": f"z{number}", "ts": last, "model_version": "price:1", "prediction": 100.0}))
    return [(topic, json.dumps(event).encode()) for topic, event in events], START + shift


@pytest.fixture(scope="module")
def run(broker, tmp_path_factory):
    """Everything at work; the Prometheus, the time its windows begin, the worker's port."""
    directory = tmp_path_factory.mktemp("run")
    cluster = Cluster(broker, f"dashboards-{random.randrange(10**6)}", directory)
    cluster.apply(ModelRecord("churn", CHURN), ModelRecord("price", PRICE))
    events, began = traffic()
    try:
        with Receiver() as receiver, Alertmanager(directory / "alertmanager", CONFIG.format(url=receiver.url)) as alertmanager:
            cluster.start(0)
            notify = Bridge(cluster, "notify", "--alertmanager", alertmanager.url)
            prometheus = Prometheus(directory / "prometheus", {})
            target = f"{prometheus.url}/api/v1/write"
            history = Bridge(cluster, "history", "--remote-write", target, "--out-of-order", "1d")
            jobs = {"tidegauge": [cluster.ports[0]], "tidegauge-bridges": [notify.port, history.port]}
            scrapes = [
                {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}
                for job, ports in jobs.items()
            ]
            prometheus.config.write_text(json.dumps({
                "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
                "storage": {"tsdb": {"out_of_order_time_window": "1d"}},
                "rule_files": [str(path) for path in RULES],
                "scrape_configs": scrapes,
            }))  # fmt: skip
            with notify, prometheus, history:
                half = len(events) // 2
                cluster.send(events[:half])
                wait_for(lambda: prometheus.query("tidegauge_predictions_total > 0"), 90)
                time.sleep(3)
                cluster.send(events[half:])
                # A request id that comes back.
                first = json.loads(next(value for topic, value in events if topic == PREDICTIONS))
                cluster.send([(PREDICTIONS, json.dumps(first | {"ts": first["ts"] + 120}).encode())])
                predictions = sum(topic == PREDICTIONS for topic, _ in events) - 128
                cluster.wait_for_predictions(int(predictions * 0.9), "5m", 120)
                wait_for(lambda: history.number("tidegauge_remote_write_lag_records") == 0, 60)
                wait_for(lambda: prometheus.query('tidegauge_alert_firing{alertname="errors"} == 1'), 60)
                wait_for(receiver.pages, 30)
                time.sleep(3)
                yield prometheus, began, cluster.ports[0]
    finally:
        cluster.stop()


def answered(expression):
    for name, chosen in CHOSEN.items():
        expression = expression.replace(name, chosen)
    assert "$" not in expression
    return expression


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_panel_has_data(run, name):
    prometheus, began, _ = run
    silent = []
    for panel in DASHBOARDS[name]["panels"]:
        for target in panel["targets"]:
            query = answered(target["expr"])
            if target.get("instant"):
                values = [series["value"][1] for series in prometheus.query(query)]
            else:
                # What is scraped lasts some seconds: a coarse grid of times could miss it.
                now = time.time()
                start, step = (began, WINDOW) if "interval" in target else (now - 600, 1)
                found = prometheus.query_range(query, start, now, step)
                values = [value for series in found for _, value in series["values"]]
            if not any(math.isfinite(float(value)) for value in values):
                silent.append(f"{panel['title']}: {query}")
    assert silent == []


def test_the_variables_offer_models_versions_and_windows(run):
    prometheus, _, _ = run
    offered = {}
    for variable in DASHBOARDS["model"]["templating"]["list"]:
        if variable["type"] == "query":
            selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", answered(variable["query"])).groups()
            offered[variable["name"]] = {series["metric"][label] for series in prometheus.query(selector)}
    assert offered == {
        "model": {"churn", "price"}, "model_version": {"churn_xgb:3", "churn_xgb:4", "price:1"}, "window": {"5m"},
    }  # fmt: skip


def test_the_rules_are_evaluated_on_what_is_there(run):
    prometheus, _, _ = run
    groups = ask(f"{prometheus.url}/api/v1/rules")["data"]["groups"]
    assert groups
    assert [rule for group in groups for rule in group["rules"] if rule["health"] != "ok"] == []
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    named = {metric for rule in rules() for metric in re.findall(r"\b(?:tidegauge|process)_[a-z_]+", rule["expr"])}
    counters = {"tidegauge_checkpoint_seconds_bucket", "tidegauge_prediction_latency_seconds_bucket"}
    # A standstill has no sample while all partitions go on.
    absent = {"tidegauge_bad_predictions", "tidegauge_consumer_lag_sum", "tidegauge_standstill_seconds"}
    for metric in (named | recorded | counters) - absent:
        if not any(metric in longer and metric != longer and ":" in longer for longer in recorded):
            assert prometheus.query(metric), metric


def test_the_page_is_as_prometheus_likes_it(run):
    _, _, port = run
    page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read()
    command = [program("promtool", "prometheus"), "check", "metrics"]
    checked = subprocess.run(command, input=page, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout.decode() + checked.stderr.decode()
