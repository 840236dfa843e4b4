"""The role of each model version, and since when it has it, according to the predictions of one join task."""

from __future__ import annotations

from collections.abc import Sequence

from tidegauge.engine.delta import RoleSwitch
from tidegauge.engine.events import Prediction
from tidegauge.spec import ModelVersion

LIVE = "live"
MAX_SWITCHES = 100
"""The most switches of one version that are passed on at once. If its predictions disagree more often, only the last one is."""


class Roles:
    """The roles of one join task's versions. They are kept only in memory, since repeated messages after a restart change
    nothing in the monitor stage."""

    def __init__(self) -> None:
        self._now: dict[ModelVersion, RoleSwitch] = {}
        self._switches: dict[str, list[RoleSwitch]] = {}

    def note(self, events: Sequence[Prediction], models: Sequence[str]) -> None:
        """Note the roles in predictions. ``models``: the model of each prediction."""
        said = {(model, event.model_version, event.role) for model, event in zip(models, events, strict=True)}
        changed = set()
        for model, version, role in said:
            name = ModelVersion(model, version)
            known = self._now.get(name)
            if known is None or known.role != (role or LIVE):
                changed.add(name)
        for name in changed:
            of = zip(models, events, strict=True)
            rows = sorted((float(event.ts), event.role or LIVE) for model, event in of if (model, event.model_version) == name)
            known, found = self._now.get(name), []
            for ts, role in rows:
                if known is None or (role != known.role and ts >= known.since):
                    known = RoleSwitch(name.version, role, ts)
                    found.append(known)
            if known is not None and found:
                self._now[name] = known
                self._switches.setdefault(name.model, []).extend(found if len(found) <= MAX_SWITCHES else found[-1:])

    def take(self) -> dict[str, tuple[RoleSwitch, ...]]:
        """Take out the switches noted so far, by model."""
        taken, self._switches = self._switches, {}
        return {model: tuple(switches) for model, switches in taken.items()}
