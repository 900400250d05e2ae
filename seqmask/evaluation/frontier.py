"""Kept and removed accuracy against area, and the threshold chosen on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.evaluation.metrics import majority_rate
from seqmask.evaluation.scoring import Scorer, hard_masks, on_tokens
from seqmask.sequences.spans import Spans, highest

AREAS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
FEW_AREAS = (0.05, 0.1, 0.2, 0.3, 0.4)
MOST_AREA = 0.5
ALLOWED = ((0.02, 0.35), (0.05, MOST_AREA))  # over chance, by masks up to this area
SAME_AREA = 0.01  # a threshold meets a wanted area only nearly


@dataclass(frozen=True, slots=True)
class Point:
    """One threshold of one track: the area it keeps, and what hard-masked and inverse-masked sequences are called.

    area: share of the nucleotides, those under kept tokens. ranks: those that the track is for. kept, removed, chance,
    one value each: share of the sequences whose reference class (the true one, or the classifier's own) is predicted
    from these nucleotides, and from the others, and the majority rate; all divided by that share on the full sequence.
    Where that is 0, at a rank without any reference or one that the classifier can not do, there is nothing to keep: 1,
    1 and nan.
    """

    threshold: float
    area: float
    ranks: tuple[int, ...]
    kept: tuple[float, ...]
    removed: tuple[float, ...]
    chance: tuple[float, ...]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Point:
        """From the fields by name, lists in the place of tuples: what JSON makes of a point."""
        fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        return cls(**fields)

    @property
    def trade(self) -> float:
        """Mean over ranks of kept - removed, less the area: any larger mask keeps more and leaves less."""
        return float(np.mean(self.kept) - np.mean(self.removed)) - self.area


def thresholds_for(
    track: Sequence[NDArray[np.float32]], spans: Sequence[Spans], areas: Sequence[float] = AREAS
) -> list[float]:
    """Thresholds at which tokens with m >= tau cover about these shares of all nucleotides, largest first.

    track: (N,) a record, on spans (N, 2).
    """
    pairs = zip(track, spans, strict=True)
    values = np.concatenate([highest(mask, of_record, int(of_record[:, 1].max())) for mask, of_record in pairs])
    values = np.sort(values[~np.isnan(values)])[::-1]
    chosen = [float(values[min(max(round(share * len(values)) - 1, 0), len(values) - 1)]) for share in areas]
    return sorted(set(chosen), reverse=True)


def frontier(
    scorer: Scorer,
    masks: Sequence[NDArray[np.float32]],
    reference: NDArray[np.int64],
    thresholds: Sequence[Sequence[float]],
) -> tuple[list[list[Point]], list[NDArray[np.bool_]]]:
    """A list of points for each track, one a threshold, and for each track whether the mask of a record holds there
    (thresholds, n): at all of its ranks what is kept is called what the whole is called, and what is left is not.

    masks (N, tracks) of each record, reference (n, R) classes with -1 left out; thresholds: those of each track.
    """
    own = scorer.classes(scorer.logits())
    full = _shares(own, reference)
    told = (full > 0) & (np.array(scorer.model.ranks.sizes) > 1)  # of a single class nothing is kept or removed
    chance = np.array([majority_rate(column) for column in reference.T])
    spans = scorer.spans()
    tracks = masks[0].shape[1]
    found, holding = [], []
    for track, of_track in enumerate(thresholds):
        ranks = tuple(range(reference.shape[1])) if tracks == 1 else (track,)
        points, holds = [], []
        for threshold in of_track:
            hard = hard_masks([mask[:, track] for mask in masks], spans, threshold)
            shown, left = on_tokens(hard, spans)
            of_shown, of_left = (scorer.classes(scorer.logits(side)) for side in (shown, left))
            holds.append(np.all(((of_shown == own) & (of_left != own) | ~told)[:, list(ranks)], axis=1))
            kept, removed = _shares(of_shown, reference), _shares(of_left, reference)
            relative = [
                tuple(np.where(told, shares / np.maximum(full, 1e-9), otherwise)[list(ranks)].tolist())
                for shares, otherwise in ((kept, 1.0), (removed, 1.0), (chance, np.nan))
            ]
            area = float(np.mean(np.concatenate(hard)))
            points.append(Point(threshold, area, ranks, *relative))
        found.append(points)
        holding.append(np.stack(holds))
    return found, holding


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a threshold has to meet at every rank: kept at least `kept`, removed hardly more than chance (`ALLOWED`).

    Where one class is more than `most_chance` of the sequences, as it may not be elsewhere, that counts as chance.
    """

    kept: float
    most_chance: float = 0.5

    def grade(self, point: Point) -> int:
        """How many of `ALLOWED` the point meets: 2 = both, 1 = only what is less strict, 0 = none."""
        if min(point.kept) < self.kept:
            return 0
        left = zip(point.removed, point.chance, strict=True)
        over = [removed - min(chance, self.most_chance) for removed, chance in left]
        return sum(
            point.area <= most_area + SAME_AREA
            and not any(excess > above for excess in over)  # nan: nothing to compare
            for above, most_area in ALLOWED
        )

    def choose(self, points: Sequence[Point]) -> Point:
        """The smallest area of those that meet most; where none meets anything the best trade up to half.

        A mask of more than half of the sequence explains nothing, whatever it keeps. Where every point is larger than
        half, the smallest one.
        """
        most = max(map(self.grade, points))
        enough = [point for point in points if most and self.grade(point) == most]
        small = [point for point in points if point.area <= MOST_AREA + SAME_AREA]
        if enough or not small:
            return min(enough or points, key=lambda point: point.area)
        return max(small, key=lambda point: point.trade)

    def better(self, one: Sequence[Point], other: Sequence[Point]) -> bool:
        """Whether the chosen points of all tracks of one Explainer are better than those of another.

        More tracks that meet something, more that they meet; then, where all do, an area that is smaller by at least
        .01 (areas lie on a grid, so most are equal); then the better trade.
        """
        grades = [[self.grade(point) for point in points] for points in (one, other)]
        met = [(sum(map(bool, of)), sum(of)) for of in grades]
        if met[0] != met[1]:
            return met[0] > met[1]
        smaller = float(np.mean([p.area for p in other])) - float(np.mean([p.area for p in one]))
        if min(grades[0]) and abs(smaller) >= SAME_AREA:
            return smaller > 0
        return float(np.mean([p.trade for p in one])) > float(np.mean([p.trade for p in other]))


def _shares(classes: NDArray[np.int64], reference: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of known references that are predicted, a rank (R,)."""
    known = reference >= 0
    shares: NDArray[np.float64] = ((classes == reference) & known).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return shares
