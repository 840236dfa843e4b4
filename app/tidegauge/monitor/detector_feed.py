"""Feeds values to detectors, in the order of event time across partitions, and turns what they find into alerts.

q<model>\\0<version, segment, stream>           values that wait for every partition to have come as far
e<model>\\0<version>\\0<detector>\\0<segment>      a detector
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import msgspec

from tidegauge.alert.detections import DetectorAlerts
from tidegauge.alert.labels import Subject
from tidegauge.baseline.tuning import tuning_for
from tidegauge.detect.detectors import Detector, OtherParametersError, mark_of
from tidegauge.detect.value_streams import OUTCOMES
from tidegauge.detect.waiting import StreamKey, WaitingValues
from tidegauge.engine.delta import Samples
from tidegauge.engine.event_time import EventTimes
from tidegauge.engine.stage import Counters, Output, Store
from tidegauge.errors import TidegaugeError
from tidegauge.models.registry import Registry
from tidegauge.spec import DetectorSpec, duration, watches

log = logging.getLogger(__name__)
WAITING, DETECTOR = b"q", b"e"
_encode = msgspec.msgpack.Encoder().encode
_decode_stream = msgspec.msgpack.Decoder(StreamKey).decode


class DetectorFeed:
    """The detectors of one monitor task."""

    def __init__(self, store: Store, registry: Registry, alerts: DetectorAlerts, counters: Counters) -> None:
        self._store, self._registry, self._alerts, self._counters = store, registry, alerts, counters
        self._waiting: dict[str, WaitingValues] = {}
        for key, raw in store.scan(WAITING):
            model, _, stream = key[1:].partition(b"\0")
            self._waiting.setdefault(model.decode(), WaitingValues()).load(_decode_stream(stream), raw)
        self._detectors: dict[bytes, Detector] = {}
        self._fed: set[bytes] = set()

    def add(self, model: str, samples: Iterable[Samples]) -> None:
        """Add the samples of a delta."""
        waiting = self._waiting.setdefault(model, WaitingValues())
        for of in samples:
            waiting.add(of)

    def feed(self, model: str, reached: EventTimes, now: float) -> list[Output]:
        """Feed detectors with the values up to the event times ``reached``. Returns alerts on detected changes, and resolves
        the alerts of detectors that have detected nothing for the length of the shortest window at event time ``now``."""
        spec = self._registry.spec(model)
        outputs: list[Output] = []
        quiet = min(duration(window) for window in spec.windows)
        waiting = self._waiting.get(model)
        for (version, segment, stream), rows in waiting.ready(reached).items() if waiting else ():
            for detector in spec.detectors:
                if detector.stream != stream or not watches(detector.segments, segment):
                    continue
                subject = Subject(model, version, segment)
                detector_of_subject = self._detector(subject, detector)
                if detector_of_subject is None:
                    self._counters["untuned_samples", model] += len(rows)
                    continue
                for place in detector_of_subject.update(rows["value"], rows["hour"]):
                    sample = {"value": detector_of_subject.estimation, "sample_size": len(rows)}
                    outputs.extend(self._alerts.detection(subject, detector, float(rows["time"][place]), sample, quiet))
        for detector in spec.detectors:
            # The event time of the detector's own stream decides, so that the result does not depend on the progress of others.
            own = reached.labels if detector.stream in OUTCOMES else reached.predictions
            outputs.extend(self._alerts.resolve_if_quiet(model, detector, min(now, own), quiet))
        return outputs

    def _detector(self, subject: Subject, spec: DetectorSpec) -> Detector | None:
        """The subject's detector in its current state; None if it needs a tuning that the version's baseline lacks."""
        baseline = self._registry.baseline(subject.model, subject.version) if spec.tuned else None
        tuning = tuning_for(spec, baseline.tunings) if baseline is not None else None
        if spec.tuned and tuning is None:
            return None
        key = DETECTOR + subject.model.encode() + b"\0" + _encode((subject.version, spec.name, subject.segment))
        detector = self._detectors.get(key)
        if detector is None or detector.mark != mark_of(spec, tuning):
            try:
                detector = Detector(spec, self._store.get(key), tuning)
            except OtherParametersError:
                # The detector of this name was configured differently, so what it has learned no longer applies.
                detector = Detector(spec, tuning=tuning)
            except TidegaugeError as error:
                log.warning("%s; the detector starts anew on %s, version %s", error, subject.model, subject.version)
                detector = Detector(spec, tuning=tuning)
            self._detectors[key] = detector
        self._fed.add(key)
        return detector

    def flush(self) -> None:
        """Write the detectors that were fed, and the waiting values, to the store."""
        for key in self._fed:
            self._store.put(key, self._detectors[key].dump())
        for model, waiting in self._waiting.items():
            for stream, raw in waiting.changes():
                key = b"%s%s\0%s" % (WAITING, model.encode(), _encode(stream))
                if raw:
                    self._store.put(key, raw)
                else:
                    self._store.delete(key)
        self._fed.clear()
