"""River's online change detectors behind one small interface.

    algorithm      river                      streams              cost of a value (order of magnitude)
    adwin          drift.ADWIN                all                  0.1 µs
    page_hinkley   drift.PageHinkley          all                  0.4 µs
    kswin          drift.KSWIN                all                  200 µs: for thin streams only
    ddm, eddm      drift.binary.DDM, EDDM     error                0.3 µs
    hddm_a, hddm_w drift.binary.HDDMA, HDDMW  error                1 µs

State survives restarts as a pickle that is read back through an allow-list: a topic is no place to take code from. With it
goes a mark of what the detector was told to do; a state of another mark is not taken up, so that a changed parameter or cycle
starts the detector anew.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from functools import cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.baseline.tuning import Tuning
from tidegauge.errors import SpecError, TidegaugeError
from tidegauge.spec import DetectorSpec

ALGORITHMS = ("adwin", "page_hinkley", "kswin", "ddm", "eddm", "hddm_a", "hddm_w")
BINARY = frozenset(("ddm", "eddm", "hddm_a", "hddm_w"))


@cache
def algorithm(name: str) -> type[Any]:
    """River's class for an algorithm. River is imported here, since it takes a second that most commands need not spend."""
    from river import drift
    from river.drift import binary

    kinds: dict[str, type[Any]] = {
        "adwin": drift.ADWIN,
        "page_hinkley": drift.PageHinkley,
        "kswin": drift.KSWIN,
        "ddm": binary.DDM,
        "eddm": binary.EDDM,
        "hddm_a": binary.HDDMA,
        "hddm_w": binary.HDDMW,
    }
    return kinds[name]


class Detector:
    """One detector on one stream.

    >>> detector = Detector(DetectorSpec(name="d", stream="error", algorithm="adwin"))
    >>> detector.update(np.repeat([0.0, 1.0], 500))[0] > 500
    True
    """

    def __init__(self, spec: DetectorSpec, state: bytes | None = None, tuning: Tuning | None = None) -> None:
        """Raises SpecError where algorithm, stream and parameters do not go together, TidegaugeError for a state that
        is none, or that of a detector told to do something else."""
        self._binary = spec.algorithm in BINARY
        if self._binary and spec.stream != "error":
            raise SpecError(f"detector {spec.name!r}: {spec.algorithm} takes the stream error, not {spec.stream}")
        if spec.algorithm not in ALGORITHMS:
            raise SpecError(f"detector {spec.name!r}: unknown algorithm {spec.algorithm!r}; one of {', '.join(ALGORITHMS)}")
        kind = algorithm(spec.algorithm)
        self._tuning = tuning
        self.mark = mark_of(spec, tuning)
        if state is None:
            parameters = spec.parameters | (tuning.calibrated if tuning is not None else {})
            if spec.algorithm == "kswin":
                parameters = {"seed": 1, **parameters}
            try:
                self._river = kind(**parameters)
            except TypeError as error:
                raise SpecError(f"detector {spec.name!r}: {spec.algorithm} does not take these parameters: {error}") from None
        else:
            try:
                mark, held = _unpack(state)
            except msgspec.MsgspecError as error:
                raise TidegaugeError(f"a stored detector state cannot be read: {error}") from error
            if mark != self.mark:
                raise TidegaugeError(f"the stored state of detector {spec.name!r} is of other parameters")
            self._river = _load(held)
            if type(self._river) is not kind:
                raise TidegaugeError(f"the stored state of detector {spec.name!r} is not of {spec.algorithm}")

    def update(self, values: NDArray[np.float64], hours: NDArray[np.uint8] | None = None) -> list[int]:
        """Feed values (n), of these hours of the week where it is told to compare against a cycle; the places at which a
        change was detected."""
        if self._tuning is not None and hours is not None:
            values = self._tuning.residuals(values, hours)
        update, river = self._river.update, self._river
        found = []
        fed = (values != 0).tolist() if self._binary else values.tolist()
        for place, value in enumerate(fed):
            update(value)
            if river.drift_detected:
                found.append(place)
        return found

    @property
    def estimation(self) -> float | None:
        """The detector's estimate of the current mean, where it has one."""
        value = getattr(self._river, "estimation", None)
        return None if value is None else float(value)

    def dump(self) -> bytes:
        return msgspec.msgpack.encode((self.mark, pickle.dumps(self._river, protocol=5)))


def mark_of(spec: DetectorSpec, tuning: Tuning | None) -> bytes:
    """What a detector's state depends on, in 8 bytes: its stream, algorithm, parameters, and the cycle taken off."""
    told = (spec.stream, spec.algorithm, spec.parameters)
    known = () if tuning is None else (tuning.calibrated, tuning.cycle)
    return hashlib.blake2b(msgspec.json.encode((told, known), order="sorted"), digest_size=8).digest()


_ALLOWED = {
    "builtins": {"dict", "list", "tuple", "set", "int", "float", "bool", "bytearray", "object"},
    "collections": {"deque", "defaultdict", "OrderedDict"},
    "random": {"Random"},
    "numpy": {"ndarray", "dtype"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.numeric": {"_frombuffer"},
}
_unpack = msgspec.msgpack.Decoder(tuple[bytes, bytes]).decode
_RIVER = ("river._river_rust.", "river.drift.", "river.stats.", "river.base.", "river.utils.")


def _page_hinkley_test(owner: Any, name: str) -> Any:
    """Stands in for getattr: Page-Hinkley keeps a method of its own class, nothing else asks for an attribute."""
    if not isinstance(owner, algorithm("page_hinkley")) or name not in ("_test_up", "_test_down", "_test_both"):
        raise TidegaugeError(f"a stored detector state asks for the attribute {name!r}, which no detector needs")
    return getattr(owner, name)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "getattr"):
            return _page_hinkley_test
        if name not in _ALLOWED.get(module, ()) and not f"{module}.".startswith(_RIVER):
            raise TidegaugeError(f"a stored detector state names {module}.{name}, which no detector needs")
        return super().find_class(module, name)


def _load(state: bytes) -> Any:
    try:
        return _Unpickler(io.BytesIO(state)).load()
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, ImportError) as error:
        raise TidegaugeError(f"a stored detector state cannot be read: {error}") from error
