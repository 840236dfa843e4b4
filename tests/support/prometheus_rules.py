"""The rules for Prometheus that are shipped."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]

RULES = sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))


def rules():
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
