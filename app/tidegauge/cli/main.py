"""The command `tidegauge`. Exit status 0, 1 (failed) or 2 (usage)."""

from __future__ import annotations

import argparse
import asyncio
import difflib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import tidegauge
from tidegauge.alert.playbooks import DIRECTORY
from tidegauge.cli import (
    bridge_commands,
    card_command,
    console_command,
    doctor_command,
    event_commands,
    forget_command,
    ingest_command,
    mark_command,
    report_command,
    rollback_command,
    state_command,
)
from tidegauge.cli.options import DefaultsHelpFormatter, command, kafka, option, person, schema_registry, stream_settings
from tidegauge.errors import AccessError, TidegaugeError, TopicError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    parser = _parser()
    if "_ARGCOMPLETE" in os.environ:
        # A shell asks for completions. Answering ends the process.
        import argcomplete

        argcomplete.autocomplete(parser)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        _refuse(options.parser, unknown)
    options.arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if hasattr(options, "bootstrap") and not hasattr(options, "log_format"):
            from tidegauge.stream import logs

            logs.set_up_for_people()
        return int(options.run(options))
    except (AccessError, TopicError) as error:
        print(f"tidegauge: {error}", file=sys.stderr)
        return 2
    except TidegaugeError as error:
        print(f"tidegauge: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        from tidegauge.stream.failures import KafkaError

        if not isinstance(error, KafkaError):
            raise
        where = getattr(options, "bootstrap", "the broker")
        print(f"tidegauge: Kafka at {where}: {error}; is it up, and are address and security settings right?", file=sys.stderr)
        return 1


def _refuse(parser: argparse.ArgumentParser, unknown: Sequence[str]) -> NoReturn:
    """Exit with status 2 because of arguments that the command of ``parser`` does not have, and suggest the nearest ones."""
    flags = [flag for action in parser._actions for flag in action.option_strings]
    said = []
    for argument in unknown:
        near = difflib.get_close_matches(argument.partition("=")[0], flags, 1) if argument.startswith("-") else []
        said.append(f"{argument} (did you mean {near[0]}?)" if near else argument)
    parser.exit(2, f"{parser.prog}: error: unrecognized arguments: {', '.join(said)}; {parser.prog} --help shows all\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tidegauge", description="Watches machine-learning models in production.", formatter_class=DefaultsHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"tidegauge {tidegauge.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = command(commands, "demo", _demo, "the whole product on one machine, on real data, in about a minute")
    option(demo, "--speed", float, None, "event-time seconds a second; all of it in about a minute if not given")
    option(demo, "--days", int, 275, "days of flights from 1 April 2013 on")
    option(demo, "--workers", int, 2, "worker processes")
    option(demo, "--output", Path, Path("demo-output"), "where metrics and alerts are written")
    demo.add_argument("--console", action="store_true", help="keep the console up after the run; on a terminal it always is")

    broker = command(commands, "broker", _broker, "one real Kafka node, for laptops and tests")
    option(broker, "--port", int, 9092, "where it listens on 127.0.0.1")
    option(broker, "--data", Path, Path("tidegauge-kafka"), "where it keeps everything")

    worker = command(commands, "worker", _worker, "the stream processor")
    kafka(worker)
    schema_registry(worker)
    option(worker, "--models", Path, None, "directory of specs to publish before starting")
    option(worker, "--workers", int, 1, "processes")
    option(worker, "--metrics-port", int, 9464, "of the first process; the next ones follow")
    option(worker, "--metrics-host", str, "127.0.0.1", "interface of /metrics, /healthz and /readyz")
    option(worker, "--web-config", Path, None, "file with TLS and passwords of these pages, as Prometheus's web.config")
    option(worker, "--state-dir", Path, Path("tidegauge-state"), "local copy of the state, one directory a process")
    option(worker, "--partitions", int, 4, "of topics that are missing")
    option(worker, "--replication", int, 1, "of topics that are missing")
    option(
        worker, "--rekey", str, "auto",
        "bring events to their partitions by an internal topic, whatever their key, partitioner and number of partitions: "
        "always, never, or where they have to be",
        nargs="?", const="always", choices=("auto", "always", "never"),
    )  # fmt: skip
    option(worker, "--checkpoint-interval", float, 1.0, "seconds between two checkpoints of a task")
    option(worker, "--idle-timeout", float, 5.0, "seconds without records after which a partition stops holding time back")
    option(worker, "--stall-timeout", float, 60.0, "seconds without progress after which a process ends and is started anew")
    option(worker, "--playbooks", str, DIRECTORY, "address of the playbooks, for alerts whose spec names no runbook")
    option(worker, "--log-format", str, "text", "json or text", choices=("json", "text"))
    worker.add_argument("--index", type=int, default=None, help=argparse.SUPPRESS)
    worker.add_argument("--publish", action="store_true", help=argparse.SUPPRESS)

    baseline = commands.add_parser("baseline", help="reference data to compare with", formatter_class=DefaultsHelpFormatter)
    event_commands.add_build(baseline.add_subparsers(required=True, metavar="ACTION"))

    models = commands.add_parser("models", help="specs: verify, publish, show", formatter_class=DefaultsHelpFormatter)
    actions = models.add_subparsers(required=True, metavar="ACTION")
    event_commands.add_init(actions)
    event_commands.add_check(actions)
    apply = command(actions, "apply", _apply, "publishes every spec with its baselines")
    apply.add_argument("directory", type=Path)
    kafka(apply)
    listing = command(actions, "list", _list, "shows the models in the topic")
    kafka(listing)

    event_commands.add(commands)
    console_command.add(commands)
    report_command.add(commands)
    card_command.add(commands)
    rollback_command.add(commands)
    forget_command.add(commands)
    mark_command.add(commands)
    doctor_command.add(commands)
    state_command.add(commands)

    alerts = command(commands, "alerts", _alerts, "lists alerts by incident, for people")
    kafka(alerts)
    alerts.add_argument("--follow", action="store_true", help="each as it came and comes, without incidents")
    alerts.add_argument("--json", action="store_true", help="the events themselves, one a line")

    incidents = command(commands, "incidents", _incidents, "reads the topic of incidents, for people")
    kafka(incidents)
    incidents.add_argument("--follow", action="store_true", help="go on as they open and resolve")
    incidents.add_argument("--json", action="store_true", help="the events themselves, one a line")

    bridge_commands.add(commands)
    ingest_command.add(commands)
    return parser


def _demo(options: argparse.Namespace) -> int:
    from tidegauge.demo import run

    keep = options.console or (sys.stdin.isatty() and sys.stdout.isatty())
    return run.demo(options.days, options.speed, options.workers, options.output, keep)


def _broker(options: argparse.Namespace) -> int:
    from tidegauge.stream import broker

    return broker.run(options.port, options.data)


def _worker(options: argparse.Namespace) -> int:
    from tidegauge.stream import logs
    from tidegauge.stream.supervisor import Supervisor, run_apart

    logs.set_up(options.log_format)
    if options.index is None:
        if options.publish:
            _publish(options, options.models)
            return 0
        if options.models is not None:
            # This runs in a child process, since the current one becomes the supervisor and should stay small.
            status = run_apart([*options.arguments, "--publish"])
            if status:
                return status
        return Supervisor(options.arguments, options.workers).run()
    from tidegauge.stream import worker

    return worker.run(
        stream_settings(
            options,
            partitions=options.partitions,
            replication=options.replication,
            state_dir=options.state_dir / str(options.index),
            checkpoint_interval=options.checkpoint_interval,
            idle_timeout=options.idle_timeout,
            stall_timeout=options.stall_timeout,
            metrics_host=options.metrics_host,
            metrics_port=options.metrics_port + options.index,
            web_config=options.web_config,
            log_format=options.log_format,
            playbooks=options.playbooks,
            rekey=options.rekey,
        )
    )


def _publish(options: argparse.Namespace, path: Path) -> list[str]:
    from tidegauge.models import directory
    from tidegauge.stream import models_topic

    records = directory.records_of(path)
    sizes = {name: getattr(options, name) for name in ("partitions", "replication", "rekey") if hasattr(options, name)}
    return asyncio.run(models_topic.apply(stream_settings(options, **sizes), records, person()))


def _apply(options: argparse.Namespace) -> int:
    for line in _publish(options, options.directory):
        print(line)
    return 0


def _list(options: argparse.Namespace) -> int:
    from tidegauge.stream import models_topic

    registry = asyncio.run(models_topic.read(stream_settings(options)))
    for name in registry.models():
        spec = registry.spec(name)
        baselines = ", ".join(version or "all versions" for version in registry.baseline_versions(name)) or "none yet"
        print(f"{name}\t{spec.task or 'task not known yet'}\twindows {', '.join(spec.windows)}\tbaselines: {baselines}")
    if not registry.models():
        print("no models; publish specs with `tidegauge models apply DIR`", file=sys.stderr)
    return 0


def _alerts(options: argparse.Namespace) -> int:
    from tidegauge.alert.life_cycle import line
    from tidegauge.engine.stage import ALERTS
    from tidegauge.stream.reading import list_alerts

    if options.follow or options.json:
        return _follow(options, ALERTS, line)
    asyncio.run(list_alerts(stream_settings(options)))
    return 0


def _incidents(options: argparse.Namespace) -> int:
    from tidegauge.engine.stage import INCIDENTS
    from tidegauge.incident.sentences import line

    return _follow(options, INCIDENTS, line)


def _follow(options: argparse.Namespace, topic: str, line: Callable[[dict[str, Any]], str]) -> int:
    from tidegauge.stream.reading import follow

    asyncio.run(follow(stream_settings(options), topic, None if options.json else line, without_end=options.follow))
    return 0
