"""Orders of tokens, scored: what the classifier says when only the top of each sequence is kept, or when it is gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from seqmask.evaluation import faithfulness, metrics
from seqmask.evaluation.controls import top_fractions
from seqmask.evaluation.faithfulness import ERASER_FRACTIONS
from seqmask.evaluation.resampling import Resampling, estimate
from seqmask.evaluation.scoring import Scorer, TokenMasks
from seqmask.labels.ranks import UNKNOWN
from seqmask.sequences.spans import lengths

FRACTIONS = (0.05, 0.1, 0.2, 0.4)  # of each sequence, for the kept / removed table
TOP_FRACTIONS = tuple(sorted({*FRACTIONS, *ERASER_FRACTIONS}))
STEPS = 20  # of the insertion and deletion curves
CURVE_FRACTIONS = tuple(step / STEPS for step in range(1, STEPS))

Logits = NDArray[np.float32]
AtFractions = dict[float, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Fraction to logits (n, C) when the top tokens up to that fraction are kept, and when they are removed."""


def at_fractions(
    scorer: Scorer, scores: Iterable[NDArray[np.float32]], rng: Generator, fractions: Sequence[float] = TOP_FRACTIONS
) -> AtFractions:
    """Logits at rising fractions of each sequence's nucleotides that are read; two passes over all for each of them.

    scores: one (N,) array a held record, windows end to end, higher = more important, equal ones in random order. It is
    read one at a time, so that a random order may come from the same `rng`.
    """
    rows = zip(scores, scorer.spans(), scorer.read(), strict=True)
    nested = [
        top_fractions(np.where(read, values, -np.inf), lengths(spans) * read, fractions, rng)
        for values, spans, read in rows
    ]
    found: AtFractions = {}
    for i, fraction in enumerate(fractions):
        kept: TokenMasks = [part[i].astype(np.float32) for part in nested]
        removed: TokenMasks = [np.float32(1) - part for part in kept]
        found[fraction] = (scorer.logits(kept), scorer.logits(removed))
    return found


def passes(fractions: Sequence[float] = TOP_FRACTIONS) -> int:
    """How often `at_fractions` reads every sequence."""
    return 2 * len(fractions)


def accuracies(of: AtFractions, columns: slice, reference: NDArray[np.int64], by: Resampling) -> dict[str, Any]:
    """Accuracy of one rank, `kept` and `removed`, at each of FRACTIONS, and their intervals.

    columns: those of the rank; reference (n,): right classes, -1 left out.
    """
    return {
        f"{fraction:g}": with_intervals(
            {
                name: metrics.correct(logits[:, columns].argmax(axis=1), reference)
                for name, logits in zip(("kept", "removed"), of[fraction], strict=True)
            },
            by.of(reference != UNKNOWN),
        )
        for fraction in FRACTIONS
    }


def eraser(full: Logits, of: AtFractions, columns: slice, by: Resampling, null: Logits | None = None) -> dict[str, Any]:
    """AOPC of comprehensiveness and sufficiency (DeYoung et al. 2020) of the predicted class's probability.

    full (n, C_r): the logits of the rank on whole sequences. null (n, C_r): with every token hidden; with it also the
    null-normalised forms (Carton et al. 2020), which leave out sequences where hiding everything costs nothing.
    """
    whole = probability(full, full)
    only, removed = (
        np.stack([probability(full, of[fraction][side][:, columns]) for fraction in ERASER_FRACTIONS], axis=1)
        for side in (0, 1)
    )
    values = {
        "comprehensiveness": faithfulness.comprehensiveness(whole, removed),
        "sufficiency": faithfulness.sufficiency(whole, only),
    }
    if null is not None:
        nothing = probability(full, null)
        values["normalised_comprehensiveness"] = faithfulness.normalised_comprehensiveness(whole, removed, nothing)
        values["normalised_sufficiency"] = faithfulness.normalised_sufficiency(whole, only, nothing)
    return with_intervals({name: faithfulness.aopc(value) for name, value in values.items()}, by)


def auc(full: Logits, of: AtFractions, columns: slice, null: Logits, by: Resampling) -> dict[str, Any]:
    """Areas under the insertion and deletion curves of STEPS steps (Petsiuk et al. 2018, RISE), with intervals.

    of: at CURVE_FRACTIONS; full, null (n, C_r) as in `eraser`. Insertion starts with every token hidden and adds the
    top ones first; deletion starts with the whole sequence and takes them away. Probability of the predicted class.
    """
    whole, nothing = probability(full, full), probability(full, null)
    kept, removed = (
        [probability(full, of[fraction][side][:, columns]) for fraction in CURVE_FRACTIONS] for side in (0, 1)
    )
    curves = {"insertion": [nothing, *kept, whole], "deletion": [whole, *removed, nothing]}
    return with_intervals({n: faithfulness.curve_auc(np.stack(c, axis=1)) for n, c in curves.items()}, by)


def probability(full: Logits, logits: Logits) -> NDArray[np.float64]:
    """Probability (n,) in `logits` of the class that `full` predicts, both (n, C_r) of one rank."""
    chosen: NDArray[np.float64] = metrics.softmax(logits)[np.arange(len(full)), full.argmax(axis=1)]
    return chosen


def with_intervals(values: dict[str, NDArray[np.float64]], by: Resampling) -> dict[str, Any]:
    """The mean of each figure (n,) by name, NaN left out, and all their intervals under `intervals`."""
    found = {name: estimate(value, by) for name, value in values.items()}
    return {
        **{name: part["mean"] for name, part in found.items()},
        "intervals": {name: part["interval"] for name, part in found.items()},
    }


def separations(
    found: Sequence[AtFractions], slices: Sequence[slice], reference: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Each sequence's part (n, R) of an order's separation, which `estimate_over_columns` puts together.

    Separation is kept minus removed accuracy, the mean over FRACTIONS and ranks: in [-1, 1], high is good. A random
    order is below 0: a small share holds less than all the rest. found: a rank each; reference (n, R), NaN where it is
    -1.
    """
    parts = np.full(reference.shape, np.nan)
    for of, columns, right, part in zip(found, slices, reference.T, parts.T, strict=True):
        kept, removed = (
            np.mean([metrics.correct(of[f][side][:, columns].argmax(axis=1), right) for f in FRACTIONS], axis=0)
            for side in (0, 1)
        )
        part[right != UNKNOWN] = kept - removed
    return parts
