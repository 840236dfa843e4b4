"""What is applied to a cluster: by kustomize from deploy/kubernetes, and by Helm from its chart."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from support import custom_resources
from support.deployment import ROOT
from support.go_programs import go_program

CHART = ROOT / "deploy/helm/tidegauge"
KUBERNETES = "1.32"
COMPONENTS = ["strimzi", "prometheus-operator"]


def _resources(text: str) -> list[dict[str, Any]]:
    return [resource for resource in yaml.safe_load_all(text) if resource]


def helm(*arguments: object) -> subprocess.CompletedProcess[str]:
    """One call of Helm, which is built at the first."""
    command = [go_program("helm.sh/helm/v3/cmd/helm", "v3.22.0"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def chart(*arguments: object) -> list[dict[str, Any]]:
    """The resources of the chart in the namespace ``tidegauge``."""
    done = helm("template", "tidegauge", CHART, "--namespace", "tidegauge", "--kube-version", KUBERNETES, *arguments)
    assert done.returncode == 0, done.stderr
    return _resources(done.stdout)


def kustomized(directory: Path, components: list[str]) -> list[dict[str, Any]]:
    """The resources of deploy/kubernetes with some of its components, copied to ``directory``."""
    deploy = shutil.copytree(ROOT / "deploy", directory / "deploy", ignore=shutil.ignore_patterns("helm", "secrets"))
    kustomization = deploy / "kubernetes/kustomization.yaml"
    kustomization.write_text(kustomization.read_text() + yaml.safe_dump({"components": components}))
    kustomize = go_program("sigs.k8s.io/kustomize/kustomize/v5", "v5.8.1")
    done = subprocess.run([kustomize, "build", kustomization.parent], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return _resources(done.stdout)


def validate(resource: dict[str, Any]) -> None:
    """Raises where a resource does not fit the schema of its API, or of its custom resource definition."""
    if (resource["apiVersion"], resource["kind"]) in custom_resources.SCHEMAS:
        custom_resources.validate(resource)
    else:
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)


def identity(resource: dict[str, Any]) -> tuple[str, str]:
    return resource["kind"], resource["metadata"]["name"]
