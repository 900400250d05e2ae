"""Explanations with everything that the writers print about them, computed once for a whole batch of records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.labels.ranks import Ranks
from seqmask.results.predictions import Predictions, inconsistent, named, predict
from seqmask.sequences.explanations import Explanation, Explanations, Status
from seqmask.sequences.spans import Spans, disjoint, joined, lay_out, lengths, shift, sums


@dataclass(frozen=True, slots=True)
class Annotated:
    """n records and what is said of them. T tokens and L nucleotides in all, G tracks (1, or one a rank), R ranks.

    The nucleotides of all records lie side by side, each record followed by one position that nothing covers: so
    the flat tracks are cut into runs in one go, and no run crosses from one record into the next.

    ranks: their names and classes. rank: the one that names a shared mask and that `shown` belongs to.
    explanations: the n records with what the model says of them. starts (n,) int64: first flat position of each.
    stops (n,) int64: one past its last nt.
    tracks: the G importances along the flat positions. shown: the one that FASTA, kept_fraction and mean_importance
    are about.
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
    tracks: Sequence[Track]
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
        of = self.tracks[track]
        records = np.searchsorted(self.starts, of.runs[:, 0], side="right") - 1
        return Runs(records, shift(of.runs, -self.starts[records]), of.means)

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Whether each flat position (L + n,) is kept on the track that is shown."""
        runs = self.tracks[self.shown].runs
        return lay_out(np.ones(len(runs), dtype=bool), runs, int(self.stops[-1]) + 1, nothing=False)


@dataclass(frozen=True, slots=True)
class Track:
    """Importance along flat positions: values (S,) float32 of spans (S, 2) that are sorted and share no position.

    Tokens where they do not overlap, which are a sixth of the nucleotides, else what lies between two edges. kept (S,)
    bool: under a token of at least tau. runs (m, 2): maximal stretches of kept positions; means (m,) float64: of the
    importance in each.
    """

    values: NDArray[np.float32]
    spans: Spans
    kept: NDArray[np.bool_]
    runs: Spans
    means: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float32], kept: NDArray[np.bool_], spans: Spans) -> Track:
        """From what `disjoint` gives of one column, and of its tokens that are kept."""
        groups = joined(kept, spans)
        runs = np.stack([spans[groups[:, 0], 0], spans[groups[:, 1] - 1, 1]], axis=1)
        return cls(values, spans, kept, runs, sums(values * lengths(spans).astype(np.float64), groups) / lengths(runs))


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

    tau: a nucleotide is kept where any token of at least that covers it. rank: index of the rank that names a shared
    mask, and whose own track is shown where each rank has one; the last, finest one by default. min_confidence: classes
    below are not named. The result for a record does not depend on what else is in the batch. Memory is about 60 bytes
    a nucleotide where tokens overlap, 10 where not; all nt together must be below 2**31.
    """
    if not isinstance(explanations, Explanations):
        explanations = Explanations.of(explanations)
    rank = range(len(ranks.ranks))[rank]
    sizes = np.array([len(record.sequence) + 1 for record in explanations.records], dtype=np.int64)
    ends = np.cumsum(sizes)
    starts = ends - sizes
    placed = shift(explanations.spans, np.repeat(starts, explanations.token_counts))
    mask = explanations.mask
    # In the precision of the mask: a token of 0.7 reaches a threshold of 0.7
    *columns, pieces = disjoint(mask, mask >= np.float32(tau), placed, int(ends[-1]))
    tracks = [Track.of(values, kept, pieces) for values, kept in zip(*columns, strict=True)]
    shown = min(rank, len(tracks) - 1)
    return Annotated(
        ranks=ranks,
        rank=rank,
        explanations=explanations,
        starts=starts,
        stops=ends - 1,
        tracks=tracks,
        shown=shown,
        **_summaries(tracks[shown], starts, ends),
        **_predictions(explanations, ranks, min_confidence),
    )


def _summaries(track: Track, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> dict[str, Any]:
    """The fields that count and average the nt of one track, (n,) each."""
    groups = np.searchsorted(track.spans[:, 0], np.stack([starts, ends], axis=1))
    sizes = lengths(track.spans)
    covered, kept_count = sums(sizes, groups), sums(sizes * track.kept, groups)
    with np.errstate(invalid="ignore"):
        return {
            "covered": covered,
            "kept_count": kept_count,
            "kept_fraction": (kept_count / covered).astype(np.float32),
            "mean_importance": (sums(track.values * sizes.astype(np.float64), groups) / covered).astype(np.float32),
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
