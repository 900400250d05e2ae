"""Of each record the smallest mask that holds: an order of its tokens, cut where that is enough."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from seqmask.sequences.pool import Pool
from seqmask.sequences.spans import highest
from seqmask.sequences.tokens import UNK

# Of the nucleotides, that are tried; a mask of more than half of the sequence explains nothing
SHARES = (0.02, 0.04, 0.06, 0.08, 0.1, 0.125, 0.15, 0.175, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)

Holds = Callable[[Pool, NDArray[np.int64], NDArray[np.bool_], int], NDArray[np.bool_]]
"""Some records of a pool, their numbers in it (m,), kept tokens (t,) and a track to whether these masks hold (m,)."""


def at_smallest(pool: Pool, mask: NDArray[np.float32], tau: float, holds: Holds) -> NDArray[np.float32]:
    """Keep probabilities (T, tracks) float32, moved for each record and track so that at `tau` its smallest mask that
    holds is kept.

    mask (T, tracks): of the pool's tokens, whose order in a record stays: its logits are shifted by one number. Where
    none of SHARES holds nothing is moved.
    """
    cut, share = search(pool, mask, holds)
    counts = pool.token_counts
    found = np.repeat(~np.isnan(share), counts, axis=0)
    return np.where(found, moved(mask, np.repeat(cut, counts, axis=0), tau), mask)


def search(pool: Pool, scores: NDArray[np.float32], holds: Holds) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The threshold (n, tracks) float32 at which a record's top tokens are its smallest mask that holds, and the share
    (n, tracks) float64 of the nucleotides under them, one of SHARES; infinity and NaN where none of them holds.

    scores (T, tracks): of the pool's tokens, higher = kept first. Shares are tried from the smallest on, for more does
    not always hold where less does; a record that is done is not read again. After the sufficient input subsets of
    Carter et al. 2019 (arXiv 1810.03805), which are found token by token, and of which what is left is not asked.
    """
    thresholds = levels(pool, scores)
    tracks = scores.shape[1]
    cut = np.full((len(pool.records), tracks), np.inf, dtype=np.float32)
    share = np.full((len(pool.records), tracks), np.nan)
    for track in range(tracks):
        rows = np.flatnonzero(pool.token_counts)
        for level, wanted in enumerate(SHARES):
            if not len(rows):
                break
            part, tokens = pool.subset(rows)
            at = thresholds[rows, track, level]
            met = holds(part, rows, scores[tokens, track] >= np.repeat(at, part.token_counts), track)
            cut[rows[met], track], share[rows[met], track] = at[met], wanted
            rows = rows[~met]
    return cut, share


def levels(pool: Pool, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Thresholds (n, tracks, SHARES) at which tokens cover these shares of each record's nucleotides that are read.

    scores (T, tracks). Infinity for a record without tokens.
    """
    ends, counts = np.cumsum(pool.token_counts), pool.token_counts
    found = np.full((len(counts), scores.shape[1], len(SHARES)), np.inf, dtype=np.float32)
    read = pool.ids != UNK
    for row in np.flatnonzero(counts).tolist():
        tokens = slice(int(ends[row] - counts[row]), int(ends[row]))
        seen, spans = read[tokens], pool.spans[tokens][read[tokens]]
        for track, of_track in enumerate(found[row]):
            values = highest(scores[tokens, track][seen], spans, int(spans[:, 1].max()))
            values = np.sort(values[~np.isnan(values)])[::-1]
            of_track[:] = values[np.maximum(np.rint(np.array(SHARES) * len(values)).astype(np.int64) - 1, 0)]
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
