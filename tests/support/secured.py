"""A Kafka node that lets nobody in unproved: TLS, mutual TLS, SASL with passwords and with tokens, and ACLs."""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import trustme
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tidegauge.stream.broker import Broker, free_port

USER, PASSWORD = "worker", "not-to-be-seen-in-any-log"
_MODULE = "org.apache.kafka.common.security"


def _text(number: int) -> str:
    return _encoded(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _pkcs8(pem: bytes) -> bytes:
    """A key in the only form Java reads."""
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return serialization.load_pem_private_key(pem, None).private_bytes(*form)


class TokenServer:
    """An OAuth 2.0 endpoint that gives signed tokens to who has the secret, and the key to check them with."""

    def __init__(self, seconds: int = 300) -> None:
        self.given, self._seconds = 0, seconds
        self._key = rsa.generate_private_key(65537, 2048)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                numbers = outer._key.public_key().public_numbers()
                key = {"kty": "RSA", "kid": "k", "alg": "RS256", "use": "sig", "n": _text(numbers.n), "e": _text(numbers.e)}
                self._answer(200, {"keys": [key]})

            def do_POST(self) -> None:
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                right = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
                if self.headers["Authorization"] != right or form["grant_type"] != ["client_credentials"]:
                    self._answer(401, {"error": "invalid_client"})
                    return
                outer.given += 1
                self._answer(200, {"access_token": outer.token(), "expires_in": outer._seconds, "token_type": "Bearer"})

            def _answer(self, status: int, body: Mapping[str, object]) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def token(self) -> str:
        now = int(time.time())
        head = _encoded(json.dumps({"alg": "RS256", "kid": "k", "typ": "JWT"}).encode())
        claims = {"sub": USER, "aud": "kafka", "iss": "test", "iat": now, "exp": now + self._seconds, "scope": "kafka"}
        signed = f"{head}.{_encoded(json.dumps(claims).encode())}"
        return f"{signed}.{_encoded(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class SecuredBroker:
    """The node, with its certificates in ``directory``. JAVA_TOOL_OPTIONS must allow the tokens' endpoint (see the fixture)."""

    def __init__(self, directory: Path, tokens: TokenServer) -> None:
        self.directory, self.tokens = directory, tokens
        self.authority = trustme.CA()
        self.cafile = directory / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.cafile))
        server = self.authority.issue_cert("127.0.0.1", "localhost")
        keystore = directory / "server.pem"
        keystore.write_bytes(_pkcs8(server.private_key_pem.bytes()) + b"".join(part.bytes() for part in server.cert_chain_pems))
        inside, mutual, sasl = free_port(), free_port(), free_port()
        self.inside, self.mutual, self.sasl = (f"127.0.0.1:{port}" for port in (inside, mutual, sasl))
        controller = free_port()
        listeners = (
            f"TLS://127.0.0.1:{mutual},SASL://127.0.0.1:{sasl},INSIDE://127.0.0.1:{inside},CONTROLLER://127.0.0.1:{controller}"
        )
        jaas = "listener.name.sasl.{}.sasl.jaas.config"
        properties = {
            "listeners": listeners,
            "advertised.listeners": listeners,
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "inter.broker.listener.name": "INSIDE",
            "listener.security.protocol.map": "TLS:SSL,SASL:SASL_SSL,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(keystore),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.cafile),
            "listener.name.tls.ssl.client.auth": "required",
            "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
            jaas.format("plain"): f'{_MODULE}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
            jaas.format("scram-sha-256"): f"{_MODULE}.scram.ScramLoginModule required;",
            jaas.format("scram-sha-512"): f"{_MODULE}.scram.ScramLoginModule required;",
            jaas.format("oauthbearer"): f"{_MODULE}.oauthbearer.OAuthBearerLoginModule required;",
            "listener.name.sasl.oauthbearer.sasl.server.callback.handler.class":
                f"{_MODULE}.oauthbearer.OAuthBearerValidatorCallbackHandler",
            "listener.name.sasl.oauthbearer.sasl.oauthbearer.jwks.endpoint.url": f"{tokens.url}/keys",
            "listener.name.sasl.oauthbearer.sasl.oauthbearer.expected.audience": "kafka",
            # Whose token is spent is sent away, and comes back with a new one.
            "listener.name.sasl.oauthbearer.connections.max.reauth.ms": "3600000",
            "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }  # fmt: skip
        self.broker = Broker(port=inside, properties=properties)
        self._admin: AdminClient | None = None

    @property
    def admin(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.inside})
        return self._admin

    def user(self, name: str = USER, password: str = PASSWORD) -> None:
        """Make ``name`` known to SCRAM."""
        for kind in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            change = UserScramCredentialUpsertion(name, ScramCredentialInfo(kind, 4096), password.encode())
            self.admin.alter_user_scram_credentials([change])[name].result(20)

    def certificate(self, name: str = USER) -> tuple[Path, Path]:
        """A client's certificate and key."""
        issued = self.authority.issue_cert(f"{name}@example.org", common_name=name)
        paths = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        paths[0].write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(paths[1]))
        return paths

    def security(self, mechanism: str) -> tuple[str, dict[str, str]]:
        """Address and settings of a client that comes in by ``mechanism``: TLS or one of SASL."""
        if mechanism == "TLS":
            certificate, key = self.certificate()
            rest = {"security.protocol": "SSL", "ssl.certfile": str(certificate), "ssl.keyfile": str(key)}
            return self.mutual, rest | {"ssl.cafile": str(self.cafile)}
        settings = {"security.protocol": "SASL_SSL", "ssl.cafile": str(self.cafile), "sasl.mechanism": mechanism}
        if mechanism == "OAUTHBEARER":
            names = ("token.endpoint.url", "client.id", "client.secret")
            values = (f"{self.tokens.url}/token", USER, PASSWORD)
            return self.sasl, settings | {f"sasl.oauthbearer.{name}": value for name, value in zip(names, values, strict=True)}
        return self.sasl, settings | {"sasl.username": USER, "sasl.password": PASSWORD}

    def allow(self, rights: Sequence[tuple[ResourceType, str, ResourcePatternType, AclOperation]], user: str = USER) -> None:
        """These are the rights of ``user``, and no others."""
        every = AclBindingFilter(
            ResourceType.ANY, None, ResourcePatternType.ANY, f"User:{user}", None, AclOperation.ANY, AclPermissionType.ANY
        )
        self.admin.delete_acls([every])[every].result(20)
        bindings = [AclBinding(*right[:3], f"User:{user}", "*", right[3], AclPermissionType.ALLOW) for right in rights]
        for done in self.admin.create_acls(bindings).values() if bindings else ():
            done.result(20)


def variables(security: Mapping[str, str]) -> dict[str, str]:
    """The settings as environment variables."""
    return {f"TIDEGAUGE_{name.upper().replace('.', '_')}": value for name, value in security.items()}
