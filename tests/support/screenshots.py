"""Pictures of the console for README and docs: `python -m support.screenshots DIRECTORY`, over the demo's nine months."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from support.debian import program
from support.page import Browser
from support.serving import Running, running
from tidegauge.console import replay_directory
from tidegauge.console.view import View
from tidegauge.demo import dataset
from tidegauge.demo.run import _models
from tidegauge.engine.stage import ALERTS, INCIDENTS, LABELS, METRICS, PREDICTIONS, Output
from tidegauge.models.directory import records_of
from tidegauge.models.registry import Registry, encode
from tidegauge.offline.replay import Lines, Replay

CACHE = Path.home() / ".cache" / "tidegauge"
DAYS = 275
MODEL = "/#/models/flight_delays?last=400"
PAGES = {
    "home": ("/", 1280, "light"),
    "model": (f"{MODEL}&tab=performance", 1280, "light"),
    "drift": (f"{MODEL}&tab=drift", 1280, "dark"),
    "rollout": (f"{MODEL}&tab=versions&version=flight_delays:2", 1280, "light"),
    "fairness": (f"{MODEL}&tab=segments&at=2013-12-20T00:00:00Z", 1280, "light"),
    "incident": ("incident", 1280, "light"),
    "phone": ("incident", 390, "light"),
}
"""Address, width and colours of each picture."""


DRAWN = "return [...document.querySelectorAll('.plot')].every((plot) => plot.querySelector('canvas'))"


def replayed(scratch: Path) -> View:
    """What the console knows after the demo's events."""
    data = dataset.prepare(CACHE, print)
    models = _models(data, CACHE)
    events = {topic: (scratch / f"{topic}.jsonl") for topic in (PREDICTIONS, LABELS)}
    with events[PREDICTIONS].open("wb") as predictions, events[LABELS].open("wb") as labels:
        files = {PREDICTIONS: predictions, LABELS: labels}
        for _, topic, value in data.stream(DAYS):
            files[topic].write(value + b"\n")
    registry = Registry()
    for record in records_of(models):
        registry.apply(record.model.encode(), encode(record))
    said = {topic: (scratch / f"{topic}.jsonl").open("wb") for topic in (METRICS, ALERTS, INCIDENTS)}

    def take(output: Output) -> None:
        if output.topic in said and output.value:
            said[output.topic].write(output.value + b"\n")

    Replay(registry, take).run(Lines(events[PREDICTIONS]), Lines(events[LABELS]))
    for file in said.values():
        file.close()
    view = View()
    replay_directory.read(view, scratch, models)
    return view


def take_all(browser: Browser, console: Running, directory: Path) -> None:
    """Write a PNG of each page."""
    open_now = console.ask("/api/v1/incidents?status=open")[2]["incidents"]
    worst = max(open_now, key=lambda event: len(event["data"]["alerts"]))["data"]["incident"]
    for name, (path, width, scheme) in PAGES.items():
        browser.open(console.address + (f"/#/incidents/{worst}" if path == "incident" else path), width=width, scheme=scheme)
        browser.one("main h1")
        browser.wait(lambda: browser.run(DRAWN))
        browser.driver.save_screenshot(str(directory / f"{name}.png"))
    browser.leave()


def main(directory: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        view = replayed(Path(scratch))
        browser = Browser(
            program("chromium", "chromium"), program("chromedriver", "chromium-driver"), Path(scratch) / "profile"
        )
        try:
            with running(view, read_only=True) as console:
                take_all(browser, console, directory)
        finally:
            browser.quit()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
