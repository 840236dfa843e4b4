"""TLS and passwords of a process's HTTP pages, from a file in the format of Prometheus's ``web.config``.

The members that are read are ``tls_server_config`` (``cert_file``, ``key_file``, ``client_ca_file``, ``client_auth_type``) and
``basic_auth_users`` (name and bcrypt hash); see https://prometheus.io/docs/prometheus/latest/configuration/https/.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import yaml
from aiohttp import web

from tidegauge.errors import StreamError

_CLIENTS = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
REMEMBERED = 100
"""How many correct passwords are remembered, since checking one with bcrypt takes a tenth of a second."""
_NOBODY = b"$2b$10$hkZ8t6cGRAYZ2TyyeBcRbe1xA1tmcSTSHFyMnO8y0y0tZUQWvPpyu"
"""The hash that is used for unknown names, so that checking them takes the same time."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class TlsServer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The member ``tls_server_config`` of the file."""

    cert_file: str
    key_file: str
    client_ca_file: str | None = None
    client_auth_type: str = "NoClientCert"


class WebConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of the file. The default has neither TLS nor passwords."""

    tls_server_config: TlsServer | None = None
    basic_auth_users: dict[str, str] = {}

    @classmethod
    def read(cls, path: Path) -> WebConfig:
        """Read the file. Raises StreamError if it cannot be read or has unknown members."""
        try:
            found = msgspec.convert(yaml.safe_load(path.read_text()) or {}, cls)
        except (OSError, UnicodeError, yaml.YAMLError, msgspec.ValidationError) as error:
            raise StreamError(f"--web-config {path}: {error}") from error
        wrong = [name for name, text in found.basic_auth_users.items() if not text.startswith(("$2a$", "$2b$", "$2y$"))]
        if wrong:
            raise StreamError(f"--web-config {path}: {', '.join(wrong)}: no bcrypt hash; `htpasswd -nBC 10 NAME` makes one")
        return found

    def context(self, path: Path) -> ssl.SSLContext | None:
        """The TLS context of the server; None without TLS. Relative file names are relative to the directory of ``path``.
        Raises StreamError."""
        tls = self.tls_server_config
        if tls is None:
            return None
        if tls.client_auth_type not in _CLIENTS:
            raise StreamError(f"--web-config {path}: client_auth_type is one of {', '.join(_CLIENTS)}")
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            made.load_cert_chain(path.parent / tls.cert_file, path.parent / tls.key_file)
            if tls.client_ca_file is not None:
                made.load_verify_locations(path.parent / tls.client_ca_file)
        except (OSError, ssl.SSLError) as error:
            raise StreamError(f"--web-config {path}: the certificates cannot be used: {error}") from error
        made.verify_mode = _CLIENTS[tls.client_auth_type]
        return made


def passwords(users: dict[str, str]) -> Any:
    """Middleware that answers 401 unless a request has the name and password of one of ``users`` (bcrypt hash by name)."""
    import bcrypt

    right: set[bytes] = set()

    async def known(given: str) -> bool:
        scheme, _, text = given.partition(" ")
        mark = hashlib.sha256(given.encode("utf-8", "replace")).digest()
        if any([hmac.compare_digest(mark, one) for one in right]):
            return True
        try:
            name, _, password = base64.b64decode(text.encode(), validate=True).decode().partition(":")
        except ValueError:
            return False
        stored = users.get(name, "").encode() or _NOBODY
        # bcrypt uses at most 72 bytes.
        same = await asyncio.to_thread(bcrypt.checkpw, password.encode()[:72], stored)
        if not (same and name in users and scheme.lower() == "basic"):
            return False
        if len(right) >= REMEMBERED:
            right.clear()
        right.add(mark)
        return True

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if await known(request.headers.get("Authorization", "")):
            return await handler(request)
        return web.Response(status=401, text="name and password are needed\n", headers={"WWW-Authenticate": "Basic"})

    return check
