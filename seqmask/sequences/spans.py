"""Arithmetic on spans: (n, 2) integer arrays, 0-based and half-open, in nucleotides. The only place that does it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Spans = NDArray[np.int32]


def spread(values: NDArray[np.float32], spans: Spans, length: int) -> NDArray[np.float32]:
    """Token values to nucleotides: the mean over the spans that cover each nucleotide.

    values (n,), spans (n, 2) within [0, length). Returns (length,) float32, NaN where nothing covers.
    """
    # Sums of multiples of 2**-40 are exact in float64: no drift along a contig, and several sequences side by side give
    # the same bits as each alone. In [0, 1] only values below 1e-5 change, by less than 1e-12.
    values = np.rint(values * np.float32(2**40)) * np.float32(2**-40)
    if (spans[1:, 0] >= spans[:-1, 1]).all():
        return _lay_out(values, spans, length)
    # Differences at the two ends, summed up: O(n + length) for any overlap.
    starts, ends = spans.T
    step = np.bincount(starts, values, length + 1) - np.bincount(ends, values, length + 1)
    change = np.bincount(starts, minlength=length + 1) - np.bincount(ends, minlength=length + 1)
    covering = np.cumsum(change[:length])
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.cumsum(step[:length]) / covering
    mean[covering == 0] = np.nan
    return mean.astype(np.float32)


def _lay_out(values: NDArray[np.float32], spans: Spans, length: int) -> NDArray[np.float32]:
    """`spread` of sorted spans that do not overlap: each value over its span, NaN in the gaps."""
    edges = np.concatenate(([0], spans.ravel(), [length]))
    pieces = np.full(2 * len(values) + 1, np.nan, dtype=np.float32)
    pieces[1::2] = values
    return np.repeat(pieces, np.diff(edges))


def runs(kept: NDArray[np.bool_]) -> Spans:
    """Maximal runs of True in (L,) as spans (n, 2), sorted."""
    edges = np.flatnonzero(kept[1:] != kept[:-1]) + 1
    if kept[:1].any():
        edges = np.concatenate(([0], edges))
    if kept[-1:].any():
        edges = np.append(edges, len(kept))
    return edges.reshape(-1, 2).astype(np.int32)


def lengths(spans: Spans) -> NDArray[np.int32]:
    """Nucleotides in each span (n,)."""
    return spans[:, 1] - spans[:, 0]


def shift(spans: Spans, by: NDArray[np.int64]) -> Spans:
    """Spans (n, 2), each moved by its own number of nucleotides, by (n,)."""
    return spans + by[:, None].astype(np.int32)


def means(values: NDArray[np.float32], spans: Spans) -> NDArray[np.float64]:
    """Mean of values (L,) over each of spans (n, 2): sorted, disjoint, not empty, as from `runs`. Returns (n,)."""
    if len(spans) and spans[-1, 1] == len(values):  # a zero behind the end, which the last span reaches
        values = np.append(values, np.float32(0))
    sums = np.add.reduceat(values, spans.ravel(), dtype=np.float64)  # every second one is that of a gap
    mean: NDArray[np.float64] = sums[::2] / lengths(spans)
    return mean


def average(values: NDArray[np.float32], spans: Spans) -> NDArray[np.float64]:
    """Nucleotides to tokens, back from `spread`: the mean of values (L,) over each of spans (n, 2), which may overlap.

    NaN values are left out. Returns (n,), NaN where a span has no other.
    """
    known = ~np.isnan(values)
    sums = np.concatenate(([0.0], np.cumsum(np.where(known, values, 0), dtype=np.float64)))
    counts = np.concatenate(([0], np.cumsum(known)))
    starts, ends = spans.T
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.float64] = (sums[ends] - sums[starts]) / (counts[ends] - counts[starts])
    return mean
