"""A real Kafka for the tests of this directory, started once; and the table of what the campaign of faults has measured."""

import os

import pytest

from support.fault_table import FaultTable
from tidegauge.stream.broker import Broker

# Java processes of tests live for minutes, in which the second compiler's work does not pay: a third less of processor time.
os.environ["JDK_JAVA_OPTIONS"] = "-XX:TieredStopAtLevel=1"


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
