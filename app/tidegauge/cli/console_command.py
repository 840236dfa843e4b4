"""The command `tidegauge console`."""

from __future__ import annotations

import argparse
import ssl
from pathlib import Path
from typing import Any

from tidegauge.cli.options import command, kafka, option, stream_settings
from tidegauge.errors import AccessError


def add(commands: Any) -> None:
    """Add the command to the others."""
    console = command(commands, "console", _console, "the web console and its HTTP API")
    kafka(console)
    option(console, "--host", str, "127.0.0.1", "interface to listen on; off loopback somebody has to say who may")
    option(console, "--port", int, 8088, "to listen on; 0 for any")
    option(console, "--token-file", Path, None, "file with the secrets that requests and people have to give, a line each")
    option(console, "--identity-header", str, None, "header in which a reverse proxy names the person")
    option(console, "--trusted-proxy", str, "", "addresses or networks of that proxy, with commas")
    option(console, "--groups-header", str, None, "header in which it names the person's groups, with commas")
    option(console, "--silence-groups", str, "", "groups that may acknowledge and silence, with commas")
    option(console, "--decide-groups", str, "", "groups that may roll a model back as well, with commas")
    option(console, "--allowed-host", str, "", "further names this console is reached under on loopback, with commas")
    option(console, "--tls-cert", Path, None, "certificate (PEM) to serve HTTPS with")
    option(console, "--tls-key", Path, None, "its key (PEM), where it is not in the same file")
    option(console, "--audit-file", Path, None, "where the audit's JSON lines go; standard output if not given")
    option(console, "--memory", int, 512, "MiB for windows; the oldest go beyond it")
    option(console, "--replication", int, 1, "of the topics of operations and audit, where they are missing")
    option(console, "--replay", Path, None, "look at the output directory of `tidegauge replay` instead of Kafka")
    option(console, "--models", Path, None, "with --replay: directory of its specs and baselines")


def _console(options: argparse.Namespace) -> int:
    from tidegauge.console import process
    from tidegauge.console.access import DECIDE, SILENCE, Access, Proxy, networks, read_tokens

    names = frozenset(name.strip().lower() for name in options.allowed_host.split(",") if name.strip())
    tokens = read_tokens(options.token_file) if options.token_file else None
    groups = {SILENCE: options.silence_groups, DECIDE: options.decide_groups}
    roles = {group.strip(): role for role, text in groups.items() for group in text.split(",") if group.strip()}
    proxy = Proxy(options.identity_header, networks(options.trusted_proxy), options.groups_header, roles)
    access = Access(options.host, tokens, proxy, names)
    what = process.Options(
        options.host, options.port, access, options.audit_file, _tls(options), options.memory << 20, options.replay,
        options.models,
    )  # fmt: skip
    return process.run(stream_settings(options, replication=options.replication), what)


def _tls(options: argparse.Namespace) -> ssl.SSLContext | None:
    if options.tls_cert is None:
        return None
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        tls.load_cert_chain(options.tls_cert, options.tls_key)
    except OSError as error:
        raise AccessError(f"{options.tls_cert}: the certificate cannot be used: {error}") from error
    return tls
