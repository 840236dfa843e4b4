"""Selects single values for the online detectors from the columns of predictions and outcomes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tidegauge.detect import value_streams
from tidegauge.engine.delta import Samples, Segment
from tidegauge.engine.events import Prediction
from tidegauge.join.contexts import Context
from tidegauge.profile.data import DataColumns
from tidegauge.profile.grouping import by_dimension, segment_code
from tidegauge.profile.outcome_rows import OutcomeColumns
from tidegauge.spec import ModelSpec


class DetectorSamples:
    """The samples of one join task since the last ``clear``. ``contexts``: those of ``Contexts.by_id``."""

    def __init__(self, contexts: Sequence[Context]) -> None:
        self._contexts = contexts
        self._samples: list[tuple[str, Samples]] = []

    def of(self, model: str) -> tuple[Samples, ...]:
        return tuple(samples for owner, samples in self._samples if owner == model)

    def clear(self) -> None:
        self._samples.clear()

    def add_predictions(
        self, version: str, spec: ModelSpec, columns: DataColumns, events: Sequence[Prediction], contexts: NDArray[np.int64]
    ) -> None:
        wanted = [s for s in {d.stream for d in spec.detectors} if s in value_streams.PREDICTIONS]
        if wanted:
            ts = np.array([event.ts for event in events])
            ties = np.array([zlib.crc32(event.request_id.encode()) for event in events], np.uint32)
            for stream in wanted:
                row = columns.results.names.index(stream)
                values = columns.results.x[row]
                self._add(version, spec, stream, contexts, ts, ties, value_streams.hour_of_week(ts), values)

    def add_outcomes(
        self, version: str, spec: ModelSpec, columns: OutcomeColumns, table: NDArray[np.void], first: NDArray[np.bool_]
    ) -> None:
        """Add outcomes (n rows). ``table`` (n): each row's context, ``ts`` and ``label_ts``. ``first`` (n): whether the row is
        the first outcome of its request; detectors get only these."""
        wanted = [s for s in {d.stream for d in spec.detectors} if s in value_streams.OUTCOMES]
        if wanted:
            contexts = table["context"].astype(np.int64)[first]
            times, hours = table["label_ts"][first], value_streams.hour_of_week(table["ts"])[first]
            ties = np.fromiter(map(zlib.crc32, columns.ids), np.uint32, len(first))[first]
            for stream in wanted:
                values = value_streams.outcome_values(columns, stream)[first]
                self._add(version, spec, stream, contexts, times, ties, hours, values)

    def _add(
        self, version: str, spec: ModelSpec, stream: str, contexts: NDArray[np.int64],
        times: NDArray[np.float64], ties: NDArray[np.uint32], hours: NDArray[np.uint8], values: NDArray[np.float64],
    ) -> None:  # fmt: skip
        fed = ~np.isnan(values)
        unique, inverse = np.unique(contexts, return_inverse=True)
        held = [by_dimension(self._contexts[c].values) for c in unique.tolist()]
        for breakdown in _sampled_breakdowns(spec, stream):
            segments: dict[Segment, int] = {}
            codes = np.array([segment_code(of, breakdown, segments) for of in held])
            for segment, code in segments.items():
                rows = fed & (codes[inverse] == code)
                if rows.any():
                    raw = (times[rows].tobytes(), ties[rows].tobytes(), values[rows].tobytes(), hours[rows].tobytes())
                    self._samples.append((spec.model, Samples(version, segment, stream, *raw)))


def _sampled_breakdowns(spec: ModelSpec, stream: str) -> set[tuple[str, ...]]:
    wanted: set[tuple[str, ...]] = set()
    for detector in spec.detectors:
        if detector.stream == stream:
            wanted.add(())
            if detector.segments is True:
                wanted.update(spec.segments)
            elif detector.segments:
                wanted.update((dimension,) for dimension in detector.segments)
    return wanted
