"""What `tidegauge ingest` carries: exchanges of a model server by HTTP, from the first request to the last prediction event.

Senders that wait for each answer, as KServe's logger does, post a request and a response for each exchange; batches of one row
and of 100, of 20 features, V1 and V2.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import time
from typing import NamedTuple

import aiohttp
import numpy as np
import psutil

from tidegauge.stream import models_topic
from tidegauge.stream.broker import Broker, free_port
from tidegauge.stream.consumer import consumer
from tidegauge.stream.reading import partitions
from tidegauge.stream.settings import Settings
from workload import Program

FEATURES = [f"f{number}" for number in range(20)]


class Load(NamedTuple):
    """``protocol``: V1 or V2; ``rows`` in a batch; how many ``exchanges``."""

    protocol: str
    rows: int
    exchanges: int


def bodies(load: Load) -> dict[str, bytes]:
    """The body of a request and of its response."""
    columns = {name: [random.random() for _ in range(load.rows)] for name in FEATURES}
    answers = [random.random() for _ in range(load.rows)]
    if load.protocol == "V1":
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        made = {"request": {"instances": rows}, "response": {"predictions": answers}}
    else:
        made = {
            "request": {"inputs": [tensor(name, values) for name, values in columns.items()]},
            "response": {"model_name": "churn", "outputs": [tensor("p", answers)]},
        }
    return {kind: json.dumps(body).encode() for kind, body in made.items()}


def tensor(name: str, values: list[float]) -> dict[str, object]:
    return {"name": name, "shape": [len(values)], "datatype": "FP64", "data": values}


async def post_all(url: str, load: Load, senders: int) -> list[float]:
    """Seconds that each answer took."""
    waits: list[float] = []
    numbers, given = iter(range(load.exchanges)), bodies(load)

    async def send(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            for kind, body in given.items():
                headers = {
                    "ce-id": f"{load.protocol}-{load.rows}-{number}", "ce-type": f"org.kubeflow.serving.inference.{kind}",
                    "ce-specversion": "1.0", "ce-source": "benchmark", "ce-inferenceservicename": "churn",
                }  # fmt: skip
                began = time.perf_counter()
                async with session.post(url, data=body, headers=headers) as answer:
                    assert answer.status == 200, await answer.text()
                waits.append(time.perf_counter() - began)

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(send(session) for _ in range(senders)))
    return waits


async def written(settings: Settings) -> int:
    """Records in the topic of predictions."""
    reader = consumer(settings)
    await reader.start()
    try:
        return sum((await reader.end_offsets(await partitions(settings, "predictions"))).values())
    finally:
        await reader.stop()


async def measure(settings: Settings, url: str, load: Load, given: argparse.Namespace, process: psutil.Process) -> str:
    before, used, began = await written(settings), sum(process.cpu_times()[:2]), time.monotonic()
    waits = await post_all(url, load, given.senders)
    posted = time.monotonic() - began
    wanted = before + load.exchanges * load.rows
    while await written(settings) < wanted:
        await asyncio.sleep(0.05)
    seconds = time.monotonic() - began
    cpu = (sum(process.cpu_times()[:2]) - used) / load.exchanges
    p50, p99 = np.quantile(waits, [0.5, 0.99]) * 1e3
    numbers = (
        f"{2 * load.exchanges / posted:,.0f}", f"{p50:.1f}", f"{p99:.1f}", f"{load.exchanges * load.rows / seconds:,.0f}",
        f"{cpu * 1e6:,.0f}",
    )  # fmt: skip
    return f"| {load.protocol}, {load.rows} row{'s' if load.rows > 1 else ''} | {' | '.join(numbers)} |"


async def run(given: argparse.Namespace, broker: Broker) -> None:
    settings = Settings(bootstrap=broker.bootstrap)
    await models_topic.ensure_topics(settings)
    port = free_port()
    ingest = Program(port, "ingest", "--bootstrap", broker.bootstrap, "--listen", f"127.0.0.1:{port}")
    try:
        await asyncio.to_thread(ingest.wait_until_ready)
        print("| load | messages/s | answer p50, ms | p99, ms | events/s, to the last | CPU an exchange, µs |")
        print("|---|---|---|---|---|---|")
        for protocol, rows in itertools.product(("V1", "V2"), (1, 100)):
            load = Load(protocol, rows, given.exchanges // (20 if rows > 1 else 1))
            print(await measure(settings, f"http://127.0.0.1:{port}", load, given, ingest.process), flush=True)
    finally:
        ingest.stop()


def main() -> None:
    """Run and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--exchanges", type=int, default=10_000, help="of one row; of 100 rows a twentieth")
    options.add_argument("--senders", type=int, default=16, help="that wait for their answers")
    given = options.parse_args()
    with Broker() as broker:
        asyncio.run(run(given, broker))


if __name__ == "__main__":
    main()
