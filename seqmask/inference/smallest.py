"""Of each record the smallest mask that holds: an order of its tokens, cut where that is enough."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from seqmask.sequences.pool import Pool
from seqmask.sequences.spans import highest
from seqmask.sequences.tokens import UNK

STEPS = 5  # of the bisection
CHECKS = STEPS + 1  # calls of `holds`
LEVELS = 2**STEPS  # shares of the nucleotides that can be found; MOST is the largest
MOST = 0.5  # a mask of more than half of the sequence explains nothing

Holds = Callable[[NDArray[np.bool_]], NDArray[np.bool_]]
"""Kept tokens (T, tracks) to whether the mask of each record and track holds (n, tracks)."""


def at_smallest(pool: Pool, mask: NDArray[np.float32], tau: float, holds: Holds) -> NDArray[np.float32]:
    """Keep probabilities (T, tracks) float32, moved for each record and track so that at `tau` its smallest mask that
    holds is kept.

    mask (T, tracks): of the pool's tokens, whose order in a record stays: its logits are shifted by one number. Where
    half of the nucleotides do not hold nothing is moved.
    """
    cut, share = search(pool, mask, holds)
    counts = pool.token_counts
    found = np.repeat(~np.isnan(share), counts, axis=0)
    return np.where(found, moved(mask, np.repeat(cut, counts, axis=0), tau), mask)


def search(pool: Pool, scores: NDArray[np.float32], holds: Holds) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The threshold (n, tracks) float32 at which a record's top tokens are its smallest mask that holds, and the share
    (n, tracks) float64 of the nucleotides under them, to 1/64; infinity and NaN where half of them do not hold.

    scores (T, tracks): of the pool's tokens, higher = kept first. A bisection, CHECKS calls of `holds`: what is
    found holds, and the next smaller share does not; one that is smaller still may. After the sufficient input subsets
    of Carter et al. 2019 (arXiv 1810.03805), which are found token by token, and of which what is left is not asked.
    """
    thresholds = levels(pool, scores)
    rows, tracks = np.arange(len(thresholds))[:, None], np.arange(scores.shape[1])

    def met(level: NDArray[np.int64]) -> NDArray[np.bool_]:
        return holds(scores >= np.repeat(thresholds[rows, tracks, level], pool.token_counts, axis=0))

    low = np.zeros(thresholds.shape[:2], dtype=np.int64)
    high = np.full_like(low, LEVELS)
    at_all = met(high)
    for _ in range(STEPS):
        middle = (low + high) // 2
        enough = met(middle)
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    cut = np.where(at_all, thresholds[rows, tracks, high], np.float32(np.inf))
    return cut, np.where(at_all, MOST * high / LEVELS, np.nan)


def levels(pool: Pool, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Thresholds (n, tracks, LEVELS + 1) at which tokens cover 0 to MOST of each record's nucleotides that are read.

    scores (T, tracks). The first one keeps nothing: infinity, as are all of a record without tokens.
    """
    ends, counts = np.cumsum(pool.token_counts), pool.token_counts
    found = np.full((len(counts), scores.shape[1], LEVELS + 1), np.inf, dtype=np.float32)
    shares = MOST * np.arange(1, LEVELS + 1) / LEVELS
    read = pool.ids != UNK
    for row in np.flatnonzero(counts).tolist():
        tokens = slice(int(ends[row] - counts[row]), int(ends[row]))
        seen, spans = read[tokens], pool.spans[tokens][read[tokens]]
        for track, of_track in enumerate(found[row]):
            values = highest(scores[tokens, track][seen], spans, int(spans[:, 1].max()))
            values = np.sort(values[~np.isnan(values)])[::-1]
            of_track[1:] = values[np.maximum(np.rint(shares * len(values)).astype(np.int64) - 1, 0)]
    return found


def moved(mask: NDArray[np.float32], cut: NDArray[np.float32], tau: float) -> NDArray[np.float32]:
    """Masks m whose logits are shifted so that m = cut becomes m = tau: what was at least cut is at least tau, exactly.

    mask, cut (T, tracks) in [0, 1], or cut infinite: then all is 0. tau in (0, 1).
    """
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        logits = [np.log(part) - np.log1p(-part) for part in (mask.astype(np.float64), cut.astype(np.float64))]
        shifted = 1 / (1 + np.exp(logits[1] - logits[0] - np.log(tau) + np.log1p(-tau)))
    at_least = np.float32(tau)
    below = np.nextafter(at_least, np.float32(0))
    sided = np.where(mask >= cut, np.maximum(shifted, at_least), np.minimum(shifted, below))
    found: NDArray[np.float32] = np.nan_to_num(sided).astype(np.float32)
    return found
