"""The same job as a competent user would write it in stock Faust: without durability, without exactly-once, one event at a
time. The peer `throughput.py` compares with. Settings come from the environment: BOOTSTRAP, TARGET (events), RESULT (file).
"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from typing import Any

import datasketches
import faust
import orjson
from river.drift import ADWIN

TARGET = int(os.environ["TARGET"])
app = faust.App(
    "naive",
    broker=f"kafka://{os.environ['BOOTSTRAP']}",
    value_serializer="raw",
    key_serializer="raw",
    consumer_auto_offset_reset="earliest",
    topic_allow_declare=False,
    topic_disable_leader=True,
    web_enabled=False,
    datadir=os.environ["DATADIR"],
)
predictions_topic = app.topic("predictions", value_type=bytes, key_type=bytes)
labels_topic = app.topic("labels", value_type=bytes, key_type=bytes)


class Window:
    """Counts and sketches of one minute and segment."""

    def __init__(self) -> None:
        self.predictions = self.labels = self.correct = 0
        self.numbers: dict[str, Any] = defaultdict(lambda: datasketches.kll_doubles_sketch(200))
        self.categories: dict[str, Counter[str]] = defaultdict(Counter)
        self.latency = datasketches.kll_doubles_sketch(200)


windows: dict[tuple[int, str], Window] = defaultdict(Window)
pending: dict[str, tuple[int, int, list[str]]] = {}
early: dict[str, int] = {}
adwin = ADWIN()
state = {"joined": 0, "read": 0, "began": 0.0, "cpu": 0.0}


def segments_of(event: dict[str, Any]) -> list[str]:
    return ["", *(f"{name}={value}" for name, value in event["segments"].items())]


def count() -> None:
    if not state["began"]:
        state["began"], state["cpu"] = time.monotonic(), time.process_time()
    elif state["read"] >= TARGET:
        seconds, cpu = time.monotonic() - state["began"], time.process_time() - state["cpu"]
        with open(os.environ["RESULT"], "w") as file:
            file.write(f"{state['read']} {seconds} {cpu} {state['joined']}")
        os._exit(0)
    state["read"] += 1


def join(predicted: int, minute: int, segments: list[str], label: int) -> None:
    wrong = predicted != label
    adwin.update(wrong)
    for segment in segments:
        window = windows[minute, segment]
        window.labels += 1
        window.correct += not wrong
    state["joined"] += 1


@app.agent(predictions_topic)
async def on_prediction(stream: Any) -> None:
    async for value in stream:
        count()
        event = orjson.loads(value)
        minute, segments = int(event["ts"] // 60), segments_of(event)
        for segment in segments:
            window = windows[minute, segment]
            window.predictions += 1
            window.latency.update(event["latency_ms"])
            for name, feature in event["features"].items():
                if isinstance(feature, float):
                    window.numbers[name].update(feature)
                else:
                    window.categories[name][feature] += 1
        label = early.pop(event["request_id"], None)
        if label is None:
            pending[event["request_id"]] = (event["prediction"], minute, segments)
        else:
            join(event["prediction"], minute, segments, label)


@app.agent(labels_topic)
async def on_label(stream: Any) -> None:
    async for value in stream:
        count()
        event = orjson.loads(value)
        known = pending.pop(event["request_id"], None)
        if known is None:
            early[event["request_id"]] = event["label"]
        else:
            join(*known, event["label"])


if __name__ == "__main__":
    app.main()
