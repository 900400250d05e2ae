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
MOST = SHARES[-1]

Holds = Callable[[Pool, NDArray[np.int64], NDArray[np.bool_]], NDArray[np.bool_]]
"""Some records of a pool, their numbers in it (m,), and their kept tokens (t,), to whether these masks hold at each of
some ranks (m, ranks)."""


def at_smallest(pool: Pool, mask: NDArray[np.float32], tau: float, holds: Holds) -> NDArray[np.float32]:
    """Keep probabilities m (T,) float32, moved for each record so that at `tau` its smallest mask that holds is kept,
    which has to at every rank that `holds` answers for.

    The order of a record's tokens stays: its logits are shifted by one number. Where none of SHARES holds nothing is
    moved. mask (T,): of the pool's tokens.
    """

    def at_all(part: Pool, rows: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        met: NDArray[np.bool_] = np.all(holds(part, rows, kept), axis=1, keepdims=True)
        return met

    cut, share = search(pool, mask, at_all, 1)
    found = np.repeat(~np.isnan(share[:, 0]), pool.token_counts)
    return np.where(found, moved(mask, np.repeat(cut[:, 0], pool.token_counts), tau), mask)


def search(
    pool: Pool, scores: NDArray[np.float32], holds: Holds, ranks: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The threshold (n, ranks) float32 at which a record's top tokens are its smallest mask that holds at a rank, and
    the share (n, ranks) float64 of its nucleotides under them; infinity and NaN where none of SHARES holds.

    scores (T,): of the pool's tokens, higher = kept first. Shares are tried from the smallest on, for more does not
    always hold where less does; a record that is done is not read again. After the sufficient input subsets of Carter
    et al. 2019 (arXiv 1810.03805), which are found token by token, and of which what is left is not asked.
    """
    thresholds, covered = levels(pool, scores)
    cut = np.full((len(pool.records), ranks), np.inf, dtype=np.float32)
    share = np.full((len(pool.records), ranks), np.nan)
    for at, of_level in zip(thresholds.T, covered.T, strict=True):
        rows = np.flatnonzero(np.isfinite(at) & np.isnan(share).any(axis=1))
        if len(rows):
            part, tokens = pool.subset(rows)
            met = holds(part, rows, scores[tokens] >= np.repeat(at[rows], part.token_counts))
            row, rank = np.nonzero(met & np.isnan(share[rows]))
            cut[rows[row], rank], share[rows[row], rank] = at[rows[row]], of_level[rows[row]]
    return cut, share


def levels(pool: Pool, scores: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Thresholds (n, SHARES) at which tokens cover at most these shares of each record's nucleotides that are read, one
    token at least, and the shares that they cover. scores (T,).

    The threshold is infinity where the level keeps as much as the one before, or one token is more than half already.
    """
    ends, counts = np.cumsum(pool.token_counts), pool.token_counts
    thresholds = np.full((len(counts), len(SHARES)), np.inf, dtype=np.float32)
    covered = np.full(thresholds.shape, np.nan)
    read = pool.ids != UNK
    for row in np.flatnonzero(counts).tolist():
        tokens = slice(int(ends[row] - counts[row]), int(ends[row]))
        seen, spans = read[tokens], pool.spans[tokens][read[tokens]]
        values = highest(scores[tokens][seen], spans, int(spans[:, 1].max()))
        falling, nucleotides = np.unique(-values[~np.isnan(values)], return_counts=True)
        shares = np.cumsum(nucleotides) / nucleotides.sum()
        last = np.maximum(np.searchsorted(shares, np.array(SHARES) + 1e-9) - 1, 0)
        new = (np.diff(last, prepend=-1) > 0) & (shares[last] <= MOST + 1e-9)
        thresholds[row, new], covered[row, new] = -falling[last[new]], shares[last[new]]
    return thresholds, covered


def moved(mask: NDArray[np.float32], cut: NDArray[np.float32], tau: float) -> NDArray[np.float32]:
    """Masks m whose logits are shifted so that m = cut becomes m = tau: what was at least cut is at least tau, exactly.

    mask, cut (T,) in [0, 1], or cut infinite: then all is below tau. tau in (0, 1).
    """
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        logits = [np.log(part) - np.log1p(-part) for part in (mask.astype(np.float64), cut.astype(np.float64))]
        shifted = np.nan_to_num(1 / (1 + np.exp(logits[1] - logits[0] - np.log(tau) + np.log1p(-tau))))
    at_least = np.float32(tau)
    if float(at_least) < tau:  # whoever compares in float64 has to find it kept, too
        at_least = np.nextafter(at_least, np.float32(1))
    below = np.nextafter(np.float32(tau), np.float32(0))
    found: NDArray[np.float32] = np.where(
        mask >= cut, np.maximum(shifted, at_least), np.minimum(shifted, below)
    ).astype(np.float32)
    return found
