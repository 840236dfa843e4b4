"""The common parts of all commands' flags: defaults from the environment, settings of Kafka, help that shows defaults."""

from __future__ import annotations

import argparse
import getpass
import os
from collections.abc import Callable
from typing import Any

TOPICS = ("predictions", "labels", "models", "alerts", "incidents", "metrics", "dead-letters")
"""The topics whose names can be configured."""
Command = Callable[[argparse.Namespace], int]
"""Runs a command and returns the exit status."""


def person() -> str:
    """Who runs the command: the name of the user, or the number where the system knows no name, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


class DefaultsHelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Help that shows the default of each flag that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None or action.default is False else super()._get_help_string(action)


def command(commands: Any, name: str, run: Command, text: str) -> argparse.ArgumentParser:
    """Add the command ``name``, which ``run`` executes, to the subparsers; return its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, formatter_class=DefaultsHelpFormatter
    )
    parser.set_defaults(run=run, parser=parser)
    return parser


def option(parser: argparse.ArgumentParser, flag: str, kind: Any, default: Any, text: str, **more: Any) -> None:
    """Add a flag whose default comes from the environment variable of the same name."""
    given = os.environ.get("TIDEGAUGE_" + flag.removeprefix("--").replace("-", "_").upper())
    if given is not None and flag not in ("--version", "--input", "--output", "--spec"):
        try:
            default = kind(given)
        except ValueError:
            parser.error(f"TIDEGAUGE_{flag[2:].replace('-', '_').upper()}={given!r} is not a {kind.__name__}")
        if default not in more.get("choices", (default,)):
            parser.error(f"TIDEGAUGE_{flag[2:].replace('-', '_').upper()}={given!r} is not one of {', '.join(more['choices'])}")
    more["required"] = bool(more.get("required")) and given is None
    parser.add_argument(flag, type=kind, default=default, help=text, **more)


def kafka(parser: argparse.ArgumentParser) -> None:
    """Add the flags of every command that uses Kafka."""
    option(parser, "--bootstrap", str, "127.0.0.1:9092", "HOST:PORT of a broker, several with commas")
    option(parser, "--app-id", str, "tidegauge", "consumer group and prefix of transactional ids")
    for topic in TOPICS:
        option(parser, f"--{topic}-topic", str, topic, f"name of the topic {topic}")


def schema_registry(parser: argparse.ArgumentParser) -> None:
    """The flag of every command that reads what services send to Kafka."""
    option(
        parser,
        "--schema-registry",
        str,
        None,
        "address of the registry with the schemas of events that are not plain JSON",
    )


def stream_settings(options: argparse.Namespace, **more: Any) -> Any:
    """The ``stream.settings.Settings`` that follow from the flags and the environment."""
    from tidegauge.stream.security import security_from_environment
    from tidegauge.stream.settings import Settings

    topics = {name: getattr(options, f"{name.replace('-', '_')}_topic") for name in TOPICS}
    return Settings(
        bootstrap=options.bootstrap,
        app_id=options.app_id,
        topics={name: topic for name, topic in topics.items() if topic != name},
        security=security_from_environment(),
        schema_registry=getattr(options, "schema_registry", None) or None,
        **more,
    )
