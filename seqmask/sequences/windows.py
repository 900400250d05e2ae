"""Long records to windows that fit the model, and back."""

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
from seqmask.sequences.tokens import NO_BASE, UNK, KmerTokenizer, Tokens, to_codes


@dataclass(frozen=True, slots=True)
class Window:
    """Nucleotides start to stop (half-open) of a record, as tokens whose spans count from `start`."""

    start: int
    stop: int
    tokens: Tokens


def tile(length: int, window: int, overlap: int, step: int = 1) -> Spans:
    """Windows (n, 2) of exactly `window` nt that cover [0, length) evenly, neighbours sharing at least `overlap` nt, or
    half of themselves if that is less: what is shared by more than two is read again and again.

    One window of `length` nt when the record fits. Starts but the last are multiples of `step`, so that the tokens of
    neighbouring windows coincide. Nothing is cut off and there is no short last window.
    """
    if length <= window:
        return np.array([[0, length]], dtype=np.int32)
    stride = max(window - min(overlap, window // 2) - (step - 1), 1)
    count = -(-(length - window) // stride) + 1
    starts = np.linspace(0, length - window, count).astype(np.int32)
    starts[:-1] -= starts[:-1] % step
    starts = np.unique(starts)  # a large overlap can put two windows on the same start
    return np.stack([starts, starts + window], axis=1)


def split(
    record: Record, tokenizer: Tokenizer, max_tokens: int, overlap: int, frames: int = 1
) -> tuple[Status, list[Window]]:
    """Windows of one record of at most `max_tokens` tokens; none, and the reason, when nothing can be read.

    overlap: nt that neighbouring windows share at least. frames: k-mer frames, spread evenly over the stride, each with
    windows of its own; the first window of a later frame begins a few nt into the record. BPE has one frame.
    """
    length = len(record.sequence)
    if length == 0:
        return Status.empty, []
    if length < tokenizer.shortest:
        return Status.too_short, []
    codes = to_codes(record.sequence)
    if not (codes < NO_BASE).any():
        return Status.no_bases, []
    if isinstance(tokenizer, BpeTokenizer):
        windows = _of_tokens(tokenizer.encode(record.sequence), max_tokens, overlap)
    else:
        windows = _of_kmers(codes, tokenizer, max_tokens, overlap, frames)
    if all((window.tokens.ids == UNK).all() for window in windows):
        return Status.no_bases, []
    return Status.ok, windows


def _of_kmers(
    codes: NDArray[np.uint8], tokenizer: KmerTokenizer, max_tokens: int, overlap: int, frames: int
) -> list[Window]:
    """Windows of base codes (L,) in all frames."""
    windows = []
    for start, stop in tiles(len(codes), tokenizer, max_tokens, overlap, frames):
        starts = tokenizer.starts(stop - start)
        ids = tokenizer.encode_codes(codes[start:stop])
        windows.append(Window(start, stop, Tokens(ids, np.stack([starts, starts + tokenizer.k], axis=1))))
    return windows


def _of_tokens(tokens: Tokens, most: int, overlap: int) -> list[Window]:
    """Windows of the tokens of a whole record, so that those that two windows share are the same."""
    found = []
    for first, last in token_windows(tokens.spans, most, overlap):
        start, stop = int(tokens.spans[first, 0]), int(tokens.spans[last - 1, 1])
        found.append(Window(start, stop, Tokens(tokens.ids[first:last], tokens.spans[first:last] - np.int32(start))))
    return found


def frame_offsets(stride: int, frames: int) -> list[int]:
    """First nucleotide of each of `frames` k-mer frames, spread evenly over the stride; there are no more than that."""
    frames = min(frames, stride)
    return [frame * stride // frames for frame in range(frames)]


def tiles(length: int, tokenizer: KmerTokenizer, max_tokens: int, overlap: int, frames: int) -> list[tuple[int, int]]:
    """Starts and stops of the windows of a record in all frames, one frame after the other.

    The last of several windows ends where the record does, in a later frame so much before it as the first one begins
    behind its start: else all frames would read the same last window.
    """
    found, window = [], tokenizer.max_length(max_tokens)
    for offset in frame_offsets(tokenizer.stride, frames):
        if length - offset >= tokenizer.k:
            end = length - offset if length - offset > window else length
            spans = tile(end - offset, window, overlap, tokenizer.stride) + offset
            found += [(start, stop) for start, stop in spans.tolist()]
    return found


def count_windows(length: int, tokenizer: Tokenizer, max_tokens: int, overlap: int, frames: int) -> int:
    """How many windows `split` makes of a record of so many nt that has a base to read; of BPE about as many."""
    if isinstance(tokenizer, BpeTokenizer):
        return -(-length // tokenizer.max_length(max_tokens))
    if length > tokenizer.max_length(max_tokens):
        return len(tiles(length, tokenizer, max_tokens, overlap, frames))
    return sum(length - offset >= tokenizer.k for offset in frame_offsets(tokenizer.stride, frames))


def join(
    windows: Sequence[Window], masks: Sequence[NDArray[np.float32]]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Tokens of all windows of a record: spans (N, 2) int32 in nt of the record, masks (N, G) float32, sorted by start.

    masks: one (T, G) array a window. A token that two windows share stands twice; `spans.spread` averages the two.
    """
    spans = np.concatenate([window.tokens.spans + np.int32(window.start) for window in windows])
    values = np.concatenate(masks)
    order = np.argsort(spans[:, 0], kind="stable")
    return spans[order], values[order]
