"""Sequences without meaning, into which `simulate` plants motifs: Markov chains by GC content, or real fragments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from seqmask.errors import UsageError
from seqmask.evaluation.controls import base_codes

BASES = np.frombuffer(b"ACGT", dtype=np.uint8)
SPLITS = ("train", "val", "test_species")


class Background(Protocol):
    """Anything that background sequences can be drawn from."""

    def draw(self, rng: Generator, lengths: NDArray[np.int64], splits: Sequence[str]) -> list[str]:
        """Sequences of the wanted lengths (n,) nt, in A, C, G and T; splits: the n splits that they will belong to."""
        ...


@dataclass(frozen=True, slots=True)
class MarkovBackground:
    """Markov chains of order k, one a bin of GC content; a sequence is drawn from one bin.

    weights (G,): share of each bin. starts (G, 4^k): probability of the first k letters. steps (G, 4^k, 4): probability
    of the next letter. Letters are A, C, G, T = 0..3; a context is read as a number in base 4, oldest letter first.
    """

    weights: NDArray[np.float64]
    starts: NDArray[np.float64]
    steps: NDArray[np.float64]

    @property
    def order(self) -> int:
        """Letters k that the next one depends on."""
        contexts: int = self.starts.shape[1]
        return (contexts.bit_length() - 1) // 2

    def draw(self, rng: Generator, lengths: NDArray[np.int64], splits: Sequence[str]) -> list[str]:
        """Sequences of lengths (n,) nt, each at least k; the same law in every split."""
        n, k, contexts = lengths.size, self.order, self.starts.shape[1]
        bins = rng.choice(self.weights.size, size=n, p=self.weights)
        context = _pick(self.starts[bins], rng.random(n))
        cumulated = np.cumsum(self.steps, axis=2)[:, :, :3]  # three borders suffice to pick one of four letters
        letters = np.empty((n, int(lengths.max(initial=k))), dtype=np.uint8)
        letters[:, :k] = context[:, None] // 4 ** np.arange(k - 1, -1, -1) % 4
        for i in range(k, letters.shape[1]):
            letter = (cumulated[bins, context] < rng.random((n, 1))).sum(axis=1)
            letters[:, i] = letter
            context = (4 * context + letter) % contexts
        text = BASES[letters]
        return [row[:length].tobytes().decode() for row, length in zip(text, lengths, strict=True)]


@dataclass(frozen=True, slots=True)
class FragmentBackground:
    """Random fragments of real sequences, no source in two splits. sources: the sequences of each split."""

    sources: Mapping[str, Sequence[str]]

    def draw(self, rng: Generator, lengths: NDArray[np.int64], splits: Sequence[str]) -> list[str]:
        """Fragments of lengths (n,) nt, all places of a split's sources equally likely; UsageError if none is found."""
        return [self._fragment(rng, int(n), self.sources[split]) for n, split in zip(lengths, splits, strict=True)]

    def _fragment(self, rng: Generator, length: int, sources: Sequence[str]) -> str:
        places = np.array([max(0, len(source) - length + 1) for source in sources])
        if not places.sum():
            raise UsageError(f"no background sequence has {length} nt; give longer sequences or a smaller --length")
        for _ in range(1000):
            which = rng.choice(places.size, p=places / places.sum())
            start = int(rng.integers(places[which]))
            fragment = sources[which][start : start + length].upper().replace("U", "T")
            if set(fragment) <= set("ACGT"):
                return fragment
        raise UsageError(f"hardly any {length} nt of the background sequences are free of N; give other sequences")


def default_markov(order: int, gc_bins: int = 4) -> MarkovBackground:
    """Chains that need no data: GC contents from 35 to 65 %, every next-letter law bent by fixed random factors.

    The factors are exp(.3 z) with z standard normal, the same in every run: k-mer frequencies are as uneven as in a
    genome, but are no genome's. order 1 or more; gc_bins 1 or more.
    """
    gc = np.linspace(0.35, 0.65, gc_bins) if gc_bins > 1 else np.array([0.5])
    composition = np.stack([1 - gc, gc, gc, 1 - gc], axis=1) / 2  # (G, 4)
    bend = np.exp(0.3 * np.random.default_rng(0).standard_normal((4**order, 4)))
    steps = composition[:, None, :] * bend
    steps /= steps.sum(axis=2, keepdims=True)
    return MarkovBackground(np.full(gc_bins, 1 / gc_bins), _stationary(steps), steps)


def fit_markov(sequences: Sequence[str], order: int, gc_bins: int = 4, fragment: int = 300) -> MarkovBackground:
    """Chains fitted to real sequences: cut into pieces of about `fragment` nt, sorted by GC into equally full bins.

    Transition counts of the called bases plus one (Laplace), a bin each; starts are the counts of the contexts. Fewer
    pieces than bins give fewer bins. UsageError where no piece holds order + 1 called bases in a row.
    """
    pieces = [piece for sequence in sequences for piece in _cut(base_codes(sequence), fragment)]
    words = [_words(piece, order + 1) for piece in pieces]
    gc = np.array([np.isin(piece[piece < 4], (1, 2)).mean() for piece, w in zip(pieces, words, strict=True) if w.size])
    words = [w for w in words if w.size]
    if not words:
        raise UsageError(f"the background sequences hold no {order + 1} bases in a row; give other sequences")
    groups = np.array_split(np.argsort(gc, kind="stable"), min(gc_bins, len(words)))
    found = [np.bincount(np.concatenate([words[i] for i in g]), minlength=4 ** (order + 1)) for g in groups]
    counts = np.stack(found).reshape(len(groups), 4**order, 4) + 1.0
    starts = counts.sum(axis=2)
    sizes = np.array([group.size for group in groups])
    return MarkovBackground(
        sizes / sizes.sum(),
        starts / starts.sum(axis=1, keepdims=True),
        counts / counts.sum(axis=2, keepdims=True),
    )


def fragment_background(
    sequences: Sequence[str], shares: tuple[float, float, float], rng: Generator
) -> FragmentBackground:
    """Deals real sequences out to train, val and test_species, by these shares of the sequences and at least one each.

    UsageError for fewer sequences than splits with a share: a fragment of a training source is not unseen.
    """
    used = [(split, share) for split, share in zip(SPLITS, shares, strict=True) if share > 0]
    if len(sequences) < len(used):
        raise UsageError(f"{len(sequences)} background sequences cannot serve {len(used)} splits; give more sequences")
    # One for each split first, then the rest by the shares.
    extra = rng.choice(len(used), size=len(sequences) - len(used), p=[share for _, share in used])
    dealt = rng.permutation(np.concatenate([np.arange(len(used)), extra]))
    return FragmentBackground(
        {split: [s for s, to in zip(sequences, dealt, strict=True) if to == j] for j, (split, _) in enumerate(used)}
    )


def _pick(probabilities: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.int64]:
    """One column a row (n,), drawn by the rows' probabilities (n, m) with uniform numbers u (n,)."""
    picked: NDArray[np.int64] = (np.cumsum(probabilities, axis=1)[:, :-1] < u[:, None]).sum(axis=1)
    return picked


def _stationary(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Long-run share of each context (G, 4^k) under steps (G, 4^k, 4)."""
    bins, contexts, _ = steps.shape
    share = np.full((bins, contexts), 1 / contexts)
    for _ in range(100):  # these chains forget their start within a few letters
        share = (share[:, :, None] * steps).reshape(bins, 4, contexts // 4, 4).sum(axis=1).reshape(bins, contexts)
    return share


def _cut(codes: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return np.array_split(codes, max(1, round(codes.size / size)))


def _words(codes: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Words of `length` called bases as numbers in base 4, oldest letter first; codes (L,) with 4 = not called."""
    if codes.size < length:
        return np.zeros(0, dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(codes, length)
    windows = windows[(windows < 4).all(axis=1)]
    words: NDArray[np.int64] = windows @ 4 ** np.arange(length - 1, -1, -1)
    return words
