"""Receives the webhooks of MLflow's registry (MLflow 3.3 or newer), which tell at once that an alias was moved.

A webhook is a reason to ask MLflow, and nothing in its body is believed: one that comes twice, late or again does no harm.
See https://mlflow.org/docs/latest/ml/webhooks/ for the signature.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from collections.abc import Callable

from aiohttp import web

log = logging.getLogger(__name__)
SECRET = "TIDEGAUGE_MLFLOW_WEBHOOK_SECRET"
"""The environment variable with the secret that the webhook was registered with."""
PAGE = "/mlflow"


def signature(secret: str, delivery: str, timestamp: str, body: bytes) -> str:
    """The value of the header ``X-MLflow-Signature``: HMAC-SHA256 of the delivery's id, its time and its body.

    >>> signature("s", "d", "1", b"{}")
    'v1,IU+2+KHu4+2P4cNMuwvd3lx0u3yUZ/KaEHscpFOsm4Y='
    """
    content = f"{delivery}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret.encode(), content, hashlib.sha256)).decode()


def page(secret: str, moved: Callable[[], None]) -> web.RouteDef:
    """The page that takes webhooks signed with ``secret``; ``moved``: called for each of them. The answer is 200, or 401 if the
    signature is wrong."""

    async def answer(request: web.Request) -> web.Response:
        given = request.headers
        expected = signature(
            secret, given.get("X-MLflow-Delivery-Id", ""), given.get("X-MLflow-Timestamp", ""), await request.read()
        )
        if not hmac.compare_digest(expected.encode(), given.get("X-MLflow-Signature", "").encode("utf-8", "replace")):
            log.warning("a webhook from %s has a wrong signature: it was registered with another secret", request.remote)
            return web.Response(status=401, text=f"the signature is wrong: see {SECRET}\n")
        moved()
        return web.Response(text="MLflow is asked\n")

    return web.post(PAGE, answer)
