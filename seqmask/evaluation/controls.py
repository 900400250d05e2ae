"""Masks that know nothing of the classifier, to set beside an Explainer's: what any mask of that size would do.

Masks of n sequences are ragged: lists of arrays. A control of the same area is a hard mask of nucleotides, and in every
sequence it keeps exactly as much as the mask that it stands beside: as many tokens where tokens do not overlap, as many
nucleotides where they do (several frames, windows that share nucleotides). Those are its *places*. References are masks
of tokens, 1 = kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from seqmask.errors import UsageError
from seqmask.evaluation.metrics import area
from seqmask.sequences.spans import Spans, apart, lengths, runs, spread, under

Floats = NDArray[np.float32] | NDArray[np.float64]
Bools = NDArray[np.bool_]
Mask = NDArray[np.float32]

WINDOW = 50  # nt around a token's middle that the heuristics look at


@dataclass(frozen=True, slots=True)
class MaskSet:
    """Masks of n sequences, special tokens left out, every T_i at least 1.

    soft: (T_i,) float32 in [0, 1]. kept: (T_i,) bool, the tokens whose nucleotides are kept. spans: (T_i, 2) int32 nt
    of the sequence, 0-based half-open, no span empty. sequences: n strings, in which case and U do not matter.
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

    @property
    def hard(self) -> list[Bools]:
        """The hard masks (L_i,) of nucleotides, up to the end of the last token: those under kept tokens."""
        return [under(kept, spans, _end(spans)) for kept, spans in zip(self.kept, self.spans, strict=True)]


Control = Callable[[Generator, MaskSet], list[Bools]]
Reference = Callable[[Generator, MaskSet], list[Mask]]


# Choosing tokens by score


def top_k(scores: Floats, k: int, rng: Generator | None = None) -> Bools:
    """The k top-scored ones, ties broken at random, without `rng` in their order. scores (T,) finite, 0 <= k <= T;
    returns (T,) bool.
    """
    kept = np.zeros(scores.size, dtype=np.bool_)
    order = np.argsort(-scores, kind="stable") if rng is None else _falling(scores, rng)
    kept[order[:k]] = True
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


def random_tokens(rng: Generator, masks: MaskSet) -> list[Bools]:
    """As many places of each sequence as its mask keeps, drawn uniformly; nucleotides in stretches as long as a token,
    the last one cut.
    """

    def drawn(kept: Bools, spans: Spans) -> Bools:
        if apart(spans):
            return rng.permutation(kept)
        stretches = np.arange(kept.size) // max(int(np.median(lengths(spans))), 1)
        return top_k(rng.random(int(stretches[-1]) + 1)[stretches], int(kept.sum()))

    return _on_places(masks, drawn)


def shuffled(rng: Generator, masks: MaskSet) -> list[Bools]:
    """The runs of kept places of each sequence in random order at random places: the same multiset of run lengths.

    (A plain permutation of a hard mask would be `random_tokens` again, and would not have the mask's runs.)
    """
    return _on_places(masks, lambda kept, spans: _move_runs(kept, rng))


def shifted(rng: Generator, masks: MaskSet) -> list[Bools]:
    """Each mask rotated by a random number of places, from 1 to all but one; unchanged where there is one."""
    return _on_places(masks, lambda kept, spans: np.roll(kept, rng.integers(1, max(kept.size, 2))))


def other_sequence(rng: Generator, masks: MaskSet) -> list[Bools]:
    """Another sequence's soft mask, stretched to this length; its top places, as many as this sequence keeps.

    A mask does as well here when it knows positions only. UsageError for fewer than two sequences.
    """
    n = len(masks.soft)
    if n < 2:
        raise UsageError("the control 'other sequence' needs at least two sequences; give more sequences")
    ring = rng.permutation(n)
    # The neighbour on a ring is never the sequence itself.
    donors = iter(np.roll(ring, 1)[np.argsort(ring)].tolist())

    def stretched(kept: Bools, spans: Spans) -> Bools:
        donor = next(donors)
        soft, given = masks.soft[donor], masks.spans[donor]
        if not apart(given):
            soft = np.nan_to_num(spread(soft, given, _end(given)))
        return top_k(_stretch(soft, kept.size), int(kept.sum()), rng)

    return _on_places(masks, stretched)


def complexity(rng: Generator, masks: MaskSet) -> list[Bools]:
    """The places with the most diverse surroundings: entropy of the dinucleotides within WINDOW nt of their middle."""
    return _by_surroundings(rng, masks, dinucleotide_entropy)


def gc(rng: Generator, masks: MaskSet) -> list[Bools]:
    """The places with the highest share of G and C within WINDOW nt of their middle."""
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
    sequences = iter(masks.sequences)

    def top(kept: Bools, spans: Spans) -> Bools:
        middles = spans.astype(np.int64).sum(axis=1) // 2 if apart(spans) else np.arange(kept.size)
        return top_k(score(next(sequences), middles), int(kept.sum()), rng)

    return _on_places(masks, top)


def _on_places(masks: MaskSet, make: Callable[[Bools, Spans], Bools]) -> list[Bools]:
    """What `make` gives of each sequence's kept places (P,) and its tokens' spans, as a hard mask of nucleotides."""
    found = []
    for kept, spans, hard in zip(masks.kept, masks.spans, masks.hard, strict=True):
        found.append(under(make(kept, spans), spans, hard.size) if apart(spans) else make(hard, spans))
    return found


def _end(spans: Spans) -> int:
    return int(spans[:, 1].max())


def _falling(scores: Floats, rng: Generator) -> NDArray[np.int64]:
    """Token indices (T,) from the highest score to the lowest, equal scores in random order."""
    return np.lexsort((rng.random(scores.size), -scores))


def _stretch(soft: Mask, length: int) -> NDArray[np.float64]:
    """Values (length,) of a soft mask at the same relative positions, linear between the middles of its tokens."""
    wanted = (np.arange(length) + 0.5) / length
    given = (np.arange(soft.size) + 0.5) / soft.size
    return np.interp(wanted, given, soft)


def _move_runs(kept: Bools, rng: Generator) -> Bools:
    sizes = rng.permutation(lengths(runs(kept)))
    moved = np.zeros(kept.size, dtype=np.bool_)
    for start, size in zip(place_blocks(sizes, kept.size, rng), sizes, strict=True):
        moved[start : start + size] = True
    return moved
