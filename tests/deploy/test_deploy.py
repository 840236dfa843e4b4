"""What can be known of the Dockerfile, the compose file and Prometheus's configuration without a Docker engine.

Not run here: starting its containers. tests/kafka/test_image.py builds the image; docs/operations.md says what was run by hand.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import shlex
import subprocess
import sys
import threading
import tomllib
from itertools import chain

import pytest
import yaml

from support.deployment import ROOT, variables, worker_flags
from tidegauge.cli.main import main
from tidegauge.models.read import check_directory
from tidegauge.spec import duration
from tidegauge.stream.settings import MAX_MESSAGE_BYTES

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
WORKER = SERVICES["worker"]
PROMETHEUS = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
MEMBERS = {
    "build", "cap_drop", "command", "depends_on", "environment", "healthcheck", "image", "init", "ports", "profiles",
    "read_only", "restart", "security_opt", "stop_grace_period", "tmpfs", "volumes",
}  # fmt: skip
"""Members of a service in the Compose Specification, as far as the file needs them: a misspelt one is refused."""


def instructions():
    """(instruction, arguments) of the Dockerfile, by stage."""
    text = re.sub(r"^#.*\n", "", (ROOT / "deploy/Dockerfile").read_text(), flags=re.MULTILINE)
    stages: list[list[tuple[str, str]]] = []
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip():
            name, _, arguments = line.strip().partition(" ")
            if name == "FROM":
                stages.append([])
            stages[-1].append((name, arguments.strip()))
    return stages


BUILD, FINAL = instructions()


def values(stage, name):
    return [arguments for instruction, arguments in stage if instruction == name]


def image_environment():
    return dict(pair.partition("=")[::2] for line in values(FINAL, "ENV") for pair in shlex.split(line))


def worker_ports():
    given = {**image_environment(), **WORKER["environment"]}
    first = int(given["TIDEGAUGE_METRICS_PORT"])
    return list(range(first, first + int(given["TIDEGAUGE_WORKERS"])))


# -- the compose file ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_watched_and_restarted(name):
    service = SERVICES[name]
    assert service.keys() <= MEMBERS
    assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
    assert service["restart"] in ("unless-stopped", "always", "on-failure")
    check = service["healthcheck"]
    assert check.keys() == {"test", "interval", "timeout", "start_period", "retries"}
    assert check["test"][0] == "CMD"
    assert all(re.fullmatch(r"\d+s", check[member]) for member in ("interval", "timeout", "start_period"))
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_what_the_services_name_exists():
    assert COMPOSE.keys() == {"name", "services", "volumes"}
    used = set()
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in SERVICES[other]
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists()
                assert volume.endswith(":ro")
            else:
                used.add(source)
    assert used == COMPOSE["volumes"].keys()
    assert (ROOT / WORKER["build"]["context"] / WORKER["build"]["dockerfile"]).is_file()


def test_environment_values_are_text():
    for service in SERVICES.values():
        assert all(isinstance(value, str) for value in service.get("environment", {}).values())


def test_the_worker_knows_its_flags_and_variables(capsys):
    flags = worker_flags(capsys)
    assert {part.partition("=")[0] for part in WORKER["command"] if part.startswith("--")} <= flags
    assert WORKER["command"][0] == "worker"
    given = {*WORKER["environment"], *(name for name in image_environment() if name.startswith("TIDEGAUGE_"))}
    assert given <= variables(flags)


@pytest.mark.parametrize("name", ["notify", "history", "act"])
def test_the_bridges_know_their_flags_and_variables(capsys, name):
    service = SERVICES[name]
    assert service["command"] == [name]
    with pytest.raises(SystemExit):
        main([name, "--help"])
    flags = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    assert service["environment"].keys() <= variables(flags)
    assert service["image"] == WORKER["image"]
    assert service["build"] == WORKER["build"]
    # What the container's file system does not allow, the process does not try: it writes nothing.
    assert service["read_only"]
    assert "volumes" not in service


def test_ingest_is_asked_for_its_health_where_it_listens(capsys):
    service = SERVICES["ingest"]
    assert service["command"] == ["ingest"]
    with pytest.raises(SystemExit):
        main(["ingest", "--help"])
    given = dict(service["environment"])
    port = given.pop("TIDEGAUGE_METRICS_PORT")
    assert given.keys() <= variables(set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)))
    assert given["TIDEGAUGE_LISTEN"] == f"0.0.0.0:{port}"
    assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert service["read_only"]


def test_the_console_is_behind_a_token_that_is_nobodys_default(capsys):
    service = SERVICES["console"]
    with pytest.raises(SystemExit):
        main(["console", "--help"])
    flags = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    own, checked = variables(flags), {"TIDEGAUGE_METRICS_PORT"}
    assert service["environment"].keys() - checked <= own
    command = service["command"]
    assert {part for part in command if part.startswith("--")} <= flags
    (volume,) = service["volumes"]
    source, target, _ = volume.split(":")
    assert command[command.index("--token-file") + 1] == f"{target}/token"
    assert (ROOT / source / ".gitignore").read_text().splitlines()[-1] == "token"
    port = service["environment"]["TIDEGAUGE_PORT"]
    assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert service["environment"]["TIDEGAUGE_METRICS_PORT"] == port
    assert SERVICES["notify"]["environment"]["TIDEGAUGE_CONSOLE"] == f"http://127.0.0.1:{port}"
    # A profile of its own: without a token the others start all the same.
    assert service["profiles"] == ["console"]
    assert not any("console" in other.get("depends_on", {}) for other in SERVICES.values())


def test_every_alert_finds_its_playbook_in_the_console():
    address = f"{SERVICES['notify']['environment']['TIDEGAUGE_CONSOLE']}/playbooks"
    assert WORKER["environment"]["TIDEGAUGE_PLAYBOOKS"] == address
    assert PROMETHEUS["global"]["external_labels"] == {"tidegauge_playbooks": address}
    assert PROMETHEUS["alerting"]["alert_relabel_configs"] == [{"action": "labeldrop", "regex": "tidegauge_playbooks"}]


def test_ports_of_workers_prometheus_and_compose_agree():
    ports = worker_ports()
    targets = {
        scrape["job_name"]: [target for of in scrape["static_configs"] for target in of["targets"]]
        for scrape in PROMETHEUS["scrape_configs"]
    }
    ports_of = {
        name: SERVICES[name]["environment"]["TIDEGAUGE_METRICS_PORT"] for name in ("notify", "history", "act", "ingest")
    }
    bridges = [f"{name}:{port}" for name, port in ports_of.items()]
    assert targets == {
        "tidegauge": [f"worker:{port}" for port in ports], "tidegauge-bridges": bridges, "alertmanager": ["alertmanager:9093"],
    }  # fmt: skip
    assert WORKER["ports"] == [f"127.0.0.1:{port}:{port}" for port in ports]
    assert values(FINAL, "EXPOSE") == [str(ports[0])]
    (alertmanagers,) = PROMETHEUS["alerting"]["alertmanagers"]
    assert alertmanagers["static_configs"] == [{"targets": targets["alertmanager"]}]
    assert SERVICES["notify"]["environment"]["TIDEGAUGE_ALERTMANAGER"] == f"http://{targets['alertmanager'][0]}"
    assert SERVICES["history"]["environment"]["TIDEGAUGE_REMOTE_WRITE"] == "http://prometheus:9090/api/v1/write"


def test_prometheus_takes_what_history_writes():
    back = PROMETHEUS["storage"]["tsdb"]["out_of_order_time_window"]
    assert SERVICES["history"]["environment"]["TIDEGAUGE_OUT_OF_ORDER"] == back
    assert "--web.enable-remote-write-receiver" in SERVICES["prometheus"]["command"]
    (kept,) = (flag.partition("retention.time=")[2] for flag in SERVICES["prometheus"]["command"] if "retention" in flag)
    assert duration(kept) > duration(back)


def test_the_version_is_the_projects():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert WORKER["image"] == f"tidegauge:{project['version']}"


def test_mounts_lie_where_they_are_read():
    mounts = {volume.split(":")[0]: volume.split(":")[1] for volume in WORKER["volumes"]}
    assert mounts["worker-state"] == image_environment()["TIDEGAUGE_STATE_DIR"]
    assert WORKER["command"][WORKER["command"].index("--models") + 1] == mounts["./deploy/models"]
    prometheus = {volume.split(":")[0]: volume.split(":")[1] for volume in SERVICES["prometheus"]["volumes"]}
    assert f"--config.file={prometheus['./deploy/prometheus/prometheus.yml']}" in SERVICES["prometheus"]["command"]
    assert f"--storage.tsdb.path={prometheus['prometheus-data']}" in SERVICES["prometheus"]["command"]
    assert PROMETHEUS["rule_files"] == [f"{prometheus['./deploy/prometheus/rules']}/*.yml"]
    grafana = {volume.split(":")[0]: volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]}
    (provider,) = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/tidegauge.yml").read_text())["providers"]
    assert provider["options"]["path"] == grafana["./deploy/grafana/dashboards"]
    assert grafana["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    alertmanager = {volume.split(":")[0]: volume.split(":")[1] for volume in SERVICES["alertmanager"]["volumes"]}
    assert f"--config.file={alertmanager['./deploy/alertmanager']}/alertmanager.yml" in SERVICES["alertmanager"]["command"]
    assert f"--storage.path={alertmanager['alertmanager-data']}" in SERVICES["alertmanager"]["command"]


def test_kafkas_listeners_agree():
    given = SERVICES["kafka"]["environment"]
    listening, advertised = (
        dict(one.split("://") for one in given[name].split(",")) for name in ("KAFKA_LISTENERS", "KAFKA_ADVERTISED_LISTENERS")
    )
    controllers, inside = given["KAFKA_CONTROLLER_LISTENER_NAMES"], given["KAFKA_INTER_BROKER_LISTENER_NAME"]
    assert listening.keys() - advertised.keys() == {controllers}
    assert {one.split(":")[0] for one in given["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")} == listening.keys()
    assert all(address.endswith(listening[name]) for name, address in advertised.items())
    assert given["KAFKA_CONTROLLER_QUORUM_VOTERS"] == f"{given['KAFKA_NODE_ID']}@{listening[controllers]}"
    assert WORKER["environment"]["TIDEGAUGE_BOOTSTRAP"] == advertised[inside]
    assert SERVICES["kafka"]["healthcheck"]["test"][-1] == advertised["HOST"]
    assert SERVICES["kafka"]["ports"] == [f"{advertised['HOST']}:{advertised['HOST'].split(':')[1]}"]
    assert f"kafka-data:{given['KAFKA_LOG_DIRS']}" in SERVICES["kafka"]["volumes"]


def test_kafka_takes_what_workers_send():
    given = SERVICES["kafka"]["environment"]
    assert int(given["KAFKA_MESSAGE_MAX_BYTES"]) >= MAX_MESSAGE_BYTES
    assert given["KAFKA_TRANSACTION_STATE_LOG_MIN_ISR"] <= given["KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR"]
    horizon = 7 * 24
    assert int(given["KAFKA_LOG_RETENTION_HOURS"]) > horizon


def test_the_example_spec_is_sound():
    assert check_directory(ROOT / "deploy/models") == []


# -- the Dockerfile -----------------------------------------------------------------------------------------------


def test_bases_are_pinned_and_fit_the_project():
    python = [stage[0][1].split()[0] for stage in (BUILD, FINAL)]
    assert len(set(python)) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-[a-z]+", python[0])


def test_the_image_does_not_end_as_root():
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", values(FINAL, "USER")[-1])
    named = values(FINAL, "USER")[-1].split(":")[0]
    assert f"--uid {named} " in " ".join(values(FINAL, "RUN"))


def test_entry_command_and_health_check_need_no_shell():
    assert json.loads(values(FINAL, "ENTRYPOINT")[0]) == ["tidegauge"]
    assert json.loads(values(FINAL, "CMD")[0]) == ["worker"]
    check = json.loads(values(FINAL, "HEALTHCHECK")[0].partition("CMD ")[2])
    assert WORKER["healthcheck"]["test"] == ["CMD", *check]
    assert f"deploy/healthcheck.py {check[-1]}" in values(FINAL, "COPY")


def test_dependencies_are_installed_before_the_source_is_copied():
    steps = [f"{name} {arguments}" for name, arguments in BUILD]
    source = next(n for n, step in enumerate(steps) if step.startswith("COPY app"))
    dependencies = next(n for n, step in enumerate(steps) if "--requirement" in step)
    assert dependencies < source
    assert "--constraint constraints.txt" in steps[dependencies]


def test_pip_keeps_no_cache_and_nothing_is_left_unpinned():
    for step in values(BUILD, "RUN") + values(FINAL, "RUN"):
        assert "apt-get" not in step, "hadolint DL3008, DL3009, DL3015: pin, clean up, --no-install-recommends"
        assert "sudo" not in step
        for pip in re.findall(r"pip (?:install|wheel) [^&]*", step):
            assert "--no-cache-dir" in pip
            words = iter(shlex.split(pip)[2:])
            for word in words:
                if word in ("--constraint", "--requirement", "--wheel-dir"):
                    next(words)
                elif not word.startswith("-"):
                    assert "==" in word or word == "." or word.endswith(".whl")
    assert not values(BUILD, "ADD") + values(FINAL, "ADD")
    assert all(path.startswith("/") for path in values(BUILD, "WORKDIR") + values(FINAL, "WORKDIR"))


def test_the_build_backend_fits_the_projects():
    (pinned,) = re.findall(r"hatchling==([\d.]+)", " ".join(values(BUILD, "RUN")))
    (wanted,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    least = re.fullmatch(r"hatchling>=([\d.]+)", wanted)
    assert least is not None
    assert tuple(map(int, pinned.split("."))) >= tuple(map(int, least[1].split(".")))


def test_what_is_copied_exists_and_is_not_ignored():
    ignored = (ROOT / "deploy/Dockerfile.dockerignore").read_text().splitlines()
    for stage in (BUILD, FINAL):
        for copy in values(stage, "COPY"):
            if not copy.startswith("--from"):
                for source in copy.split()[:-1]:
                    assert (ROOT / source).exists()
                    assert f"!{source}" in ignored


def test_the_requirements_step_lists_the_projects_dependencies_and_those_of_some_extras():
    (step,) = (step for step in values(BUILD, "RUN") if "tomllib" in step)
    command = shlex.split(step)[:3]
    assert command[:2] == ["python", "-c"]
    done = subprocess.run([sys.executable, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [project["optional-dependencies"][name] for name in ("msk", "openlineage", "otlp", "protobuf", "registry")]
    assert done.stdout.splitlines() == [*project["dependencies"], *chain.from_iterable(extras)]


# -- the health check -----------------------------------------------------------------------------------------------


class _Alive(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *arguments):
        pass


def test_the_health_check_asks_every_process():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Alive) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        first = server.server_address[1]

        def status(workers, port=first):
            given = {"TIDEGAUGE_WORKERS": workers, "TIDEGAUGE_METRICS_PORT": str(port), "http_proxy": "http://127.0.0.1:1"}
            command = [sys.executable, str(ROOT / "deploy/healthcheck.py")]
            return subprocess.run(command, env={**os.environ, **given}, capture_output=True, timeout=30, check=False).returncode

        assert status("1") == 0
        # Nothing listens on the port before: with two processes, one of them is down.
        assert status("2", first - 1) == 1
        server.shutdown()


def test_the_image_is_built_from_every_file_the_wheel_takes_in() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = (ROOT / "deploy/Dockerfile").read_text()
    allowed = (ROOT / "deploy/Dockerfile.dockerignore").read_text().splitlines()
    for path in wheel["force-include"]:
        assert f"COPY {path} ./{path}\n" in copied
        assert f"!{path}" in allowed
