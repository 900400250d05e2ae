"""Size and shape of masks, and how much of them is position. Numpy only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.evaluation import metrics
from seqmask.evaluation.controls import MaskSet
from seqmask.evaluation.resampling import Resampling, bootstrap_interval, estimate
from seqmask.sequences.spans import Spans, average, lengths, runs, spread

POSITIONS = 50  # equal parts of a sequence
FLAT = 1e-6  # a course that varies less is rounding, not shape


def mask_shape(held: MaskSet, by: Resampling) -> dict[str, Any]:
    """Area of the hard masks (kept share of the nucleotides) and of the soft ones (mean m), binarity, variation,
    segments, and the share that position explains.
    """
    soft = list(zip(held.soft, held.spans, strict=True))
    segments = [lengths(runs(hard)) for hard in held.hard]
    lengths_nt = np.concatenate(segments)

    def mean(figure: Callable[[NDArray[np.float32], Spans], float]) -> NDArray[np.float64]:
        return np.array([figure(mask, spans) for mask, spans in soft])

    means = {
        "binarity": mean(metrics.binarity),
        "variation": mean(metrics.variation),
        "segments": np.array([float(len(part)) for part in segments]),
        "position": position_share(held),
    }
    found = {name: estimate(values, by) for name, values in means.items()}
    return {
        "area": _spread([float(hard.mean()) for hard in held.hard], by),
        "soft_area": _spread([metrics.area(mask, spans) for mask, spans in soft], by),
        **{name: part["mean"] for name, part in found.items()},
        "median_segment_nt": float(np.median(lengths_nt)) if len(lengths_nt) else np.nan,
        "intervals": {name: part["interval"] for name, part in found.items()},
    }


def _spread(values: Sequence[float], by: Resampling) -> dict[str, Any]:
    found = metrics.summary(np.array(values))
    return {
        "mean": found.mean,
        "median": found.median,
        "p5": found.p5,
        "p95": found.p95,
        "interval": list(bootstrap_interval(np.array(values), by)),
    }


def position_share(held: MaskSet) -> NDArray[np.float64]:
    """Share of each soft mask's variance that relative position explains: R^2 (n,), NaN where a mask is constant.

    The mask of a sequence is regressed on the mean mask of all *other* sequences at the same relative positions
    (POSITIONS parts), level and slope free, the slope not negative. 1: the mask can be drawn without the sequence.
    NaN for fewer than two sequences.
    """
    tracks = np.stack([profile(soft, spans) for soft, spans in zip(held.soft, held.spans, strict=True)])
    n = len(tracks)
    if n < 2:
        return np.full(n, np.nan)
    others = (tracks.sum(axis=0) - tracks) / (n - 1)
    a, b = (part - part.mean(axis=1, keepdims=True) for part in (tracks, others))
    flat_a, flat_b = (np.abs(part).max(axis=1) < FLAT for part in (a, b))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    share: NDArray[np.float64] = np.where(flat_b, 0.0, np.maximum(correlation, 0.0) ** 2)
    share[flat_a] = np.nan
    return share


def profile(mask: NDArray[np.float32], spans: Spans, parts: int = POSITIONS) -> NDArray[np.float64]:
    """Mean mask (parts,) in equal parts of a sequence: mask (T,), spans (T, 2) nt. Parts are half-open in nt."""
    length = int(spans[:, 1].max())
    edges = np.arange(parts + 1) * length // parts
    starts = np.minimum(edges[:-1], length - 1)
    parts_nt = np.stack([starts, np.maximum(edges[1:], starts + 1)], axis=1)  # shorter than `parts` nt: parts repeat
    found = average(spread(mask, spans, length), parts_nt)
    return np.where(np.isnan(found), np.nanmean(found), found)
