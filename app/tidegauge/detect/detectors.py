"""Online change detectors behind one small interface.

    algorithm      file                       streams              cost of a value (order of magnitude)
    adwin          adaptive_windowing.py      all                  0.1 µs
    page_hinkley   page_hinkley.py            all                  0.5 µs
    kswin          window_comparison.py       all                  200 µs: for thin streams only
    ddm, eddm      error_rates.py             error                0.3 µs
    hddm_a, hddm_w hoeffding.py               error                1 µs

The tests compare each with River's implementation, value by value. The state of a detector is stored as data: the fields of the
algorithm as msgpack, with a mark of the detector's configuration. A state with a different mark is not used, so that a detector
starts anew after a change of its parameters or its cycle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.baseline.tuning import Tuning
from tidegauge.detect.adaptive_windowing import Adwin
from tidegauge.detect.error_rates import Ddm, Eddm
from tidegauge.detect.hoeffding import HddmA, HddmW
from tidegauge.detect.page_hinkley import PageHinkley
from tidegauge.detect.window_comparison import Kswin
from tidegauge.errors import SpecError, TidegaugeError
from tidegauge.spec import DetectorSpec


class Algorithm(Protocol):
    """An algorithm on one stream of values. ``state``: its complete state, a structure of type ``state_type``, which can be
    read and set; ``estimation``: its estimate of the current mean, None if it has none."""

    state: Any

    @property
    def state_type(self) -> type[Any]: ...
    @property
    def estimation(self) -> float | None: ...

    def update(self, value: float) -> bool:
        """Add a value; return whether a change was detected."""
        ...


ALGORITHMS: dict[str, Callable[..., Algorithm]] = {
    "adwin": Adwin,
    "page_hinkley": PageHinkley,
    "kswin": Kswin,
    "ddm": Ddm,
    "eddm": Eddm,
    "hddm_a": HddmA,
    "hddm_w": HddmW,
}
BINARY = frozenset(("ddm", "eddm", "hddm_a", "hddm_w"))
FORMAT = 2
"""The format of stored states. The first was a pickle, which is unsafe to read from a topic."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, bytes, msgspec.Raw]).decode


class OtherParametersError(TidegaugeError):
    """A stored state belongs to a detector with another configuration."""


class Detector:
    """One detector on one stream.

    >>> detector = Detector(DetectorSpec(name="d", stream="error", algorithm="adwin"))
    >>> detector.update(np.repeat([0.0, 1.0], 500))[0] > 500
    True
    """

    def __init__(self, spec: DetectorSpec, state: bytes | None = None, tuning: Tuning | None = None) -> None:
        """Raises SpecError if algorithm, stream and parameters do not fit together, OtherParametersError for the state of a
        detector with another configuration, and TidegaugeError for anything that is not a state."""
        self._binary = spec.algorithm in BINARY
        if self._binary and spec.stream != "error":
            raise SpecError(f"detector {spec.name!r}: {spec.algorithm} takes the stream error, not {spec.stream}")
        if spec.algorithm not in ALGORITHMS:
            raise SpecError(f"detector {spec.name!r}: unknown algorithm {spec.algorithm!r}; one of {', '.join(ALGORITHMS)}")
        self._tuning = tuning
        self.mark = mark_of(spec, tuning)
        parameters = spec.parameters | (tuning.calibrated if tuning is not None else {})
        try:
            self._algorithm = ALGORITHMS[spec.algorithm](**parameters)
        except TypeError as error:
            raise SpecError(f"detector {spec.name!r}: {spec.algorithm} does not take these parameters: {error}") from None
        if state is not None:
            self._algorithm.state = self._read(spec, state)

    def _read(self, spec: DetectorSpec, raw: bytes) -> Any:
        try:
            version, mark, fields = _decode(raw)
            if version != FORMAT:
                raise TidegaugeError(f"the stored state of detector {spec.name!r} is of format {version}, not {FORMAT}")
            if mark != self.mark:
                raise OtherParametersError(f"the stored state of detector {spec.name!r} is of other parameters")
            return msgspec.msgpack.decode(fields, type=self._algorithm.state_type)
        except msgspec.MsgspecError as error:
            raise TidegaugeError(
                f"the stored state of detector {spec.name!r} is no state of {spec.algorithm}, or was written by a version of "
                f"tidegauge that kept it as a pickle, which is not read any more: {error}"
            ) from error

    def update(self, values: NDArray[np.float64], hours: NDArray[np.uint8] | None = None) -> list[int]:
        """Add values (n) and return the indices at which a change was detected. ``hours`` (n): the hour of the week of each
        value; needed if the detector subtracts a cycle."""
        if self._tuning is not None and hours is not None:
            values = self._tuning.residuals(values, hours)
        update = self._algorithm.update
        fed = (values != 0).astype(float).tolist() if self._binary else values.tolist()
        return [place for place, value in enumerate(fed) if update(value)]

    @property
    def estimation(self) -> float | None:
        """The detector's estimate of the current mean; None if its algorithm has none."""
        return self._algorithm.estimation

    def dump(self) -> bytes:
        return _encode((FORMAT, self.mark, self._algorithm.state))


def mark_of(spec: DetectorSpec, tuning: Tuning | None) -> bytes:
    """A hash (8 bytes) of what a detector's state depends on: its stream, algorithm, parameters and cycle."""
    told = (spec.stream, spec.algorithm, spec.parameters)
    known = () if tuning is None else (tuning.calibrated, tuning.cycle)
    return hashlib.blake2b(msgspec.json.encode((told, known), order="sorted"), digest_size=8).digest()
