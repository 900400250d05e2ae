"""Logits to classes and confidences, and what the check of a mask says about them. numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from seqmask.labels.ranks import UNKNOWN, Ranks

HOLDS: Final = "holds"
NOT_SUFFICIENT: Final = "not_sufficient"
NOT_NECESSARY: Final = "not_necessary"
# In the order of the codes that `verdicts` gives; the last one is reached by -1
VERDICTS: Final = (HOLDS, NOT_SUFFICIENT, NOT_NECESSARY, "")
UNCLASSIFIED: Final = "unclassified"  # what is printed for a class that is not confident enough
UNSURE: Final = -2  # the class that stands for it: of a list of names that reaches the last but one, unknown the last
PART: Final = 1 << 17  # logits at a time: what they need stays in the processor's cache


@dataclass(frozen=True, slots=True)
class Predictions:
    """What n records are predicted to be: classes (n, R) int64, -1 unknown; confidence (n, R) float32, NaN unknown."""

    classes: NDArray[np.int64]
    confidence: NDArray[np.float32]


def confidences(logits: NDArray[np.float32], ranks: Ranks) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Most probable class of each rank and its softmax probability within the rank.

    logits (..., C), all ranks side by side as `Ranks.slices` says. Returns classes (..., R) int64 and confidence
    (..., R) float32. Of equal logits the first class wins.
    """
    classes = np.empty((*logits.shape[:-1], len(ranks.ranks)), dtype=np.int64)
    confidence = np.empty(classes.shape, dtype=np.float32)
    for rank, columns in enumerate(ranks.slices):
        part = logits[..., columns]
        best = part.argmax(axis=-1)
        below = part - np.take_along_axis(part, best[..., None], axis=-1)
        classes[..., rank] = best
        # exp(0) of the best class over the sum of all: one pass, and nothing overflows
        confidence[..., rank] = 1 / np.exp(below, out=below).sum(axis=-1)
    return classes, confidence


def predict(logits: NDArray[np.float32], known: NDArray[np.bool_], ranks: Ranks) -> Predictions:
    """Predictions of n records from their logits (n, C); -1 and NaN in every rank where not known (n,)."""
    classes = np.full((len(logits), len(ranks.ranks)), UNKNOWN, dtype=np.int64)
    confidence = np.full(classes.shape, np.nan, dtype=np.float32)
    size = max(PART // logits.shape[1], 1)
    for start in range(0, len(logits), size):
        part = slice(start, start + size)
        rows = part if known[part].all() else start + np.flatnonzero(known[part])
        classes[rows], confidence[rows] = confidences(logits[rows], ranks)
    return Predictions(classes, confidence)


def named(predicted: Predictions, min_confidence: float) -> NDArray[np.int64]:
    """Classes to print (n, R): UNSURE where the confidence is below the least one, -1 where nothing is predicted."""
    return np.where(predicted.confidence < np.float32(min_confidence), UNSURE, predicted.classes)


def inconsistent(classes: NDArray[np.int64], ranks: Ranks) -> NDArray[np.bool_]:
    """Where a class never stands, in the training labels, under that of the next coarser rank. classes, result (n, R).

    Negative classes say nothing, nor do classes whose parents are not known.
    """
    found = np.zeros(classes.shape, dtype=bool)
    for r, rank in enumerate(ranks.ranks):
        if not rank.parents:
            continue
        width, counts = ranks.sizes[r - 1], np.array(list(map(len, rank.parents)))
        pairs = np.repeat(np.arange(len(counts)), counts) * width + np.fromiter(chain(*rank.parents), dtype=np.int64)
        own, above = classes[:, r], classes[:, r - 1]
        said = (own >= 0) & (above >= 0) & (counts[np.maximum(own, 0)] > 0)
        found[:, r] = said & ~np.isin(own * width + above, pairs)
    return found


def verdicts(explained: NDArray[np.int64], masked: NDArray[np.int64], inverse: NDArray[np.int64]) -> NDArray[np.int64]:
    """Whether the kept part alone carries the class, and whether the rest does not. Codes into `VERDICTS`.

    explained, masked, inverse: the class explained, that of the hard-masked sequence and that of its inverse, of one
    shape, -1 unknown. 0 holds: masked gives the class and inverse does not. 1 not_sufficient: masked gives another
    one. 2 not_necessary: masked gives it, and so does inverse. -1: nothing to say, something is unknown.
    """
    known = (explained >= 0) & (masked >= 0) & (inverse >= 0)
    codes = np.where(masked != explained, 1, np.where(inverse == explained, 2, 0))
    return np.where(known, codes, UNKNOWN)
