"""Sequences onto a reference: which nucleotide stands at which position of it, on either strand.

Exact words anchor the alignment, Biopython aligns what lies between them: the time grows with the gaps between anchors
and not with the product of the lengths.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

import numpy as np
from Bio.Align import PairwiseAligner
from numpy.typing import NDArray

from seqmask.errors import InputError
from seqmask.sequences.records import Record
from seqmask.sequences.tokens import NO_BASE, reverse_complement_codes, to_codes

WORD = 13  # nt of an anchor
SURE = 15  # nt of a stretch of anchors that is hardly ever chance; where there is one, shorter ones are left out
TRIM = 3  # nt that an anchor gives back at each end, where it may have run on by chance
MARGIN = 50  # nt of the reference beyond a loose end of a sequence, for gaps in it
SCORES = {"match_score": 1.0, "mismatch_score": -1.0, "open_gap_score": -2.5, "extend_gap_score": -0.5}

Codes = NDArray[np.uint8]
Positions = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a sequence stands on a reference.

    positions (L,) int32: reference position (0-based) of each nucleotide, -1 where it has none. They rise, or, where
    the sequence is of the reference's other strand (`reverse`), fall. identity: share of equal nt among those placed.
    placed: nt placed over the nt of the sequence or of the reference, whichever is shorter.
    """

    positions: Positions
    reverse: bool
    identity: float
    placed: float


class Reference:
    """A reference sequence with its words. name, sequence: as in the file. InputError where it is too short."""

    def __init__(self, record: Record) -> None:
        if len(record.sequence) < WORD:
            raise InputError(
                record.path,
                f"a reference of {len(record.sequence)} nt",
                expected=f"{WORD} nt or more",
                line=record.line or None,
            )
        self.name, self.sequence = record.name, record.sequence
        self.codes = to_codes(record.sequence)
        words, starts = _words(self.codes)
        self._words, first, counts = np.unique(words, return_index=True, return_counts=True)
        # A word that stands twice says nothing: it becomes no position
        self._starts = np.where(counts == 1, starts[first], -1) if words.size else np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.sequence)

    def place(self, sequence: str) -> Placement | None:
        """Align a sequence globally, gaps at the ends free, on the strand that shares more words; None if none does."""
        codes = to_codes(sequence)
        strands = [codes, reverse_complement_codes(codes)]
        anchors = [self._anchors(of_strand) for of_strand in strands]
        reverse = len(anchors[1]) > len(anchors[0])
        if not len(anchors[reverse]):
            return None
        codes = strands[reverse]
        positions = self._fill(codes, _blocks(anchors[reverse]))
        placed = positions >= 0
        same = codes[placed] == self.codes[positions[placed]]
        identity = float((same & (codes[placed] < NO_BASE)).mean()) if placed.any() else 0.0
        share = float(placed.sum() / min(len(codes), len(self)))
        return Placement(positions[::-1].copy() if reverse else positions, reverse, identity, share)

    def _anchors(self, codes: Codes) -> NDArray[np.int64]:
        """Starts of shared words (n, 2) in sequence and reference, the most that rise in both."""
        words, starts = _words(codes)
        if not (words.size and self._words.size):
            return np.zeros((0, 2), dtype=np.int64)
        at = np.searchsorted(self._words, words).clip(max=len(self._words) - 1)
        found = np.stack([starts, np.where(self._words[at] == words, self._starts[at], -1)], axis=1)
        found = found[found[:, 1] >= 0]
        runs = np.split(np.arange(len(found)), _breaks(found))
        sure = np.concatenate([np.full(len(run), len(run) + WORD > SURE) for run in runs])
        found = found[sure] if sure.any() else found
        return found[_rising(found[:, 1].tolist())]

    def _fill(self, codes: Codes, blocks: list[tuple[int, int, int]]) -> Positions:
        """Positions (L,) from exact blocks (start, start in the reference, nt), what lies between them aligned."""
        positions = np.full(len(codes), -1, dtype=np.int32)
        here = there = 0
        for start, on_reference, size in [*blocks, (len(codes), len(self), 0)]:
            first, last = here == 0, not size
            begin, end = there, on_reference
            if first:  # free ends: no more of the reference than the sequence can reach
                begin = max(end - _reach(start), 0)
            if last:
                end = min(begin + _reach(start - here), end)
            part, of_reference = codes[here:start], self.codes[begin:end]
            if len(part) and len(of_reference):
                at, on = _align(part, of_reference, first, last)
                positions[here + at] = begin + on
            positions[start : start + size] = np.arange(on_reference, on_reference + size)
            here, there = start + size, on_reference + size
        return positions


def _reach(nucleotides: int) -> int:
    return nucleotides + nucleotides // 4 + MARGIN


def _words(codes: Codes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All words of a sequence without other letters than bases, and where they start."""
    n = max(len(codes) - WORD + 1, 0)
    words, bad = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool)
    for i in range(WORD):
        words = words * 4 + codes[i : i + n]
        bad |= codes[i : i + n] == NO_BASE
    starts = np.flatnonzero(~bad)
    return words[starts], starts


def _rising(values: list[int]) -> list[int]:
    """Indices of a longest strictly rising subsequence (Schensted 1961)."""
    tails: list[int] = []  # least last value of a rising subsequence of each length
    ends: list[int] = []  # and its index
    before: list[int] = []
    for i, value in enumerate(values):
        length = bisect_left(tails, value)
        before.append(ends[length - 1] if length else -1)
        tails[length : length + 1], ends[length : length + 1] = [value], [i]
    chain, at = [], ends[-1] if ends else -1
    while at >= 0:
        chain.append(at)
        at = before[at]
    return chain[::-1]


def _breaks(anchors: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where words (n, 2) do not go on by one nucleotide in both."""
    return np.flatnonzero((np.diff(anchors, axis=0) != 1).any(axis=1)) + 1


def _blocks(anchors: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Exact stretches (start, start in the reference, nt) from words that rise in both, apart from each other."""
    blocks = []
    stop, stop_there = 0, 0
    for run in np.split(anchors, _breaks(anchors)):
        start, on_reference = (run[0] + TRIM).tolist()
        end = int(run[-1, 0]) + WORD - TRIM
        overlap = max(stop - start, stop_there - on_reference, 0)
        start, on_reference = start + overlap, on_reference + overlap
        if start < end:
            blocks.append((start, on_reference, end - start))
            stop, stop_there = end, on_reference + end - start
    return blocks


def _align(part: Codes, reference: Codes, free_left: bool, free_right: bool) -> tuple[Positions, Positions]:
    """Letters of the part and of the reference that stand together (n,) each, in the best global alignment.

    Towards a free end it goes no farther than it pays.
    """
    aligner: Any = PairwiseAligner(mode="global", **SCORES)
    if free_left:
        aligner.left_gap_score = 0.0
    if free_right:
        aligner.right_gap_score = 0.0
    spans = aligner.align(_letters(reference), _letters(part))[0].aligned
    on, at = (np.concatenate([np.arange(*span, dtype=np.int32) for span in of]) for of in spans)
    if free_left:
        size = _paying(len(part) - 1 - at[::-1], len(reference) - 1 - on[::-1], (part[at] == reference[on])[::-1])
        return at[len(at) - size :], on[len(on) - size :]
    if free_right:
        size = _paying(at, on, part[at] == reference[on])
        return at[:size], on[:size]
    return at, on


def _paying(at: Positions, on: Positions, same: NDArray[np.bool_]) -> int:
    """How many columns, from the anchor at -1 on, make the best score; at, on (n,): letters from the anchor."""
    gaps = np.stack([np.diff(of, prepend=np.int32(-1)) - 1 for of in (at, on)])
    cost = np.where(gaps > 0, SCORES["open_gap_score"] + SCORES["extend_gap_score"] * (gaps - 1), 0).sum(axis=0)
    total = np.cumsum(np.where(same, SCORES["match_score"], SCORES["mismatch_score"]) + cost)
    return int(total.argmax()) + 1 if total.size and total.max() > 0 else 0


def _letters(codes: Codes) -> str:
    return codes.tobytes().translate(b"ACGTN" + bytes(251)).decode()
