"""Every error tidegauge raises on purpose.

    TidegaugeError
    ├── SpecError        a model spec that cannot be used; carries file, line and member
    ├── BaselineError    reference data or a baseline that cannot be used
    ├── SourceError      a file of events, or what it was read from, that cannot be read
    ├── EventError       an event that becomes a dead letter; has one of the documented reasons
    ├── ReportError      a report that cannot be made
    ├── RegistryError    a model registry that cannot be reached, or lacks what is asked for
    ├── BrokerError      the local broker could not be downloaded, started or stopped
    ├── AccessError      the console refuses to start: its settings do not say who may reach it
    └── StreamError      Kafka, or another server, does not do what it must
        ├── TopicError   topics that are missing or do not fit each other
        ├── StateError   the local state of a task cannot be read
        ├── FencedError  another worker has taken over this task
        ├── UnavailableError  another server did not accept something; trying again may help
        └── RejectedError     another server refused something; trying again will not help

Messages say what was wrong, where, and what to do.
"""

from __future__ import annotations


class TidegaugeError(Exception):
    """The base class of every error that tidegauge raises on purpose."""


class SpecError(TidegaugeError):
    """A model spec that cannot be used."""


class BaselineError(TidegaugeError):
    """Reference data or a baseline that cannot be used."""


class SourceError(TidegaugeError):
    """A file of events, or what it was read from, that cannot be read."""


class EventError(TidegaugeError):
    """An event that becomes a dead letter. ``reason``: one of ``refusals.REASONS``."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ReportError(TidegaugeError):
    """A report that cannot be made: there is no such period, or no data of it."""


class RegistryError(TidegaugeError):
    """A model registry that cannot be reached, or lacks what is asked for."""


class BrokerError(TidegaugeError):
    """The local broker could not be downloaded, started or stopped."""


class AccessError(TidegaugeError):
    """The console refuses to start, since its settings do not say who may reach it."""


class StreamError(TidegaugeError):
    """Kafka, or another server, does not do what it must."""


class TopicError(StreamError):
    """Topics that are missing or do not fit each other."""


class StateError(StreamError):
    """The local state of a task cannot be read. Nothing is lost: the changelog has all of it."""


class FencedError(StreamError):
    """Another worker has taken over this task; this worker's transaction was not written."""


class UnavailableError(StreamError):
    """Another server did not accept what it was sent; trying again may help."""


class RejectedError(StreamError):
    """Another server refused what it was sent; trying again will not help."""
