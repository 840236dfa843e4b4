"""Settings of a logger from the environment variables that workers use, too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tidegauge_logger.events import LABELS, PREDICTIONS

_OURS = {
    "ssl.cafile": "ssl.ca.location",
    "ssl.certfile": "ssl.certificate.location",
    "ssl.keyfile": "ssl.key.location",
    "ssl.keypassword": "ssl.key.password",
}


def kafka_names(security: Mapping[str, str]) -> dict[str, str]:
    """Convert tidegauge's names of security settings to librdkafka's; common names are unchanged.

    >>> kafka_names({"security.protocol": "SSL", "ssl.cafile": "ca.pem"})
    {'security.protocol': 'SSL', 'ssl.ca.location': 'ca.pem'}
    """
    names = {_OURS.get(name, name): value for name, value in security.items()}
    if "sasl.oauthbearer.token.endpoint.url" in names:
        names["sasl.oauthbearer.method"] = "oidc"
    return names


def security_from_environment() -> dict[str, str]:
    """``TIDEGAUGE_SECURITY_PROTOCOL``, ``TIDEGAUGE_SSL_CAFILE``, ``TIDEGAUGE_SASL_PASSWORD_FILE`` ... by Kafka's names.
    A name with ``_FILE`` behind it names a file that holds the value. Raises OSError where that cannot be read."""
    found = {}
    for name, value in os.environ.items():
        rest = name.removeprefix("TIDEGAUGE_")
        if rest != name and rest.startswith(("SECURITY_", "SASL_", "SSL_")):
            if rest.endswith("_FILE"):
                rest, value = rest.removesuffix("_FILE"), Path(value).read_text().strip()
            found[rest.lower().replace("_", ".")] = value
    return found


def topics_from_environment() -> dict[str, str]:
    """The topic names in ``TIDEGAUGE_PREDICTIONS_TOPIC`` and ``TIDEGAUGE_LABELS_TOPIC``, by logical name."""
    names = {topic: os.environ.get(f"TIDEGAUGE_{topic.upper()}_TOPIC", "") for topic in (PREDICTIONS, LABELS)}
    return {topic: name for topic, name in names.items() if name}


def truth(variable: str, text: str | None) -> bool:
    """What a variable that is true or false says; false where it is not set.

    >>> truth("TIDEGAUGE_RESOURCES", "true"), truth("TIDEGAUGE_RESOURCES", "0"), truth("TIDEGAUGE_RESOURCES", None)
    (True, False, False)

    Raises ValueError for any other text.
    """
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}
    if (text or "").lower() not in known:
        raise ValueError(f"{variable}={text!r} is neither true nor false")
    return known[(text or "").lower()]
