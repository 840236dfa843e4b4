"""The rules that are shipped, by Prometheus's own tools: sound, and firing where they should and nowhere else."""

import re
import subprocess

import pytest
import yaml

from support.debian import program
from support.prometheus_rules import ROOT, RULES, rules
from tidegauge.monitor.traffic_totals import LATENCY_SECONDS

TESTS = sorted((ROOT / "tests/deploy/prometheus_rules").glob("*.yml"))


def promtool(*arguments):
    command = [program("promtool", "prometheus"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_rules_and_configuration():
    promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)
    promtool("check", "config", "--syntax-only", ROOT / "deploy/prometheus/prometheus.yml")


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_rules_fire_where_they_should(path):
    promtool("test", "rules", path)


def test_every_alert_is_tested_and_says_what_to_do():
    fired, quiet = set(), set()
    for path in TESTS:
        for case in yaml.safe_load(path.read_text())["tests"]:
            for expected in case["alert_rule_test"]:
                (fired if expected["exp_alerts"] else quiet).add(expected["alertname"])
    alerts = {rule["alert"]: rule for rule in rules() if "alert" in rule}
    assert fired == quiet == alerts.keys()
    for rule in alerts.values():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert {"summary", "description", "runbook_url"} == rule["annotations"].keys()
        base, _, page = rule["annotations"]["runbook_url"].partition('/playbooks" }}/')
        assert base == '{{ or $externalLabels.tidegauge_playbooks "docs'
        pages = re.sub(r"{{[^}]*}}", " ", page).removesuffix(".md")
        assert all((ROOT / f"docs/playbooks/{page}.md").exists() for page in pages.split())


def test_the_latency_of_the_objective_is_a_bucket():
    (bound,) = set(
        re.findall(r'le="([^"]+)"', (ROOT / "deploy/prometheus/rules/objectives.yml").read_text().split("groups:")[1])
    )
    assert float(bound) in LATENCY_SECONDS
