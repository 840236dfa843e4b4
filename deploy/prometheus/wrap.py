"""The rules as resources of the Prometheus operator: `python deploy/prometheus/wrap.py` writes ``prometheus-rules.yaml``."""

from pathlib import Path

HERE = Path(__file__).parent
HEAD = """apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: tidegauge-{name}
spec:
"""


def wrapped() -> str:
    """A PrometheusRule for each file of ``rules``: its ``spec`` is the file."""
    return "---\n".join(
        HEAD.format(name=rules.stem)
        + "".join(f"  {line}" if line.strip() else line for line in rules.read_text().splitlines(True))
        for rules in sorted((HERE / "rules").glob("*.yml"))
    )


if __name__ == "__main__":
    (HERE / "prometheus-rules.yaml").write_text(wrapped())
