"""What the mask alone says of the class: a linear probe that never sees a nucleotide. Numpy only.

A mask that encodes its class (Jethani et al. 2021) can be read by a probe. So can an honest mask where classes differ
in where their evidence lies: the probe finds what could carry a leak, not that it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.evaluation import metrics
from seqmask.evaluation.controls import MaskSet, top_fraction
from seqmask.evaluation.ranking import mean_ranks
from seqmask.evaluation.resampling import Resampling, estimate
from seqmask.evaluation.shape import profile
from seqmask.labels.ranks import UNKNOWN
from seqmask.sequences.spans import Spans, lengths, runs, under

TOP = 0.2  # of a sequence's nucleotides: what an order, which has no threshold, is said to keep
FOLDS = 5
FEWEST = 2 * FOLDS  # sequences of a class: at least two in every fold
PARTS = 32
LAGS = range(1, 9)  # tokens
MOST = 5000  # sequences that the probe reads
RIDGE, ITERATIONS = 0.01, 300

Floats = NDArray[np.float64]


def probe(held: MaskSet, reference: NDArray[np.int64], by: Resampling) -> dict[str, Any]:
    """Accuracy of the probe in FOLDS-fold cross-validation, beside what needs no mask.

    reference (n,): classes, -1 left out. What is drawn together stands in one fold: a mask that tells a relative tells
    no class. Classes of fewer than FEWEST sequences, or of a single cluster, are pooled into one; where that leaves
    fewer than two classes there is nothing to predict and the figures are NaN. `excess`: accuracy less majority rate.
    `length_accuracy`: of the same probe from the sequence's length alone, which no mask can hide.
    """
    rng = np.random.default_rng([by.seed, 211])
    rows = np.flatnonzero(reference != UNKNOWN)
    if len(rows) > MOST:
        rows = np.sort(rng.choice(rows, MOST, replace=False))
    groups = by.of(rows).numbers(len(rows))
    pooled, rare = pool_rare(reference[rows], groups)
    report = {
        "scored": len(rows),
        "classes": len(np.unique(pooled)),
        "pooled_classes": len(rare),
        "pooled_sequences": int(np.isin(reference[rows], rare).sum()),
    }
    nothing = {"mean": np.nan, "interval": [np.nan, np.nan]}
    if report["classes"] < 2:
        return {
            **report,
            "accuracy": np.nan,
            "interval": [np.nan, np.nan],
            "majority_rate": 1.0 if len(rows) else np.nan,
            "length_accuracy": np.nan,
            "excess": nothing,
        }
    fold = folds(pooled, groups, rng)
    read = np.stack([features(held.soft[i], held.kept[i], held.spans[i]) for i in rows.tolist()])
    size = np.log([[held.spans[i][:, 1].max()] for i in rows.tolist()])
    right = cross_validated(read, pooled, fold) == pooled
    by_length = cross_validated(size, pooled, fold) == pooled
    values, counts = np.unique(pooled, return_counts=True)
    majority = pooled == values[counts.argmax()]
    by = by.of(rows)
    accuracy = estimate(right.astype(np.float64), by)
    return {
        **report,
        "accuracy": accuracy["mean"],
        "interval": accuracy["interval"],
        "majority_rate": float(majority.mean()),
        "length_accuracy": float(by_length.mean()),
        "excess": estimate(right.astype(np.float64) - majority, by),
    }


def order_as_mask(
    scores: Sequence[NDArray[np.float32]], spans: Sequence[Spans], sequences: Sequence[str], rng: np.random.Generator
) -> MaskSet:
    """Orders of tokens as masks that the probe reads, alike for every attribution method, whatever its scores mean.

    scores (T_i,) of n sequences, higher = more important, on spans (T_i, 2) nt. m is a token's place in the order from
    near 0 to 1, equal scores sharing theirs; what is kept is the top TOP of the nucleotides, equal ones at random.
    """
    places = [(mean_ranks(values) / len(values)).astype(np.float32) for values in scores]
    kept = [top_fraction(values, lengths(where), TOP, rng) for values, where in zip(scores, spans, strict=True)]
    return MaskSet(places, kept, spans, sequences)


def pool_rare(
    classes: NDArray[np.int64], groups: NDArray[np.int64], fewest: int = FEWEST
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Classes (n,) with those of fewer than `fewest` sequences, or of a single group, as one class -1, and which these
    were (k,). groups (n,): what stands in one fold.

    The pooled class itself is kept however small it is, unless it alone is too small: then its sequences join the
    smallest of the others, so that no class is without sequences in a fold.
    """
    values, counts = np.unique(classes, return_counts=True)
    several = np.array([len(np.unique(groups[classes == value])) > 1 for value in values], dtype=np.bool_)
    rare = values[(counts < fewest) | ~several]
    pooled = np.where(np.isin(classes, rare), np.int64(-1), classes)
    if 0 < (pooled == -1).sum() < fewest and len(rare) < len(values):
        common, sizes = np.unique(pooled[pooled != -1], return_counts=True)
        pooled = np.where(pooled == -1, common[sizes.argmin()], pooled)
    return pooled, rare


def features(soft: NDArray[np.float32], kept: NDArray[np.bool_], spans: Spans) -> Floats:
    """A mask as numbers (F,): its course, its values, its runs, its rhythm; nothing of the nucleotides.

    soft (T,) and kept (T,) bool on spans (T, 2) nt. Means of m and of the kept tokens in PARTS equal parts; deciles of
    m; shares; runs and gaps of kept nucleotides (mean, longest, how many per nt); autocorrelation of m and of the kept
    tokens at LAGS.
    """
    hard = kept.astype(np.float32)
    length = int(spans[:, 1].max())
    track = under(kept, spans, length)
    order = np.argsort(spans[:, 0], kind="stable")
    parts = [
        profile(soft, spans, PARTS),
        profile(hard, spans, PARTS),
        np.quantile(soft.astype(np.float64), np.linspace(0, 1, 11)),
        [soft.mean(), hard.mean()],
        _runs(track),
        _runs(~track),
        _autocorrelation(soft[order].astype(np.float64)),
        _autocorrelation(hard[order].astype(np.float64)),
    ]
    return np.concatenate([np.asarray(part, dtype=np.float64) for part in parts])


def _runs(track: NDArray[np.bool_]) -> list[float]:
    sizes = lengths(runs(track))
    if not len(sizes):
        return [0.0, 0.0, 0.0]
    return [float(np.log1p(sizes.mean())), float(np.log1p(sizes.max())), len(sizes) / len(track)]


def _autocorrelation(values: Floats) -> list[float]:
    """At LAGS tokens, 0 where the mask is constant or too short."""
    centred = values - values.mean()
    variance = float((centred**2).mean())
    if variance < 1e-12:
        return [0.0] * len(LAGS)
    return [float((centred[lag:] * centred[:-lag]).mean() / variance) if lag < values.size else 0.0 for lag in LAGS]


def folds(classes: NDArray[np.int64], groups: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Fold (n,) of each sequence, 0 to FOLDS - 1: the groups (n,) of every class are spread over them evenly, each in
    one. A group of several classes goes with the first of them.
    """
    of_group = np.full(groups.max(initial=-1) + 1, -1, dtype=np.int64)
    for value in np.unique(classes):
        members = np.unique(groups[classes == value])
        members = rng.permutation(members[of_group[members] < 0])
        of_group[members] = (np.arange(len(members)) + rng.integers(FOLDS)) % FOLDS
    return of_group[groups]


def cross_validated(read: Floats, classes: NDArray[np.int64], fold: NDArray[np.int64]) -> NDArray[np.int64]:
    """Class (n,) of each sequence by a regression that was fitted without its fold. read (n, F), classes (n,)."""
    values, target = np.unique(classes, return_inverse=True)
    predicted = np.empty(len(classes), dtype=np.int64)
    for k in np.unique(fold):
        train, test = fold != k, fold == k
        mean, scale = read[train].mean(axis=0), read[train].std(axis=0)
        scaled = (read - mean) / np.where(scale > 1e-9, scale, 1.0)
        weights, bias = fit_logistic(scaled[train], target[train], len(values))
        predicted[test] = values[(scaled[test] @ weights + bias).argmax(axis=1)]
    return predicted


def fit_logistic(
    read: Floats, target: NDArray[np.int64], classes: int, ridge: float = RIDGE, iterations: int = ITERATIONS
) -> tuple[Floats, Floats]:
    """Multinomial logistic regression: weights (F, classes) and bias (classes,) of the least mean cross-entropy plus
    ridge / 2 * sum of squared weights.

    read (n, F), target (n,) in [0, classes). By Nesterov's accelerated gradient with the step 1 / L of the loss's
    curvature bound, L = largest eigenvalue of X'X / (2 n) + ridge, and restarts (O'Donoghue & Candes 2015).
    """
    n = len(read)
    x = np.column_stack([read, np.ones(n)])
    penalty = np.append(np.full(read.shape[1], ridge), 0.0)[:, None]
    step = 1 / (np.linalg.norm(x, 2) ** 2 / (2 * n) + ridge)
    wanted = np.eye(classes)[target]
    weights = np.zeros((x.shape[1], classes))
    ahead, momentum = weights, 1.0
    for _ in range(iterations):
        slope = x.T @ (metrics.softmax(x @ ahead) - wanted) / n + penalty * ahead
        moved = ahead - step * slope
        if (slope * (moved - weights)).sum() > 0:
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = moved + (momentum - 1) / following * (moved - weights)
        weights, momentum = moved, following
    return weights[:-1], weights[-1]
