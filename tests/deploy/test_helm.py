"""The Helm chart: the same objects as kustomize makes, values that are checked, all of it valid."""

import subprocess

import jsonschema
import pytest
import yaml

from support.manifests import CHART, COMPONENTS, chart, helm, identity, kustomized, validate
from tidegauge.models.read import check_directory

# The first test builds Helm from its source, with two minutes of processor time: too long for every run.
pytestmark = [pytest.mark.timeout(1200), pytest.mark.long]
WHOLE = ["--set", "strimzi.enabled=true,prometheusOperator.enabled=true"]


@pytest.fixture(scope="module")
def whole():
    return chart(*WHOLE)


def plain(resource, hashed):
    """What both mean: kustomize names a ConfigMap by its content, the chart notes its content beside the pods, so that either
    starts pods anew; the order of volumes says nothing."""
    resource = yaml.safe_load(yaml.safe_dump(resource))
    if identity(resource) in hashed:
        resource["metadata"]["name"] = hashed[identity(resource)]
    spec = resource.get("spec", {})
    template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
    if template is None:
        return resource
    annotations = template["metadata"].pop("annotations", {})
    kept = {name: value for name, value in annotations.items() if not name.startswith("checksum/")}
    template["metadata"] |= {"annotations": kept} if kept else {}
    pod = template["spec"]
    pod["volumes"].sort(key=lambda volume: volume["name"])
    for volume in pod["volumes"]:
        if "configMap" in volume:
            volume["configMap"]["name"] = hashed.get(("ConfigMap", volume["configMap"]["name"]), volume["configMap"]["name"])
    for container in pod["containers"]:
        container["volumeMounts"].sort(key=lambda mount: mount["name"])
        settings = container["envFrom"][0]["configMapRef"]
        settings["name"] = hashed.get(("ConfigMap", settings["name"]), settings["name"])
    return resource


@pytest.mark.parametrize("components", [[], COMPONENTS], ids=["plain", "whole"])
def test_the_chart_makes_what_kustomize_makes(components, whole, tmp_path):
    # Helm makes the namespace itself.
    expected = [r for r in kustomized(tmp_path, components) if r["kind"] != "Namespace"]
    hashed = {
        identity(r): r["metadata"]["name"].rpartition("-")[0]
        for r in expected
        if r["kind"] == "ConfigMap" and not r["metadata"]["name"].startswith("dashboard-")
    }
    assert sorted(hashed.values()) == ["models", "settings"]
    expected = {identity(r): r for r in (plain(r, hashed) for r in expected)}
    found = {identity(r): r for r in (plain(r, {}) for r in (whole if components else chart()))}
    assert found.keys() == expected.keys()
    for name, resource in found.items():
        assert resource == expected[name]


def test_every_resource_fits_the_kubernetes_schema(whole):
    for resource in whole:
        validate(resource)


def test_helm_finds_nothing_to_complain_of():
    done = helm("lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout


def test_a_release_is_packaged_with_what_it_links_to(tmp_path):
    assert helm("package", CHART, "--destination", tmp_path).returncode == 0
    (package,) = tmp_path.iterdir()
    listed = subprocess.run(["tar", "-tzf", package], capture_output=True, text=True, check=True).stdout
    assert "tidegauge/files/rules/stream.yml" in listed
    assert "tidegauge/files/dashboards/model.json" in listed


def test_models_are_given_as_files(tmp_path):
    spec = (CHART / "files/models/example.yaml").read_text().replace("model: churn", "model: mine")
    (tmp_path / "mine.yaml").write_text(spec)
    resources = {identity(r): r for r in chart("--set-file", rf"models.mine\.yaml={tmp_path / 'mine.yaml'}")}
    data = resources["ConfigMap", "models"]["data"]
    assert data.keys() == {"mine.yaml"}
    (tmp_path / "mine.yaml").write_text(data["mine.yaml"])
    assert check_directory(tmp_path) == []


@pytest.mark.parametrize("change", ["settings.TIDEGAUGE_GRACE=2m", "image.tag=2"])
def test_a_change_starts_pods_anew(change):
    def templates(*arguments):
        return {identity(r): r["spec"]["template"] for r in chart(*arguments) if r["kind"] in ("StatefulSet", "Deployment")}

    before, after = templates(), templates("--set-string", change)
    assert all(before[name] != after[name] for name in before)


def test_a_report_for_each_model():
    jobs = [r for r in chart("--set", "reports.models={a,b}") if r["kind"] == "CronJob"]
    assert len({r["metadata"]["name"] for r in jobs}) == 6
    models = [next(model for model in "ab" if model in pod["containers"][0]["args"]) for pod in map(pod_of_job, jobs)]
    assert sorted(models) == ["a"] * 3 + ["b"] * 3


def pod_of_job(resource):
    return resource["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def test_members_of_pods_and_classes_of_storage():
    resources = chart("--set", "pod.nodeSelector.disk=fast,storageClassName=ssd,history.enabled=false")
    for resource in resources:
        validate(resource)
        if resource["kind"] == "Deployment":
            assert resource["metadata"]["name"] != "history"
            assert resource["spec"]["template"]["spec"]["nodeSelector"] == {"disk": "fast"}
    claims = [r["spec"] for r in resources if r["kind"] == "PersistentVolumeClaim"]
    (workers,) = (r for r in resources if r["kind"] == "StatefulSet")
    claims += [claim["spec"] for claim in workers["spec"]["volumeClaimTemplates"]]
    assert [claim["storageClassName"] for claim in claims] == ["ssd", "ssd"]


def test_partitions_and_copies_of_topics_follow_the_settings():
    given = "settings.TIDEGAUGE_PARTITIONS=6,settings.TIDEGAUGE_REPLICATION=2"
    topics = {r["metadata"]["name"]: r for r in chart(*WHOLE, "--set-string", given) if r["kind"] == "KafkaTopic"}
    assert topics["predictions"]["spec"] | {"config": None} == {"partitions": 6, "replicas": 2, "config": None}
    assert topics["models"]["spec"]["partitions"] == 1


@pytest.mark.parametrize(
    "mistake",
    [
        "workers.replica=3",
        "settings.BOOTSTRAP=kafka:9092",
        "settings.TIDEGAUGE_SASL_PASSWORD=secret",
        "settings.TIDEGAUGE_PARTITIONS=twelve",
        "workers.resources.limits.memory=lots",
        "pod.securityContext=none",
        "workers.storage=20 GB",
    ],
)
def test_wrong_values_are_refused(mistake):
    done = helm("template", "tidegauge", CHART, "--kube-version", "1.32", "--set-string", mistake)
    assert done.returncode != 0
    assert mistake.split("=")[0].rpartition(".")[2] in done.stderr


def test_a_mistake_in_a_custom_resource_would_be_found(whole):
    users = next(r for r in whole if r["kind"] == "KafkaUser")
    users["spec"]["authorization"]["acls"][0]["operation"] = "Fly"
    with pytest.raises(jsonschema.ValidationError):
        validate(users)


def test_prometheus_finds_every_port_called_metrics(whole):
    (monitor,) = (r for r in whole if r["kind"] == "ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    labels = monitor["spec"]["selector"]["matchLabels"]
    services = [r for r in whole if r["kind"] == "Service" and labels.items() <= r["metadata"]["labels"].items()]
    asked = {r["metadata"]["name"] for r in services for port in r["spec"]["ports"] if port["name"] == endpoint["port"]}
    assert asked == {"workers", "notifier", "history", "actor", "ingest"}
    # What rules and dashboards ask for as `job`.
    assert {r["metadata"]["labels"][monitor["spec"]["jobLabel"]] for r in services} == {"tidegauge"}
