"""Who may reach the console, and as whom.

On a loopback address without a token everyone on the machine may. Anywhere else a request needs the token (as a bearer
token, or as the cookie that the login form gave for it), or comes from a trusted reverse proxy that names the person.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from tidegauge.errors import AccessError

COOKIE = "tidegauge_session"
SESSION_SECONDS = 12 * 3600
LEAST_TOKEN = 16
"""Characters a token has at least."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_LOCAL_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))


class Actor(msgspec.Struct, frozen=True):
    """Who makes a request, and how that is known: ``local``, ``token``, ``session`` or ``proxy``."""

    name: str
    method: str


class Access:
    """Decides on requests. ``token``: the shared secret; ``identity_header``: where a reverse proxy at one of ``proxies``
    names the person; ``names``: further host names the console is reached under on loopback."""

    def __init__(
        self, host: str, token: str | None = None, identity_header: str | None = None, proxies: tuple[Network, ...] = (),
        names: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        self.host, self.identity_header, self.proxies = host, identity_header, proxies
        self._token = token.encode() if token is not None else None
        self._names = names | _LOCAL_NAMES
        self._key = hashlib.blake2b(b"tidegauge session", key=hashlib.sha256(self._token or b"").digest()).digest()
        if identity_header is not None and not proxies:
            raise AccessError(
                "--identity-header needs --trusted-proxy: say from which addresses the header is believed, as in "
                "--trusted-proxy 10.0.0.7 (or a network, 10.0.0.0/24; several with commas)"
            )
        if proxies and identity_header is None:
            raise AccessError("--trusted-proxy needs --identity-header: say which header names the person")
        if not self.guarded and not is_loopback(host):
            raise AccessError(
                f"the console would be open to everyone who reaches {host}: give --token-file FILE (a secret of at least "
                f"{LEAST_TOKEN} characters), or --identity-header with --trusted-proxy behind a reverse proxy, "
                "or stay on 127.0.0.1"
            )

    @property
    def guarded(self) -> bool:
        """Whether a request needs to say who it is."""
        return self._token is not None or self.identity_header is not None

    @property
    def has_login(self) -> bool:
        return self._token is not None

    def actor(self, headers: Mapping[str, str], cookies: Mapping[str, str], remote: str | None, now: float) -> Actor | None:
        """Who makes a request with these headers, cookies and peer address; None where they prove nobody who may."""
        if not self.guarded:
            return Actor("local", "local")
        if self.identity_header is not None and self.trusts(remote):
            name = headers.get(self.identity_header, "").strip()
            if name:
                return Actor(name[:200], "proxy")
        scheme, _, given = headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(given.strip()):
            return Actor("token", "token")
        session = cookies.get(COOKIE)
        if session is not None and self._is_session(session, now):
            return Actor("token", "session")
        return None

    def is_token(self, given: str) -> bool:
        """In constant time."""
        return self._token is not None and hmac.compare_digest(given.encode("utf-8", "replace"), self._token)

    def session(self, now: float) -> str:
        """A cookie's value: when it ends, and proof that its owner had the token. It outlives a restart, not a new token."""
        until = str(int(now + SESSION_SECONDS))
        return f"{until}.{self._sign(until)}"

    def trusts(self, remote: str | None) -> bool:
        """Whether the peer is a reverse proxy whose headers are believed."""
        try:
            address = ipaddress.ip_address(remote or "")
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self.proxies)

    def knows_host(self, host: str) -> bool:
        """Whether a request may carry this ``Host``. An unguarded console answers to names of this machine only: another name
        that leads here is a page elsewhere trying to read it (DNS rebinding)."""
        name = _hostname(host)
        return self.guarded or name in self._names or name == self.host

    def same_origin(self, headers: Mapping[str, str], host: str) -> bool:
        """Whether a request that changes something comes from the console's own pages, or from no page at all."""
        if headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return False
        origin = headers.get("Origin")
        return origin is None or (urlsplit(origin).netloc.lower() == host.lower() and origin != "null")

    def _is_session(self, given: str, now: float) -> bool:
        until, _, proof = given.partition(".")
        good = hmac.compare_digest(proof.encode("utf-8", "replace"), self._sign(until).encode())
        return good and self._token is not None and until.isascii() and until.isdigit() and now < int(until)

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, text.encode("utf-8", "replace"), "sha256").hexdigest()


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only.

    >>> is_loopback("localhost"), is_loopback("127.0.0.2"), is_loopback("0.0.0.0"), is_loopback("")
    (True, True, False, False)
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(path: Path) -> str:
    """The token in a file. Raises AccessError where there is none, or one too short to keep anyone out."""
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise AccessError(f"{path}: the token cannot be read: {getattr(error, 'strerror', error)}") from error
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise AccessError(
            f"{path}: a token is one line of at least {LEAST_TOKEN} printable ASCII characters without spaces; "
            "make one with `openssl rand -hex 32`"
        )
    return token


def networks(text: str) -> tuple[Network, ...]:
    """Addresses and networks, separated by commas. Raises AccessError for what is neither.

    >>> [str(network) for network in networks("10.0.0.7, 10.1.0.0/16")]
    ['10.0.0.7/32', '10.1.0.0/16']
    """
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise AccessError(f"--trusted-proxy {text!r}: {error}") from error


def _hostname(host: str) -> str:
    """``[::1]:80`` → ``::1``."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""
