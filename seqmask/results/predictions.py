"""Logits to classes and confidences, and what the check of a mask says about them. numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from seqmask.labels import UNKNOWN, Ranks

HOLDS: Final = "holds"
NOT_SUFFICIENT: Final = "not_sufficient"
NOT_NECESSARY: Final = "not_necessary"
# In the order of the codes that `verdicts` gives; the last one is reached by -1
VERDICTS: Final = (HOLDS, NOT_SUFFICIENT, NOT_NECESSARY, "")


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
        classes[..., rank] = part.argmax(axis=-1)
        # exp(0) of the best class over the sum of all: one pass, and nothing overflows
        confidence[..., rank] = 1 / np.exp(part - part.max(axis=-1, keepdims=True)).sum(axis=-1)
    return classes, confidence


def predict(rows: list[NDArray[np.float32] | None], ranks: Ranks) -> Predictions:
    """Predictions of n records from their logits (C,); None gives -1 and NaN in every rank."""
    known = np.array([row is not None for row in rows], dtype=bool)
    classes = np.full((len(rows), len(ranks.ranks)), UNKNOWN, dtype=np.int64)
    confidence = np.full(classes.shape, np.nan, dtype=np.float32)
    if known.any():
        classes[known], confidence[known] = confidences(_rows([row for row in rows if row is not None]), ranks)
    return Predictions(classes, confidence)


def _rows(rows: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """np.stack, at a third of its time for thousands of short rows."""
    return np.concatenate(rows).reshape(len(rows), -1)


def verdicts(explained: NDArray[np.int64], masked: NDArray[np.int64], inverse: NDArray[np.int64]) -> NDArray[np.int64]:
    """Whether the kept part alone carries the class, and whether the rest does not. Codes into `VERDICTS`.

    explained, masked, inverse: the class explained, that of the hard-masked sequence and that of its inverse, of one
    shape, -1 unknown. 0 holds: masked gives the class and inverse does not. 1 not_sufficient: masked gives another
    one. 2 not_necessary: masked gives it, and so does inverse. -1: nothing to say, something is unknown.
    """
    known = (explained >= 0) & (masked >= 0) & (inverse >= 0)
    codes = np.where(masked != explained, 1, np.where(inverse == explained, 2, 0))
    return np.where(known, codes, UNKNOWN)
