"""Scores of any attribution against a known truth, such as planted motifs. Pure functions; numpy only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.evaluation import ranking
from seqmask.evaluation.intervals import BedInterval, track_of
from seqmask.evaluation.resampling import Resampling, estimate
from seqmask.evaluation.simulate import DECOY, LONE
from seqmask.labels.ranks import ALIASES
from seqmask.sequences.spans import Spans, spread, under

Floats = NDArray[np.float32] | NDArray[np.float64]
Bools = NDArray[np.bool_]

LEVELS = ("token", "nt")


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known of one sequence of L nucleotides.

    ranks: for each rank, the nucleotides (L,) bool that decide its class. every: those of any rank. decoy (L,) bool:
    those that look alike and decide nothing.
    """

    ranks: dict[str, Bools]
    every: Bools
    decoy: Bools

    def of(self, rank: str | None) -> Bools:
        """The truth of a rank, None = of all."""
        return self.every if rank is None else self.ranks[rank]


def truth_of(
    intervals: Sequence[BedInterval], length: int, ranks: Sequence[str], others: Collection[str] = ()
) -> Truth:
    """The truth of a sequence of `length` nt from intervals whose names are ROLE or ROLE:anything.

    ROLE is `decoy`; `lone` (neither truth nor decoy); or ranks, joined by commas, whose class the interval decides.
    Where it is none of these, the interval decides the classes of all ranks. others: names of ranks that are not among
    `ranks`: an interval that decides these alone is as `lone`.
    """
    roles = [_ranks_of(item.name, ranks, others) for item in intervals]
    return Truth(
        {rank: track_of(_chosen(intervals, roles, rank), length) for rank in ranks},
        track_of((item for item, role in zip(intervals, roles, strict=True) if role not in ((), None)), length),
        track_of((item for item, role in zip(intervals, roles, strict=True) if role is None), length),
    )


def _ranks_of(name: str, ranks: Sequence[str], others: Collection[str]) -> tuple[str, ...] | None:
    """The ranks that an interval decides, () for none of them, None for a decoy."""
    role = name.partition(":")[0]
    if role == DECOY:
        return None
    if role == LONE:
        return ()
    named = [part if part in ranks else ALIASES.get(part, part) for part in role.split(",")]
    if set(named) <= {*ranks, *others}:
        return tuple(part for part in named if part in ranks)
    return tuple(ranks)


def _chosen(
    intervals: Sequence[BedInterval], roles: Sequence[tuple[str, ...] | None], rank: str
) -> Iterable[BedInterval]:
    return (item for item, role in zip(intervals, roles, strict=True) if role is not None and rank in role)


# Figures

Figure = Callable[[Floats, Bools, Bools, Bools], float]

FIGURES: dict[str, Figure] = {
    "auroc": lambda scores, truth, decoy, kept: ranking.auroc(scores, truth),
    "auprc": lambda scores, truth, decoy, kept: ranking.average_precision(scores, truth),
    "prevalence": lambda scores, truth, decoy, kept: float(truth.mean()),
    "precision": lambda scores, truth, decoy, kept: ranking.precision_at_truth(scores, truth),
    "iou": lambda scores, truth, decoy, kept: ranking.intersection_over_union(kept, truth),
    "pointing_game": lambda scores, truth, decoy, kept: ranking.pointing_game(scores, truth),
    "decoy_hit_rate": lambda scores, truth, decoy, kept: ranking.decoy_hit_rate(scores, truth, decoy),
    "decoy_prevalence": lambda scores, truth, decoy, kept: float(decoy.mean()),
}


def score_truth(
    scores: Sequence[Floats],
    spans: Sequence[Spans],
    truth: Sequence[Bools],
    decoy: Sequence[Bools],
    threshold: float,
    by: Resampling,
) -> dict[str, Any]:
    """How well the scores of any attribution find the truth, over n sequences; JSON-ready.

    scores: (N_i,) finite, one a token, higher = more important. spans: (N_i, 2) nt of the tokens, which may overlap.
    truth, decoy: (L_i,) bool, disjoint (a nucleotide that is both counts as true). threshold: tau of the hard mask,
    for `iou`; without it that is NaN.

    Returns `sequences`, the number that have a true token, and for each of LEVELS each of FIGURES as `mean` over these
    sequences with its 95 % bootstrap `interval`. A token is true when at least half of its nt are; the score of a
    nucleotide is the mean over its tokens, it is kept where any of them is, and those without a token are left out.
    """
    rows: dict[str, list[list[float]]] = {level: [] for level in LEVELS}
    with_truth = []
    for i, (values, places, true, lure) in enumerate(zip(scores, spans, truth, decoy, strict=True)):
        levels = at_levels(values, places, true, lure & ~true, threshold)
        if levels["token"][1].any():
            with_truth.append(i)
            for level, of_level in levels.items():
                rows[level].append([figure(*of_level) for figure in FIGURES.values()])
    result: dict[str, Any] = {"sequences": len(with_truth)}
    by = by.of(np.array(with_truth, dtype=np.int64))
    for level in LEVELS:
        table = np.array(rows[level]).reshape(-1, len(FIGURES))
        if np.isnan(threshold):
            table[:, list(FIGURES).index("iou")] = np.nan
        result[level] = {name: estimate(table[:, i], by) for i, name in enumerate(FIGURES)}
    return result


def at_levels(
    scores: Floats, spans: Spans, truth: Bools, decoy: Bools, threshold: float
) -> dict[str, tuple[Floats, Bools, Bools, Bools]]:
    """Scores, truth, decoys and what is kept of one sequence, by token (N,) and by covered nucleotide."""
    true_tokens = ranking.token_truth(truth, spans)
    track = spread(scores.astype(np.float32), spans, truth.size)
    covered = ~np.isnan(track)
    kept = scores >= np.float32(threshold)
    return {
        "token": (scores, true_tokens, ranking.token_truth(decoy, spans) & ~true_tokens, kept),
        "nt": (track[covered], truth[covered], decoy[covered], under(kept, spans, truth.size)[covered]),
    }
