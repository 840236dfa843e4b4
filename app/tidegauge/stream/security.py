"""Authentication and encryption of Kafka clients: TLS, SASL and tokens, configured by librdkafka's names.

Since flags are visible in process lists, settings come from ``TIDEGAUGE_SECURITY_PROTOCOL``, ``TIDEGAUGE_SASL_...`` and
``TIDEGAUGE_SSL_...`` or, if the name ends in ``_FILE``, from the file that the variable names.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka.abc import AbstractTokenProvider

from tidegauge.errors import StreamError

log = logging.getLogger(__name__)
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
PASSWORDS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
OAUTH, AWS = "OAUTHBEARER", "AWS_MSK_IAM"
_NEEDED = {
    **dict.fromkeys(PASSWORDS, ("sasl.username", "sasl.password")),
    OAUTH: ("sasl.oauthbearer.token.endpoint.url", "sasl.oauthbearer.client.id", "sasl.oauthbearer.client.secret"),
    AWS: ("sasl.aws.region",),
}
_ALSO = {OAUTH: ("sasl.oauthbearer.scope",)}
_SSL = ("ssl.cafile", "ssl.certfile", "ssl.keyfile", "ssl.keypassword")
TOKEN_SECONDS = 10.0
"""The timeout of requests to a token endpoint."""
SPENT = 0.8
"""A new token is requested after this share of the lifetime of the current one."""


def client_security(security: Mapping[str, str]) -> dict[str, Any]:
    """aiokafka's keyword arguments for settings by Kafka's names. Raises StreamError if they contradict each other."""
    if not security:
        return {}
    protocol = security.get("security.protocol", "PLAINTEXT")
    if protocol not in PROTOCOLS:
        raise StreamError(f"security.protocol {protocol!r} is not one of {', '.join(PROTOCOLS)}")
    sasl = {name: value for name, value in security.items() if name.startswith("sasl.")}
    if protocol.startswith("SASL") != bool(sasl):
        raise StreamError(f"sasl.* settings and security.protocol {protocol} do not go together; SASL needs SASL_SSL")
    arguments: dict[str, Any] = {"security_protocol": protocol, **(_login(sasl) if sasl else {})}
    unknown = security.keys() - sasl.keys() - {"security.protocol", *_SSL}
    if unknown:
        raise StreamError(
            f"unknown security setting {', '.join(sorted(unknown))}; known: security.protocol, sasl.*, {', '.join(_SSL)}"
        )
    if protocol in ("SSL", "SASL_SSL"):
        arguments["ssl_context"] = RenewingContext.of(*(security.get(name) for name in _SSL))
    return arguments


def _login(sasl: dict[str, str]) -> dict[str, Any]:
    """aiokafka's arguments of a SASL mechanism."""
    mechanism = sasl.get("sasl.mechanism", "PLAIN")
    if mechanism not in _NEEDED:
        raise StreamError(f"sasl.mechanism {mechanism!r} is not one of {', '.join(_NEEDED)}")
    needed = _NEEDED[mechanism]
    missing = [name for name in needed if not sasl.get(name)]
    if missing:
        raise StreamError(f"sasl.mechanism {mechanism} needs {', '.join(missing)}")
    unknown = sasl.keys() - {"sasl.mechanism", *needed, *_ALSO.get(mechanism, ())}
    if unknown:
        raise StreamError(f"sasl.mechanism {mechanism} does not take {', '.join(sorted(unknown))}")
    if mechanism in PASSWORDS:
        return {
            "sasl_mechanism": mechanism,
            "sasl_plain_username": sasl["sasl.username"],
            "sasl_plain_password": sasl["sasl.password"],
        }
    source: ClientCredentials | AwsSigner
    if mechanism == AWS:
        source = AwsSigner(sasl["sasl.aws.region"])
    else:
        url, client, secret = (sasl[name] for name in needed)
        source = ClientCredentials(url, client, secret, sasl.get("sasl.oauthbearer.scope"))
    return {"sasl_mechanism": OAUTH, "sasl_oauth_token_provider": Tokens(source.fetch)}


class RenewingContext(ssl.SSLContext):
    """The TLS context of a client. Certificates that were renewed on disk are used from the next connection on."""

    _files: tuple[str | None, ...] = (None, None, None, None)
    _read: tuple[int, ...] = ()

    @classmethod
    def of(cls, cafile: str | None, certfile: str | None, keyfile: str | None, password: str | None) -> RenewingContext:
        """A context with these files. Without ``cafile`` the system's certificate authorities are trusted. Raises StreamError
        for a file that is missing or not a certificate."""
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context._files = (cafile, certfile, keyfile, password)
        try:
            if not cafile:
                context.load_default_certs()
            context._load()
        except (OSError, ssl.SSLError) as error:
            names = ", ".join(f"{name} {value}" for name, value in zip(_SSL[:3], context._files, strict=False) if value)
            raise StreamError(f"TLS cannot be set up with {names}: {error}") from error
        return context

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        """Called by asyncio for each connection."""
        try:
            if self._times() != self._read:
                self._load()
        except (OSError, ssl.SSLError) as error:
            log.warning("renewed certificates cannot be read, those from before are used: %s", error)
        return super().wrap_bio(*arguments, **named)

    def _times(self) -> tuple[int, ...]:
        return tuple(Path(file).stat().st_mtime_ns for file in self._files[:3] if file)

    def _load(self) -> None:
        cafile, certfile, keyfile, password = self._files
        times = self._times()
        if cafile:
            self.load_verify_locations(cafile)
        if certfile:
            self.load_cert_chain(certfile, keyfile, password)
        self._read = times


class Token(NamedTuple):
    """A bearer token and its lifetime in seconds."""

    text: str
    seconds: float


class Tokens(AbstractTokenProvider):  # type: ignore[misc]
    """Bearer tokens for aiokafka, each used for most of its lifetime. ``fetch``: returns a new token or raises StreamError."""

    def __init__(self, fetch: Callable[[], Token]) -> None:
        self._fetch, self._token, self._until = fetch, "", 0.0

    async def token(self) -> str:
        if time.time() >= self._until:
            made = await asyncio.to_thread(self._fetch)
            self._token, self._until = made.text, time.time() + SPENT * made.seconds
        return self._token


class ClientCredentials:
    """Tokens from an OAuth 2.0 endpoint by the client credentials grant (RFC 6749, section 4.4)."""

    def __init__(self, url: str, client: str, secret: str, scope: str | None) -> None:
        self._url, self._scope = url, scope
        pair = ":".join(urllib.parse.quote(part, safe="") for part in (client, secret))
        self._login = "Basic " + base64.b64encode(pair.encode()).decode()

    def fetch(self) -> Token:
        form = {"grant_type": "client_credentials", **({"scope": self._scope} if self._scope else {})}
        headers = {"Authorization": self._login, "Accept": "application/json"}
        request = urllib.request.Request(self._url, urllib.parse.urlencode(form).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=TOKEN_SECONDS) as answer:
                said = json.load(answer)
            return Token(str(said["access_token"]), float(said.get("expires_in", 60)))
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            raise StreamError(f"the token endpoint {self._url} gives no token: {error}") from error


class AwsSigner:
    """Tokens for IAM authentication at Amazon MSK, signed with the credentials that boto finds. Needs ``tidegauge[msk]``."""

    def __init__(self, region: str) -> None:
        self._region = region
        try:
            from aws_msk_iam_sasl_signer.MSKAuthTokenProvider import generate_auth_token
        except ImportError as error:
            raise StreamError(f"sasl.mechanism {AWS} needs its extra: pip install 'tidegauge[msk]'") from error
        self._sign = generate_auth_token

    def fetch(self) -> Token:
        try:
            token, until_ms = self._sign(self._region)
        except Exception as error:
            raise StreamError(f"no token for Amazon MSK can be signed: {error}") from error
        return Token(token, until_ms / 1000 - time.time())


def security_from_environment() -> dict[str, str]:
    """The settings in ``TIDEGAUGE_SECURITY_PROTOCOL``, ``TIDEGAUGE_SASL_PASSWORD_FILE`` and so on, by Kafka's names.
    Raises StreamError for a file that cannot be read, and for a setting that is given twice."""
    found: dict[str, str] = {}
    for variable, value in os.environ.items():
        name = variable.removeprefix("TIDEGAUGE_")
        if name == variable or not name.startswith(("SECURITY_", "SASL_", "SSL_")):
            continue
        if name.endswith("_FILE"):
            name = name.removesuffix("_FILE")
            if f"TIDEGAUGE_{name}" in os.environ:
                raise StreamError(f"TIDEGAUGE_{name} and {variable} say the same; set one")
            try:
                value = Path(value).read_text().strip()
            except (OSError, UnicodeError) as error:
                raise StreamError(f"{variable}: {value} cannot be read: {error}") from error
        found[name.lower().replace("_", ".")] = value
    return found
