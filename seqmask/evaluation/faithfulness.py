"""Does the prediction rest on what the mask kept? Formulas on probabilities that somebody else has computed.

Letters: n sequences, K fractions or steps. Every probability is that of the class explained (the classifier's own
prediction on the full sequence unless the caller chose another), one rank at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqmask.evaluation.ranking import spearman

Floats = NDArray[np.float32] | NDArray[np.float64]

ERASER_FRACTIONS = (0.01, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whether a higher mask value means a greater loss when the token is removed.

    drops (bins,) float64: mean drop of the predicted probability in each bin of mask values, NaN for an empty bin.
    trials (bins,) int64: removals behind each mean. monotonicity: Spearman of bin and mean drop over the filled bins,
    1 = always rising, NaN for fewer than two filled bins or equal drops.
    """

    drops: NDArray[np.float64]
    trials: NDArray[np.int64]
    monotonicity: float


def comprehensiveness(full: Floats, removed: Floats) -> NDArray[np.float64]:
    """p(x) - p(x without the top tokens), in [-1, 1]; high is good (DeYoung et al. 2020, ERASER, eq. 1).

    full (n,): probability on the whole input; removed (n, K): without the top tokens of each fraction. Returns (n, K).
    """
    return full[:, None].astype(np.float64) - removed


def sufficiency(full: Floats, only: Floats) -> NDArray[np.float64]:
    """p(x) - p(only the top tokens of x), in [-1, 1]; low is good (DeYoung et al. 2020, ERASER, eq. 2).

    full (n,): probability on the whole input; only (n, K): on the top tokens of each fraction alone. Returns (n, K).
    """
    return full[:, None].astype(np.float64) - only


def aopc(values: Floats) -> NDArray[np.float64]:
    """Area over the perturbation curve: the mean over fractions, one a sequence. values (n, K), returns (n,).

    DeYoung et al. 2020 after Samek et al. 2017. The formula in the paper also counts a fraction of 0 and divides by
    K + 1; this is the mean over the K fractions, as ERASER's own program computes it, so that figures compare.
    """
    result: NDArray[np.float64] = values.mean(axis=1, dtype=np.float64)
    return result


def normalised_sufficiency(full: Floats, only: Floats, null: Floats) -> NDArray[np.float64]:
    """Sufficiency between the empty input (0) and the full one (1); high is good (Carton et al. 2020, "NormSuff").

    full (n,), only (n, K), null (n,): probability with every token hidden. With s(p) = 1 - max(0, full - p):
    (s(only) - s(null)) / (1 - s(null)), clipped to [0, 1]. Returns (n, K); NaN where full <= null: nothing to explain.
    """
    # 1 - s(null) is the cost of nothing, and s(only) - s(null) that cost less max(0, full - only); clipping is the max.
    cost = _cost_of_nothing(full, null)
    return np.clip((cost - sufficiency(full, only)) / cost, 0.0, 1.0)


def normalised_comprehensiveness(full: Floats, removed: Floats, null: Floats) -> NDArray[np.float64]:
    """Comprehensiveness as a share of what hiding everything costs; high is good (Carton et al. 2020, "NormComp").

    full (n,), removed (n, K), null (n,): probability with every token hidden. max(0, full - removed) / max(0, full -
    null), clipped to [0, 1]. Returns (n, K); NaN where full <= null.
    """
    return np.clip(comprehensiveness(full, removed) / _cost_of_nothing(full, null), 0.0, 1.0)


def curve_auc(curve: Floats, fractions: Floats | None = None) -> NDArray[np.float64]:
    """Area under insertion or deletion curves by the trapezium rule, over the width (Petsiuk et al. 2018, RISE).

    curve (n, K + 1): probability after each step, from nothing changed to everything changed. fractions (K + 1,): share
    of the sequence changed at each step, rising; equal steps by default. Returns (n,) in [0, 1]: high is good for
    insertion, low for deletion; both mean something only beside the value of a random order.
    """
    x = np.linspace(0.0, 1.0, curve.shape[1]) if fractions is None else fractions.astype(np.float64)
    mean: NDArray[np.float64] = np.trapezoid(curve.astype(np.float64), x, axis=1) / (x[-1] - x[0])
    return mean


def mask_bins(mask: Floats, bins: int = 10) -> NDArray[np.int64]:
    """Bin of each mask value: equal widths, [low, high), the last one holds 1. mask (T,) in [0, 1], returns (T,)."""
    return np.minimum((mask.astype(np.float64) * bins).astype(np.int64), bins - 1)


def calibration(bin_of: NDArray[np.int64], drops: Floats, bins: int = 10) -> Calibration:
    """Mean drop in each bin over k removals, and whether it rises with the mask (reliability of attributions).

    bin_of (k,): `mask_bins` of the tokens that a trial removed, all of one bin; drops (k,): p(x) - p(x without them).
    Trials must remove the same number of nucleotides, or a large bin looks important for its size alone.
    """
    trials = np.bincount(bin_of, minlength=bins)
    total = np.bincount(bin_of, weights=drops, minlength=bins)
    filled = trials > 0
    means = np.full(bins, np.nan)
    means[filled] = total[filled] / trials[filled]
    return Calibration(means, trials, spearman(np.flatnonzero(filled).astype(np.float64), means[filled]))


def _cost_of_nothing(full: Floats, null: Floats) -> NDArray[np.float64]:
    """p(x) - p(every token hidden) (n, 1), NaN where it is not positive."""
    cost = (full.astype(np.float64) - null)[:, None]
    return np.where(cost > 0, cost, np.nan)
