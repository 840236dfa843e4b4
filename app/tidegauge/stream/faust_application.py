"""Configures the Faust application of a worker process, to which agents are then added."""

from __future__ import annotations

from typing import Any

import faust
from faust.auth import OAuthCredentials

from tidegauge.stream import transport
from tidegauge.stream.security import client_security
from tidegauge.stream.settings import Settings

METADATA_SECONDS = 10
"""The most seconds until a change of the topics, such as added partitions, is noticed and partitions are reassigned."""


def faust_application(settings: Settings) -> Any:
    """A ``faust.App`` whose messages are chunks of records (``stream/transport.py``), and which commits no offsets."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    return faust.App(
        settings.app_id,
        broker=[f"{transport.NAME}://{address}" for address in settings.bootstrap.split(",")],
        broker_credentials=_credentials(settings),
        datadir=str(settings.state_dir / "faust"),
        store="memory://",
        key_serializer="raw",
        value_serializer="raw",
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=2 << 20,
        broker_max_poll_records=10_000,
        broker_session_timeout=settings.session_timeout,
        broker_rebalance_timeout=30.0,
        broker_heartbeat_interval=settings.session_timeout / 5,
        # The leader of the group may not know the topics yet while the broker starts. Then no worker is assigned any partition
        # until the metadata is read again.
        consumer_metadata_max_age_ms=METADATA_SECONDS * 1000,
        # Offsets are committed by the tasks' transactions, never by Faust.
        broker_commit_interval=1e9,
        # This counts chunks, of up to 2 MiB each.
        stream_buffer_maxsize=4,
        stream_wait_empty=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        worker_redirect_stdouts=False,
    )


def _credentials(settings: Settings) -> Any:
    arguments = client_security(settings.security)
    protocol = arguments.get("security_protocol", "PLAINTEXT")
    if protocol == "PLAINTEXT":
        return None
    if protocol == "SSL":
        return faust.SSLCredentials(context=arguments["ssl_context"])
    if "sasl_oauth_token_provider" in arguments:
        return OAuthCredentials(oauth_cb=arguments["sasl_oauth_token_provider"], ssl_context=arguments.get("ssl_context"))
    return faust.SASLCredentials(
        username=arguments["sasl_plain_username"],
        password=arguments["sasl_plain_password"],
        ssl_context=arguments.get("ssl_context"),
        mechanism=arguments.get("sasl_mechanism", "PLAIN"),
    )
