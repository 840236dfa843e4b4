"""What decoding costs: the same predictions as plain JSON, Avro, Protobuf and in a JSON Schema's frame, from the record as it
was fetched to the event that the join takes. No broker and no registry: their schemas are known."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tidegauge.engine.events import Decoder, Prediction
from tidegauge.engine.stage import InputRecord, Record
from tidegauge.serdes.event_decoding import EventDecoding

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from support import framed
from support.events import PREDICTIONS, stream

CHUNK, ROUNDS = 5_000, 15


def microseconds(work: Callable[[], object], events: int) -> float:
    """The median over the rounds, an event."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return statistics.median(took) / events * 1e6


def decoding(records: Sequence[InputRecord], schemas: EventDecoding | None) -> None:
    """As a worker does; ``schemas``: None of one without a registry."""
    found = Decoder(Prediction).chunk(records if schemas is None else schemas.decoded(records))
    assert len(found.events) == len(records), found.refused[:1]


def main() -> None:
    """Run and print the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    events = [json.loads(value) for topic, value in stream(1, CHUNK) if topic == PREDICTIONS][:CHUNK]
    events = [event | {"ts": round(event["ts"], 6)} for event in events]
    plain = [json.dumps(event).encode() for event in events]
    rows = [("JSON, no registry", plain, None), ("JSON, with a registry", plain, EventDecoding())]
    for kind in ("JSON", "AVRO", "PROTOBUF"):
        write = framed.writers(kind)[0]
        rows.append((kind, [write(event) for event in events], framed.knowing(*framed.schemas(kind))))
    print(f"{'':24} {'bytes an event':>15} {'µs an event':>12}")
    for name, values, schemas in rows:
        records = [Record(offset, -1, None, value) for offset, value in enumerate(values)]
        cost = microseconds(lambda records=records, schemas=schemas: decoding(records, schemas), len(records))  # type: ignore[misc]
        print(f"{name:24} {sum(map(len, values)) / len(values):>15.0f} {cost:>12.2f}")


if __name__ == "__main__":
    main()
