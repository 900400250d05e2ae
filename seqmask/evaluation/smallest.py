"""How much of each sequence an order of its tokens needs until a mask holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from seqmask.evaluation.controls import falling
from seqmask.evaluation.resampling import Resampling, estimate
from seqmask.evaluation.scoring import Scorer
from seqmask.inference.explain import as_pool, classify_pool, holding, pools, predictions
from seqmask.inference.smallest import SHARES, search
from seqmask.sequences.tokens import UNK

PASSES = 1 + len(SHARES)  # that `smallest_areas` reads every sequence at most; a mask and its inverse count as one


def smallest_areas(
    scorer: Scorer, scores: Iterable[NDArray[np.float32]], ranks: Sequence[int], rng: Generator
) -> NDArray[np.float64]:
    """The smallest share of each held record's nucleotides that holds at a rank (n, ranks), NaN where none does.

    It holds where the top tokens alone are classified as the record is, and what is left is not (`search`). scores: one
    (N,) array a record, higher = more important; of equal ones as of `falling`.
    """
    rows, found = iter(scores), []
    slices = [scorer.model.ranks.slices[rank] for rank in ranks]
    for prepared in pools(scorer.prepared):
        pool = as_pool(prepared)
        own = predictions(classify_pool(pool, scorer.model.network, scorer.engine), slices)
        holds = holding(scorer.model, scorer.engine, scorer.operator, own, slices)
        ends = np.cumsum(pool.token_counts)[:-1]
        tokens = zip(np.split(pool.spans, ends), np.split(pool.ids != UNK, ends), strict=True)
        # What is not read comes last, and is never kept
        order = [_places(falling(np.where(read, next(rows), -np.inf), spans, rng)) for spans, read in tokens]
        found.append(search(pool, np.concatenate(order), holds, len(ranks))[1])
    return np.concatenate(found)


def smallest_report(areas: NDArray[np.float64], by: Resampling) -> dict[str, Any]:
    """Of the shares (n,) of one rank: `area`, their mean with its interval, 1 where none holds; `holds`, for how many
    of the records, from 0 to 1, one does.
    """
    known = ~np.isnan(areas)
    return {"area": estimate(np.where(known, areas, 1.0), by), "holds": float(known.mean())}


def _places(order: NDArray[np.int64]) -> NDArray[np.float32]:
    """Scores (T,) without equal ones, of an order (T,) from the most important token on."""
    found = np.empty(len(order), dtype=np.float32)
    found[order] = np.arange(len(order), 0, -1)
    return found
