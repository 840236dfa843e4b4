"""The grid that scores are counted on. It becomes finer towards 0 and towards 1, octave by octave down to the smallest number,
so that it distinguishes scores that crowd near 0, as those of fraud do, or near 1. An AUC computed from counts on this grid
differs from the exact one (ties counted half) by less than 1e-3, from 200 labels on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_OCTAVES = ((8, 512), (12, 256), (24, 128), (40, 64), (64, 32), (128, 8), (256, 4), (1074, 1))
"""(k, steps): into how many steps each octave is divided, down to the k-th one, [2**-(k + 1), 2**-k). There are most where most
scores lie, and fewer far down, where only scores are that are spread over many octaves."""
_STEPS = np.repeat([steps for _, steps in _OCTAVES], np.diff([0, *(k for k, _ in _OCTAVES)]))
"""The number of steps of each octave, the octave next to one half first."""
_BEGIN = np.cumsum(_STEPS[::-1])[::-1] - _STEPS + 1
"""The first bin of each octave. Bins ascend with the score, and bin 0 is that of the score 0."""
SCORE_BINS = 2 * (1 + int(_STEPS.sum()))


def score_bins(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin (0 to SCORE_BINS - 1, ascending with the score) of scores in [0, 1], shape (n)."""
    upper = scores >= 0.5
    # One half itself belongs to the uppermost octave.
    tail = np.minimum(np.where(upper, 1.0 - scores, scores), np.nextafter(0.5, 0.0))
    mantissa, exponent = np.frexp(tail)
    # tail = mantissa * 2**exponent, mantissa in [0.5, 1): equal steps between one power of two and the next.
    octave = np.maximum(-exponent - 1, 0)
    step = ((mantissa - 0.5) * 2 * _STEPS[octave]).astype(np.int64)
    place = np.where(tail > 0, _BEGIN[octave] + step, 0)
    return np.asarray(np.where(upper, SCORE_BINS - 1 - place, place))


def _middles() -> NDArray[np.float64]:
    octave = np.repeat(np.arange(len(_STEPS))[::-1], _STEPS[::-1])
    step = np.arange(1, SCORE_BINS // 2) - _BEGIN[octave]
    tails = np.append(0.0, np.ldexp(0.5 + (step + 0.5) / (2 * _STEPS[octave]), -octave - 1))
    return np.concatenate((tails, 1.0 - tails[::-1]))


SCORES = _middles()
"""The middle of each score bin (SCORE_BINS)."""
