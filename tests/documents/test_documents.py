"""docs/operations.md and docs/monitoring.md name the flags, variables and metrics that there are, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.deployment import ROOT, SECURITY, variables, worker_flags
from tidegauge.cli.main import main
from tidegauge.prometheus import rollout_samples, window_samples
from tidegauge.stream import telemetry
from tidegauge.stream.endpoint import endpoint
from tidegauge.stream.history_writer import HistoryWriter
from tidegauge.stream.notify import Notifier
from tidegauge.stream.security import client_security, security_from_environment
from tidegauge.stream.settings import Settings

MONITORING = (ROOT / "docs/monitoring.md").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()
ACCESS = (ROOT / "docs/security.md").read_text()


# -- docs/operations.md -----------------------------------------------------------------------------------------------


def test_the_document_names_every_flag_and_no_other(capsys):
    flags = worker_flags(capsys)
    topics = {flag for flag in flags if flag.endswith("-topic")}
    table = set(re.findall(r"^\| `(--[a-z-]+)` \| `(TIDEGAUGE_[A-Z_]+)`", OPERATIONS, flags=re.MULTILINE))
    assert {flag for flag, _ in table} | topics == flags
    assert all({variable} == variables([flag]) for flag, variable in table)
    assert set(re.findall(r"TIDEGAUGE_[A-Z_]+", OPERATIONS)) <= variables(flags) | SECURITY.keys()


def test_the_security_variables_are_understood(monkeypatch):
    for name, value in SECURITY.items():
        assert name in ACCESS
        if value is not None:
            monkeypatch.setenv(name, value)
    arguments = client_security(security_from_environment())
    assert arguments.pop("ssl_context") is not None
    assert arguments == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "user",
        "sasl_plain_password": "secret",
    }


def test_the_document_names_every_metric_and_no_other():
    source = "".join(Path(module.__file__).read_text() for module in (telemetry, window_samples, rollout_samples))
    counters = {f"{name}_total" for name, _, _ in telemetry.COUNTERS.values()}
    counters |= {f"{name}_total" for name in re.findall(r'Counter(?:MetricFamily)?\(\s*"(tidegauge_\w+)"', source)}
    # What follows on such a beginning is a member of the record, or the end of an interval.
    families = set(re.findall(r'f"(tidegauge_[a-z_]+_)\{', source))
    families |= {f"{name}_" for name in re.findall(r'_limits\("(tidegauge_[a-z]+)"', source)}
    plain = set(re.findall(r'"(tidegauge_[a-z_]+[a-z])"', source)) - {name.removesuffix("_total") for name in counters}
    plain -= {family.removesuffix("_") for family in families}
    told = set(re.findall(r"`(tidegauge_[a-z_]+)`", OPERATIONS))
    assert counters | plain <= told
    assert all(name.startswith(tuple(families)) for name in told - counters - plain)
    assert all(any(name.startswith(family) for name in told) for family in families)


# -- docs/monitoring.md ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["notify", "history"])
def test_the_document_names_the_flags_of_the_bridges(capsys, name):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    flags = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)) - worker_flags(capsys) - {"--help"}
    table = set(re.findall(r"^\| `(--[a-z-]+)` \| `(TIDEGAUGE_[A-Z_]+)`", MONITORING, flags=re.MULTILINE))
    assert flags
    assert flags <= {flag for flag, _ in table}
    assert all({variable} == variables([flag]) for flag, variable in table)


def test_the_document_names_the_metrics_of_the_bridges():
    target = endpoint("http://127.0.0.1:1", "NOWHERE")
    bridges = (Notifier(Settings(), [target], 60.0), HistoryWriter(Settings(), target, 60.0))
    families = {family.name: family.type for bridge in bridges for family in bridge.registry.collect()}
    names = {f"{name}_total" if kind == "counter" else name for name, kind in families.items() if name.startswith("tidegauge_")}
    names.remove("tidegauge_build_info")
    told = set(re.findall(r"^\| `(tidegauge_[a-z_]+)`", MONITORING, flags=re.MULTILINE))
    assert told == names
