"""Confidences that can be read as probabilities: temperature scaling, and the class frequencies taken out of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

COLDEST, HOTTEST = 0.05, 20.0


def temperatures(
    logits: NDArray[np.float32], targets: NDArray[np.int64], slices: Sequence[slice]
) -> NDArray[np.float64]:
    """The temperature T (R,) of each rank at which softmax(logits / T) has the least cross-entropy (Guo et al. 2017).

    logits (n, C), targets (n, R) with -1 left out. 1 where a rank has no known class. log T has a normal prior of mean
    0 and variance 1, which counts as one sequence: where all sequences are right, the colder the better, and without it
    any other one would be named without a doubt.
    """
    found = np.ones(len(slices))
    for rank, columns in enumerate(slices):
        known = targets[:, rank] >= 0
        if known.any():
            found[rank] = _best(logits[known, columns].astype(np.float64), targets[known, rank])
    return found


def _best(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    def cost(log_t: float) -> float:
        return cross_entropy(logits, targets, np.exp(log_t)) + log_t**2 / (2 * len(targets))

    found, step = 0.0, np.log(HOTTEST) / 10
    while step > 1e-5:  # a grid around the best of a coarser one: with the prior it need not be convex
        grid = found + step * np.arange(-10, 11)
        found = float(grid[np.argmin([cost(value) for value in grid])])
        step /= 8
    return float(np.clip(np.exp(found), COLDEST, HOTTEST))


def cross_entropy(logits: NDArray[np.float64], targets: NDArray[np.int64], temperature: float) -> float:
    """Mean over n of -log of the true class's probability, nats: logits (n, C_r) over T, targets (n,) all known."""
    scaled = logits / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(targets)), targets]))


def log_shares(targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Logarithm of each class's share (C_r,) of the known targets (n,) of one rank, -1 = unknown.

    Classes are 0 to C_r - 1, each with a target. Taken off the logits of a rank (`Heads.subtract`) they take the
    frequencies of training out of them. By Bayes' rule the posterior over the prior of training is what classes of
    equal prior would have (Saerens et al. 2002; post-hoc logit adjustment with tau = 1, Menon et al. 2021, arXiv
    2007.07314). Temperature scaling comes first: only a posterior can be divided by its prior.
    """
    counts = np.bincount(targets[targets >= 0])
    found: NDArray[np.float64] = np.log(counts / counts.sum())
    return found
