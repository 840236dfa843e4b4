"""The Prometheus metrics of one worker: about its stream processing, and the newest closed windows of its models."""

from __future__ import annotations

import time
from collections import Counter as Counts
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily, Metric

import tidegauge
from tidegauge.engine.refusals import GONE, REASONS
from tidegauge.engine.stage import LABELS, PREDICTIONS, Counters
from tidegauge.join.stage import JoinStage
from tidegauge.models.registry import Registry
from tidegauge.monitor.stage import MonitorStage
from tidegauge.monitor.versions import Version
from tidegauge.profile.delay_grid import DELAY_BINS, delay_of_bin
from tidegauge.prometheus.rollout_samples import rollout_samples
from tidegauge.prometheus.scrape_bound import scrape
from tidegauge.stream.key_placement import MISTAKES, KeyPlacement
from tidegauge.stream.reading_progress import StalledPartitions

if TYPE_CHECKING:
    from tidegauge.stream.app import StreamApp

COUNTERS = {
    "events": ("tidegauge_events", "Records read", "topic"),
    "joined": ("tidegauge_joined", "Outcomes joined to predictions", "topic"),
    "corrected": ("tidegauge_corrected", "Labels that corrected an earlier one", "topic"),
    "duplicate": ("tidegauge_duplicate", "Events that repeated an earlier one", "topic"),
    "reused_id": ("tidegauge_reused_request_id", "Predictions left out because an earlier request had their id", "model"),
    "waiting": ("tidegauge_label_waited", "Labels that came before their prediction", "topic"),
    "implied": ("tidegauge_implied_labels", "Outcomes counted because no label had come in time", "topic"),
    "unmatched": ("tidegauge_unmatched", "Labels whose prediction never came to their partition", "topic"),
    "expired": ("tidegauge_expired", "Labels past the label horizon", "topic"),
    "forgotten": ("tidegauge_forgotten", "Requests forgotten on demand, and events that came later under their ids", "what"),
    "kpi_values_left_out": ("tidegauge_kpi_values_left_out", "Values of KPIs with names beyond the bound", "model"),
    "late_windows": ("tidegauge_late_windows", "Changes to windows past their retention", "model"),
    "late_predictions": ("tidegauge_late_predictions", "Predictions too late for any of their windows", "model"),
    "untuned_samples": ("tidegauge_untuned_samples", "Values a detector was not fed, for want of a baseline's tuning", "model"),
    "gone": ("tidegauge_gone", "Records deleted before they were read", "topic"),
    "dead_lettered": ("tidegauge_dead_lettered", "Records refused", "reason"),
}
DELAY_BUCKETS = (1.0, 10.0, 60.0, 600.0, 3600.0, 21600.0, 86400.0, 604800.0, 2592000.0)


class Telemetry:
    """Builds the metrics from the current state of the worker's tasks whenever they are requested."""

    def __init__(
        self,
        app: StreamApp,
        registry: Registry,
        counters: Counters,
        standstills: StalledPartitions,
        placement: KeyPlacement,
    ) -> None:
        self._app, self._models, self._counters, self._standstills = app, registry, counters, standstills
        self._placement = placement
        self.registry = CollectorRegistry()
        self._checkpoints = Histogram(
            "tidegauge_checkpoint_seconds", "Duration of a checkpoint's transaction", ["stage"], registry=self.registry
        )
        self._last = Gauge(
            "tidegauge_last_checkpoint_timestamp_seconds", "When a checkpoint last succeeded", ["stage"],
            registry=self.registry,
        )  # fmt: skip
        info = Gauge("tidegauge_build_info", "Version of tidegauge", ["version"], registry=self.registry)
        info.labels(tidegauge.__version__).set(1)
        self.restarts = Counter("tidegauge_worker_starts", "Starts of this worker process", registry=self.registry)
        self.restarts.inc()
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    def checkpoint_took(self, stage: str, seconds: float) -> None:
        self._checkpoints.labels(stage).observe(seconds)
        self._last.labels(stage).set_to_current_time()

    def gone(self, topic: str, records: int) -> None:
        self._counters["gone", topic] += records
        self._counters["dead_lettered", GONE] += 1

    def collect(self) -> Iterator[Metric]:
        yield from self._counted()
        yield from self._stream()
        stages = [t.stage for t in self._app.tasks.values() if isinstance(t.stage, MonitorStage)]
        yield from self._traffic(stages)
        yield from self._labels(stages)
        yield from estimate_errors(version for stage in stages for version in stage.versions.values())
        yield from self._windows(stages)
        yield from self._alerts(stages)
        yield from self._incidents(stages)
        yield from self._model_info(stages)

    def _counted(self) -> Iterator[Metric]:
        for name, (metric, text, label) in COUNTERS.items():
            family = CounterMetricFamily(metric, text, labels=[label])
            # Counters start at zero, because Prometheus sees an increase to one only if there was a zero before.
            known = {"dead_lettered": REASONS, "gone": (PREDICTIONS, LABELS)}.get(name, (LABELS,) if label == "topic" else ())
            counts = dict.fromkeys(known, 0)
            counts |= {value: count for (kind, value), count in list(self._counters.items()) if kind == name}
            for value, count in counts.items():
                family.add_metric([value], count)
            yield family
        unknown = CounterMetricFamily("tidegauge_unknown_members", "Accepted events with members the contract does not know")
        joins = [t.stage for t in self._app.tasks.values() if isinstance(t.stage, JoinStage)]
        unknown.add_metric([], sum(stage.unknown_members for stage in joins))
        yield unknown
        looked = CounterMetricFamily("tidegauge_placement_checked", "Records whose partition was looked at", labels=["topic"])
        misplaced = CounterMetricFamily(
            "tidegauge_misplaced", "Those of them that are not where their request id belongs", labels=["topic", "mistake"]
        )
        for topic in (PREDICTIONS, LABELS):
            looked.add_metric([topic], self._placement.checked[topic])
            for mistake in MISTAKES:
                misplaced.add_metric([topic, mistake], self._placement.misplaced[topic, mistake])
        yield looked
        yield misplaced

    def _stream(self) -> Iterator[Metric]:
        lag = GaugeMetricFamily("tidegauge_consumer_lag", "Records not yet processed", labels=["stage", "topic", "partition"])
        for (stage, topic, partition), records in self._app.lag().items():
            lag.add_metric([stage, topic, str(partition)], records)
        yield lag
        standing = GaugeMetricFamily(
            "tidegauge_standstill_seconds", "For how long a partition, whoever's, has held records that nobody processed",
            labels=["stage", "topic", "partition"],
        )  # fmt: skip
        for (stage, topic, partition), seconds in self._standstills.seconds().items():
            standing.add_metric([stage, topic, str(partition)], seconds)
        yield standing
        state = GaugeMetricFamily("tidegauge_state_bytes", "State on disk", labels=["stage", "partition"])
        for (stage, partition), task in self._app.tasks.items():
            if task.store is not None:
                state.add_metric([stage, str(partition)], task.store.bytes_on_disk())
        yield state
        registry = self._app.schema_registry
        if registry is not None:
            away = 0.0 if registry.away_since is None else time.time() - registry.away_since
            yield GaugeMetricFamily(
                "tidegauge_schema_registry_away_seconds", "For how long records have waited for the schema registry", away
            )
        rebalances = CounterMetricFamily("tidegauge_rebalances", "Times partitions were taken away")
        rebalances.add_metric([], self._app.rebalances)
        yield rebalances
        marks = GaugeMetricFamily(
            "tidegauge_watermark_timestamp_seconds", "Event time reached", labels=["stage", "model", "partition"]
        )
        pending = GaugeMetricFamily(
            "tidegauge_pending_requests", "Predictions and labels not yet joined, since this task began", labels=["partition"]
        )
        for (name, partition), task in self._app.tasks.items():
            if isinstance(task.stage, JoinStage):
                for model, progress in task.stage.progress.items():
                    marks.add_metric([name, model, str(partition)], progress.predictions)
                pending.add_metric([str(partition)], task.stage.pending)
            elif isinstance(task.stage, MonitorStage):
                for model, clock in task.stage.clocks.items():
                    marks.add_metric([name, model, str(partition)], clock.reached.predictions)
        yield marks
        yield pending

    def _traffic(self, stages: list[MonitorStage]) -> Iterator[Metric]:
        names = ["model", "model_version"]
        predictions = CounterMetricFamily("tidegauge_predictions", "Predictions served, since this task began", labels=names)
        errors = CounterMetricFamily("tidegauge_prediction_errors", "Those that failed", labels=names)
        latency = HistogramMetricFamily("tidegauge_prediction_latency_seconds", "How long they took", labels=names)
        for stage in stages:
            for key, served in list(stage.traffic.items()):
                predictions.add_metric(list(key), served.predictions)
                trace = Exemplar({"trace_id": served.failed}, 1.0) if served.failed else None
                errors.add_metric(list(key), served.errors, exemplar=trace)
                if served.timed:
                    latency.add_metric(list(key), list(served.buckets().items()), sum_value=served.seconds)
        yield predictions
        yield errors
        yield latency

    def _labels(self, stages: list[MonitorStage]) -> Iterator[Metric]:
        names = ["model", "model_version"]
        delay = HistogramMetricFamily("tidegauge_label_delay_seconds", "From prediction to label", labels=names)
        coverage = GaugeMetricFamily("tidegauge_label_coverage_ratio", "Share of predictions that get a label", labels=names)
        for stage in stages:
            for version in stage.versions.values():
                counts = version.delays.counts
                total = int(counts.sum())
                if total <= 0:
                    continue
                edges = [delay_of_bin(b) for b in range(DELAY_BINS)]
                buckets: list[tuple[str, float]] = []
                for limit in DELAY_BUCKETS:
                    within = sum(1 for edge in edges if edge <= limit * 1.0001)
                    buckets.append((str(limit), float(counts[:within].sum())))
                buckets.append(("+Inf", float(total)))
                labels = [version.model, version.version]
                delay.add_metric(labels, buckets, sum_value=float((counts * edges).sum()))
                eventual = version.delays.eventual_coverage
                if eventual is not None:
                    coverage.add_metric(labels, eventual)
        yield delay
        yield coverage

    def _windows(self, stages: list[MonitorStage]) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        shown = scrape(record for stage in stages for record in stage.newest)
        rollouts = (rollout_samples(record) for stage in stages for record in stage.rollouts.newest)
        for name, labels, value in chain(shown.samples, chain.from_iterable(rollouts)):
            family = families.get(name)
            if family is None:
                kind = "summary" if "quantile" in labels else "gauge"
                family = families[name] = Metric(name, f"{name} of the newest closed window", kind)
            family.add_sample(name, labels, value)
        left_out = GaugeMetricFamily("tidegauge_windows_left_out", "Newest closed windows for which the scrape has no room")
        left_out.add_metric([], shown.left_out)
        return [*families.values(), left_out]

    def _alerts(self, stages: list[MonitorStage]) -> Iterator[Metric]:
        names = ["alertname", "model", "model_version", "segment", "feature", "metric", "severity"]
        family = GaugeMetricFamily("tidegauge_alert_firing", "1 while an alert is firing", labels=names)
        for stage in stages:
            for labels, severity, firing in stage.alerts.known():
                family.add_metric([labels.get(n, severity if n == "severity" else "") for n in names], float(firing))
        yield family

    def _incidents(self, stages: list[MonitorStage]) -> Iterator[Metric]:
        names = ["model", "severity", "concern"]
        family = GaugeMetricFamily("tidegauge_incident_open", "Open incidents, by what their cause concerns", labels=names)
        found: Counts[tuple[str, str, str]] = Counts()
        for stage in stages:
            for incident in stage.alerts.incidents.known():
                found[incident.model, incident.severity, incident.members[incident.cause].concern] += incident.open
        for labels, count in found.items():
            family.add_metric(list(labels), count)
        yield family

    def _model_info(self, stages: list[MonitorStage]) -> Iterator[Metric]:
        names = ["model", "model_version", "role", "run_id", "commit"]
        family = GaugeMetricFamily("tidegauge_model_info", "A model version and its lineage", labels=names)
        for stage in stages:
            for version in stage.versions.values():
                lineage = self._models.lineage(version.model, version.version)
                family.add_metric([version.model, version.version, version.role, lineage.run_id or "", lineage.commit or ""], 1)
        yield family


def estimate_errors(versions: Iterable[Version]) -> Iterable[Metric]:
    """The mean absolute error of the estimated performance of each version, and the number of windows it is taken over."""
    families: dict[str, GaugeMetricFamily] = {}
    for version in versions:
        for window in version.grades.totals:
            for metric, error in version.grades.mean_absolute_error(window).items():
                name = "tidegauge_estimate_graded_windows" if metric == "windows" else f"tidegauge_estimate_error_{metric}"
                if name not in families:
                    families[name] = GaugeMetricFamily(
                        name, "Mean absolute error of estimated performance over the windows whose labels are in",
                        labels=["model", "model_version", "window"],
                    )  # fmt: skip
                families[name].add_metric([version.model, version.version, window], error)
    return families.values()
