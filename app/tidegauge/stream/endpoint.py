"""HTTP requests to another server, which tell whether it accepted, refused or could not be reached."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path

import aiohttp
import msgspec
from yarl import URL

from tidegauge.errors import RejectedError, StreamError, UnavailableError

log = logging.getLogger(__name__)
TIMEOUT_SECONDS = 10.0
PAUSES = (0.5, 1.0, 2.0, 5.0)
MAX_TEXT = 500
_PERMANENT = frozenset((400, 413, 422))
_SECRETS = frozenset(("username", "password", "bearer_token"))
_VARIABLES = ("username", "password", "bearer_token", "cafile", "certfile", "keyfile")


class Endpoint(msgspec.Struct, frozen=True):
    """The address of a server and the credentials for it. ``url`` contains no user or password, so it can be logged."""

    url: str
    username: str | None = None
    password: str | None = None
    bearer_token: str | None = None
    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None

    def session(self) -> aiohttp.ClientSession:
        """A session with certificates and credentials, which the caller must close. Raises StreamError for unusable files."""
        context: ssl.SSLContext | bool = True
        try:
            if self.url.startswith("https:"):
                context = ssl.create_default_context(cafile=self.cafile)
                if self.certfile:
                    context.load_cert_chain(self.certfile, self.keyfile)
        except OSError as error:
            files = ", ".join(name for name in (self.cafile, self.certfile, self.keyfile) if name)
            raise StreamError(f"TLS towards {self.url}: {error}; are these files right: {files}?") from error
        headers = {} if self.bearer_token is None else {"Authorization": f"Bearer {self.bearer_token}"}
        if self.username is not None:
            login = base64.b64encode(f"{self.username}:{self.password or ''}".encode()).decode()
            headers = {"Authorization": f"Basic {login}"}
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
        )


def endpoint(url: str, prefix: str, environment: Mapping[str, str] = os.environ) -> Endpoint:
    """The endpoint at ``url`` with the credentials in ``TIDEGAUGE_<prefix>_USERNAME``, ``_PASSWORD``, ``_BEARER_TOKEN`` (or
    in the files that these name with ``_FILE`` behind), ``_CAFILE``, ``_CERTFILE`` and ``_KEYFILE``. Raises StreamError for an
    invalid URL or invalid settings."""
    try:
        parsed = URL(url)
    except ValueError as error:
        raise StreamError(f"{url!r} is not a URL: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise StreamError(f"{url!r} is not a URL; write it as http://HOST:PORT or https://HOST:PORT")
    if parsed.user or parsed.password:
        raise StreamError(f"no user or password in a URL: set TIDEGAUGE_{prefix}_USERNAME and TIDEGAUGE_{prefix}_PASSWORD")
    given = {name: value for name in _VARIABLES if (value := _setting(f"TIDEGAUGE_{prefix}_{name.upper()}", name, environment))}
    if "bearer_token" in given and "username" in given:
        raise StreamError(f"TIDEGAUGE_{prefix}_BEARER_TOKEN and TIDEGAUGE_{prefix}_USERNAME do not go together: set one")
    return Endpoint(url.rstrip("/"), **given)


def _setting(variable: str, name: str, environment: Mapping[str, str]) -> str | None:
    """What a variable says; of a secret also what the file says that is named in its place."""
    return secret(variable, environment) if name in _SECRETS else environment.get(variable)


def secret(variable: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The secret that a variable holds, or the file that ``<variable>_FILE`` names; None without either. Raises StreamError."""
    value, file = environment.get(variable), environment.get(f"{variable}_FILE")
    if not file:
        return value
    if value:
        raise StreamError(f"{variable} and {variable}_FILE say the same; set one")
    try:
        return Path(file).read_text().strip()
    except (OSError, UnicodeError) as error:
        raise StreamError(f"{variable}_FILE: {file} cannot be read: {error}") from error


async def ask(
    session: aiohttp.ClientSession, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None,
    permanent: Callable[[int, str], bool] = lambda status, text: status in _PERMANENT,
) -> bytes:  # fmt: skip
    """The body of the answer to one request. Raises UnavailableError if another attempt may succeed, and RejectedError if not,
    which ``permanent`` decides by the status and the text of the answer."""
    try:
        async with session.request(method, url, data=body, headers=headers, allow_redirects=False) as answer:
            if answer.status < 300:
                return await answer.read()
            text = (await answer.text(errors="replace"))[:MAX_TEXT].strip()
            status = answer.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UnavailableError(f"{url}: {str(error) or type(error).__name__}") from error
    if permanent(status, text):
        raise RejectedError(f"{url} refuses ({status}): {text}")
    hint = "; are address and credentials right?" if status in (301, 302, 307, 308, 401, 403, 404, 405) else ""
    raise UnavailableError(f"{url} answers {status}: {text}{hint}")


class RetryPauses:
    """The pauses between attempts, and a log line when attempts begin to fail and another when they succeed again."""

    def __init__(self, what: str) -> None:
        self._what, self._said, self.failures = what, "", 0

    def worked(self) -> None:
        if self.failures:
            log.warning("%s takes what it is sent again, after %d failed attempts", self._what, self.failures)
        self.failures, self._said = 0, ""

    async def failed(self, error: Exception) -> None:
        """Log the error unless it is the same as before, and wait before the next attempt."""
        if str(error) != self._said:
            self._said = str(error)
            log.error("%s; trying again until it is taken", error)
        pause = PAUSES[min(self.failures, len(PAUSES) - 1)]
        self.failures += 1
        await asyncio.sleep(pause)
