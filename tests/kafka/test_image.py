"""The image is built by its own steps, and its worker works."""

import json
import subprocess
import tomllib

import pytest

from support.deployment import ROOT
from support.image import Image
from support.servers import wait_for
from tidegauge.stream.broker import free_port

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return Image(tmp_path_factory.mktemp("image"))


def said(image, *arguments):
    return subprocess.run(image.inside(*arguments), capture_output=True, text=True, check=True, timeout=120).stdout.strip()


def test_the_image_is_of_this_version_and_not_of_root(image):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert version in said(image, "tidegauge", "--version")
    assert said(image, "id", "-u") == "10001"
    assert said(image, "stat", "-c", "%u:%g", "/var/lib/tidegauge") == "10001:10001"
    of = json.loads(image.buildah("inspect", "--type", "image", "tidegauge"))["Docker"]["config"]
    assert of["Healthcheck"]["Test"] == ["CMD", "python", "/opt/tidegauge/healthcheck.py"]
    assert of["Entrypoint"] + of["Cmd"] == ["tidegauge", "worker"]


def test_a_worker_of_the_image_becomes_healthy(image, broker):
    port = free_port()
    settings = {"TIDEGAUGE_BOOTSTRAP": broker.bootstrap, "TIDEGAUGE_APP_ID": "image", "TIDEGAUGE_METRICS_PORT": port}
    environment = [f"{name}={value}" for name, value in settings.items()]
    topics = [part for name in ("predictions", "labels", "models", "metrics") for part in (f"--{name}-topic", f"image-{name}")]
    check = image.inside("env", *environment, "python", "/opt/tidegauge/healthcheck.py")

    def healthy():
        return subprocess.run(check, capture_output=True, timeout=30).returncode == 0

    assert not healthy()
    worker = subprocess.Popen(image.inside("env", *environment, "tidegauge", "worker", *topics))
    try:
        wait_for(healthy, 90, "a healthy worker")
    finally:
        worker.terminate()
        worker.wait(30)
