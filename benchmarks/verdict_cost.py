"""What verdicts cost where labels are late, segments and features many, or models many: CPU and bytes of metrics an event, as
multiples of the plain workload's in the same run. Both stages in process over the same files every time, without Kafka."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from tidegauge.engine.stage import METRICS, Output
from tidegauge.models.registry import ModelRecord, Registry, encode
from tidegauge.offline.replay import Lines, Replay
from tidegauge.spec import ModelSpec
from workload import SPEC, START, request_id, write

HOUR = 3600.0
PLAIN_EVENTS = 200_000
LATE = ModelSpec("late", task="binary", segments=(("region",),), windows=("1h",))
WIDE = ModelSpec("wide", task="binary", segments=(("channel",), ("country",), ("shop",)), windows=("1h", "1d"))
MANY = ModelSpec("many", task="binary", segments=(("region",),), windows=("1h",))
LABEL_DELAY, NEVER, CORRECTED = 3 * HOUR, 0.05, 0.02


class Cost(msgspec.Struct, frozen=True):
    """What playing a workload took. ``memory``: the most that was resident, in MiB."""

    events: int
    cpu: float
    records: int
    bytes: int
    alerts: int
    memory: float


class Traffic(msgspec.Struct, frozen=True):
    """Events of one model: ``count`` predictions over ``hours``, with so many ``numbers`` as features, and the dimensions'
    numbers of values."""

    spec: ModelSpec
    count: int
    hours: float
    numbers: int
    dimensions: dict[str, int]


def events(traffic: Traffic, seed: int) -> tuple[list[tuple[float, bytes]], list[tuple[float, bytes]]]:
    """Predictions and labels with their ``ts``. Labels come after an exponential delay of three hours in the mean, one in
    twenty never, one in fifty is corrected as much later."""
    rng = np.random.default_rng(seed)
    n, model = traffic.count, traffic.spec.model
    ts = START + np.sort(rng.random(n)) * traffic.hours * HOUR
    scores, features = rng.beta(2.0, 3.0, n), rng.normal(size=(n, traffic.numbers))
    latency = rng.gamma(4.0, 3.0, n)
    values = {name: rng.integers(0, of, n) for name, of in traffic.dimensions.items()}
    names = [f"f{number:02}" for number in range(traffic.numbers)]
    ids = [request_id(f"{model}{number}") for number in range(n)]
    predictions = [
        (float(ts[i]), orjson.dumps({
            "request_id": ids[i], "ts": float(ts[i]), "model": model, "model_version": f"{model}:1",
            "prediction": int(scores[i] > 0.5), "score": float(scores[i]),
            "features": dict(zip(names, features[i].tolist(), strict=True)),
            "segments": {name: f"{name}-{of[i]}" for name, of in values.items()}, "latency_ms": float(latency[i]),
        }))
        for i in range(n)
    ]  # fmt: skip
    right: NDArray[np.bool_] = rng.random(n) < scores
    known = ts + rng.exponential(LABEL_DELAY, n)
    labels = []
    for i in np.flatnonzero(rng.random(n) >= NEVER).tolist():
        labels.append((float(known[i]), ids[i], int(right[i])))
    for i in np.flatnonzero(rng.random(n) < CORRECTED).tolist():
        labels.append((float(known[i] + rng.exponential(LABEL_DELAY)), ids[i], int(not right[i])))
    return predictions, [(at, orjson.dumps({"request_id": of, "ts": at, "label": label})) for at, of, label in labels]


def plain(directory: Path, scale: float) -> Sequence[ModelSpec]:
    """The workload of the other benchmarks."""
    write(directory, max(int(PLAIN_EVENTS * scale), 50_000))
    return [SPEC]


def late(directory: Path, scale: float) -> Sequence[ModelSpec]:
    """One model with 16 features and two segment values over 41 hours, hourly windows."""
    return _written(directory, [Traffic(LATE, int(200_000 * scale), 41 * scale, 16, {"region": 2})])


def wide(directory: Path, scale: float) -> Sequence[ModelSpec]:
    """One model with 50 features and 250 segment values over a day, windows of an hour and a day."""
    dimensions = {"channel": 10, "country": 50, "shop": 190}
    return _written(directory, [Traffic(WIDE, int(100_000 * scale), 24 * scale, 50, dimensions)])


def many(directory: Path, scale: float) -> Sequence[ModelSpec]:
    """A hundred models of eight features and ten segment values over six hours, hourly windows."""
    specs = [msgspec.structs.replace(MANY, model=f"many-{number:02}") for number in range(100)]
    return _written(directory, [Traffic(spec, int(10_000 * scale), 6 * scale, 8, {"region": 10}) for spec in specs])


def _written(directory: Path, all_traffic: Sequence[Traffic]) -> Sequence[ModelSpec]:
    predictions, labels = [], []
    for seed, traffic in enumerate(all_traffic):
        for whole, part in zip((predictions, labels), events(traffic, seed), strict=True):
            whole.extend(part)
    for name, rows in (("predictions", predictions), ("labels", labels)):
        rows.sort()
        (directory / f"{name}.jsonl").write_bytes(b"".join(value + b"\n" for _, value in rows))
    return [traffic.spec for traffic in all_traffic]


WORKLOADS: dict[str, Callable[[Path, float], Sequence[ModelSpec]]] = {
    "plain": plain, "late labels": late, "wide and segmented": wide, "a hundred models": many,
}  # fmt: skip
GOALS = {"late labels": (2.5, 100), "wide and segmented": (15.0, 2000), "a hundred models": (3.0, None)}
"""At most so many times the CPU of a plain event, and so many bytes of metrics an event."""


def play(directory: Path, specs: Sequence[ModelSpec]) -> Cost:
    """Play a directory's events into the stages."""
    registry = Registry()
    for spec in specs:
        registry.apply(spec.model.encode(), encode(ModelRecord(spec.model, spec)))
    said = {"records": 0, "bytes": 0, "alerts": 0}

    def sink(output: Output) -> None:
        if output.topic == METRICS and output.value is not None:
            said["records"] += 1
            said["bytes"] += len(output.value) + len(output.key or b"")
        elif output.topic == "alerts":
            said["alerts"] += 1

    predictions, labels = Lines(directory / "predictions.jsonl"), Lines(directory / "labels.jsonl")
    # As workers and `replay` do.
    gc.set_threshold(100_000, 50, 50)
    began = time.process_time()
    Replay(registry, sink).run(predictions, labels)
    cpu = time.process_time() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Cost(len(predictions) + len(labels), cpu, memory=memory, **said)


def main() -> None:
    """Run and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--scale", type=float, default=1.0, help="share of the hours, 0.05 for seconds")
    options.add_argument("--only", nargs="*", choices=[name for name in WORKLOADS if name != "plain"], help="beside plain")
    given = options.parse_args()
    chosen = ["plain", *(given.only or [name for name in WORKLOADS if name != "plain"])]
    # Each in a process of its own, so that memory is its own too.
    context = multiprocessing.get_context("spawn")
    print(f"{'':20} {'events':>10} {'µs CPU':>8} {'× plain':>8} {'at most':>8} {'records':>9} "
          f"{'bytes an event':>15} {'at most':>8} {'alerts':>7} {'MiB':>6}", flush=True)  # fmt: skip
    base = 0.0
    for name in chosen:
        with tempfile.TemporaryDirectory() as directory:
            with context.Pool(1) as pool:
                specs = pool.apply(WORKLOADS[name], (Path(directory), given.scale))
            with context.Pool(1) as pool:
                cost = pool.apply(play, (Path(directory), specs))
        each = cost.cpu / cost.events * 1e6
        base = base or each
        most, size = GOALS.get(name, (None, None))
        print(f"{name:20} {cost.events:10,} {each:8.1f} {each / base:8.2f} {most or '':>8} {cost.records:9,} "
              f"{cost.bytes / cost.events:15,.0f} {size or '':>8} {cost.alerts:7,} {cost.memory:6,.0f}", flush=True,
              )  # fmt: skip


if __name__ == "__main__":
    main()
