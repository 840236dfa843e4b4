"""A real Kafka for the tests of this directory, started once."""

import pytest

from tidegauge.stream.broker import Broker


@pytest.fixture(scope="session")
def broker():
    with Broker() as running:
        yield running
