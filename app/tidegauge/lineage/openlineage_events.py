"""What a command read and wrote, as OpenLineage events, for a catalogue of lineage such as Marquez or DataHub.

Off unless OpenLineage's own variables ask for it: ``OPENLINEAGE_URL`` or ``OPENLINEAGE_CONFIG``. A catalogue that does not take
the events stops no command; that is told on standard error.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import tidegauge
from tidegauge.errors import RegistryError

WANTED = ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG")
PRODUCER = "https://tidegauge.io"
NAMESPACE = "OPENLINEAGE_NAMESPACE"
"""The variable that names the namespace of the jobs, ``tidegauge`` if it is not set."""


class DataSet(NamedTuple):
    """By OpenLineage's rules of naming. ``rows`` and ``size`` (bytes): None where nobody knows; ``version``: of its content."""

    namespace: str
    name: str
    rows: int | None = None
    size: int | None = None
    version: str | None = None


class Job(NamedTuple):
    """``kind``: a word, such as BASELINE. ``description``: for people."""

    name: str
    kind: str
    description: str


class RunDetails:
    """What a run reads and writes, and tags that say more of it, as they come to be known."""

    def __init__(self) -> None:
        self.read: list[DataSet] = []
        self.wrote: list[DataSet] = []
        self.tags: dict[str, str] = {}


def is_wanted() -> bool:
    return any(os.environ.get(name) for name in WANTED)


def of_file(path: Path, rows: int | None = None) -> DataSet:
    """A file, with its size if it is there."""
    size = path.stat().st_size if path.is_file() else None
    return DataSet("file", str(path.resolve()), rows, size)


def of_topic(bootstrap: str, topic: str) -> DataSet:
    """A topic.

    >>> of_topic("a:9092,b:9092", "metrics")[:2]
    ('kafka://a:9092', 'metrics')
    """
    return DataSet(f"kafka://{bootstrap.split(',')[0]}", topic)


@contextlib.contextmanager
def told(job: Job) -> Iterator[RunDetails]:
    """Tell of a run of ``job``: that it begins, and when the block ends, that it is complete, or that it failed and with which
    error. Raises RegistryError if events are wanted and their library is not installed."""
    said = RunDetails()
    if not is_wanted():
        yield said
        return
    events = _Events(job)
    events.emit("START", said)
    try:
        yield said
    except BaseException as error:
        events.emit("FAIL", said, error)
        raise
    events.emit("COMPLETE", said)


class _Events:
    """The events of one run."""

    def __init__(self, job: Job) -> None:
        try:
            from openlineage.client import OpenLineageClient
            from openlineage.client.uuid import generate_new_uuid
        except ImportError as error:
            raise RegistryError(f"{' or '.join(WANTED)} asks for lineage: pip install 'tidegauge[openlineage]'") from error
        self._job, self._run_id = job, str(generate_new_uuid())
        self._client: Any = None
        with self._told_of_failure():
            self._client = OpenLineageClient()

    def emit(self, state: str, said: RunDetails, error: BaseException | None = None) -> None:
        """Send an event, unless an earlier one could not be sent: the command has waited long enough."""
        with self._told_of_failure():
            if self._client is not None:
                self._client.emit(self._event(state, said, error))
                if state != "START":
                    self._client.close(timeout=10.0)

    @contextlib.contextmanager
    def _told_of_failure(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._client = None
            print(f"note: OpenLineage events cannot be sent: {error}", file=sys.stderr)

    def _event(self, state: str, said: RunDetails, error: BaseException | None) -> Any:
        from openlineage.client import event_v2
        from openlineage.client.facet_v2 import (
            documentation_job,
            error_message_run,
            job_type_job,
            processing_engine_run,
            tags_run,
        )  # fmt: skip

        version = tidegauge.__version__
        facets: dict[str, Any] = {
            "processing_engine": processing_engine_run.ProcessingEngineRunFacet(version, "tidegauge", version)
        }
        if said.tags:
            facets["tags"] = tags_run.TagsRunFacet(
                [tags_run.TagsRunFacetFields(key, value, "TIDEGAUGE") for key, value in said.tags.items()]
            )
        if error is not None:
            facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(f"{type(error).__name__}: {error}", "PYTHON")
        described = {
            "jobType": job_type_job.JobTypeJobFacet("BATCH", "TIDEGAUGE", self._job.kind),
            "documentation": documentation_job.DocumentationJobFacet(self._job.description),
        }
        return event_v2.RunEvent(
            eventType=event_v2.RunState(state),
            eventTime=datetime.now(UTC).isoformat(),
            run=event_v2.Run(self._run_id, facets),
            job=event_v2.Job(os.environ.get(NAMESPACE) or "tidegauge", self._job.name, described),
            inputs=_inputs(said.read),
            outputs=_outputs(said.wrote),
            producer=PRODUCER,
        )


def _inputs(read: Sequence[DataSet]) -> list[Any]:
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.facet_v2 import input_statistics_input_dataset

    kind = input_statistics_input_dataset.InputStatisticsInputDatasetFacet
    return [
        InputDataset(of.namespace, of.name, _counted("inputStatistics", kind, of), facets=_versioned(of)) for of in read
    ]  # fmt: skip


def _outputs(wrote: Sequence[DataSet]) -> list[Any]:
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset

    kind = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
    return [
        OutputDataset(of.namespace, of.name, _counted("outputStatistics", kind, of), facets=_versioned(of)) for of in wrote
    ]  # fmt: skip


def _counted(name: str, kind: Any, of: DataSet) -> Mapping[str, Any]:
    return {} if of.rows is None and of.size is None else {name: kind(rowCount=of.rows, size=of.size)}


def _versioned(of: DataSet) -> Mapping[str, Any]:
    from openlineage.client.facet_v2 import dataset_version_dataset

    return {} if of.version is None else {"version": dataset_version_dataset.DatasetVersionDatasetFacet(of.version)}
