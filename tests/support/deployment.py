"""What the deployment and the command line have in common."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tidegauge.cli.main import main

ROOT = Path(__file__).parents[2]

SECURITY = {
    "TIDEGAUGE_SECURITY_PROTOCOL": "SASL_SSL",
    "TIDEGAUGE_SASL_MECHANISM": "SCRAM-SHA-512",
    "TIDEGAUGE_SASL_USERNAME": "user",
    "TIDEGAUGE_SASL_PASSWORD": "secret",
    "TIDEGAUGE_SSL_CAFILE": None,
    "TIDEGAUGE_SSL_CERTFILE": None,
    "TIDEGAUGE_SSL_KEYFILE": None,
}


def worker_flags(capsys):
    with pytest.raises(SystemExit):
        main(["worker", "--help"])
    return set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)) - {"--help"}


def variables(flags):
    return {"TIDEGAUGE_" + flag[2:].replace("-", "_").upper() for flag in flags}
