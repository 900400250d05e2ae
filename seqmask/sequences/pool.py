"""Many records at once, as windows and tokens laid end to end: numpy is called once for thousands of reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqmask.sequences.bpe import BpeTokenizer, token_windows
from seqmask.sequences.explanations import Status
from seqmask.sequences.records import Record
from seqmask.sequences.spans import Spans
from seqmask.sequences.tokenizer import Tokenizer
from seqmask.sequences.tokens import NO_BASE, UNK, KmerTokenizer, to_codes
from seqmask.sequences.windows import frame_offsets, tiles


@dataclass(frozen=True, slots=True)
class Pool:
    """n records as W windows of T tokens in all; what `windows.split` makes of each record, in the same order.

    records: the n records. index (n,) int64: ordinal of each in the input. status (n,) uint8: a `Status`.
    windows (n,) int64: windows of each record, none where the status is not ok. offsets (W + 1,) int64: first token of
    each window, and T. ids (T,) int32. spans (T, 2) int32: nt of the record, half-open.
    """

    records: Sequence[Record]
    index: NDArray[np.int64]
    status: NDArray[np.uint8]
    windows: NDArray[np.int64]
    offsets: NDArray[np.int64]
    ids: NDArray[np.int32]
    spans: Spans

    @property
    def token_counts(self) -> NDArray[np.int64]:
        """Tokens of each record (n,), those of all its windows."""
        ends = self.offsets[np.cumsum(self.windows)]
        return np.diff(ends, prepend=0)

    @property
    def read_counts(self) -> NDArray[np.int64]:
        """Tokens of each window (W,) that are not [UNK]: those that the networks read."""
        read = self.ids != UNK
        if read.all():
            return np.diff(self.offsets)
        before = np.concatenate(([0], np.cumsum(read)))
        return np.diff(before[self.offsets])

    def subset(self, rows: NDArray[np.int64]) -> tuple[Pool, NDArray[np.bool_]]:
        """Some of the records, by their ascending numbers (m,) in the pool, and which tokens (T,) are theirs."""
        chosen = np.zeros(len(self.records), dtype=np.bool_)
        chosen[rows] = True
        windows, tokens = np.repeat(chosen, self.windows), np.repeat(chosen, self.token_counts)
        offsets = np.concatenate(([0], np.cumsum(np.diff(self.offsets)[windows])))
        records = [self.records[row] for row in rows.tolist()]
        of_rows = (self.index[rows], self.status[rows], self.windows[rows])
        return Pool(records, *of_rows, offsets, self.ids[tokens], self.spans[tokens]), tokens

    def order(self) -> NDArray[np.int64] | None:
        """Tokens sorted by start within each record (T,), of equal starts the earlier window first; None = as it is."""
        if self.windows.max(initial=0) <= 1:
            return None
        # Sorted already but for the windows' seams, which a stable sort takes as runs to be merged
        lengths = np.array([len(record.sequence) for record in self.records], dtype=np.int64)
        begins = np.repeat(np.cumsum(lengths) - lengths, self.token_counts)
        return np.argsort(begins + self.spans[:, 0], kind="stable")


def make_pool(
    records: Sequence[Record],
    index: Sequence[int],
    tokenizer: Tokenizer,
    max_tokens: int,
    overlap: int,
    frames: int = 1,
) -> Pool:
    """Records, and the ordinal of each in the input, as windows and tokens; the other arguments as of `split`."""
    sequences = [record.sequence for record in records]
    lengths = np.array(list(map(len, sequences)), dtype=np.int64)
    begins = np.cumsum(lengths) - lengths
    codes = to_codes("".join(sequences))
    status = _status(codes, begins, lengths, tokenizer.shortest)

    def laid_out() -> Pool:
        if isinstance(tokenizer, BpeTokenizer):
            return _bpe_pool(records, index, status, tokenizer, max_tokens, overlap)
        windows = _windows(lengths, status, tokenizer, max_tokens, overlap, frames)
        return _kmer_pool(records, index, status, tokenizer, codes, begins, *windows)

    pool = laid_out()
    if (pool.ids == UNK).any():
        of_windows = np.repeat(np.arange(len(records)), pool.windows)
        bare = (status == Status.ok) & (np.bincount(of_windows, pool.read_counts, minlength=len(records)) == 0)
        if bare.any():  # bases, but no token of bases alone: seldom, and known only now
            status[bare] = Status.no_bases
            pool = laid_out()
    return pool


def _kmer_pool(
    records: Sequence[Record],
    index: Sequence[int],
    status: NDArray[np.uint8],
    tokenizer: KmerTokenizer,
    codes: NDArray[np.uint8],
    begins: NDArray[np.int64],
    windows: NDArray[np.int64],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
) -> Pool:
    """Tokens of windows, as `_windows` gives them, of records that begin in `codes` at `begins` (n,)."""
    counts = (stops - starts - tokenizer.k + tokenizer.stride - 1) // tokenizer.stride + 1
    offsets = np.concatenate(([0], np.cumsum(counts)))
    placed = np.repeat(begins, windows)  # where the record of each window begins in `codes`
    at = np.arange(offsets[-1]) * tokenizer.stride
    at += np.repeat(starts + placed - offsets[:-1] * tokenizer.stride, counts)
    at[offsets[1:] - 1] = stops + placed - tokenizer.k  # the last token of a window ends with it
    ids = tokenizer.ids_at(codes, at)
    at -= np.repeat(placed, counts)
    spans = np.empty((len(at), 2), dtype=np.int32)
    spans[:, 0] = at
    spans[:, 1] = at + tokenizer.k
    return Pool(records, np.array(index, dtype=np.int64), status, windows, offsets, ids, spans)


def _bpe_pool(
    records: Sequence[Record],
    index: Sequence[int],
    status: NDArray[np.uint8],
    tokenizer: BpeTokenizer,
    max_tokens: int,
    overlap: int,
) -> Pool:
    """Tokens of whole records, cut into windows afterwards: how many a stretch makes is known then only."""
    read = (status == Status.ok).tolist()
    encoded = tokenizer.encode_all([record.sequence if ok else "" for record, ok in zip(records, read, strict=True)])
    counts = np.array(list(map(len, encoded)), dtype=np.int64)
    begins = np.cumsum(counts) - counts
    ids = np.concatenate([np.zeros(0, np.int32), *encoded])
    ends = np.cumsum(tokenizer.token_nt[ids], dtype=np.int64)
    spans = np.stack([ends - tokenizer.token_nt[ids], ends], axis=1)
    filled = np.flatnonzero(counts)
    spans -= np.repeat(spans[begins[filled], 0], counts[filled])[:, None]
    cuts = [
        token_windows(spans[begin : begin + count], max_tokens, overlap)
        for begin, count in zip(begins.tolist(), counts.tolist(), strict=True)
    ]
    windows = np.array(list(map(len, cuts)), dtype=np.int64)
    bounds = np.array([cut for of_record in cuts for cut in of_record], dtype=np.int64).reshape(-1, 2)
    sizes = bounds[:, 1] - bounds[:, 0]
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    at = np.arange(offsets[-1]) + np.repeat(bounds[:, 0] + np.repeat(begins, windows) - offsets[:-1], sizes)
    return Pool(records, np.array(index, dtype=np.int64), status, windows, offsets, ids[at], spans[at].astype(np.int32))


def _status(
    codes: NDArray[np.uint8], begins: NDArray[np.int64], lengths: NDArray[np.int64], k: int
) -> NDArray[np.uint8]:
    """Status (n,) of records that begin in `codes` and are so long."""
    status = np.where(lengths == 0, Status.empty, np.where(lengths < k, Status.too_short, Status.ok)).astype(np.uint8)
    if codes.max(initial=0) == NO_BASE:
        filled = np.flatnonzero(lengths)  # of an empty record `reduceat` would take a letter of the next
        bare = filled[np.minimum.reduceat(codes, begins[filled]) == NO_BASE]
        status[bare[lengths[bare] >= k]] = Status.no_bases
    return status


def _windows(
    lengths: NDArray[np.int64],
    status: NDArray[np.uint8],
    tokenizer: KmerTokenizer,
    max_tokens: int,
    overlap: int,
    frames: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """How many windows each record has (n,), and start and stop (W,) of all in nt of their records."""
    ok = status == Status.ok
    shifts = np.array(frame_offsets(tokenizer.stride, frames), dtype=np.int64)
    # A record that fits has one window a frame, from the frame's shift to its end
    counts = np.where(ok, ((lengths[:, None] - shifts) >= tokenizer.k).sum(axis=1), 0)
    long = np.flatnonzero(ok & (lengths > tokenizer.max_length(max_tokens))).tolist()
    cut = {row: tiles(int(lengths[row]), tokenizer, max_tokens, overlap, frames) for row in long}
    for row, found in cut.items():
        counts[row] = len(found)
    first = np.cumsum(counts) - counts
    ordinal = np.arange(counts.sum()) - np.repeat(first, counts)
    starts = shifts[np.minimum(ordinal, len(shifts) - 1)]
    stops = np.repeat(lengths, counts)
    for row, found in cut.items():
        here = slice(int(first[row]), int(first[row]) + len(found))
        starts[here], stops[here] = np.array(found, dtype=np.int64).T
    return counts, starts, stops
