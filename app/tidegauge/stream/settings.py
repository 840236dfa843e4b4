"""The settings of a worker: from flags, else from ``TIDEGAUGE_...`` environment variables, else these defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tidegauge.alert.operations import AUDIT, OPERATIONS
from tidegauge.alert.playbooks import DIRECTORY
from tidegauge.engine.stage import (
    ALERTS,
    DEAD_LETTERS,
    INCIDENTS,
    LABELS,
    METRICS,
    MODELS,
    OPEN_WINDOWS,
    PREDICTIONS,
    PROFILES,
)
from tidegauge.stream.security import client_security

JOIN_CHANGELOG, MONITOR_CHANGELOG = "tidegauge-join-changelog", "tidegauge-monitor-changelog"
CHANGELOGS = {"join": JOIN_CHANGELOG, "monitor": MONITOR_CHANGELOG}
REKEYED = {PREDICTIONS: "tidegauge-rekeyed-predictions", LABELS: "tidegauge-rekeyed-labels"}
"""For each input topic the one that holds its records partitioned by request id, if inputs are re-keyed."""
INFERENCES = "tidegauge-inferences"
"""What `tidegauge ingest` has taken by HTTP and not yet joined, keyed by the id of request and response."""
INPUT_OF = {rekeyed: topic for topic, rekeyed in REKEYED.items()}
REKEY = {f"rekey-{topic}": topic for topic in REKEYED}
"""The re-keying stages and the topic that each reads."""
TOPICS = (
    PREDICTIONS, LABELS, MODELS, ALERTS, INCIDENTS, METRICS, OPEN_WINDOWS, DEAD_LETTERS, PROFILES, JOIN_CHANGELOG,
    MONITOR_CHANGELOG,
)  # fmt: skip
"""The topics of every deployment."""
INTERNAL = frozenset(
    (PROFILES, OPEN_WINDOWS, INFERENCES, JOIN_CHANGELOG, MONITOR_CHANGELOG, OPERATIONS, AUDIT, *REKEYED.values())
)
MAX_MESSAGE_BYTES = 32 << 20
REKEY_CHOICES = ("auto", "always", "never")


class Settings(msgspec.Struct, frozen=True):
    """The settings of one worker. Times are in seconds. ``app_id``: the consumer group, and the prefix of transactional ids and
    internal topics; ``playbooks``: the base address of the playbooks that alerts link to; ``rekey``: one of REKEY_CHOICES;
    ``rekeyed``: whether inputs are re-keyed, which is decided at the start; ``schema_registry``: the address of a schema
    registry, None without one; ``topics``: names that differ from the default, by logical name (not for internal topics);
    ``security``: the argument of ``security.client_security``."""

    bootstrap: str = "127.0.0.1:9092"
    app_id: str = "tidegauge"
    partitions: int = 4
    replication: int = 1
    state_dir: Path = Path("tidegauge-state")
    checkpoint_interval: float = 1.0
    checkpoint_events: int = 50_000
    idle_timeout: float = 5.0
    session_timeout: float = 10.0
    stall_timeout: float = 60.0
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 9464
    web_config: Path | None = None
    log_format: str = "text"
    playbooks: str = DIRECTORY
    rekey: str = "auto"
    rekeyed: bool = False
    schema_registry: str | None = None
    topics: dict[str, str] = {}
    security: dict[str, str] = {}

    def __repr__(self) -> str:
        """Leaves out the values of ``security``, which include passwords."""
        shown = {name: value for name, value in msgspec.structs.asdict(self).items() if name != "security"}
        return f"Settings({shown}, security={sorted(self.security)})"

    @property
    def inputs(self) -> dict[str, tuple[str, ...]]:
        """The logical topics that each stage reads."""
        if not self.rekeyed:
            return {"join": (PREDICTIONS, LABELS), "monitor": (PROFILES,)}
        return {**{stage: (topic,) for stage, topic in REKEY.items()}, "join": (*REKEYED.values(),), "monitor": (PROFILES,)}

    @property
    def all_topics(self) -> tuple[str, ...]:
        """The logical topics of this deployment."""
        return (*TOPICS, *REKEYED.values()) if self.rekeyed else TOPICS

    def topic(self, logical: str) -> str:
        """The topic's name in Kafka. Names of internal topics begin with ``app_id``."""
        if logical in INTERNAL:
            return logical.replace("tidegauge", self.app_id, 1)
        return self.topics.get(logical, logical)

    def client(self) -> dict[str, Any]:
        """The keyword arguments for every aiokafka client."""
        return {"bootstrap_servers": self.bootstrap, **client_security(self.security)}
