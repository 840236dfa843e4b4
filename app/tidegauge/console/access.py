"""Decides who may use the console, and in which role.

On a loopback address without a token, everyone on the machine may. Otherwise a request needs a token (as a bearer token, or as
the cookie that the login form issues for it), or must come from a trusted reverse proxy that names the person.
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
"""The fewest characters of a token."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_LOCAL_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))


LOOK, SILENCE, DECIDE = "look", "silence", "decide"
ROLES = (LOOK, SILENCE, DECIDE)
"""The roles, each of which includes the previous one: may read; may acknowledge and silence alerts; may roll a model back."""


class Actor(msgspec.Struct, frozen=True):
    """The person or script that makes a request. ``method``: how it was identified: ``local``, ``token``, ``session`` or
    ``proxy``."""

    name: str
    method: str
    role: str = DECIDE

    def may(self, role: str) -> bool:
        return ROLES.index(self.role) >= ROLES.index(role)


class Proxy(msgspec.Struct, frozen=True):
    """A reverse proxy. ``networks``: the addresses it may have; ``identity``: the header that names the person; ``groups``: the
    header with the person's groups, separated by commas; ``roles``: the role of each group. Without ``groups`` everyone has
    every right.
    Raises AccessError if only a part of this is given."""

    identity: str | None
    networks: tuple[Network, ...]
    groups: str | None = None
    roles: Mapping[str, str] = {}

    def __post_init__(self) -> None:
        if self.identity is not None and not self.networks:
            raise AccessError(
                "--identity-header needs --trusted-proxy: say from which addresses the header is believed, as in "
                "--trusted-proxy 10.0.0.7 (or a network, 10.0.0.0/24; several with commas)"
            )
        if self.networks and self.identity is None:
            raise AccessError("--trusted-proxy needs --identity-header: say which header names the person")
        if (self.groups is None) != (not self.roles) or (self.groups is not None and self.identity is None):
            raise AccessError(
                "--groups-header goes with --identity-header, and with --silence-groups or --decide-groups: say who may what"
            )

    def role(self, groups: str) -> str:
        """The highest role of the groups in the header ``groups``."""
        if self.groups is None:
            return DECIDE
        found = [self.roles.get(group.strip(), LOOK) for group in groups.split(",")]
        return max(found, key=ROLES.index)


NO_PROXY = Proxy(None, ())


class Access:
    """Decides on requests. ``tokens``: the role of each secret token; ``names``: further host names under which a console on a
    loopback address is reached."""

    def __init__(
        self, host: str, tokens: Mapping[str, str] | None = None, proxy: Proxy = NO_PROXY, names: frozenset[str] = frozenset()
    ) -> None:
        self.host, self._proxy = host, proxy
        self._tokens = {token.encode(): role for token, role in (tokens or {}).items()}
        self._names = names | _LOCAL_NAMES
        secret = hashlib.sha256(b"\n".join(sorted(self._tokens))).digest()
        self._key = hashlib.blake2b(b"tidegauge session", key=secret).digest()
        if not self.guarded and not is_loopback(host):
            raise AccessError(
                f"the console would be open to everyone who reaches {host}: give --token-file FILE (a secret of at least "
                f"{LEAST_TOKEN} characters), or --identity-header with --trusted-proxy behind a reverse proxy, "
                "or stay on 127.0.0.1"
            )

    @property
    def guarded(self) -> bool:
        """Whether requests need to identify themselves."""
        return bool(self._tokens) or self._proxy.identity is not None

    @property
    def has_login(self) -> bool:
        return bool(self._tokens)

    def actor(self, headers: Mapping[str, str], cookies: Mapping[str, str], remote: str | None, now: float) -> Actor | None:
        """The actor that headers, cookies and peer address of a request prove; None if they prove no one with access."""
        if not self.guarded:
            return Actor("local", "local")
        if self._proxy.identity is not None and self.trusts(remote):
            name = headers.get(self._proxy.identity, "").strip()
            if name:
                return Actor(name[:200], "proxy", self._proxy.role(headers.get(self._proxy.groups or "", "")))
        scheme, _, given = headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and (role := self.role_of(given.strip())) is not None:
            return Actor("token", "token", role)
        session = cookies.get(COOKIE)
        if session is not None and (role := self._role_of_session(session, now)) is not None:
            return Actor("token", "session", role)
        return None

    def role_of(self, given: str) -> str | None:
        """The role of the token ``given``; None if it is not valid. Compares in constant time."""
        found = [hmac.compare_digest(given.encode("utf-8", "replace"), token) for token in self._tokens]
        return next((role for right, role in zip(found, self._tokens.values(), strict=True) if right), None)

    def session(self, role: str, now: float) -> str:
        """The value of a session cookie: its expiry, the role, and a signature. It remains valid after a restart, but not after
        a change of the tokens."""
        until = f"{int(now + SESSION_SECONDS)}-{role}"
        return f"{until}.{self._sign(until)}"

    def trusts(self, remote: str | None) -> bool:
        """Whether the peer is a trusted reverse proxy."""
        try:
            address = ipaddress.ip_address(remote or "")
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._proxy.networks)

    def knows_host(self, host: str) -> bool:
        """Whether a request may have this header ``Host``. An unguarded console answers only to names of its own machine: any
        other name is a foreign page that tries to read it (DNS rebinding)."""
        name = _hostname(host)
        return self.guarded or name in self._names or name == self.host

    def same_origin(self, headers: Mapping[str, str], host: str) -> bool:
        """Whether a request that changes something comes from the console's own pages or from no page at all."""
        if headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return False
        origin = headers.get("Origin")
        return origin is None or (urlsplit(origin).netloc.lower() == host.lower() and origin != "null")

    def _role_of_session(self, given: str, now: float) -> str | None:
        said, _, proof = given.partition(".")
        good = hmac.compare_digest(proof.encode("utf-8", "replace"), self._sign(said).encode())
        until, _, role = said.partition("-")
        return role if good and self._tokens and until.isascii() and until.isdigit() and now < int(until) else None

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, text.encode("utf-8", "replace"), "sha256").hexdigest()


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached only from this machine.

    >>> is_loopback("localhost"), is_loopback("127.0.0.2"), is_loopback("0.0.0.0"), is_loopback("")
    (True, True, False, False)
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_tokens(path: Path) -> dict[str, str]:
    """The role of each token in a file. A line is ``ROLE TOKEN``, or only a token, which then gives every right.
    Raises AccessError if there is no token, or one that is too short to be safe."""
    try:
        lines = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeError) as error:
        raise AccessError(f"{path}: the token cannot be read: {getattr(error, 'strerror', error)}") from error
    found: dict[str, str] = {}
    for words in lines or [[""]]:
        role, token = (words[0], words[1]) if len(words) == 2 else (DECIDE, words[0])
        good = len(token) >= LEAST_TOKEN and token.isascii() and token.isprintable()
        if len(words) > 2 or role not in ROLES or not good:
            raise AccessError(
                f"{path}: a line is a token of at least {LEAST_TOKEN} printable ASCII characters without spaces, and before "
                f"it its role ({', '.join(ROLES)}) if it may not everything; make one with `openssl rand -hex 32`"
            )
        found[token] = role
    return found


def networks(text: str) -> tuple[Network, ...]:
    """Addresses and networks, separated by commas. Raises AccessError for anything else.

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
