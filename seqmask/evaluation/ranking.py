"""Scores of positions against a known truth. Pure functions on one sequence: scores (P,) and truth (P,) bool.

A position is a token or a nucleotide: the functions do not care. Scores are finite, higher = more important; drop
positions that no token covers beforehand. Where the truth is empty (or everything, for AUROC) the figure is NaN. Ties
are never broken by position: tied scores count as one step, or the figure is the expectation over their random order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seqmask.sequences.spans import Spans, lengths

Floats = NDArray[np.float32] | NDArray[np.float64]
Bools = NDArray[np.bool_]


def token_truth(truth: Bools, spans: Spans, share: float = 0.5) -> Bools:
    """Truth of tokens (T,) bool from the truth of nucleotides (L,) bool: at least `share` of the token's nt are true.

    spans (T, 2) nt within [0, L), 0-based half-open; a token without nucleotides is never true. share in (0, 1].
    """
    before = np.concatenate([[0], np.cumsum(truth)])
    nt = lengths(spans)
    true: Bools = (before[spans[:, 1]] - before[spans[:, 0]] >= share * nt) & (nt > 0)
    return true


def mean_ranks(values: Floats) -> NDArray[np.float64]:
    """Ranks from 1 (lowest) to n, tied values sharing the mean of their ranks. values (n,), returns (n,)."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[group]
    return ranks


def spearman(a: Floats, b: Floats) -> float:
    """Spearman's rank correlation: Pearson's correlation of the mean ranks (Spearman 1904; ties as in Kendall 1945).

    a, b (n,). In [-1, 1]; NaN where either is constant or n < 2.
    """
    _same_shape(a, b)
    ranks_a, ranks_b = mean_ranks(a), mean_ranks(b)
    deviation_a, deviation_b = ranks_a - (a.size + 1) / 2, ranks_b - (b.size + 1) / 2
    scale = np.sqrt((deviation_a**2).sum() * (deviation_b**2).sum())
    return float(np.clip((deviation_a * deviation_b).sum() / scale, -1.0, 1.0)) if scale > 0 else np.nan


def auroc(scores: Floats, truth: Bools) -> float:
    """Probability that a true position outscores a false one, ties counting half (Mann & Whitney 1947). .5 = chance."""
    _same_shape(scores, truth)
    positives = int(truth.sum())
    negatives = truth.size - positives
    if positives == 0 or negatives == 0:
        return np.nan
    above = mean_ranks(scores)[truth].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def average_precision(scores: Floats, truth: Bools) -> float:
    """AUPRC as sum_i (recall_i - recall_{i-1}) * precision_i over falling thresholds, tied scores one step.

    Not interpolated (Davis & Goadrich 2006 on why). The value at chance is the prevalence, `truth.mean()`.
    """
    _same_shape(scores, truth)
    positives = int(truth.sum())
    if positives == 0:
        return np.nan
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    found = np.cumsum(truth[order])[last_of_tie]
    taken = np.flatnonzero(last_of_tie) + 1
    return float((np.diff(found, prepend=0) * found / taken).sum() / positives)


def precision_at_truth(scores: Floats, truth: Bools) -> float:
    """Share of true positions among the |truth| top-scored ones (R-precision, Manning et al. 2008, section 8.4)."""
    _same_shape(scores, truth)
    positives = int(truth.sum())
    return float(_chance_of_top(scores, positives)[truth].sum() / positives) if positives else np.nan


def decoy_hit_rate(scores: Floats, truth: Bools, decoy: Bools) -> float:
    """Share of decoy positions among the |truth| top-scored ones: the part of 1 - precision that was lured.

    scores (P,), truth (P,) bool, decoy (P,) bool, disjoint from truth. At chance it is `decoy.mean()`.
    """
    _same_shape(scores, truth)
    _same_shape(scores, decoy)
    positives = int(truth.sum())
    return float(_chance_of_top(scores, positives)[decoy].sum() / positives) if positives else np.nan


def intersection_over_union(kept: Bools, truth: Bools) -> float:
    """|kept and true| / |kept or true| (Jaccard 1912), both (n,). NaN for an empty truth."""
    _same_shape(kept, truth)
    return float((kept & truth).sum() / (kept | truth).sum()) if truth.any() else np.nan


def pointing_game(scores: Floats, truth: Bools) -> float:
    """1.0 if the top-scored position is true, else 0.0; of several the share of true ones (Zhang et al. 2018)."""
    _same_shape(scores, truth)
    return float(_chance_of_top(scores, 1)[truth].sum()) if truth.any() else np.nan


def _chance_of_top(scores: Floats, k: int) -> NDArray[np.float64]:
    """Probability (P,) of each position to be among the k top-scored ones if ties are broken at random; sums to k."""
    last = np.partition(scores, scores.size - k)[scores.size - k]  # k-th highest score
    sure, tied = scores > last, scores == last
    chance: NDArray[np.float64] = np.where(tied, (k - sure.sum()) / tied.sum(), sure.astype(np.float64))
    return chance


def _same_shape(a: NDArray[np.generic], b: NDArray[np.generic]) -> None:
    # numpy would broadcast (P,) against (1,) and return a figure.
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"shapes {a.shape} and {b.shape}: expected two arrays (P,) of the same length")
