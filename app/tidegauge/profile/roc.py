"""The area under the ROC curve of score histograms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def roc_auc(positives: NDArray[np.int64], negatives: NDArray[np.int64]) -> float | None:
    """Area under the ROC curve of two score histograms (B, ascending scores); ties counted half. None with one class.

    >>> roc_auc(np.array([0, 1, 1]), np.array([1, 1, 0]))
    0.875
    """
    p, n = int(positives.sum()), int(negatives.sum())
    if p <= 0 or n <= 0:
        return None
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + 0.5 * negatives)).sum() / (p * n))
