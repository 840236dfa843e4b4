"""What a baseline holds for a detector: the cycle of its stream, and the parameter that keeps a budget of false alarms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.spec import Against, DetectorSpec, ModelSpec


class Tuning(msgspec.Struct, frozen=True, omit_defaults=True):
    """For detectors of one ``stream`` and ``algorithm`` that ask for these ``parameters``, ``false_alarms`` and ``against``.

    ``cycle`` (24 or 168): the stream's mean by hour of the day or week, in UTC. ``calibrated``: the parameter by name, and
    its value; ``alarms`` is how many it raised in ``simulated`` values drawn from ``values`` of the baseline.
    """

    stream: str
    algorithm: str
    values: int
    parameters: dict[str, Any] = {}
    false_alarms: float | None = None
    against: Against | None = None
    cycle: tuple[float, ...] = ()
    calibrated: dict[str, float] = {}
    simulated: int = 0
    alarms: int = 0

    def is_for(self, detector: DetectorSpec) -> bool:
        wanted = (detector.stream, detector.algorithm, detector.parameters, detector.false_alarms, detector.against)
        return wanted == (self.stream, self.algorithm, self.parameters, self.false_alarms, self.against)

    def residuals(self, values: NDArray[np.float64], hours: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The values (n) minus the cycle's values at their ``hours`` (n) of the week; unchanged without a cycle."""
        if not self.cycle:
            return values
        return np.asarray(values - np.array(self.cycle)[hours % len(self.cycle)])


def tuning_for(detector: DetectorSpec, tunings: Iterable[Tuning]) -> Tuning | None:
    return next((tuning for tuning in tunings if tuning.is_for(detector)), None)


def untuned(spec: ModelSpec, detector: DetectorSpec, tunings: Mapping[str, Iterable[Tuning]]) -> str | None:
    """Why a detector cannot be tuned by the spec's baselines; None if it can. ``tunings``: those in the baseline files, by
    version ("" for all versions that are not named)."""
    member = "false_alarms" if detector.false_alarms is not None else "against"
    sources = {"": spec.baseline} if not spec.baselines else spec.baselines
    for version, source in sources.items():
        if source.file is None:
            how = "compared with an earlier window" if source.previous is not None else "learned from the first predictions"
            return (
                f"{member} needs a baseline built from reference data, and this one is {how}, which have no order and no "
                "labels; build one with `tidegauge baseline build`, or give the detector's parameters"
            )
        if version in tunings and tuning_for(detector, tunings[version]) is None:
            return (
                f"{member} is not among what {source.file} was built for (stream, algorithm, parameters, false_alarms and "
                "against must be as they were); build it again with this spec"
            )
    return None


def budget_text(false_alarms: float) -> str:
    """A false-alarm budget as a spec writes it.

    >>> budget_text(1e-5)
    '1 per 100000'
    """
    return f"1 per {1 / false_alarms:.0f}"
