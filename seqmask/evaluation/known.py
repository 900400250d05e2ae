"""Masks of one evaluation against what is known of its sequences: planted truth, annotations."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.evaluation.annotations import score_annotations
from seqmask.evaluation.intervals import Intervals
from seqmask.evaluation.ranking import token_truth
from seqmask.evaluation.resampling import Resampling
from seqmask.evaluation.scoring import Scorer
from seqmask.evaluation.truth import Truth, score_truth, truth_of

Masks = Sequence[NDArray[np.float32]]
"""(N_i, G) of each held record, G = 1 or one a rank."""

TOUCHED = 1e-6  # share of a token's nt that must be true for it to be occluded: any of them


def truths_of(scorer: Scorer, intervals: Intervals, others: Collection[str] = ()) -> list[Truth]:
    """What is known of each held record. InputError for an interval beyond the end of its record.

    others: ranks that the classifier does not have.
    """
    names = scorer.model.ranks.names
    records = [item.record for item in scorer.prepared]
    return [truth_of(intervals.of(record), len(record.sequence), names, others) for record in records]


def truth_report(
    scorer: Scorer,
    masks: Masks,
    reference: NDArray[np.int64],
    truths: Sequence[Truth],
    threshold: float,
    by: Resampling,
) -> dict[str, Any]:
    """Scores of any attribution against the truth of n held records, a rank and over all; JSON-ready.

    masks: as the Explainer's, or scores of another attribution (then without a threshold: no `iou`). reference (n, R):
    the classes that count as right, -1 unknown.

    `all` holds the figures of the truth of all ranks (of masks for each rank the highest counts), `ranks` those of each
    rank whose truth differs from that, or that has a mask of its own. Each has `every` (all records that have a truth)
    and `deciding`: of those where the classifier is right and occluding the truth flips its class, so that it is known
    to use it.
    """
    names = scorer.model.ranks.names
    whole = scorer.classes(scorer.logits())
    spans = scorer.spans()
    tracks = masks[0].shape[1]

    def report(rank: str | None, columns: NDArray[np.int64], scores: Masks) -> dict[str, Any]:
        true, decoy = [item.of(rank) for item in truths], [item.decoy for item in truths]
        hidden = [1 - token_truth(t, places, TOUCHED).astype(np.float32) for t, places in zip(true, spans, strict=True)]
        occluded = scorer.classes(scorer.logits(hidden))[:, columns]
        own, right = whole[:, columns], reference[:, columns]
        known = right >= 0
        deciding = ((own == right) | ~known).all(axis=1) & ((occluded != own) & known).any(axis=1)

        def of(rows: NDArray[np.int64]) -> dict[str, Any]:
            chosen, places, truth, lures = ([part[i] for i in rows] for part in (scores, spans, true, decoy))
            return score_truth(chosen, places, truth, lures, threshold, by.of(rows))

        return {"every": of(np.arange(len(truths))), "deciding": of(np.flatnonzero(deciding))}

    result: dict[str, Any] = {
        "with_truth": sum(bool(item.every.any()) for item in truths),
        "all": report(None, np.arange(len(names)), [mask.max(axis=1) for mask in masks]),
        "ranks": {},
    }
    for r, name in enumerate(names):
        there = any(item.of(name).any() for item in truths)
        if there and (tracks > 1 or any((item.of(name) != item.every).any() for item in truths)):
            column = r if tracks > 1 else 0
            result["ranks"][name] = report(name, np.array([r]), [mask[:, column] for mask in masks])
    return result


def annotation_report(
    scorer: Scorer, masks: Masks, intervals: Intervals, threshold: float, by: Resampling
) -> dict[str, Any]:
    """Importance inside each kind of annotation against the rest of the annotated held records; JSON-ready.

    `sequences`: annotated ones among the held. `tracks`: by rank where each has a mask of its own, else `all`; each
    holds the figures of `score_annotations`. InputError for an interval beyond the end of its record.
    """
    annotated = [(i, intervals.of(item.record)) for i, item in enumerate(scorer.prepared)]
    annotated = [(i, found) for i, found in annotated if found]
    spans = scorer.spans()
    names = scorer.model.ranks.names
    tracks = masks[0].shape[1]
    return {
        "sequences": len(annotated),
        "tracks": {
            "all" if tracks == 1 else names[track]: score_annotations(
                [masks[i][:, track] for i, _ in annotated],
                [spans[i] for i, _ in annotated],
                [found for _, found in annotated],
                [len(scorer.prepared[i].record.sequence) for i, _ in annotated],
                threshold,
                by.of(np.array([i for i, _ in annotated], dtype=np.int64)),
            )
            for track in range(tracks)
        },
    }
