"""Explanations with everything that the writers print about them, computed once for a whole batch of records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.labels import Ranks
from seqmask.results.predictions import Predictions, inconsistent, named, predict
from seqmask.sequences.explanations import Explanation, Explanations, Status
from seqmask.sequences.spans import Spans, means, runs, shift, spread


@dataclass(frozen=True, slots=True)
class Annotated:
    """n records and what is said of them. T tokens and L nucleotides in all, G tracks (1, or one a rank), R ranks.

    The nucleotides of all records lie side by side, each record followed by one position that nothing covers: so
    the flat tracks are cut into runs in one go, and no run crosses from one record into the next.

    ranks: their names and classes. rank: the one that names a shared mask and that `shown` belongs to.
    explanations: the n records with what the model says of them. starts (n,) int64: first flat position of each.
    stops (n,) int64: one past its last nt.
    tracks (G, L + n) float32: importance of each nt, NaN where no token covers it. kept (G, L + n) bool: track >= tau.
    shown: the track, of the G, that FASTA, kept_fraction and mean_importance are about.
    covered, kept_count (n,) int32: nt of each record that a token covers, and those of `shown` that are kept.
    kept_fraction (n,) float32: kept nt over covered nt. mean_importance (n,) float32: mean of the track over covered
    nt. Both NaN for a record without mask.
    explained (n, R) int64: class that the mask explains, -1 without mask.
    predicted: prediction from the whole sequence. named (n, R) int64: its classes as they are printed, UNSURE where the
    confidence is too low. inconsistent (n, R) bool: a class that never stands under the named one of the next coarser
    rank in the training labels; None where the model does not know which do. masked, inverse: prediction from the
    hard-masked and the inverse hard-masked sequence, None if no record has them.
    """

    ranks: Ranks
    rank: int
    explanations: Explanations
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    tracks: NDArray[np.float32]
    kept: NDArray[np.bool_]
    shown: int
    covered: NDArray[np.int32]
    kept_count: NDArray[np.int32]
    kept_fraction: NDArray[np.float32]
    mean_importance: NDArray[np.float32]
    explained: NDArray[np.int64]
    predicted: Predictions
    named: NDArray[np.int64]
    inconsistent: NDArray[np.bool_] | None
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


def annotate(
    explanations: Explanations | Sequence[Explanation],
    ranks: Ranks,
    tau: float,
    rank: int = -1,
    min_confidence: float = 0.0,
) -> Annotated:
    """Compute tracks, kept nucleotides, their summaries and the predictions of n >= 1 records.

    tau: a nucleotide is kept if its track is at least that. rank: index of the rank that names a shared mask, and whose
    own track is shown where each rank has one; the last, finest one by default. min_confidence: classes below are not
    named. The result for a record does not depend on what else is in the batch. Memory is about 40 bytes a nucleotide;
    all nt together must be below 2**31.
    """
    if not isinstance(explanations, Explanations):
        explanations = Explanations.of(explanations)
    rank = range(len(ranks.ranks))[rank]
    sizes = np.array([len(record.sequence) + 1 for record in explanations.records], dtype=np.int64)
    ends = np.cumsum(sizes)
    starts = ends - sizes
    placed = shift(explanations.spans, np.repeat(starts, explanations.token_counts))
    tracks = np.stack([spread(column, placed, int(ends[-1])) for column in explanations.mask.T])
    # In the precision of the mask: a token of 0.7 reaches a threshold of 0.7
    kept = tracks >= np.float32(tau)
    shown = min(rank, len(tracks) - 1)
    return Annotated(
        ranks=ranks,
        rank=rank,
        explanations=explanations,
        starts=starts,
        stops=ends - 1,
        tracks=tracks,
        kept=kept,
        shown=shown,
        **_summaries(tracks[shown], kept[shown], starts, ends - 1),
        **_predictions(explanations, ranks, min_confidence),
    )


def _summaries(
    track: NDArray[np.float32], kept: NDArray[np.bool_], starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> dict[str, Any]:
    """The fields that count and average the nt of one track, (n,) each."""
    bare = np.isnan(track)
    if np.count_nonzero(bare) == len(starts):  # nothing but the positions between records
        covered, filled = (stops - starts).astype(np.int32), track
    else:
        covered = np.add.reduceat((~bare).view(np.int8), starts, dtype=np.int32)
        filled = np.where(bare, np.float32(0), track)
    # Every second sum is that of one position between two records. Of int8 and to int32: three times as fast as of
    # bool to int64
    edges = np.column_stack([starts, stops]).ravel()
    kept_count = np.add.reduceat(kept.view(np.int8), starts, dtype=np.int32)
    total = np.add.reduceat(filled, edges, dtype=np.float64)[::2]
    total[starts == stops] = 0  # of an empty record `reduceat` takes a letter of the next
    with np.errstate(invalid="ignore"):
        return {
            "covered": covered,
            "kept_count": kept_count,
            "kept_fraction": (kept_count / covered).astype(np.float32),
            "mean_importance": (total / covered).astype(np.float32),
        }


def _predictions(explanations: Explanations, ranks: Ranks, min_confidence: float) -> dict[str, Any]:
    """The fields that come from logits and targets."""
    ok = explanations.status == Status.ok

    def checked(logits: NDArray[np.float32] | None) -> Predictions | None:
        return None if logits is None else predict(logits, ok & ~np.isnan(logits[:, 0]), ranks)

    predicted = predict(explanations.logits, ok, ranks)
    shown = named(predicted, min_confidence)
    return {
        "predicted": predicted,
        "named": shown,
        "inconsistent": inconsistent(shown, ranks) if ranks.related else None,
        # Where no class was chosen for a rank the mask still is that of the prediction
        "explained": np.where(explanations.targets >= 0, explanations.targets, predicted.classes),
        "masked": checked(explanations.masked_logits),
        "inverse": checked(explanations.inverse_logits),
    }
