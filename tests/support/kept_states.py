"""State as each released format stores it, kept in ``tests/fixtures/state``: what a newer version has to read, or to refuse.

    PYTHONPATH=app:tests python -m support.kept_states

writes the file of the format of this version, of which there is to be one: made again only while no release has that format.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import msgspec

from support.driver import Pipeline
from support.events import START, prediction, stream
from support.traffic import SPEC
from tidegauge.engine.stage import PREDICTIONS, MemoryStore
from tidegauge.stream.state_format import FORMAT, mark

DIRECTORY = Path(__file__).parents[1] / "fixtures" / "state"
States = dict[str, dict[bytes, bytes]]
"""The pairs of each task by its name."""
EVENTS = stream(17, 200)
END = [(PREDICTIONS, json.dumps(prediction(10**6 + i, START + 7200, score=0.5, prediction=1)).encode()) for i in range(9)]
HALF = len(EVENTS) // 2


def half_way() -> Pipeline:
    """Both stages when half of the events have come: requests that wait, open windows, rows, alerts, detectors."""
    pipeline = Pipeline(SPEC, 2)
    play(pipeline, EVENTS[:HALF])
    pipeline.checkpoint()
    return pipeline


def play(pipeline: Pipeline, events: list[tuple[str, bytes]]) -> None:
    for number, (topic, value) in enumerate(events, 1):
        pipeline.send(topic, [value])
        if number % 10 == 0:
            pipeline.checkpoint()


def stores(pipeline: Pipeline) -> dict[str, MemoryStore]:
    """The stores of a pipeline's tasks by the tasks' names."""
    joins = {f"join-{number}": join._store for number, join in enumerate(pipeline.joins)}
    found = joins | {"monitor-0": pipeline.monitor._store}
    return {name: store for name, store in found.items() if isinstance(store, MemoryStore)}


def load(path: Path) -> States:
    return msgspec.msgpack.decode(gzip.decompress(path.read_bytes()), type=States)


def main() -> None:
    held: States = {}
    for name, store in stores(half_way()).items():
        mark(store)
        held[name] = dict(sorted(store.items()))
    DIRECTORY.mkdir(exist_ok=True)
    path = DIRECTORY / f"format-{FORMAT.decode()}.msgpack.gz"
    path.write_bytes(gzip.compress(msgspec.msgpack.encode(held), mtime=0))
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
