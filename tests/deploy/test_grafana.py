"""The dashboards are what their source says, and sound as far as that can be known without Grafana. Their queries are tried
on a real Prometheus by ``tests/kafka/test_dashboards.py``."""

import importlib.util
import json

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from support.dashboards import DASHBOARDS, DIRECTORY

register_default_plugins()


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("generate", DIRECTORY / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_shipped_dashboards_are_what_the_generator_builds(generator):
    sources = generator.read()
    assert sources.keys() == DASHBOARDS.keys() == {"system", "model", "drift", "labels", "stream"}
    for name, of in sources.items():
        assert (DIRECTORY / f"dashboards/{name}.json").read_text() == generator.build(name, of), "run `make dashboards`"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_sdk_reads_what_it_wrote(name):
    """Nothing of the JSON is unknown to it, so nothing is misspelt."""
    again = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(DASHBOARDS[name])))
    assert without_empty(again) == without_empty(DASHBOARDS[name])


def without_empty(node):
    if isinstance(node, dict):
        return {name: without_empty(child) for name, child in node.items() if child != {}}
    return [without_empty(child) for child in node] if isinstance(node, list) else node


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_do_not_overlap_and_say_what_they_show(name):
    panels = DASHBOARDS[name]["panels"]
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels]
    assert len(set(places)) == len(panels) == len({p["title"] for p in panels})
    for panel in panels:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert panel["description"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_the_source_of_data_is_provisioned():
    (source,) = yaml.safe_load((DIRECTORY / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    assert source["isDefault"]
