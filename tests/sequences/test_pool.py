"""Many records at once against one record at a time."""

from __future__ import annotations

import random

import numpy as np
import pytest

from seqmask.sequences.explanations import Status
from seqmask.sequences.pool import Pool, make_pool
from seqmask.sequences.records import Record
from seqmask.sequences.tokens import UNK, KmerTokenizer
from seqmask.sequences.windows import count_windows, join, split

ODD = ["", "A", "ACGTA", "N" * 30, "-.*n" * 5, "NNNNNNNA", "acgtuACGTU" * 3, "ACGTN" * 40, "N" * 99 + "ACGTACGTAC"]
SHAPES = [(6, 6), (6, 1), (5, 3), (1, 1), (8, 8), (7, 2)]


def records(seed: int, longest: int = 400) -> list[Record]:
    rng = random.Random(seed)
    sequences = ["".join(rng.choices("ACGTACGTACGTacgtuNRn-", k=rng.randrange(longest))) for _ in range(60)]
    sequences += ODD
    rng.shuffle(sequences)
    return [Record(f"r{i}", f"r{i}", sequence) for i, sequence in enumerate(sequences)]


@pytest.mark.parametrize("frames", [1, 2, 3, 9])
@pytest.mark.parametrize(("k", "stride"), SHAPES)
def test_a_pool_is_what_split_makes_of_each_record(k: int, stride: int, frames: int) -> None:
    tokenizer, most, overlap, given = KmerTokenizer(k, stride), 24, 11, records(k * stride + frames)
    pool = make_pool(given, range(7, 7 + len(given)), tokenizer, most, overlap, frames)
    assert list(pool.records) == given
    assert pool.index.tolist() == list(range(7, 7 + len(given)))
    apart = [split(record, tokenizer, most, overlap, frames) for record in given]
    assert pool.status.tolist() == [status for status, _ in apart]
    assert set(pool.status.tolist()) == {*Status} - ({Status.too_short} if k == 1 else set())
    assert pool.windows.tolist() == [len(windows) for _, windows in apart]
    windows = [window for _, of_record in apart for window in of_record]
    assert np.diff(pool.offsets).tolist() == [len(window.tokens) for window in windows]
    assert pool.ids.dtype == pool.spans.dtype == np.int32
    assert pool.ids.tolist() == np.concatenate([window.tokens.ids for window in windows]).tolist()
    spans = np.concatenate([window.tokens.spans + window.start for window in windows])
    assert pool.spans.tolist() == spans.tolist()
    assert pool.read_counts.tolist() == [int((window.tokens.ids != UNK).sum()) for window in windows]
    assert pool.token_counts.tolist() == [sum(len(window.tokens) for window in of) for _, of in apart]
    counted = [count_windows(len(record.sequence), tokenizer, most, overlap, frames) for record in given]
    assert [n for n, status in zip(counted, pool.status, strict=True) if status == Status.ok] == [
        n for n in pool.windows.tolist() if n
    ]


@pytest.mark.parametrize(("frames", "longest"), [(1, 100), (1, 1000), (2, 100), (3, 1000)])
def test_order_is_that_of_join(frames: int, longest: int) -> None:
    tokenizer, given = KmerTokenizer(6, 6), records(longest, longest)
    pool = make_pool(given, range(len(given)), tokenizer, 20, 30, frames)
    rng = np.random.default_rng(0)
    mask = rng.random((len(pool.ids), 2), dtype=np.float32)
    order = pool.order()
    assert (order is None) == (frames == 1 and longest == 100)
    spans, values = (pool.spans, mask) if order is None else (pool.spans[order], mask[order])
    end = np.cumsum(pool.token_counts)
    parts = iter(np.split(mask, pool.offsets[1:-1]))
    for record, stop, count in zip(given, end.tolist(), pool.token_counts.tolist(), strict=True):
        _, windows = split(record, tokenizer, 20, 30, frames)
        if windows:
            expected = join(windows, [next(parts) for _ in windows])
            np.testing.assert_array_equal(spans[stop - count : stop], expected[0])
            np.testing.assert_array_equal(values[stop - count : stop], expected[1])
        else:
            assert count == 0


def empty(pool: Pool) -> bool:
    return (len(pool.ids), pool.offsets.tolist(), pool.spans.shape) == (0, [0], (0, 2))


def test_records_without_a_token() -> None:
    given = [Record(name, name, text) for name, text in (("a", ""), ("b", "ACG"), ("c", "NNNNNNNN"), ("d", ""))]
    pool = make_pool(given, range(4), KmerTokenizer(), 20, 0)
    assert pool.status.tolist() == [Status.empty, Status.too_short, Status.no_bases, Status.empty]
    assert empty(pool)
    assert pool.order() is None
    assert empty(make_pool([], [], KmerTokenizer(), 20, 0))
