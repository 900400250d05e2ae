"""Training batches: random crops of labelled sequences, drawn anew every epoch, a pure function of (seed, step)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from seqmask.sequences.tokenizer import Tokenizer
from seqmask.sequences.tokens import NO_BASE, PAD, UNK, reverse_complement_codes, to_codes
from seqmask.training.ahead import made_ahead


@dataclass(frozen=True, slots=True)
class Ragged:
    """Arrays of different lengths end to end: values (N, ...), offsets (n + 1,) int64."""

    values: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Length of each array (n,)."""
        return np.diff(self.offsets)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Sequences as base codes, targets (n, R) int64 (-1 unknown)."""

    codes: Ragged
    targets: NDArray[np.int64]

    @classmethod
    def of(cls, sequences: Sequence[str], targets: NDArray[np.int64]) -> Corpus:
        """From n sequences as text and their targets (n, R)."""
        parts = [to_codes(sequence) for sequence in sequences]
        offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        values = np.concatenate(parts) if parts else np.zeros(0, np.uint8)
        return cls(Ragged(values, offsets), targets)

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """ids (B, T) int64, attention (B, T) bool, targets (B, R) int64; step: ordinal, which seeds all that is random."""

    ids: NDArray[np.int64]
    attention: NDArray[np.bool_]
    targets: NDArray[np.int64]
    step: int


@dataclass(frozen=True, slots=True)
class CropLaw:
    """Crop lengths are log-uniform in [shortest, longest] nt for every class: length must not tell the class.

    mutated: bases of a crop are replaced by another one at a rate drawn from U(0, mutated). whole: this share of the
    crops is as long as `longest` allows; where sequences are whole genes and are used as such.
    """

    shortest: int
    longest: int
    mutated: float = 0.0
    whole: float = 0.0

    def draw(self, rng: np.random.Generator, lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Random starts and lengths (n,) of one crop in each sequence; a shorter sequence is taken whole."""
        law = np.exp(rng.uniform(np.log(self.shortest), np.log(self.longest + 1), len(lengths))).astype(np.int64)
        if self.whole:
            law[rng.random(len(lengths)) < self.whole] = self.longest
        sizes = np.minimum(law, lengths)
        starts = (rng.random(len(lengths)) * (lengths - sizes + 1)).astype(np.int64)
        return starts, sizes


def crop_codes(
    corpus: Corpus, rows: NDArray[np.int64], law: CropLaw, rng: np.random.Generator
) -> list[NDArray[np.uint8]]:
    """One random crop a row, a random half of them reverse-complemented; the crop's start makes the frame random.

    With `law.mutated` bases are replaced at random: what is learned must not hang on single k-mers of the training
    species.
    """
    starts, sizes = law.draw(rng, corpus.codes.lengths[rows])
    starts += corpus.codes.offsets[rows]
    flip = rng.random(len(rows)) < 0.5
    crops = []
    for start, size, turned in zip(starts.tolist(), sizes.tolist(), flip.tolist(), strict=True):
        codes = corpus.codes.values[start : start + size]
        crops.append(reverse_complement_codes(codes) if turned else codes)
    return [mutate(codes, law.mutated * rng.random(), rng) for codes in crops] if law.mutated else crops


def mutate(codes: NDArray[np.uint8], rate: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A copy of base codes (L,) in which each base is, with probability `rate`, one of the three others."""
    count = rng.binomial(len(codes), rate)
    where = rng.choice(len(codes), count, replace=False)
    changed = codes.copy()
    shifted = (changed[where] + rng.integers(1, 4, count)) % 4
    changed[where] = np.where(changed[where] < NO_BASE, shifted, changed[where])
    return changed


def pad(rows: Sequence[NDArray[np.int32]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Token rows to ids (B, T) int64, padded on the right, and attention (B, T) bool, as of `engine.read_tokens`."""
    width = max(len(row) for row in rows)
    ids = np.full((len(rows), width), PAD, dtype=np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
    lengths = np.array([len(row) for row in rows])
    there = np.arange(width) < lengths[:, None]
    read = there & (ids != UNK)
    return ids, np.where(read.any(axis=1, keepdims=True), read, there)


POOL = 4096  # crops drawn together and sorted by length, so that a batch holds little padding


def batches(
    corpus: Corpus,
    tokenizer: Tokenizer,
    law: CropLaw,
    most: int,
    batch_tokens: int,
    seed: int,
    first: int = 0,
    workers: int = 0,
) -> Iterator[TrainingBatch]:
    """Endless batches of at most `batch_tokens` tokens, padding included, from batch `first` on.

    most: tokens of a crop; a longer one, as BPE makes of rare sequence, loses its end. workers: as for `made_ahead`.

    Epochs are random orders of the whole corpus; within a pool of 4,096 crops those of like length go together. The
    same seed gives the same batches whatever `first` is, which is what makes `--resume` exact.
    """
    pools = -(-len(corpus) // POOL)

    @lru_cache(maxsize=1)
    def order_of(epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([seed, epoch]).permutation(len(corpus))

    def of_pool(place: int) -> list[tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]]:
        epoch, pool = divmod(place, pools)
        rng = np.random.default_rng([seed, epoch, pool])
        rows = order_of(epoch)[pool * POOL : (pool + 1) * POOL]
        encoded = [ids[:most] for ids in tokenizer.encode_crops(crop_codes(corpus, rows, law, rng))]
        plan = plan_pool(np.array(list(map(len, encoded))), batch_tokens, rng)
        return [(*pad([encoded[i] for i in chosen]), corpus.targets[rows[chosen]]) for chosen in plan]

    parts = (part for pool in made_ahead(of_pool, itertools.count(), workers) for part in pool)
    for step, part in enumerate(parts):
        if step >= first:
            yield TrainingBatch(*part, step)


def plan_pool(counts: NDArray[np.int64], batch_tokens: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Rows of each batch: sorted by token count, cut where rows x longest exceeds the budget, in random order."""
    order = np.argsort(counts, kind="stable")
    order = order[counts[order] > 0]
    plan, begin = [], 0
    for i in range(1, len(order) + 1):
        if i == len(order) or (i - begin + 1) * counts[order[i]] > batch_tokens:
            plan.append(order[begin:i])
            begin = i
    rng.shuffle(plan)
    return plan


def random_mask(attention: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float32]:
    """Binary masks (B, T) float32, 1 = kept, at a rate ~ U(0, 1) a sequence; half of the rows in spans, half by token.

    Spans are runs of constant state with mean length 2 to 16 tokens, hidden at the row's rate.
    """
    rows, width = attention.shape
    rate = rng.random((rows, 1))
    noise = rng.random((rows, width))
    switch = rng.random((rows, width)) < 1.0 / rng.uniform(2, 16, (rows, 1))
    switch[:, 0] = True
    last = np.maximum.accumulate(np.where(switch, np.arange(width), 0), axis=1)
    spans = np.take_along_axis(noise, last, axis=1)
    drawn = np.where(rng.random((rows, 1)) < 0.5, spans, noise)
    return ((drawn >= rate) | ~attention).astype(np.float32)
