"""A real Kafka for the tests of this directory, started once; and the table of what the campaign of faults has measured."""

import os

import pytest

from support.fault_table import FaultTable
from tidegauge.stream.broker import Broker


@pytest.fixture(scope="session")
def broker():
    with Broker() as running:
        yield running


@pytest.fixture(scope="session")
def table():
    found = FaultTable()
    yield found
    if os.environ.get("TIDEGAUGE_FAULT_TABLE"):
        found.write()
