"""The manifests under deploy/kubernetes: valid against the API's schemas, and true of the program they run."""

from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tidegauge.cli.main import _parser
from tidegauge.models.read import check_directory

DIRECTORY = Path(__file__).parents[2] / "deploy/kubernetes"
KUSTOMIZATION = yaml.safe_load((DIRECTORY / "kustomization.yaml").read_text())
RESOURCES = [r for name in KUSTOMIZATION["resources"] for r in yaml.safe_load_all((DIRECTORY / name).read_text())]
KUBERNETES = "1.32"


def pod_of(resource):
    spec = resource["spec"]
    return (spec["jobTemplate"]["spec"] if resource["kind"] == "CronJob" else spec)["template"]["spec"]


PODS = [pytest.param(r, id=r["metadata"]["name"]) for r in RESOURCES if r["kind"] in ("StatefulSet", "Deployment", "CronJob")]


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: f"{r['kind']}-{r['metadata']['name']}")
def test_every_manifest_fits_the_kubernetes_schema(resource):
    kubernetes_validate.validate(resource, KUBERNETES, strict=True)


def test_a_mistake_would_be_found():
    resource = yaml.safe_load(yaml.safe_dump(next(r for r in RESOURCES if r["kind"] == "StatefulSet")))
    pod_of(resource)["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)


def test_every_file_is_named_and_there():
    assert {path.name for path in DIRECTORY.glob("*.yaml")} == {"kustomization.yaml", *KUSTOMIZATION["resources"]}
    maps = {generated["name"]: generated for generated in KUSTOMIZATION["configMapGenerator"]}
    assert all((DIRECTORY / file).exists() for file in maps["models"]["files"])
    assert check_directory(DIRECTORY / "models") == []


@pytest.mark.parametrize("resource", PODS)
def test_the_command_of_a_container_is_one_of_ours(resource, monkeypatch):
    (container,) = pod_of(resource)["containers"]
    maps = {generated["name"]: generated for generated in KUSTOMIZATION["configMapGenerator"]}
    for literal in maps["settings"]["literals"]:
        monkeypatch.setenv(*literal.split("=", 1))
    options = _parser().parse_args(container["args"])
    assert options.bootstrap == "kafka.kafka.svc:9092"
    ports = [port["containerPort"] for port in container.get("ports", ())]
    served = [getattr(options, name) for name in ("port", "metrics_port") if hasattr(options, name)]
    if hasattr(options, "listen"):
        served.append(int(options.listen.removeprefix("0.0.0.0:")))
    assert ports == served


@pytest.mark.parametrize("resource", PODS)
def test_a_pod_is_locked_down_and_bounded(resource):
    pod = pod_of(resource)
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"]["memory"]
    # Kubernetes would write TIDEGAUGE_... settings of its own into the environment for a Service of that name.
    assert pod["enableServiceLinks"] is False
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    claims = {claim["metadata"]["name"] for claim in resource["spec"].get("volumeClaimTemplates", ())}
    assert mounted == {volume["name"] for volume in pod["volumes"]} | claims


@pytest.mark.parametrize("resource", [p for p in PODS if p.values[0]["kind"] != "CronJob"])
def test_health_is_asked_where_it_is_answered(resource):
    (container,) = pod_of(resource)["containers"]
    (port,) = container["ports"]
    for probe, page in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": page, "port": port["name"]}


def test_a_disruption_budget_and_selectors_meet_the_pods():
    labels = {
        pod_owner["metadata"]["name"]: pod_labels(pod_owner)
        for pod_owner in RESOURCES
        if "template" in pod_owner.get("spec", {})
    }
    for resource in RESOURCES:
        if resource["kind"] in ("Service", "PodDisruptionBudget"):
            selector = resource["spec"]["selector"]
            wanted = selector.get("matchLabels", selector)
            assert any(wanted.items() <= found.items() for found in labels.values()), resource["metadata"]["name"]


def pod_labels(resource):
    return resource["spec"]["template"]["metadata"]["labels"]
