"""Explanations with everything that the writers print about them, computed once for a whole batch of records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.labels import Ranks
from seqmask.results.predictions import Predictions, predict
from seqmask.sequences.explanations import Explanation, Status
from seqmask.sequences.spans import Spans, means, runs, shift, spread


@dataclass(frozen=True, slots=True)
class Annotated:
    """n records and what is said of them. T tokens and L nucleotides in all, G tracks (1, or one a rank), R ranks.

    The nucleotides of all records lie side by side, each record followed by one position that nothing covers: so
    the flat tracks are cut into runs in one go, and no run crosses from one record into the next.

    ranks: their names and classes. rank: the one that names a shared mask and that `shown` belongs to.
    explanations: the n records. starts (n,) int64: first flat position of each. stops (n,) int64: one past its last nt.
    status (n,) uint8. token_counts (n,) int64. spans (T, 2) int32 in nt of the record. mask (T, G) float32.
    tracks (G, L + n) float32: importance of each nt, NaN where no token covers it. kept (G, L + n) bool: track >= tau.
    shown: the track, of the G, that FASTA, kept_fraction and mean_importance are about.
    kept_fraction (n,) float32: kept nt over covered nt. mean_importance (n,) float32: mean of the track over covered
    nt. Both NaN for a record without mask.
    explained (n, R) int64: class that the mask explains, -1 without mask.
    predicted: prediction from the whole sequence. masked, inverse: from the hard-masked and the inverse hard-masked
    sequence, None if no record has them.
    """

    ranks: Ranks
    rank: int
    explanations: Sequence[Explanation]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    status: NDArray[np.uint8]
    token_counts: NDArray[np.int64]
    spans: Spans
    mask: NDArray[np.float32]
    tracks: NDArray[np.float32]
    kept: NDArray[np.bool_]
    shown: int
    kept_fraction: NDArray[np.float32]
    mean_importance: NDArray[np.float32]
    explained: NDArray[np.int64]
    predicted: Predictions
    masked: Predictions | None
    inverse: Predictions | None

    def runs(self, track: int) -> Runs:
        """All maximal kept runs of one of the G tracks, in the order of the records."""
        flat = runs(self.kept[track])
        records = np.searchsorted(self.starts, flat[:, 0], side="right") - 1
        return Runs(records, shift(flat, -self.starts[records]), means(self.tracks[track], flat))


@dataclass(frozen=True, slots=True)
class Runs:
    """m runs: ordinal of the record in the batch (m,), span in nt of the record (m, 2), mean of the track (m,)."""

    records: NDArray[np.int64]
    spans: Spans
    means: NDArray[np.float64]


def annotate(explanations: Sequence[Explanation], ranks: Ranks, tau: float, rank: int = -1) -> Annotated:
    """Compute tracks, kept nucleotides, their summaries and the predictions of n >= 1 records.

    tau: a nucleotide is kept if its track is at least that. rank: index of the rank that names a shared mask, and whose
    own track is shown where each rank has one; the last, finest one by default. The result for a record does not depend
    on what else is in the batch. Memory is about 40 bytes a nucleotide; all nt together must be below 2**31.
    """
    rank = range(len(ranks.ranks))[rank]
    sizes = np.array([len(item.record.sequence) + 1 for item in explanations], dtype=np.int64)
    ends = np.cumsum(sizes)
    starts = ends - sizes
    token_counts = np.array([len(item.spans) for item in explanations], dtype=np.int64)
    spans, mask = _tokens(explanations)
    placed = shift(spans, np.repeat(starts, token_counts))
    tracks = np.stack([spread(column, placed, int(ends[-1])) for column in mask.T])
    # In the precision of the mask: a token of 0.7 reaches a threshold of 0.7
    kept = tracks >= np.float32(tau)
    shown = min(rank, len(tracks) - 1)
    status = np.array([item.status for item in explanations], dtype=np.uint8)
    kept_fraction, mean_importance = _summaries(tracks[shown], kept[shown], starts)
    return Annotated(
        ranks=ranks,
        rank=rank,
        explanations=explanations,
        starts=starts,
        stops=ends - 1,
        status=status,
        token_counts=token_counts,
        spans=spans,
        mask=mask,
        tracks=tracks,
        kept=kept,
        shown=shown,
        kept_fraction=kept_fraction,
        mean_importance=mean_importance,
        **_predictions(explanations, status, ranks),
    )


def _tokens(explanations: Sequence[Explanation]) -> tuple[Spans, NDArray[np.float32]]:
    """Spans (T, 2) and masks (T, G) of all records, one after the other."""
    # A record without tokens may not know how many tracks the others have
    with_tokens = [item for item in explanations if len(item.spans)]
    if not with_tokens:
        return np.empty((0, 2), dtype=np.int32), np.empty((0, 1), dtype=np.float32)
    return np.concatenate([item.spans for item in with_tokens]), np.concatenate([item.mask for item in with_tokens])


def _summaries(
    track: NDArray[np.float32], kept: NDArray[np.bool_], starts: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Kept share and mean of the track over the covered nt of each record, (n,) each, NaN where nothing is covered."""
    covered = ~np.isnan(track)
    count = np.add.reduceat(covered, starts, dtype=np.int64)
    kept_count = np.add.reduceat(kept, starts, dtype=np.int64)
    total = np.add.reduceat(np.where(covered, track, 0), starts, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return (kept_count / count).astype(np.float32), (total / count).astype(np.float32)


def _predictions(explanations: Sequence[Explanation], status: NDArray[np.uint8], ranks: Ranks) -> dict[str, Any]:
    """The four fields that come from logits and targets."""
    ok = (status == Status.ok).tolist()
    predicted = predict([item.logits if fine else None for item, fine in zip(explanations, ok, strict=True)], ranks)
    targets = np.concatenate([item.targets for item in explanations]).reshape(predicted.classes.shape)
    masked = [item.masked_logits if fine else None for item, fine in zip(explanations, ok, strict=True)]
    inverse = [item.inverse_logits if fine else None for item, fine in zip(explanations, ok, strict=True)]
    checked = any(row is not None for row in masked)
    return {
        "predicted": predicted,
        # Where no class was chosen for a rank the mask still is that of the prediction
        "explained": np.where(targets >= 0, targets, predicted.classes),
        "masked": predict(masked, ranks) if checked else None,
        "inverse": predict(inverse, ranks) if checked else None,
    }
