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

WORD = 15  # nt of an anchor: two unrelated 16S genes share one in 500 cases
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
    """

    positions: Positions
    reverse: bool
    identity: float


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
        return Placement(positions[::-1].copy() if reverse else positions, reverse, identity)

    def _anchors(self, codes: Codes) -> NDArray[np.int64]:
        """Starts of shared words (n, 2) in sequence and reference, the most that rise in both."""
        words, starts = _words(codes)
        if not (words.size and self._words.size):
            return np.zeros((0, 2), dtype=np.int64)
        at = np.searchsorted(self._words, words).clip(max=len(self._words) - 1)
        found = np.stack([starts, np.where(self._words[at] == words, self._starts[at], -1)], axis=1)
        found = found[found[:, 1] >= 0]
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
            for at, on, n in _align(of_reference, part, first, last) if len(part) and len(of_reference) else ():
                positions[here + at : here + at + n] = np.arange(begin + on, begin + on + n)
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


def _blocks(anchors: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Exact stretches (start, start in the reference, nt) from words that rise in both, apart from each other."""
    breaks = np.flatnonzero((np.diff(anchors, axis=0) != 1).any(axis=1)) + 1
    blocks = []
    stop, stop_there = 0, 0
    for run in np.split(anchors, breaks):
        start, on_reference = (run[0] + TRIM).tolist()
        end = int(run[-1, 0]) + WORD - TRIM
        overlap = max(stop - start, stop_there - on_reference, 0)
        start, on_reference = start + overlap, on_reference + overlap
        if start < end:
            blocks.append((start, on_reference, end - start))
            stop, stop_there = end, on_reference + end - start
    return blocks


def _align(reference: Codes, part: Codes, free_left: bool, free_right: bool) -> list[tuple[int, int, int]]:
    """Gapless stretches (start in the part, start in the reference, nt) of the best global alignment."""
    aligner: Any = PairwiseAligner(mode="global", **SCORES)
    if free_left:
        aligner.left_gap_score = 0.0
    if free_right:
        aligner.right_gap_score = 0.0
    found = aligner.align(_letters(reference), _letters(part))[0].aligned
    return [(int(at), int(on), int(end - on)) for (on, end), (at, _) in zip(*found, strict=True)]


def _letters(codes: Codes) -> str:
    return codes.tobytes().translate(b"ACGTN" + bytes(251)).decode()
