"""What an administrator does to the topics and the state of a test's application."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from aiokafka.admin import AIOKafkaAdminClient

from support.cluster import TOPICS, Cluster

T = TypeVar("T")


def administer(cluster: Cluster, job: Callable[[AIOKafkaAdminClient], Awaitable[T]]) -> T:
    """What ``job`` returns, which is given an administration client."""

    async def run() -> T:
        admin = AIOKafkaAdminClient(**cluster.settings.client())
        await admin.start()
        try:
            return await job(admin)
        finally:
            await admin.close()

    return asyncio.run(run())


def rebuild(cluster: Cluster, *flags: str, command: Sequence[str] = ("state", "rebuild")) -> tuple[int, str]:
    """Exit status and output of a command that is run for the application."""
    topics = [part for topic in TOPICS for part in (f"--{topic}-topic", cluster.settings.topic(topic))]
    settings = ["--bootstrap", cluster.settings.bootstrap, "--app-id", cluster.name, *topics]
    done = subprocess.run(
        [sys.executable, "-m", "tidegauge", *command, *settings, *flags],
        env=os.environ, capture_output=True, text=True, timeout=90, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr
