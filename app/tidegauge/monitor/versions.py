"""What one monitor task keeps of each model version beside its windows: label delays, the errors of estimates, roles.

v<model>\\0<version>               Version
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.engine.delta import RoleSwitch
from tidegauge.engine.stage import Store
from tidegauge.metrics.grading import Grades
from tidegauge.monitor.settling import LabelDelays
from tidegauge.monitor.window_headers import Header
from tidegauge.monitor.windows import Windows
from tidegauge.rollout.compared_versions import SeenVersion, Switch, with_switch
from tidegauge.spec import ModelVersion

VERSION = b"v"
_encode = msgspec.msgpack.Encoder().encode


class Version(msgspec.Struct):
    """One model version. ``delays``: its label delays; ``grades``: how far its estimates of performance were off; ``switches``:
    its role switches, the oldest first; ``learned``: whether its baseline has been learned; ``rows``: rows of the log with
    smaller numbers are already part of what its baseline is learned from; ``reference_end``: while the learned baseline waits
    for its labels, the end (Unix seconds) of the last window that it was learned from, otherwise 0; ``last``: the start (Unix
    seconds) of the newest pane with predictions."""

    model: str
    version: str
    delays: LabelDelays = msgspec.field(default_factory=LabelDelays)
    grades: Grades = msgspec.field(default_factory=Grades)
    role: str = "live"
    switches: tuple[Switch, ...] = ()
    learned: bool = False
    rows: int = 0
    reference_end: float = 0.0
    last: float = 0.0


class Versions:
    """All versions of one monitor task, by model and version."""

    def __init__(self, store: Store) -> None:
        self._store = store
        decode = msgspec.msgpack.Decoder(Version).decode
        found = (decode(raw) for _, raw in store.scan(VERSION))
        self.by_name: dict[ModelVersion, Version] = {ModelVersion(of.model, of.version): of for of in found}
        # So that work on one of many models does not go through the versions of all.
        self._of_model: dict[str, dict[str, Version]] = {}
        for (model, name), version in self.by_name.items():
            self._of_model.setdefault(model, {})[name] = version
        self._changed: set[ModelVersion] = set()

    def get(self, model: str, version: str) -> Version:
        """A version, which is added if it is not known yet."""
        name = ModelVersion(model, version)
        found = self.by_name.get(name)
        if found is None:
            found = self.by_name[name] = Version(model, version)
            self._of_model.setdefault(model, {})[version] = found
        return found

    def of_model(self, model: str) -> Mapping[str, Version]:
        """The model's versions by name."""
        return self._of_model.get(model, {})

    def seen_versions(self, model: str) -> dict[str, SeenVersion]:
        """The model's versions, as a comparison of them needs to know them."""
        return {name: SeenVersion(of.role, of.delays.first, of.switches) for name, of in self.of_model(model).items()}

    def take(self, model: str, name: str, first: float, last: float, delays: NDArray[np.int64] | None) -> None:
        """Note what a delta says of the whole version. ``first`` and ``last``: starts of the earliest and latest pane in it;
        ``delays`` (DELAY_BINS): the histogram of its labels' delays."""
        version = self.get(model, name)
        if not version.delays.first or first < version.delays.first:
            version.delays.first = first
        version.last = max(version.last, last)
        self.changed(version)
        if delays is not None:
            version.delays.add(delays)

    def note_switch(self, model: str, switch: RoleSwitch) -> None:
        """Note that a version has a new role."""
        version = self.get(model, switch.version)
        switches = with_switch(version.switches, switch.since, switch.role)
        if switches != version.switches:
            version.switches, version.role = switches, switches[-1].role
            self.changed(version)

    def settle(self, header: Header, windows: Windows) -> None:
        """Note that a window has settled: all but a few of its labels are in."""
        header.settled = True
        # Of all segments, since the records of all are to be published.
        windows.count(header, "outcome")
        version = self.get(header.model, header.version)
        outcome = windows.outcome(header, ())
        version.delays.mature(header.records[()].predictions, outcome.labels - outcome.implied)
        self.changed(version)

    def changed(self, version: Version) -> None:
        """Note that a version is to be written to the store."""
        self._changed.add(ModelVersion(version.model, version.version))

    def flush(self) -> None:
        """Write what changed to the store."""
        for name in self._changed:
            self._store.put(VERSION + b"\0".join(part.encode() for part in name), _encode(self.by_name[name]))
        self._changed.clear()
