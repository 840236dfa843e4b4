"""How soon the console's pages are useful in a real browser, beside many models and many records.

    python benchmarks/console_paint.py --models 100 --records 1000000

Fills the topics of a real Kafka with what the stages say of a model in which things go wrong (metrics of every revision,
alerts, incidents, spec), under as many model names, its metrics again and again further back in time; starts `tidegauge
console`, waits until it has read all, and opens each page several times in Chromium with an empty cache. *Useful* is the paint
in which the page's main content stands: the table of all models, the timeline of an incident, the first plot of a tab.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer

from tidegauge.engine.stage import ALERTS, INCIDENTS, METRICS, MODELS
from tidegauge.stream import models_topic
from tidegauge.stream.broker import Broker
from tidegauge.stream.settings import Settings

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "tests")]

LOADS = 5
PAGES = {
    "all models": ("", "#models > tbody > tr:nth-child({models})"),
    "one of them, overview": ("models/model000", "#heatmap-table tbody tr, #chart-overview-traffic canvas"),
    "performance": ("models/model000?tab=performance", "#performance canvas"),
    "drift": ("models/model000?tab=drift", "#feature canvas"),
    "segments": ("models/model000?tab=segments", "#segments-table tbody tr"),
    "an incident": ("incidents/{incident}", "#timeline li"),
}
WATCH = """
const look = () => document.querySelector(SELECTOR) ? requestAnimationFrame(() => {
  const painted = new MessageChannel();
  painted.port1.onmessage = () => { window.useful = performance.now(); };
  painted.port2.postMessage(0);
}) : requestAnimationFrame(look);
look();
"""
READ = """
const paint = performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0;
const loads = performance.getEntriesByType("resource");
return [paint, window.useful, loads.length + 1, loads.reduce((sum, one) => sum + one.transferSize, 0),
  document.getElementsByTagName("*").length];
"""


def said(models: int, records: int) -> Iterator[tuple[str, bytes | None, bytes]]:
    """Topic, key and value of all that is written: the metrics of longest ago first."""
    from support.story import told

    outputs = [output for output in told() if output.value]
    metrics = [output for output in outputs if output.topic == METRICS]
    names = [f"model{number:03}" for number in range(models)]
    copies = -(-records // (models * len(metrics)))
    for copy in reversed(range(copies)):
        back = [(shifted(of.key or b"", copy), shifted(of.value or b"", copy)) for of in metrics]
        for name in names:
            for key, value in back:
                yield METRICS, named(key, name), named(value, name)
    for output in outputs:
        if output.topic in (ALERTS, INCIDENTS, MODELS):
            for name in names:
                key = named(output.key, name) if output.key else None
                yield output.topic, key, named(output.value or b"", name)


def shifted(text: bytes, copy: int) -> bytes:
    """A record, or its key, whose days lie ``copy`` times the length of the story earlier."""
    from support.story import DAYS

    back = timedelta(days=copy * DAYS)
    return re.sub(rb"\d{4}-\d\d-\d\d", lambda of: (date.fromisoformat(of[0].decode()) - back).isoformat().encode(), text)


def named(text: bytes, model: str) -> bytes:
    """What is said of the story's model, said of another, with ids of its own."""
    own = text.replace(b'"churn"', b'"%s"' % model.encode())
    if b"fingerprint" not in own and not re.fullmatch(rb"[0-9a-f]{16,64}", own):
        return own
    return re.sub(rb"\b[0-9a-f]{16,64}\b", lambda of: sha256(of[0] + model.encode()).hexdigest()[: len(of[0])].encode(), own)


def ask(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=60) as answer:
        return msgspec.json.decode(answer.read())


async def fill(settings: Settings, models: int, records: int) -> tuple[int, int]:
    """Write all; the number of metrics records and their bytes."""
    await models_topic.ensure_topics(settings)
    count = size = 0
    producer = AIOKafkaProducer(linger_ms=20, max_batch_size=1 << 20, acks=1, **settings.client())
    async with producer:
        for topic, key, value in said(models, records):
            await producer.send(settings.topic(topic), value=value, key=key)
            count += topic == METRICS
            size += len(value) if topic == METRICS else 0
        await producer.flush()
    return count, size


def measured(browser: Any, address: str, selector: str) -> list[float]:
    """First paint and useful paint in ms, requests, bytes, nodes of one load with an empty cache."""
    command = browser.driver.execute_cdp_cmd
    browser.leave()
    command("Network.setCacheDisabled", {"cacheDisabled": True})
    script = WATCH.replace("SELECTOR", msgspec.json.encode(selector).decode())
    watch = command("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    browser.open(address, width=1440)
    browser.wait(lambda: browser.run("return window.useful"))
    found: list[float] = browser.run(READ)
    command("Page.removeScriptToEvaluateOnNewDocument", {"identifier": watch["identifier"]})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--records", type=int, default=1_000_000)
    given = parser.parse_args()
    from console_start import Console
    from support.debian import program
    from support.page import Browser

    with Broker() as broker, tempfile.TemporaryDirectory() as scratch:
        settings = Settings(bootstrap=broker.bootstrap)
        count, size = asyncio.run(fill(settings, given.models, given.records))
        console = Console(settings)
        chromium, driver = program("chromium", "chromium"), program("chromedriver", "chromium-driver")
        browser = Browser(chromium, driver, Path(scratch) / "profile")
        try:
            first, _ = console.wait("/readyz", lambda _: True, 0.05)
            whole, _ = console.wait("/api/v1/stream", lambda of: msgspec.json.decode(of)["console"]["read"] == 1, 0.5)
            address = f"http://127.0.0.1:{console.port}"
            held = ask(f"{address}/api/v1/stream")["console"]
            incident = ask(f"{address}/api/v1/incidents")["incidents"][0]["data"]["incident"]
            print(
                f"{given.models} models, {count:,} records of metrics ({size / 2**20:,.0f} MiB): ready after {first:.1f} s, "
                f"all read after {whole:.1f} s, {held['windows']:,} windows held, {console.resident_mb():,.0f} MiB"
            )
            for name, (path, selector) in PAGES.items():
                where, wanted = path.format(incident=incident), selector.format(models=given.models)
                loads = [measured(browser, f"{address}/#/{where}", wanted) for _ in range(LOADS)]
                paint, useful = ([of[place] for of in loads] for place in (0, 1))
                _, _, requests, size_, nodes = loads[-1]
                print(
                    f"{name}: first paint {statistics.median(paint):.0f} ms; useful {statistics.median(useful):.0f} ms "
                    f"({min(useful):.0f} to {max(useful):.0f}); {requests:.0f} requests, {size_ / 2**20:.2f} MiB, "
                    f"{nodes:,.0f} nodes"
                )
        finally:
            browser.quit()
            console.stop()


if __name__ == "__main__":
    main()
