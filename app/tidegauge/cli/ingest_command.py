"""The command `tidegauge ingest`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tidegauge.cli.options import command, kafka, option, stream_settings
from tidegauge.errors import SpecError, StreamError
from tidegauge.spec import duration


def add(commands: Any) -> None:
    """Add the command to the others."""
    ingest = command(commands, "ingest", _ingest, "makes prediction events of what KServe, MLServer, Seldon and BentoML log")
    kafka(ingest)
    option(ingest, "--models", Path, None, "directory of specs; those of the topic if not given")
    option(ingest, "--listen", str, "127.0.0.1:8090", "HOST:PORT for CloudEvents, /metrics, /healthz and /readyz")
    option(ingest, "--web-config", Path, None, "file with TLS and passwords of these pages, as Prometheus's web.config")
    option(ingest, "--from-topic", str, "", "topics that hold requests and responses, with commas")
    option(ingest, "--bentoml", Path, None, "send what a monitor of BentoML wrote to this directory, and end")
    ingest.add_argument("--follow", action="store_true", help="with --bentoml: go on as lines come")
    option(ingest, "--timeout", str, "60s", "how long a request waits for its response")
    option(ingest, "--max-body-mib", int, 4, "MiB of a request by HTTP, at most")
    option(
        ingest, "--waiting-mib", int, 256, "MiB of messages that wait for their other half; beyond it the oldest are dropped"
    )
    option(ingest, "--partitions", int, 4, "of topics that are missing")
    option(ingest, "--replication", int, 1, "of topics that are missing")
    option(ingest, "--log-format", str, "text", "json or text", choices=("json", "text"))


def _ingest(options: argparse.Namespace) -> int:
    from tidegauge.ingest import ingest_process
    from tidegauge.stream import ending, logs
    from tidegauge.stream.health_endpoints import Listen

    logs.set_up(options.log_format)
    settings = stream_settings(options, partitions=options.partitions, replication=options.replication)
    if options.bentoml is not None:

        async def send(end: ending.Ending) -> int:
            return await ingest_process.run_bentoml(settings, options.bentoml, options.models, follow=options.follow)

        return ending.run(send)
    host, _, port = options.listen.rpartition(":")
    if not port.isdigit():
        raise StreamError(f"--listen {options.listen} is not HOST:PORT; write it as 0.0.0.0:8090")
    try:
        timeout = duration(options.timeout)
    except SpecError as error:
        raise StreamError(f"--timeout: {error}") from error
    what = ingest_process.IngestOptions(
        Listen(host.strip("[]") or "0.0.0.0", int(port), options.web_config),
        options.models,
        tuple(name.strip() for name in options.from_topic.split(",") if name.strip()),
        timeout,
        options.max_body_mib << 20,
        options.waiting_mib << 20,
    )

    async def run(end: ending.Ending) -> int:
        return await ingest_process.run(settings, what)

    return ending.run(run)
