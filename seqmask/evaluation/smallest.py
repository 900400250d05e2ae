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
from seqmask.inference.explain import as_pool, check_pool, classify_pool, pools
from seqmask.inference.smallest import SHARES, Holds, search
from seqmask.sequences.pool import Pool


def passes(ranks: int) -> int:
    """How often `smallest_areas` reads every sequence at most; under a mask and its inverse counts once."""
    return 1 + len(SHARES) * ranks


def smallest_areas(
    scorer: Scorer, scores: Iterable[NDArray[np.float32]], ranks: Sequence[int], rng: Generator
) -> NDArray[np.float64]:
    """The smallest of SHARES of each held record's nucleotides that holds at a rank (n, ranks), NaN where none does.

    It holds where the top tokens alone are classified as the record is, and what is left is not (`search`). scores: one
    (N,) array a record, higher = more important; of equal ones as of `falling`.
    """
    rows, found = iter(scores), []
    for prepared in pools(scorer.prepared):
        pool = as_pool(prepared)
        of_records = np.split(pool.spans, np.cumsum(pool.token_counts)[:-1])
        order = np.concatenate([_places(falling(next(rows), spans, rng)) for spans in of_records])[:, None]
        logits = classify_pool(pool, scorer.model.network, scorer.engine)
        by_rank = [search(pool, order, _holding(scorer, logits, rank))[1] for rank in ranks]
        found.append(np.concatenate(by_rank, axis=1))
    return np.concatenate(found)


def _holding(scorer: Scorer, logits: NDArray[np.float32], rank: int) -> Holds:
    """Whether masks of records hold at a rank; logits (n, C): of these records whole."""
    columns = scorer.model.ranks.slices[rank]
    own = logits[:, columns].argmax(axis=1)

    def holds(part: Pool, rows: NDArray[np.int64], kept: NDArray[np.bool_], track: int) -> NDArray[np.bool_]:
        both = check_pool(part, scorer.model.network, scorer.engine, kept, scorer.operator)
        of_kept, of_left = (of[:, columns].argmax(axis=1) for of in both)
        found: NDArray[np.bool_] = (of_kept == own[rows]) & (of_left != own[rows])
        return found

    return holds


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
