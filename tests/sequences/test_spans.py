"""Span arithmetic against loops over single nucleotides."""

from __future__ import annotations

import numpy as np
import pytest

from seqmask.sequences.spans import (
    average,
    disjoint,
    highest,
    joined,
    lay_out,
    lengths,
    runs,
    shift,
    sides,
    spread,
    sums,
    top,
    under,
)


def spread_by_loop(values, spans, length):
    """Mean over covering spans, nucleotide by nucleotide."""
    track = np.full(length, np.nan)
    for i in range(length):
        covering = [
            value for value, (start, stop) in zip(values.tolist(), spans.tolist(), strict=True) if start <= i < stop
        ]
        if covering:
            track[i] = np.mean(covering)
    return track


def random_spans(rng, length, count):
    """Sorted by start, of any overlap."""
    ends = np.sort(rng.integers(0, length + 1, (count, 2)), axis=1)
    return ends[np.argsort(ends[:, 0], kind="stable")].astype(np.int32)


@pytest.mark.parametrize("seed", range(5))
def test_spread_is_the_mean_over_covering_spans(seed):
    rng = np.random.default_rng(seed)
    for _ in range(40):
        length, count = int(rng.integers(1, 60)), int(rng.integers(0, 12))
        spans = random_spans(rng, length, count)
        values = rng.random(count, dtype=np.float32)
        track = spread(values, spans, length)
        assert track.shape == (length,)
        assert track.dtype == np.float32
        np.testing.assert_allclose(track, spread_by_loop(values, spans, length), rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_spread_of_spans_that_do_not_overlap(seed):
    """The values themselves, to the last bit down to 2**-16, and NaN in the gaps."""
    rng = np.random.default_rng(seed)
    for _ in range(20):
        spans = np.sort(rng.choice(80, 2 * int(rng.integers(0, 9)), replace=False)).reshape(-1, 2).astype(np.int32)
        values = (rng.random(len(spans), dtype=np.float32) + np.float32(2**-16)).astype(np.float32)
        np.testing.assert_array_equal(
            spread(values, spans, 80), spread_by_loop(values, spans, 80).astype(np.float32), strict=True
        )


def test_spread_by_hand():
    # Two 4-mers that share two nucleotides: .25, .25, the mean of both twice, .75, .75; then a gap
    spans = np.array([[0, 4], [2, 6]], dtype=np.int32)
    track = spread(np.array([0.25, 0.75], dtype=np.float32), spans, 8)
    np.testing.assert_array_equal(track, np.array([0.25, 0.25, 0.5, 0.5, 0.75, 0.75, np.nan, np.nan], np.float32))


def test_spread_is_the_same_alone_and_beside_others():
    """To the last bit: a result must not depend on what was computed with it."""
    rng = np.random.default_rng(7)
    starts = np.arange(0, 300, 2)
    spans = np.stack([starts, starts + 6], axis=1).astype(np.int32)
    values = rng.random((4, len(spans)), dtype=np.float32)
    length = int(spans[-1, 1])
    alone = np.concatenate([spread(row, spans, length) for row in values])
    beside = np.concatenate([shift(spans, np.full(len(spans), i * length)) for i in range(4)])
    np.testing.assert_array_equal(spread(values.ravel(), beside, 4 * length), alone)


def runs_by_loop(kept):
    found, start = [], None
    for i, on in enumerate([*kept.tolist(), False]):
        if on and start is None:
            start = i
        if not on and start is not None:
            found.append([start, i])
            start = None
    return found


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_runs(share):
    rng = np.random.default_rng(3)
    for length in (0, 1, 2, 5, 50):
        for _ in range(10):
            kept = rng.random(length) < share
            spans = runs(kept)
            assert spans.shape == (len(spans), 2)
            assert spans.dtype == np.int32
            assert spans.tolist() == runs_by_loop(kept)
            again = np.zeros(length, dtype=bool)
            for start, stop in spans.tolist():
                again[start:stop] = True
            assert (again == kept).all()


def test_lengths_and_shift():
    spans = np.array([[0, 4], [2, 2], [7, 10]], dtype=np.int32)
    assert lengths(spans).tolist() == [4, 0, 3]
    moved = shift(spans, np.array([10, 0, 100]))
    assert moved.tolist() == [[10, 14], [2, 2], [107, 110]]
    assert moved.dtype == np.int32


@pytest.mark.parametrize("seed", range(5))
def test_runs_of_spans_are_those_of_their_nucleotides(seed):
    """Kept spans that touch are one run; its sum is that over its nucleotides."""
    rng = np.random.default_rng(seed)
    for count in (0, 1, 2, 40):
        edges = np.cumsum(rng.integers(0, 3, 2 * count) + np.tile([0, 1], count))
        spans = edges.reshape(-1, 2).astype(np.int32)
        values, kept = rng.random(count, dtype=np.float32), rng.random(count) < 0.6
        if count:
            kept[-1] |= seed % 2 == 0  # a run that reaches the end
        length = int(spans[-1, 1]) if count else 0
        groups = joined(kept, spans)
        found = [[spans[first, 0], spans[last - 1, 1]] for first, last in groups.tolist()]
        assert found == runs(lay_out(kept, spans, length, nothing=False)).tolist()
        track = lay_out(values, spans, length)
        expected = [track[start:stop].astype(float).sum() for start, stop in found]
        np.testing.assert_allclose(sums(values.astype(float) * lengths(spans), groups), expected, rtol=1e-12)


def test_sums_of_empty_stretches_are_0():
    values = np.array([1, 2, 4], dtype=np.int32)
    found = sums(values, np.array([[0, 0], [0, 1], [1, 1], [1, 3], [3, 3]]))
    assert (found.tolist(), found.dtype) == ([0, 1, 0, 6, 0], np.int32)
    assert sums(values[:0], np.zeros((2, 2), dtype=np.int64)).tolist() == [0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_average_is_the_mean_over_covered_nucleotides(seed):
    """Overlapping spans in any order; what is not known does not count, and nothing known is NaN."""
    rng = np.random.default_rng(seed)
    values = rng.random(60, dtype=np.float32)
    values[rng.random(60) < 0.3] = np.nan
    spans = rng.permutation(random_spans(rng, 60, 25))
    wanted = [np.nan if np.isnan(part).all() else np.nanmean(part) for part in (values[a:b] for a, b in spans)]
    np.testing.assert_allclose(average(values, spans), wanted, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_what_kept_spans_cover_and_what_lies_in_it(seed):
    """Against sets of nucleotides; no spans and empty ones among them."""
    rng = np.random.default_rng(seed)
    for _ in range(40):
        length, count = int(rng.integers(1, 60)), int(rng.integers(0, 12))
        spans = random_spans(rng, length, count)
        values = rng.random(count, dtype=np.float32)
        kept = values >= np.float32(0.6)
        places = [set(range(*span)) for span in spans.tolist()]
        covered = set().union(*(of for of, value in zip(places, kept, strict=True) if value))
        track = under(kept, spans, length)
        assert set(np.flatnonzero(track).tolist()) == covered
        inside, outside = sides(track, spans)
        assert inside.tolist() == [of <= covered for of in places]
        assert outside.tolist() == [not of & covered for of in places]
        best = highest(values, spans, length)
        for i in range(length):
            over = [value for value, of in zip(values.tolist(), places, strict=True) if i in of]
            assert best[i] == max(over) if over else np.isnan(best[i])
        np.testing.assert_array_equal(np.nan_to_num(best) >= np.float32(0.6), track)
        means, touched, pieces = disjoint(values[:, None], np.stack([kept, ~kept], axis=1), spans, length)
        np.testing.assert_array_equal(lay_out(means[0], pieces, length), spread(values, spans, length))
        for column, of in zip(touched, (kept, ~kept), strict=True):
            np.testing.assert_array_equal(lay_out(column, pieces, length, nothing=False), under(of, spans, length))


@pytest.mark.parametrize("seed", range(5))
def test_the_top_of_an_order_covers_as_much_as_was_wanted(seed):
    rng = np.random.default_rng(seed)
    for _ in range(40):
        length, count = int(rng.integers(1, 60)), int(rng.integers(1, 12))
        spans = random_spans(rng, length, count)
        order = rng.permutation(count)
        wanted = int(rng.integers(0, length + 1))
        nested = [under(np.isin(np.arange(count), order[:k]), spans, length) for k in range(count + 1)]
        nearest = min(nested, key=lambda track: abs(int(track.sum()) - wanted))
        np.testing.assert_array_equal(top(order, spans, wanted, length), nearest)
