"""What is fuzzed: everything that reads bytes which others have written. Each target may refuse what it is given, in the way it
is documented to, and raises anything else.

`python -m support.fuzzing TARGET SECONDS` looks for more with Atheris, a coverage-guided fuzzer; what it finds goes into
``tests/fixtures/fuzz/TARGET``, whose files the tests read from then on.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parents[1] / "fixtures" / "fuzz"


def targets() -> dict[str, Callable[[bytes], object]]:
    """By name. Imports what is fuzzed, which Atheris has to see."""
    import msgspec

    from support.driver import SPEC
    from tidegauge.baseline.baseline import Baseline
    from tidegauge.engine import delta
    from tidegauge.engine.containment import ContainedStage
    from tidegauge.engine.refusals import REASONS, UNPROCESSABLE
    from tidegauge.engine.stage import DEAD_LETTERS, LABELS, PREDICTIONS, PROFILES, MemoryStore, Record
    from tidegauge.errors import BaselineError, SpecError
    from tidegauge.join.stage import JoinStage
    from tidegauge.models.read import load_file
    from tidegauge.models.registry import ModelRecord, Registry, encode
    from tidegauge.monitor.stage import MonitorStage
    from tidegauge.stream import changelog

    registry = Registry()
    registry.apply(SPEC.model.encode(), encode(ModelRecord(SPEC.model, SPEC)))
    foreseen = REASONS.keys() - {UNPROCESSABLE}

    def event(raw: bytes) -> None:
        """As a prediction and as a label: taken, or refused for a reason that is foreseen."""
        stage = JoinStage(0, MemoryStore(), registry, 1, Counter())
        for offset, topic in enumerate((PREDICTIONS, LABELS)):
            stage.process(topic, [Record(offset, -1, None, raw)])
        for output in stage.checkpoint(0.0):
            if output.topic == DEAD_LETTERS:
                assert dict(output.headers)["reason"].decode() in foreseen, output
            elif output.topic == PROFILES:
                delta.decode(output.value or b"")

    class Store(MemoryStore):
        def revert(self) -> None:
            pass

    def message(raw: bytes) -> None:
        """A delta: judged, or a dead letter."""
        counters: Counter[Any] = Counter()
        stage = ContainedStage(lambda of, counted: MonitorStage(of, registry, 1, counted), Store(), 0, counters)
        stage.process(PROFILES, [Record(0, -1, b"churn", raw)])
        stage.checkpoint(0.0)

    def spec(raw: bytes) -> None:
        with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
            file.write(raw)
            file.flush()
            with contextlib.suppress(SpecError):
                load_file(Path(file.name))

    def baseline(raw: bytes) -> None:
        with contextlib.suppress(BaselineError):
            Baseline.from_json(raw)

    def record(raw: bytes) -> None:
        """Of the topic ``models``."""
        with contextlib.suppress(SpecError):
            Registry().apply(b"churn", raw)

    def changes(raw: bytes) -> None:
        """Of a changelog: these are what was encoded, or not of that form at all."""
        try:
            found = changelog.decode(raw)
        except msgspec.MsgspecError:
            return
        merged: dict[bytes, bytes | None] = {}
        for part in changelog.encode(found):
            merged.update(changelog.decode(part))
        assert merged == found

    return {"event": event, "delta": message, "spec": spec, "baseline": baseline, "record": record, "changelog": changes}


def main(target: str, seconds: str) -> None:
    """Fuzz one target, beginning with its corpus."""
    import atheris

    with atheris.instrument_imports(include=["tidegauge", "yaml"]):
        fuzzed = targets()[target]
    home = CORPUS / target
    with tempfile.TemporaryDirectory() as found:
        limits = [f"-max_total_time={seconds}", "-timeout=20", "-max_len=20000"]
        atheris.Setup(["fuzz", *limits, f"-artifact_prefix={home}/", found, str(home)], fuzzed)
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
