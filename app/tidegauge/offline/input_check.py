"""Checks events in a file against the specs: `tidegauge models check DIR --input FILE`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tidegauge.engine.events import Decoder, Prediction
from tidegauge.engine.stage import Record
from tidegauge.join.columns import data_columns
from tidegauge.join.contexts import model_of_event
from tidegauge.join.score import set_missing_scores
from tidegauge.judge.evidence import NO_PROBABILITY
from tidegauge.judge.wording import percent
from tidegauge.metrics.confidence_reading import misread_confidence, sentence
from tidegauge.metrics.record import answers
from tidegauge.offline.sources import event_lines
from tidegauge.offline.tables import Columns
from tidegauge.profile.outcome import MAX_OUTSIDE
from tidegauge.spec import ModelSpec

MAX_EVENTS = 100_000
"""The most events of a file that are checked."""


def check_input(specs: Sequence[ModelSpec], path: Path, note: Callable[[str], None]) -> list[str]:
    """The problems, one sentence each: events that would be refused, models without events, misread confidence, scores
    that are no probabilities. ``note``:
    called with what is left out. Raises SourceError."""
    lines = event_lines(path, Columns.of(specs), note)
    records = [Record(number, -1, None, line) for number, line in zip(range(MAX_EVENTS), lines, strict=False)]
    events, _, dead = Decoder(Prediction).chunk(records)
    reasons = Counter(letter.reason for letter in dead)
    problems = [
        f"{path}: {count} of {len(records)} events would be refused: {reason}" for reason, count in reasons.most_common()
    ]
    for spec in specs:
        own = [event for event in events if model_of_event(event) == spec.model]
        if not own:
            problems.append(f"{path}: no event of model {spec.model}")
            continue
        set_missing_scores(own, [spec] * len(own))
        profile = data_columns(own, spec, None).group(np.arange(len(own)), np.array([0]), True)[0]
        if found := misread_confidence(profile, spec):
            problems.append(f"{path}: {spec.model}: {sentence(found)}")
        outside = answers(profile, spec).get("no_probability_ratio", 0.0)
        if outside > MAX_OUTSIDE:
            problems.append(f"{path}: {spec.model}: {percent(outside)} of the scores lie outside 0 to 1; {NO_PROBABILITY}")
    return problems
