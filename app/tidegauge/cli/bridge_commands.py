"""The commands that forward topics to other servers: `notify`, `history` and `act`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tidegauge.cli.options import command, kafka, option, stream_settings
from tidegauge.errors import SpecError, StreamError
from tidegauge.spec import duration


def add(commands: Any) -> None:
    """Add the commands to the subparsers ``commands``."""
    notify = command(commands, "notify", _notify, "hands alerts to Alertmanager, which pages people")
    kafka(notify)
    option(notify, "--alertmanager", str, "http://127.0.0.1:9093", "URL of Alertmanager; all of a cluster, with commas")
    option(notify, "--interval", float, 60.0, "seconds after which what fires is said again; it counts for four of them")
    option(notify, "--console", str, None, "URL of the console, for the link of each alert")
    _pages(notify, 9474)

    history = command(commands, "history", _history, "writes closed and restated windows into Prometheus's past")
    kafka(history)
    option(history, "--remote-write", str, "http://127.0.0.1:9090/api/v1/write", "URL that takes Prometheus's remote write")
    option(history, "--out-of-order", str, "30d", "how far back Prometheus takes samples: its out_of_order_time_window")
    _pages(history, 9475)

    act = command(commands, "act", _act, "does what the specs say under `on` when alerts begin: rolls back, calls hooks")
    kafka(act)
    option(act, "--alias-interval", float, 30.0, "seconds after which MLflow is asked which version serves; 0 for never")
    _pages(act, 9476)


def _pages(parser: argparse.ArgumentParser, port: int) -> None:
    option(parser, "--metrics-port", int, port, "of /metrics, /healthz and /readyz")
    option(parser, "--metrics-host", str, "127.0.0.1", "their interface")
    option(parser, "--web-config", Path, None, "file with TLS and passwords of these pages, as Prometheus's web.config")
    option(parser, "--log-format", str, "text", "json or text", choices=("json", "text"))


def _notify(options: argparse.Namespace) -> int:
    from tidegauge.stream import bridge, ending, logs
    from tidegauge.stream.endpoint import endpoint
    from tidegauge.stream.health_endpoints import Listen
    from tidegauge.stream.notify import Notifier

    logs.set_up(options.log_format)
    if options.interval <= 0:
        raise StreamError(f"--interval {options.interval:g} is no number of seconds")
    alertmanagers = [endpoint(url.strip(), "ALERTMANAGER") for url in options.alertmanager.split(",")]

    async def run(end: ending.Ending) -> int:
        notifier = Notifier(stream_settings(options), alertmanagers, options.interval, options.console)
        return await bridge.run(notifier, Listen(options.metrics_host, options.metrics_port, options.web_config))

    return ending.run(run)


def _act(options: argparse.Namespace) -> int:
    from tidegauge.stream import alias_webhook, bridge, ending, logs
    from tidegauge.stream.acting import Actor
    from tidegauge.stream.endpoint import secret
    from tidegauge.stream.health_endpoints import Listen

    logs.set_up(options.log_format)

    async def run(end: ending.Ending) -> int:
        actor = Actor(stream_settings(options), options.alias_interval, secret(alias_webhook.SECRET) or "")
        at = Listen(options.metrics_host, options.metrics_port, options.web_config)
        return await bridge.run(actor, at, actor.pages)

    return ending.run(run)


def _history(options: argparse.Namespace) -> int:
    from tidegauge.stream import bridge, ending, logs
    from tidegauge.stream.endpoint import endpoint
    from tidegauge.stream.health_endpoints import Listen
    from tidegauge.stream.history_writer import HistoryWriter

    logs.set_up(options.log_format)
    target = endpoint(options.remote_write, "REMOTE_WRITE")
    try:
        back = duration(options.out_of_order)
    except SpecError as error:
        raise StreamError(f"--out-of-order: {error}") from error

    async def run(end: ending.Ending) -> int:
        writer = HistoryWriter(stream_settings(options), target, back)
        return await bridge.run(writer, Listen(options.metrics_host, options.metrics_port, options.web_config))

    return ending.run(run)
