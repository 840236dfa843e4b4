"""Every error tidegauge raises on purpose.

    TidegaugeError
    ├── SpecError        a model spec that cannot be used; carries file, line and member
    ├── BaselineError    reference data or a baseline that cannot be used
    ├── SourceError      a file of events, or what it was read from, that cannot be read
    ├── EventError       an event that goes to the dead letters; carries one of the documented reasons
    ├── ReportError      a report that cannot be made
    ├── RegistryError    a registry of models that cannot be asked, or does not know what is asked for
    ├── BrokerError      the laptop broker could not be had, started or stopped
    ├── AccessError      the console refuses to be reached in this way
    └── StreamError      Kafka, or a server that is sent something, refuses to go on
        ├── TopicError   topics that do not fit each other
        ├── StateError   the local state cannot be read
        ├── FencedError  another worker owns this task now
        ├── UnavailableError  another server did not take what it was sent, and may take it later
        └── RejectedError     another server will never take what it was sent

Messages say what was wrong, where, and what to do.
"""

from __future__ import annotations


class TidegaugeError(Exception):
    """The root: catch this to catch everything tidegauge raises on purpose."""


class SpecError(TidegaugeError):
    """A model spec that cannot be used."""


class BaselineError(TidegaugeError):
    """Reference data or a baseline that cannot be used."""


class SourceError(TidegaugeError):
    """A file of events, or what it was read from, that cannot be read."""


class EventError(TidegaugeError):
    """An event that belongs in the dead letters, for ``reason`` (see ``refusals.REASONS``)."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ReportError(TidegaugeError):
    """A report that cannot be made: no such period, or nothing is known of it."""


class RegistryError(TidegaugeError):
    """A registry of models that cannot be asked, or does not know what is asked for."""


class BrokerError(TidegaugeError):
    """The laptop broker could not be had, started or stopped."""


class AccessError(TidegaugeError):
    """The console refuses to start: who may reach it is not settled."""


class StreamError(TidegaugeError):
    """Kafka, or a server that is sent something, refuses to go on."""


class TopicError(StreamError):
    """Topics that are missing or do not fit each other."""


class StateError(StreamError):
    """A task's local state cannot be read; its changelog has all of it."""


class FencedError(StreamError):
    """Another worker has taken this task over; nothing of ours was written."""


class UnavailableError(StreamError):
    """Another server did not take what it was sent; trying again may help."""


class RejectedError(StreamError):
    """Another server refused what it was sent; trying again will not help."""
