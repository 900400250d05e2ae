"""Masks that know nothing of the classifier, to set beside an Explainer's: what any mask of that size would do.

Masks of n sequences are ragged: lists of (T_i,) arrays. A control returns float32 arrays, 1 = kept, like the masks it
stands beside. "Same area" means exactly the same number of kept tokens in every sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from seqmask.errors import UsageError
from seqmask.evaluation.metrics import area
from seqmask.sequences.spans import Spans, apart, average, lengths, runs, spread

Floats = NDArray[np.float32] | NDArray[np.float64]
Bools = NDArray[np.bool_]
Mask = NDArray[np.float32]

WINDOW = 50  # nt around a token's middle that the heuristics look at


@dataclass(frozen=True, slots=True)
class MaskSet:
    """Masks of n sequences, special tokens left out, every T_i at least 1.

    soft: (T_i,) float32 in [0, 1]. kept: (T_i,) bool, the hard masks. spans: (T_i, 2) int32 nt of the sequence,
    0-based half-open, no span empty. sequences: n strings, in which case and U do not matter.
    """

    soft: Sequence[Mask]
    kept: Sequence[Bools]
    spans: Sequence[Spans]
    sequences: Sequence[str]

    def __post_init__(self) -> None:
        sizes = [[len(item) for item in part] for part in (self.soft, self.kept, self.spans)]
        if not sizes[0] == sizes[1] == sizes[2] or len(self.sequences) != len(self.soft):
            raise ValueError("soft masks, hard masks, spans and sequences are not of the same sequences")
        if 0 in sizes[0]:
            raise ValueError(f"sequence {sizes[0].index(0)} (counted from 0) has no tokens")


Control = Callable[[Generator, MaskSet], list[Mask]]


# Choosing tokens by score


def top_k(scores: Floats, k: int, rng: Generator) -> Bools:
    """The k top-scored tokens, ties broken at random. scores (T,) finite, 0 <= k <= T; returns (T,) bool."""
    kept = np.zeros(scores.size, dtype=np.bool_)
    kept[_falling(scores, rng)[:k]] = True
    return kept


def top_fractions(scores: Floats, nt: NDArray[np.integer], fractions: Sequence[float], rng: Generator) -> Bools:
    """For each fraction, the top-scored tokens up to the first that brings the kept nucleotides to that fraction.

    scores (T,) finite, T at least 1; nt (T,) nucleotides of each token (overlapping tokens count in full); fractions
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


def random_tokens(rng: Generator, masks: MaskSet) -> list[Mask]:
    """As many tokens of each sequence as its mask keeps, drawn uniformly.

    Where tokens overlap (several frames, windows that share nucleotides), those at the same place are drawn together: a
    mask chooses alike in all frames, and tokens drawn apart would show more of the sequence.
    """
    pairs = zip(masks.kept, masks.spans, strict=True)
    return [
        rng.permutation(kept).astype(np.float32) if apart(spans) else _keep_as_many(_places(spans, rng), kept, rng)
        for kept, spans in pairs
    ]


def shuffled(rng: Generator, masks: MaskSet) -> list[Mask]:
    """The runs of kept tokens of each sequence in random order at random places: the same multiset of run lengths.

    Where tokens overlap they are runs of nucleotides, and the tokens that hold most of them are kept. (A plain
    permutation of a hard mask would be `random_tokens` again, and would not have the mask's runs.)
    """
    found = []
    for kept, spans in zip(masks.kept, masks.spans, strict=True):
        if apart(spans):
            found.append(_move_runs(kept, rng))
            continue
        track = spread(kept.astype(np.float32), spans, int(spans[:, 1].max())) >= 0.5  # not NaN, which no token covers
        found.append(_keep_as_many(average(_move_runs(track, rng), spans), kept, rng))
    return found


def shifted(rng: Generator, masks: MaskSet) -> list[Mask]:
    """Each mask rotated by a random number of tokens from 1 to T - 1; unchanged where T = 1."""
    return [np.roll(kept, rng.integers(1, max(kept.size, 2))).astype(np.float32) for kept in masks.kept]


def other_sequence(rng: Generator, masks: MaskSet) -> list[Mask]:
    """Another sequence's soft mask, stretched to this length; its top tokens, as many as this sequence keeps.

    A mask does as well here when it knows positions only. UsageError for fewer than two sequences.
    """
    n = len(masks.soft)
    if n < 2:
        raise UsageError("the control 'other sequence' needs at least two sequences; give more sequences")
    ring = rng.permutation(n)
    # The neighbour on a ring is never the sequence itself.
    donors = np.roll(ring, 1)[np.argsort(ring)].tolist()
    pairs = zip(masks.kept, donors, strict=True)
    return [_keep_as_many(_stretch(masks.soft[donor], kept.size), kept, rng) for kept, donor in pairs]


def complexity(rng: Generator, masks: MaskSet) -> list[Mask]:
    """The tokens with the most diverse surroundings: entropy of the dinucleotides within WINDOW nt of their middle."""
    return _by_surroundings(rng, masks, dinucleotide_entropy)


def gc(rng: Generator, masks: MaskSet) -> list[Mask]:
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
REFERENCES: dict[str, Control] = {"all_ones": all_ones, "all_zeros": all_zeros, "constant": constant}
CONTROLS: dict[str, Control] = SAME_AREA | REFERENCES


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
) -> list[Mask]:
    result = []
    for kept, spans, sequence in zip(masks.kept, masks.spans, masks.sequences, strict=True):
        middles = spans.astype(np.int64).sum(axis=1) // 2
        result.append(_keep_as_many(score(sequence, middles), kept, rng))
    return result


def _keep_as_many(scores: Floats, kept: Bools, rng: Generator) -> Mask:
    return top_k(scores, int(kept.sum()), rng).astype(np.float32)


def _places(spans: Spans, rng: Generator) -> NDArray[np.float64]:
    """A random score a token (T,), the same for tokens whose middles share a stretch as long as the usual token."""
    stretches = spans.astype(np.int64).sum(axis=1) // 2 // max(int(np.median(lengths(spans))), 1)
    scores: NDArray[np.float64] = rng.random(int(stretches.max()) + 1)[stretches]
    return scores


def _falling(scores: Floats, rng: Generator) -> NDArray[np.int64]:
    """Token indices (T,) from the highest score to the lowest, equal scores in random order."""
    return np.lexsort((rng.random(scores.size), -scores))


def _stretch(soft: Mask, length: int) -> NDArray[np.float64]:
    """Values (length,) of a soft mask at the same relative positions, linear between the middles of its tokens."""
    wanted = (np.arange(length) + 0.5) / length
    given = (np.arange(soft.size) + 0.5) / soft.size
    return np.interp(wanted, given, soft)


def _move_runs(kept: Bools, rng: Generator) -> Mask:
    sizes = rng.permutation(lengths(runs(kept)))
    moved = np.zeros(kept.size, dtype=np.float32)
    for start, size in zip(place_blocks(sizes, kept.size, rng), sizes, strict=True):
        moved[start : start + size] = 1.0
    return moved
