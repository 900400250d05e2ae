"""Kept and removed accuracy against area, and the threshold chosen on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqmask.evaluation.scoring import Scorer, TokenMasks

AREAS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
MOST_AREA = 0.51  # a threshold meets the wanted area only nearly


@dataclass(frozen=True, slots=True)
class Point:
    """One threshold: the area it keeps, and what the hard-masked and inverse hard-masked sequences are classified as.

    kept, removed (R,): share of the sequences whose reference class (the true one, or the classifier's own) is still
    predicted, divided by that share on the full sequence.
    """

    threshold: float
    area: float
    kept: tuple[float, ...]
    removed: tuple[float, ...]


def thresholds_for(masks: Sequence[NDArray[np.float32]], areas: Sequence[float] = AREAS) -> list[float]:
    """Thresholds at which about these shares of all tokens have m >= tau; equal ones are dropped."""
    values = np.sort(np.concatenate([mask.max(axis=1) for mask in masks]))[::-1]
    chosen = [float(values[min(max(round(share * len(values)) - 1, 0), len(values) - 1)]) for share in areas]
    return sorted(set(chosen), reverse=True)


def frontier(
    scorer: Scorer, masks: Sequence[NDArray[np.float32]], reference: NDArray[np.int64], thresholds: Sequence[float]
) -> list[Point]:
    """A point a threshold. masks (N, tracks) of each record, reference (n, R) classes with -1 left out."""
    full = _shares(scorer.classes(scorer.logits()), reference)
    points = []
    for threshold in thresholds:
        hard: TokenMasks = [(mask.max(axis=1) >= threshold).astype(np.float32) for mask in masks]
        kept = _shares(scorer.classes(scorer.logits(hard)), reference)
        removed = _shares(scorer.classes(scorer.logits([1 - mask for mask in hard])), reference)
        area = float(np.concatenate(hard).mean())
        points.append(Point(threshold, area, tuple((kept / full).tolist()), tuple((removed / full).tolist())))
    return points


def choose(points: Sequence[Point], min_kept: float) -> Point:
    """The smallest area, up to half, at which every rank keeps `min_kept` of its accuracy; else the best trade there.

    A mask of more than half of the sequence explains nothing, whatever it keeps. The best trade is the largest mean
    over ranks of kept - removed, less the area, for any larger mask keeps more and leaves less. Where every point is
    larger than half, the smallest one.
    """
    small = [point for point in points if point.area <= MOST_AREA]
    enough = [point for point in small if min(point.kept) >= min_kept]
    if enough or not small:
        return min(enough or points, key=lambda point: point.area)
    return max(small, key=lambda point: float(np.mean(point.kept) - np.mean(point.removed)) - point.area)


def _shares(classes: NDArray[np.int64], reference: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of known references that are predicted, a rank (R,)."""
    known = reference >= 0
    right = ((classes == reference) & known).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    shares: NDArray[np.float64] = np.maximum(right, 1e-9)
    return shares
