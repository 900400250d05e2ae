"""Masks that know nothing of the classifier, to set beside an Explainer's: what any mask of that size would do.

Masks of n sequences are ragged: lists of arrays. A control of the same area is a hard mask of nucleotides, and in every
sequence it keeps as much as the mask that it stands beside, to within a token; where runs are moved, as many steps from
token to token, which are not all as long where windows share nucleotides or tokens are BPE: a few per cent more on
average, so that the mask has no advantage. It begins and ends where tokens do: of other stretches fewer tokens would be
read, and the control would be too weak. References are masks of tokens, 1 = kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from seqmask.errors import UsageError
from seqmask.evaluation.metrics import area
from seqmask.sequences.spans import Spans, average, lengths, runs, spread, top, under

Floats = NDArray[np.float32] | NDArray[np.float64]
Bools = NDArray[np.bool_]
Mask = NDArray[np.float32]

WINDOW = 50  # nt around a token's middle that the heuristics look at


@dataclass(frozen=True, slots=True)
class MaskSet:
    """Masks of n sequences, every T_i at least 1.

    soft: (T_i,) float32 in [0, 1]. kept: (T_i,) bool, the tokens whose nucleotides are kept. spans: (T_i, 2) int32 nt
    of the sequence, 0-based half-open, no span empty. sequences: n strings, in which case and U do not matter. read:
    (T_i,) bool, the tokens that the classifier reads, of which controls are made, empty = all. hard: (L_i,) bool, the
    hard masks: the nucleotides under kept tokens, up to the end of the last token.
    """

    soft: Sequence[Mask]
    kept: Sequence[Bools]
    spans: Sequence[Spans]
    sequences: Sequence[str]
    read: Sequence[Bools] = ()
    hard: Sequence[Bools] = field(init=False)

    def __post_init__(self) -> None:
        sizes = [[len(item) for item in part] for part in (self.soft, self.kept, self.spans)]
        if not sizes[0] == sizes[1] == sizes[2] or len(self.sequences) != len(self.soft):
            raise ValueError("soft masks, hard masks, spans and sequences are not of the same sequences")
        if 0 in sizes[0]:
            raise ValueError(f"sequence {sizes[0].index(0)} (counted from 0) has no tokens")
        hard = [under(kept, spans, _end(spans)) for kept, spans in zip(self.kept, self.spans, strict=True)]
        object.__setattr__(self, "hard", hard)


Control = Callable[[Generator, MaskSet], list[Bools]]
Reference = Callable[[Generator, MaskSet], list[Mask]]


# Choosing tokens by score


def top_fractions(scores: Floats, nt: NDArray[np.integer], fractions: Sequence[float], rng: Generator) -> Bools:
    """For each fraction, the top-scored tokens up to the first that brings the kept nucleotides to that fraction.

    scores (T,), T at least 1; nt (T,) nucleotides of each token (overlapping tokens count in full); fractions
    (K,) in [0, 1] of sum(nt). At least one token is kept. Ties are broken at random, once for all fractions, so that a
    smaller fraction is a subset of a larger one.
    Returns (K, T) bool.
    """
    order = _falling(scores, rng)
    covered = np.cumsum(nt[order])
    # The slack lets .1 of 30 nt be 3 nt, whatever the last bit of .1 * 30 says.
    wanted = np.asarray(fractions, dtype=np.float64) * covered[-1] * (1 - 1e-9)
    counts = np.minimum(np.searchsorted(covered, wanted) + 1, scores.size)
    place = np.empty(scores.size, dtype=np.int64)
    place[order] = np.arange(scores.size)
    kept: Bools = place[None, :] < counts[:, None]
    return kept


def falling(scores: Floats, spans: Spans, rng: Generator) -> NDArray[np.int64]:
    """Token indices (T,) from the highest score to the lowest. Of equal scores those at the same place, whose middles
    share a stretch as long as the usual token, are taken together, places in random order.
    """
    stretches = spans.astype(np.int64).sum(axis=1) // 2 // max(int(np.median(lengths(spans))), 1)
    places = rng.random(int(stretches.max()) + 1)[stretches]
    return np.lexsort((places, -scores))


def top_fraction(scores: Floats, nt: NDArray[np.integer], fraction: float, rng: Generator) -> Bools:
    """`top_fractions` for one fraction: (T,) bool, at least one token, at least `fraction` of the nucleotides."""
    kept: Bools = top_fractions(scores, nt, [fraction], rng)[0]
    return kept


def place_blocks(sizes: NDArray[np.integer], total: int, rng: Generator) -> NDArray[np.int64]:
    """Starts (m,) of m blocks laid in the given order into [0, total), at least one place free between two of them.

    sizes (m,). Every such layout is equally likely. ValueError if they do not fit: sum(sizes) + m - 1 <= total.
    """
    free = total - int(sizes.sum())
    if free + 1 < sizes.size:
        raise ValueError(f"{sizes.size} blocks of {int(sizes.sum())} in all do not fit into {total}")
    # A block may stand before any of the free places or after the last; distinct choices leave a gap between blocks.
    before = np.sort(rng.choice(free + 1, size=sizes.size, replace=False))
    starts: NDArray[np.int64] = before + np.cumsum(sizes) - sizes
    return starts


# Same area


def random_tokens(rng: Generator, masks: MaskSet) -> list[Bools]:
    """Tokens in random order, until they cover as many nucleotides as the mask does.

    Where tokens overlap (several frames, windows that share nucleotides), those at the same place are drawn together: a
    mask chooses alike in all frames, and of tokens drawn apart hardly any other one would be read whole.
    """
    return [_top_tokens(np.zeros(len(spans)), hard, spans, rng) for hard, spans in _rows(masks)]


def shuffled(rng: Generator, masks: MaskSet) -> list[Bools]:
    """The runs of each sequence in random order at random places: the same multiset of run lengths, in steps."""
    return [_in_steps(hard, spans, lambda kept: _move_runs(kept, rng)) for hard, spans in _rows(masks)]


def shifted(rng: Generator, masks: MaskSet) -> list[Bools]:
    """Each mask rotated by a random number of steps, from 1 to all but one; unchanged where there is one."""
    return [
        _in_steps(hard, spans, lambda kept: np.roll(kept, rng.integers(1, max(kept.size, 2))))
        for hard, spans in _rows(masks)
    ]


def other_sequence(rng: Generator, masks: MaskSet) -> list[Bools]:
    """Another sequence's soft mask, stretched to this length; its top tokens, as many nucleotides as this one keeps.

    A mask does as well here when it knows positions only. UsageError for fewer than two sequences.
    """
    n = len(masks.soft)
    if n < 2:
        raise UsageError("the control 'other sequence' needs at least two sequences; give more sequences")
    ring = rng.permutation(n)
    # The neighbour on a ring is never the sequence itself.
    donors = np.roll(ring, 1)[np.argsort(ring)].tolist()
    found = []
    for (hard, spans), donor in zip(_rows(masks), donors, strict=True):
        given = masks.spans[donor]
        soft = spread(masks.soft[donor], given, _end(given))
        found.append(_top_tokens(_stretched(soft, spans, hard.size), hard, spans, rng))
    return found


def complexity(rng: Generator, masks: MaskSet) -> list[Bools]:
    """The tokens with the most diverse surroundings: entropy of the dinucleotides within WINDOW nt of their middle."""
    return _by_surroundings(rng, masks, dinucleotide_entropy)


def gc(rng: Generator, masks: MaskSet) -> list[Bools]:
    """The tokens with the highest share of G and C within WINDOW nt of their middle."""
    return _by_surroundings(rng, masks, gc_content)


# References of another area


def all_ones(rng: Generator, masks: MaskSet) -> list[Mask]:
    """Every token kept: what the classifier does without a mask."""
    return [np.ones(kept.size, dtype=np.float32) for kept in masks.kept]


def all_zeros(rng: Generator, masks: MaskSet) -> list[Mask]:
    """Every token hidden: what is left is the prior, lengths and positions."""
    return [np.zeros(kept.size, dtype=np.float32) for kept in masks.kept]


def constant(rng: Generator, masks: MaskSet) -> list[Mask]:
    """The soft mask's mean (by nucleotides) on every token of a sequence: as faint, but saying nothing."""
    pairs = zip(masks.soft, masks.spans, strict=True)
    return [np.full(soft.size, area(soft, spans), dtype=np.float32) for soft, spans in pairs]


SAME_AREA: dict[str, Control] = {
    "random": random_tokens,
    "shuffled": shuffled,
    "shifted": shifted,
    "other_sequence": other_sequence,
    "complexity": complexity,
    "gc": gc,
}
REFERENCES: dict[str, Reference] = {"all_ones": all_ones, "all_zeros": all_zeros, "constant": constant}


# What the heuristics look at


def gc_content(sequence: str, middles: NDArray[np.int64], window: int = WINDOW) -> NDArray[np.float64]:
    """(G + C) / (A + C + G + T) in the window of each middle. middles (T,) nt; returns (T,), 0 if no base is called."""
    counts = _window_counts(base_codes(sequence), 4, middles, window)
    share: NDArray[np.float64] = (counts[:, 1] + counts[:, 2]) / np.maximum(counts.sum(axis=1), 1)
    return share


def dinucleotide_entropy(sequence: str, middles: NDArray[np.int64], window: int = WINDOW) -> NDArray[np.float64]:
    """Shannon entropy, in bits from 0 to 4, of the overlapping dinucleotides in the window of each middle.

    middles (T,) nt; returns (T,). Dinucleotides with a base that is not A, C, G, T or U are left out.
    """
    bases = base_codes(sequence)
    first, second = bases[:-1], bases[1:]
    pairs = np.where((first < 4) & (second < 4), 4 * first + second, 16)
    counts = _window_counts(pairs, 16, middles, window - 1)
    p = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    entropy: NDArray[np.float64] = -(p * np.log2(np.where(p > 0, p, 1.0))).sum(axis=1)
    return entropy


def base_codes(sequence: str) -> NDArray[np.int64]:
    """A, C, G, T or U as 0, 1, 2, 3, 3 in either case, anything else as 4. Returns (L,) int64."""
    return _CODES[np.frombuffer(sequence.encode("ascii", "replace"), dtype=np.uint8)]


_CODES = np.full(256, 4, dtype=np.int64)
_CODES[np.frombuffer(b"ACGTUacgtu", dtype=np.uint8)] = [0, 1, 2, 3, 3, 0, 1, 2, 3, 3]


def _window_counts(
    codes: NDArray[np.int64], symbols: int, middles: NDArray[np.int64], window: int
) -> NDArray[np.int64]:
    """How often each code below `symbols` occurs in the `window` places around each middle: (T, symbols)."""
    starts = middles - window // 2
    first, last = (np.clip(places, 0, codes.size) for places in (starts, starts + window))
    counts = np.empty((middles.size, symbols), dtype=np.int64)
    for symbol in range(symbols):  # one at a time: windows of a whole contig side by side would fill the memory
        before = np.concatenate(([0], np.cumsum(codes == symbol)))
        counts[:, symbol] = before[last] - before[first]
    return counts


def _by_surroundings(
    rng: Generator, masks: MaskSet, score: Callable[[str, NDArray[np.int64]], NDArray[np.float64]]
) -> list[Bools]:
    rows = zip(_rows(masks), masks.sequences, strict=True)
    return [
        _top_tokens(score(sequence, spans.astype(np.int64).sum(axis=1) // 2), hard, spans, rng)
        for (hard, spans), sequence in rows
    ]


def _rows(masks: MaskSet) -> Iterator[tuple[Bools, Spans]]:
    """The hard mask of each sequence, and the tokens that are read: what a control kept of others would be lost."""
    if not masks.read:
        return zip(masks.hard, masks.spans, strict=True)
    rows = zip(masks.hard, masks.spans, masks.read, strict=True)
    return ((hard, spans[read]) for hard, spans, read in rows)


def _top_tokens(scores: Floats, hard: Bools, spans: Spans, rng: Generator) -> Bools:
    """The nucleotides under the top-scored tokens (T,), as many as a hard mask (L,) keeps."""
    return top(falling(scores, spans, rng), spans, int(hard.sum()), hard.size)


def _in_steps(hard: Bools, spans: Spans, change: Callable[[Bools], Bools]) -> Bools:
    """A hard mask (L,) after `change` of its steps, each from where a token begins to where the next one does, or to
    the end of all tokens before that.

    A step is kept where at least half of it is.
    """
    ordered = spans[np.argsort(spans[:, 0], kind="stable")]
    starts, counts = np.unique(ordered[:, 0], return_counts=True)
    reached = np.maximum.accumulate(ordered[:, 1])[np.cumsum(counts) - 1]
    starts[0] = 0
    steps = np.stack([starts, np.minimum(np.append(starts[1:], hard.size), reached)], axis=1).astype(np.int32)
    return under(change(average(hard.astype(np.float32), steps) >= 0.5), steps, hard.size)


def _end(spans: Spans) -> int:
    return int(spans[:, 1].max())


def _falling(scores: Floats, rng: Generator) -> NDArray[np.int64]:
    """Token indices (T,) from the highest score to the lowest, equal scores in random order."""
    return np.lexsort((rng.random(scores.size), -scores))


def _stretched(soft: Mask, spans: Spans, length: int) -> NDArray[np.float64]:
    """Values (T,) of a soft mask (K,) of nucleotides at the relative positions of the middles of spans (T, 2)."""
    middles = spans.astype(np.float64).mean(axis=1) / length
    found: NDArray[np.float64] = np.interp(middles, (np.arange(soft.size) + 0.5) / soft.size, np.nan_to_num(soft))
    return found


def _move_runs(kept: Bools, rng: Generator) -> Bools:
    sizes = rng.permutation(lengths(runs(kept)))
    moved = np.zeros(kept.size, dtype=np.bool_)
    for start, size in zip(place_blocks(sizes, kept.size, rng), sizes, strict=True):
        moved[start : start + size] = True
    return moved
