"""Arithmetic on spans: (n, 2) integer arrays, 0-based and half-open, in nucleotides. The only place that does it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Spans = NDArray[np.int32]


def spread(values: NDArray[np.float32], spans: Spans, length: int) -> NDArray[np.float32]:
    """Token values to nucleotides: the mean over the spans that cover each nucleotide.

    values (n,), spans (n, 2) within [0, length). Returns (length,) float32, NaN where nothing covers.
    """
    found, _, pieces = disjoint(values[:, None], np.zeros((len(values), 0), dtype=np.bool_), spans, length)
    return lay_out(found[0], pieces, length)


def disjoint(
    values: NDArray[np.float32], kept: NDArray[np.bool_], spans: Spans, length: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_], Spans]:
    """What `spread` gives of columns of values (n, G), and `under` of columns of kept spans (n, K): as values (G, m)
    float32 and (K, m) bool of spans (m, 2) that are sorted and share no nucleotide.

    The spans are those given, where they are so already; otherwise what lies between two neighbouring edges of any.
    """
    # Sums of multiples of 2**-40 are exact in float64: no drift along a contig, and several sequences side by side give
    # the same bits as each alone. In [0, 1] only values below 1e-5 change, by less than 1e-12.
    columns = np.rint(values.T * np.float32(2**40)) * np.float32(2**-40)
    kept = np.ascontiguousarray(kept.T)
    if apart(spans):
        return columns, kept, spans
    marked = np.zeros(length + 1, dtype=bool)
    marked[spans.ravel()] = True
    edges = np.flatnonzero(marked).astype(np.int32)
    # Differences at the edges, summed up: linear in n for any overlap
    starts, ends = (np.cumsum(marked, dtype=np.int32) - 1)[spans].T.astype(np.int64)
    covering = np.cumsum(np.bincount(starts, minlength=len(edges)) - np.bincount(ends, minlength=len(edges)))
    covered = np.flatnonzero(covering)
    covering = covering[covered]
    found = np.empty((len(columns), len(covered)), dtype=np.float32)
    for column, mean in zip(columns, found, strict=True):
        total = np.bincount(starts, column, len(edges))
        total -= np.bincount(ends, column, len(edges))
        np.divide(np.cumsum(total)[covered], covering, out=mean, casting="unsafe")
    touched = np.empty((len(kept), len(covered)), dtype=np.bool_)
    for column, of_any in zip(kept, touched, strict=True):
        count = np.bincount(starts[column], minlength=len(edges))
        count -= np.bincount(ends[column], minlength=len(edges))
        np.greater(np.cumsum(count)[covered], 0, out=of_any)
    return found, touched, np.stack([edges[covered], edges[covered + 1]], axis=1)


def under(kept: NDArray[np.bool_], spans: Spans, length: int) -> NDArray[np.bool_]:
    """Nucleotides (length,) that any kept span covers. kept (n,), spans (n, 2) within [0, length), in any order."""
    found = np.zeros(length, dtype=np.bool_)
    starts, sizes = spans[kept, 0], lengths(spans[kept])
    for offset in range(int(sizes.max(initial=0))):
        found[starts[sizes > offset] + offset] = True
    return found


def sides(track: NDArray[np.bool_], spans: Spans) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of spans (n, 2) lie wholly in track (L,), and which wholly outside: (n,) each.

    Of spans that overlap some are neither. Of spans that do not, `under` and this give the kept ones and the rest.
    """
    held = np.zeros(len(track) + 1, dtype=np.int32)
    np.cumsum(track, out=held[1:])
    count = held[spans[:, 1]] - held[spans[:, 0]]
    return count == lengths(spans), count == 0


def highest(values: NDArray[np.float32], spans: Spans, length: int) -> NDArray[np.float32]:
    """The highest value over the spans that cover each nucleotide: (length,) float32, NaN where nothing covers.

    values (n,), spans (n, 2) within [0, length), in any order. `under` of `values >= tau` is where it is at least tau.
    """
    found = np.full(length, -np.inf, dtype=np.float32)
    sizes = lengths(spans)
    for offset in range(int(sizes.max(initial=0))):
        longer = sizes > offset
        np.maximum.at(found, spans[longer, 0] + offset, values[longer])
    found[np.isneginf(found)] = np.nan
    return found


def top(order: NDArray[np.int64], spans: Spans, wanted: int, length: int) -> NDArray[np.bool_]:
    """Nucleotides (length,) under the first of spans (n, 2) in an order (n,), so many spans that about `wanted`
    nucleotides are covered: of the two numbers next to it the nearer one, of equally near ones the smaller.
    """
    place = np.empty(len(spans), dtype=np.float32)
    place[order] = np.arange(len(spans))
    first = -highest(-place, spans, length)  # which of them, in that order, is the first to cover each nucleotide
    newly = np.bincount(first[~np.isnan(first)].astype(np.int64), minlength=len(spans))
    count = np.abs(np.append(0, np.cumsum(newly)) - wanted).argmin()
    return under(place < count, spans, length)


def apart(spans: Spans) -> bool:
    """Whether spans (n, 2) are sorted and share no nucleotide."""
    return bool((spans[1:, 0] >= spans[:-1, 1]).all())


def lay_out(values: NDArray[Any], spans: Spans, length: int, nothing: Any = np.nan) -> NDArray[Any]:
    """Each value (n,) over its span: (length,) of the values' type, `nothing` elsewhere. Spans as of `disjoint`."""
    edges = np.concatenate(([0], spans.ravel(), [length]))
    pieces = np.full(2 * len(values) + 1, nothing, dtype=values.dtype)
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


def joined(kept: NDArray[np.bool_], spans: Spans) -> NDArray[np.int64]:
    """Maximal runs of kept spans (n, 2), as of `disjoint`, that touch: the first of each run and one past its last
    (m, 2).
    """
    follows = np.zeros(len(kept) + 1, dtype=bool)  # whether a span goes on with the run of the one before
    follows[1:-1] = kept[1:] & kept[:-1] & (spans[1:, 0] == spans[:-1, 1])
    return np.stack([np.flatnonzero(kept & ~follows[:-1]), np.flatnonzero(kept & ~follows[1:]) + 1], axis=1)


def sums(values: NDArray[Any], groups: NDArray[np.int64]) -> NDArray[Any]:
    """Sum of values (n,) over each of m stretches, first and one past the last (m, 2): ascending, disjoint. (m,)."""
    filled = groups[groups[:, 0] < groups[:, 1]]  # of an empty one `reduceat` takes a value of the next
    found = np.zeros(len(groups), dtype=values.dtype)
    if len(filled):
        padded = np.append(values, values.dtype.type(0))  # an edge may lie behind the end
        found[groups[:, 0] < groups[:, 1]] = np.add.reduceat(padded, filled.ravel())[::2]
    return found


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
