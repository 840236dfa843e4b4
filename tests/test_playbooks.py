"""Every default monitor has its playbook, and every playbook a monitor."""

from pathlib import Path

import pytest

from tidegauge.default_monitors import default_monitors
from tidegauge.metric_names import metric_mistake
from tidegauge.spec import ModelSpec

ROOT = Path(__file__).parent.parent
ALL = [m for task in ("binary", "multiclass", "regression") for m in default_monitors(ModelSpec("m", task=task), None)]


@pytest.mark.parametrize("monitor", ALL, ids=lambda m: m.name)
def test_its_playbook_is_there(monitor):
    assert (ROOT / monitor.runbook).read_text().startswith("# ")
    assert metric_mistake(monitor.metric, None) is None


def test_no_playbook_is_left_over():
    assert {f"docs/playbooks/{p.name}" for p in (ROOT / "docs/playbooks").glob("*.md")} == {m.runbook for m in ALL}
