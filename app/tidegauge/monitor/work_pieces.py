"""The pieces of a monitor task's work: how much work they are, and which may each be set aside (``engine/set_aside.py``), by
their keys.

    p<hash>                                       merging a part of a delta into its windows
    w<window>\\0                                  publishing and judging a window
    w<window>\\0<monitor>                         one monitor's verdicts on a window
    l<model>, d<model>, r<model>                  learning a model's baselines, its detectors, comparing its versions
    q<model>                                      ending the alerts of a model's versions that get no more requests

A window is ``<model>\\0<version>\\0<length>\\0<start>``.
"""

from __future__ import annotations

import hashlib

import msgspec

from tidegauge.engine.delta import Part, ProfileDelta
from tidegauge.engine.set_aside import WorkPiece
from tidegauge.engine.stage import Output
from tidegauge.metrics.record import iso
from tidegauge.monitor.window_headers import Header

PART, WINDOW, LEARNING, DETECTORS, ROLLOUTS, QUIET = b"p", b"w", b"l", b"d", b"r", b"q"
TIMES_A_PIECE, BYTES_A_PIECE = 50 * 8, 4096
"""The bytes of the times of fifty rows, and of a profile or an output, which count as much work as a part of any size does."""
_encode = msgspec.msgpack.Encoder().encode


def merging_of(model: str, part: Part) -> WorkPiece:
    """Merging a part of a delta. If it is set aside, the part is lost."""
    raw = _encode(part)
    return WorkPiece(
        PART + hashlib.sha256(raw).digest(), model, lambda: f"a part of what was counted of {model} {part.version}", raw
    )


def within(header: Header) -> bytes:
    """The prefix of the keys of all pieces of work on a window."""
    return WINDOW + header.key + b"\0"


def publishing_of(header: Header) -> WorkPiece:
    return WorkPiece(within(header), header.model, lambda: f"publishing {_words(header)}")


def judging_of(header: Header, monitor: str) -> WorkPiece:
    return WorkPiece(within(header) + monitor.encode(), header.model, lambda: f"the monitor {monitor} on {_words(header)}")


def learning_of(model: str) -> WorkPiece:
    return WorkPiece(LEARNING + model.encode(), model, lambda: f"learning the baselines of {model}")


def detectors_of(model: str) -> WorkPiece:
    return WorkPiece(DETECTORS + model.encode(), model, lambda: f"feeding the detectors of {model}")


def rollouts_of(model: str) -> WorkPiece:
    return WorkPiece(ROLLOUTS + model.encode(), model, lambda: f"comparing the versions of {model}")


def quiet_alerts_of(model: str) -> WorkPiece:
    return WorkPiece(QUIET + model.encode(), model, lambda: f"ending the alerts of versions of {model} without requests")


def _words(header: Header) -> str:
    return f"the window of {header.window} from {iso(header.start)} of {header.model} {header.version}"


def work_of_part(part: Part) -> int:
    """How much work it is to merge a part of a delta."""
    if isinstance(part, ProfileDelta):
        return 1 + (len(part.data or b"") + len(part.outcome or b"")) // BYTES_A_PIECE
    return 1 + len(part.times) // TIMES_A_PIECE


def work_of_output(output: Output) -> int:
    """How much work it was to make an output."""
    return 1 + len(output.value or b"") // BYTES_A_PIECE
