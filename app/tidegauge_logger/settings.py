"""How a logger is set up from the environment: the worker's own variables."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tidegauge_logger.events import LABELS, PREDICTIONS

_OURS = {"ssl.cafile": "ssl.ca.location", "ssl.certfile": "ssl.certificate.location", "ssl.keyfile": "ssl.key.location"}


def kafka_names(security: Mapping[str, str]) -> dict[str, str]:
    """tidegauge's names of security settings as librdkafka's; those it shares with Kafka stay as they are.

    >>> kafka_names({"security.protocol": "SSL", "ssl.cafile": "ca.pem"})
    {'security.protocol': 'SSL', 'ssl.ca.location': 'ca.pem'}
    """
    return {_OURS.get(name, name): value for name, value in security.items()}


def security_from_environment() -> dict[str, str]:
    """``TIDEGAUGE_SECURITY_PROTOCOL``, ``TIDEGAUGE_SASL_USERNAME``, ``TIDEGAUGE_SSL_CAFILE`` ... by Kafka's names."""
    found = {}
    for name, value in os.environ.items():
        rest = name.removeprefix("TIDEGAUGE_")
        if rest != name and rest.startswith(("SECURITY_", "SASL_", "SSL_")):
            found[rest.lower().replace("_", ".", 1)] = value
    return found


def topics_from_environment() -> dict[str, str]:
    """``TIDEGAUGE_PREDICTIONS_TOPIC`` and ``TIDEGAUGE_LABELS_TOPIC``."""
    names = {topic: os.environ.get(f"TIDEGAUGE_{topic.upper()}_TOPIC", "") for topic in (PREDICTIONS, LABELS)}
    return {topic: name for topic, name in names.items() if name}
