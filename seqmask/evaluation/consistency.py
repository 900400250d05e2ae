"""Do masks stay where they are when the question is the same? The other strand, another frame, another Explainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.evaluation.ranking import spearman
from seqmask.evaluation.resampling import Resampling, estimate
from seqmask.evaluation.scoring import Scorer
from seqmask.models.explainer import Explainer
from seqmask.sequences.records import Record
from seqmask.sequences.spans import spread
from seqmask.sequences.tokens import reverse_complement_codes, to_codes

Track = NDArray[np.float32]
"""Importance (L,) of every nucleotide of a record, NaN where no token covers it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Records as one Explainer masks them: masks (N, G) of the tokens of those that `scorer` holds."""

    scorer: Scorer
    masks: Sequence[NDArray[np.float32]]

    @classmethod
    def of(cls, scorer: Scorer, explainer: Explainer) -> Reading:
        """Classify and mask the records that `scorer` holds, as `seqmask mask` would."""
        return cls(scorer, scorer.masks(explainer))

    def tracks(self, track: int) -> dict[int, Track]:
        """By the record's ordinal among those given to the Scorer; a shared mask serves every track."""
        parts = zip(self.scorer.prepared, self.masks, self.scorer.spans(), strict=True)
        return {
            item.index: spread(mask[:, min(track, mask.shape[1] - 1)], spans, len(item.record.sequence))
            for item, mask, spans in parts
        }


def consistency(
    records: Sequence[Record], scorer: Scorer, explainer: Explainer, other: Explainer | None, by: Resampling
) -> list[dict[str, Any]]:
    """Spearman correlations of nucleotide importances, mean over sequences with interval; one dict a track.

    `reverse_complement`: with the mask of the other strand, turned back. `frame`: with the masks of the sequence
    without its first 1 to stride - 1 nt, over the nucleotides that both have. `other`: with another Explainer's mask,
    None without one. Each reading is classified anew, and its own class is explained. scorer: how records are read.
    """
    own = Reading.of(scorer.like(records), explainer)
    strand = Reading.of(scorer.like([reverse_complement(record) for record in records]), explainer)
    shifts = range(1, scorer.model.tokenizer.stride)
    frames = [Reading.of(scorer.like([_without_first(record, cut) for record in records]), explainer) for cut in shifts]
    rival = None if other is None else Reading.of(own.scorer, other)
    found = []
    for track in range(explainer.tracks):
        ours = own.tracks(track)
        by_shift = [
            correlations(ours, frame.tracks(track), len(records), lambda mine, theirs: (mine[-len(theirs) :], theirs))
            for frame in frames
        ]
        turned = correlations(ours, strand.tracks(track), len(records), lambda mine, theirs: (mine, theirs[::-1]))
        same = None if rival is None else correlations(ours, rival.tracks(track), len(records), lambda *both: both)
        found.append(
            {
                "sequences": len(ours),
                "reverse_complement": estimate(turned, by),
                "frame": estimate(_mean_of_known(by_shift, len(records)), by),
                "other": None if same is None else estimate(same, by),
            }
        )
    return found


def correlations(
    ours: dict[int, Track], theirs: dict[int, Track], n: int, align: Callable[[Track, Track], tuple[Track, ...]]
) -> NDArray[np.float64]:
    """Spearman of two masks of each record (n,), aligned nt by nt; NaN for a constant mask or a record without one."""
    values = np.full(n, np.nan)
    for row in ours.keys() & theirs.keys():
        mine, other = align(ours[row], theirs[row])
        both = ~(np.isnan(mine) | np.isnan(other))
        values[row] = spearman(mine[both], other[both])
    return values


def reverse_complement(record: Record) -> Record:
    """The other strand; anything but A, C, G, T, U becomes N, which reads the same."""
    codes = reverse_complement_codes(to_codes(record.sequence))
    return replace(record, sequence=_LETTERS[codes].tobytes().decode(), qualities=None)


_LETTERS = np.frombuffer(b"ACGTN", dtype=np.uint8)


def _without_first(record: Record, cut: int) -> Record:
    return replace(record, sequence=record.sequence[cut:], qualities=None)


def _mean_of_known(parts: Sequence[NDArray[np.float64]], n: int) -> NDArray[np.float64]:
    """Mean over the parts (n,) each, NaN left out; NaN where there is no other."""
    if not parts:
        return np.full(n, np.nan)
    stacked = np.stack(parts)
    known = ~np.isnan(stacked)
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.float64] = np.where(known, stacked, 0).sum(axis=0) / known.sum(axis=0)
    return mean
