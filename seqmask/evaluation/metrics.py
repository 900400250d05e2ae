"""Numbers about predictions and about the shape of masks. Pure functions on arrays; rows of unknown class are left out.

Everything is computed in float64. A figure that nothing defines (no known label, no token) is NaN, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqmask.labels.ranks import UNKNOWN
from seqmask.sequences.spans import Spans, lengths

Floats = NDArray[np.float32] | NDArray[np.float64]
Classes = NDArray[np.int64] | NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Summary:
    """How a figure is spread over sequences: mean, median, 5th and 95th percentile; NaN where there is none."""

    mean: float
    median: float
    p5: float
    p95: float


def summary(values: Floats) -> Summary:
    """Summary of one figure a sequence, values (n,); NaN values are left out. Percentiles are interpolated linearly."""
    known = values[~np.isnan(values)].astype(np.float64)
    if known.size == 0:
        return Summary(np.nan, np.nan, np.nan, np.nan)
    p5, median, p95 = np.percentile(known, [5, 50, 95])
    return Summary(float(known.mean()), float(median), float(p5), float(p95))


# Predictions


def correct(predicted: Classes, true: Classes) -> NDArray[np.float64]:
    """1.0 where the prediction is right and 0.0 where it is not, for the k sequences of known class.

    predicted, true (n,) integers, -1 = unknown: such rows of `true` are left out, a predicted -1 is wrong. Returns
    (k,), which `bootstrap_interval` can resample.
    """
    known = true != UNKNOWN
    right: NDArray[np.bool_] = predicted[known] == true[known]
    return right.astype(np.float64)


def accuracy(predicted: Classes, true: Classes) -> float:
    """Share of right predictions among sequences of known class. predicted, true (n,) integers."""
    return _mean(correct(predicted, true))


def agreement(predicted: Classes, reference: Classes) -> float:
    """Share of sequences where two predictions are the same class. Both (n,) integers; reference -1 is left out."""
    return accuracy(predicted, reference)


def balanced_accuracy(predicted: Classes, true: Classes) -> float:
    """Mean recall over the classes that occur in `true` (Brodersen et al. 2010). predicted, true (n,) integers."""
    known = true != UNKNOWN
    _, group = np.unique(true[known], return_inverse=True)
    return _mean(np.bincount(group, weights=correct(predicted, true)) / np.bincount(group))


def majority_rate(true: Classes) -> float:
    """Share of the most frequent true class: the accuracy of knowing nothing but the prior. true (n,) integers."""
    known = true[true != UNKNOWN]
    if known.size == 0:
        return np.nan
    return float(np.unique(known, return_counts=True)[1].max() / known.size)


def macro_f1(predicted: Classes, true: Classes) -> float:
    """Mean of F1 = 2 TP / (2 TP + FP + FN) over the classes that occur in `true` or `predicted`, both (n,) integers.

    Rows of unknown true class are left out; a predicted -1 counts as a miss (Opitz & Burst 2019, "averaged F1").
    """
    known = true != UNKNOWN
    t, p = true[known], predicted[known]
    classes = np.unique(np.concatenate([t, p]))
    classes = classes[classes != UNKNOWN]
    hits = np.searchsorted(classes, t[t == p])
    true_positives = np.bincount(hits, minlength=classes.size)
    support = np.bincount(np.searchsorted(classes, t), minlength=classes.size)
    claimed = np.bincount(np.searchsorted(classes, p[p != UNKNOWN]), minlength=classes.size)
    # 2 TP + FP + FN = support + claimed, which is never 0 for a class that occurs in either.
    return _mean(2 * true_positives / (support + claimed))


def log_softmax(logits: Floats) -> NDArray[np.float64]:
    """Natural logarithms of the class probabilities, over the last axis. logits (..., C) finite."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def softmax(logits: Floats) -> NDArray[np.float64]:
    """Class probabilities over the last axis. logits (..., C) finite."""
    return np.exp(log_softmax(logits))


def kl_divergence(p_logits: Floats, q_logits: Floats) -> NDArray[np.float64]:
    """KL(p || q) = sum_c p_c (log p_c - log q_c) in nats, one a sequence (Kullback & Leibler 1951).

    p_logits, q_logits (n, C) of one rank, finite. Returns (n,), at least 0.
    """
    log_p, log_q = log_softmax(p_logits), log_softmax(q_logits)
    divergence: NDArray[np.float64] = (np.exp(log_p) * (log_p - log_q)).sum(axis=-1)
    return np.maximum(divergence, 0.0)


def normalised_entropy(logits: Floats) -> NDArray[np.float64]:
    """H(p) / log C in [0, 1], one a sequence: 1 = the uniform distribution (Shannon 1948).

    logits (n, C) of one rank, finite. Returns (n,). A rank of one class has nothing to know: 1.
    """
    if logits.shape[-1] == 1:
        return np.ones(logits.shape[0])
    log_p = log_softmax(logits)
    entropy: NDArray[np.float64] = -(np.exp(log_p) * log_p).sum(axis=-1)
    share: NDArray[np.float64] = np.clip(entropy / np.log(logits.shape[-1]), 0.0, 1.0)
    return share


def expected_calibration_error(confidence: Floats, right: NDArray[np.bool_], bins: int = 15) -> float:
    """Sum over equal-width bins of (share of sequences) * |accuracy - mean confidence| (Guo et al. 2017, eq. 3).

    confidence (n,) in [0, 1]: the probability of the predicted class; right (n,) bool: it was the true class, sequences
    of unknown class left out beforehand. Bins are (low, high], the first one holds 0.
    """
    if confidence.size == 0:
        return np.nan
    excess = right.astype(np.float64) - confidence.astype(np.float64)
    gap = np.bincount(confidence_bins(confidence, bins), weights=excess, minlength=bins)
    return float(np.abs(gap).sum() / confidence.size)


def calibration_by_chance(confidence: Floats, bins: int = 15) -> float:
    """The `expected_calibration_error` that confidences (n,) have on average where each is exactly right: of few
    sequences in a bin, accuracy and mean confidence differ by chance (Roelofs et al. 2022 on this bias). NaN for none.

    The sum of p (1 - p) is the variance of a bin's right ones, which are taken as normal: E|x| = sqrt(2 / pi) sd.
    """
    if confidence.size == 0:
        return np.nan
    sure = confidence.astype(np.float64)
    variance = np.bincount(confidence_bins(confidence, bins), weights=sure * (1 - sure), minlength=bins)
    return float(np.sqrt(2 / np.pi * variance.clip(min=0)).sum() / confidence.size)


def confidence_bins(confidence: Floats, bins: int) -> NDArray[np.int64]:
    """Bin (n,) of each confidence: equal widths, (low, high], the first one holds 0."""
    return np.clip(np.ceil(confidence.astype(np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)


# Shapes of masks: one sequence a call; mask (T,) in [0, 1], spans (T, 2) nt, 0-based half-open, sorted


def area(mask: Floats, spans: Spans) -> float:
    """Kept share of a sequence: the mean of mask (T,) weighted by each token's nucleotides, spans (T, 2). In [0, 1].

    The weights make vocabularies of other token lengths comparable; NaN where the tokens hold no nucleotide.
    """
    return _weighted_mean(mask.astype(np.float64), lengths(spans).astype(np.float64))


def binarity(mask: Floats, spans: Spans) -> float:
    """1 - mean 4 m (1 - m), weighted by nucleotides: 1 = only zeros and ones, 0 = .5 everywhere.

    mask (T,), spans (T, 2) nt. The term is the variance of a Bernoulli(m) draw over its greatest value, 1/4.
    """
    m = mask.astype(np.float64)
    return 1.0 - _weighted_mean(4.0 * m * (1.0 - m), lengths(spans).astype(np.float64))


def variation(mask: Floats, spans: Spans) -> float:
    """Mean |m_{t+1} - m_t| over neighbouring tokens: anisotropic total variation (Rudin, Osher & Fatemi 1992) a pair.

    mask (T,), spans (T, 2) nt. A pair weighs as much as the mean length of its two tokens, so that a sequence and its
    reverse have the same variation. 0 for fewer than two tokens.
    """
    if mask.size < 2:
        return 0.0
    nt = lengths(spans).astype(np.float64)
    return _weighted_mean(np.abs(np.diff(mask.astype(np.float64))), (nt[1:] + nt[:-1]) / 2)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else np.nan


def _weighted_mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    total = weights.sum()
    return float((values * weights).sum() / total) if total > 0 else np.nan
