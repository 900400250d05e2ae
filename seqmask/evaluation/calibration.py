"""Is a token of a higher m worth more? Tokens binned by m, and what removing as many of each bin costs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from seqmask.evaluation import faithfulness
from seqmask.evaluation.orders import probability
from seqmask.evaluation.resampling import Resampling, estimate
from seqmask.evaluation.scoring import Scorer, TokenMasks

BINS = 10
REMOVED = 8  # tokens of a trial


def removals(scorer: Scorer, soft: TokenMasks, rng: Generator) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """For each of BINS equal bins of m: rows (k,) that have REMOVED tokens in it, and logits (k, C) without those.

    soft: m (N,) of each held record. The tokens are drawn at random from the bin, the same number in every trial, so
    that a large bin does not look important for its size.
    """
    bins = [faithfulness.mask_bins(mask, BINS) for mask in soft]
    found = []
    for b in range(BINS):
        rows, masks = [], []
        for row, of in enumerate(bins):
            members = np.flatnonzero(of == b)
            if len(members) >= REMOVED:
                mask = np.ones(len(of), dtype=np.float32)
                mask[rng.choice(members, REMOVED, replace=False)] = 0
                rows.append(row)
                masks.append(mask)
        found.append((np.array(rows, dtype=np.int64), scorer.subset(rows).logits(masks)))
    return found


def calibration(
    full: NDArray[np.float32],
    without: list[tuple[NDArray[np.int64], NDArray[np.float32]]],
    columns: slice,
    by: Resampling,
) -> dict[str, Any]:
    """Mean drop of the predicted class's probability in each bin, with interval, and whether it rises with m.

    full (n, C): logits of the whole sequences; without: what `removals` gives.
    """
    own = full[:, columns]
    whole = probability(own, own)
    drops = [whole[rows] - probability(own[rows], logits[:, columns]) for rows, logits in without]
    trial = np.repeat(np.arange(BINS), [len(drop) for drop in drops])
    found = faithfulness.calibration(trial, np.concatenate(drops), BINS)
    estimates = [estimate(drop, by.of(rows)) for drop, (rows, _) in zip(drops, without, strict=True)]
    return {
        "removed": REMOVED,
        "bins": [
            {
                "from": b / BINS,
                "to": (b + 1) / BINS,
                "trials": len(drops[b]),
                "drop": of["mean"],
                "interval": of["interval"],
            }
            for b, of in enumerate(estimates)
        ],
        "monotonicity": found.monotonicity,
    }
