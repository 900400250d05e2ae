"""Nucleotides to tokens: the k-mer tokenizer.

A token is an id and the span of nucleotides it stands for. Everything that follows (masks, BED, HDF5) works on spans,
so another tokenizer differs only in the spans it returns.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.errors import SeqmaskError

PAD, UNK, CLS, SEP, MASK = range(5)
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
NO_BASE = 4  # the code of anything but A, C, G, T, U


def _codes_table() -> NDArray[np.uint8]:
    table = np.full(256, NO_BASE, dtype=np.uint8)
    for code, letters in enumerate(("Aa", "Cc", "Gg", "TtUu")):
        for letter in letters:
            table[ord(letter)] = code
    return table


_CODES = _codes_table()


def to_codes(sequence: str) -> NDArray[np.uint8]:
    """Base codes (L,) uint8: A 0, C 1, G 2, T and U 3, anything else 4. Case does not matter."""
    return _CODES[np.frombuffer(sequence.encode("latin-1", "replace"), dtype=np.uint8)]


def reverse_complement_codes(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reverse complement of base codes (..., L) along the last axis."""
    flipped = codes[..., ::-1]
    return np.where(flipped < NO_BASE, np.uint8(3) - flipped, flipped)


@dataclass(frozen=True, slots=True)
class Tokens:
    """ids (T,) int32; spans (T, 2) int32 in nt of the encoded sequence, 0-based half-open, sorted, covering it all."""

    ids: NDArray[np.int32]
    spans: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class KmerTokenizer:
    """k-mers every `stride` nt; ids 0 to 4 are special, then the 4^k k-mers in the order of base codes.

    Where the stride does not land on the last nucleotide, one more k-mer ends there (it overlaps its neighbour), so
    that every nucleotide has a token. A k-mer with anything but A, C, G, T, U is [UNK]. Own classifiers use no [CLS] or
    [SEP].
    """

    k: int = 6
    stride: int = 6

    def __post_init__(self) -> None:
        if not (1 <= self.k <= 8 and 1 <= self.stride <= self.k):
            raise SeqmaskError(f"k-mer tokenizer: k {self.k}, stride {self.stride}; expected 1 <= stride <= k <= 8")

    @property
    def vocabulary_size(self) -> int:
        """Number of ids: the special tokens and 4^k k-mers."""
        return len(SPECIALS) + int(4**self.k)

    def token_count(self, length: int) -> int:
        """Tokens of a sequence of `length` nt; 0 when it is shorter than k."""
        return 0 if length < self.k else -(-(length - self.k) // self.stride) + 1

    def max_length(self, tokens: int) -> int:
        """The longest sequence, in nt, of at most `tokens` tokens."""
        return self.k + self.stride * (tokens - 1)

    def starts(self, length: int) -> NDArray[np.int32]:
        """First nucleotide of each token (T,) int32 of a sequence of `length` nt."""
        count = self.token_count(length)
        return np.minimum(np.arange(count, dtype=np.int32) * self.stride, np.int32(length - self.k))

    def all_ids(self, codes: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Ids (..., L - k + 1) int32 of the k-mers at every position of base codes (..., L)."""
        count = max(codes.shape[-1] - self.k + 1, 0)
        ids = np.zeros((*codes.shape[:-1], count), dtype=np.int32)
        bad = np.zeros(ids.shape, dtype=bool)
        for i in range(self.k):
            letters = codes[..., i : i + count]
            ids = ids * 4 + letters
            bad |= letters >= NO_BASE
        return np.where(bad, UNK, ids + len(SPECIALS)).astype(np.int32)

    def encode_codes(self, codes: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Ids (..., T) int32 of base codes (..., L)."""
        starts = self.starts(codes.shape[-1])
        if self.stride == 1:
            return self.all_ids(codes)
        ids = np.zeros((*codes.shape[:-1], len(starts)), dtype=np.int32)
        bad = np.zeros(ids.shape, dtype=bool)
        for i in range(self.k):
            letters = codes[..., starts + i]
            ids = ids * 4 + letters
            bad |= letters >= NO_BASE
        return np.where(bad, UNK, ids + len(SPECIALS)).astype(np.int32)

    def encode(self, sequence: str) -> Tokens:
        """Tokens of one sequence; none when it is shorter than k."""
        starts = self.starts(len(sequence))
        return Tokens(self.encode_codes(to_codes(sequence)), np.stack([starts, starts + self.k], axis=1))

    def to_json(self) -> dict[str, Any]:
        """The content of tokenizer.json."""
        return {"type": "kmer", "k": self.k, "stride": self.stride, "specials": list(SPECIALS), "bases": "ACGT"}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> KmerTokenizer:
        """Inverse of `to_json`; SeqmaskError where the tokenizer is of another type or has other special tokens."""
        if data.get("type") != "kmer" or data.get("specials") != list(SPECIALS):
            raise SeqmaskError(f"tokenizer of type {data.get('type')!r}: this seqmask reads type 'kmer'")
        return cls(k=int(data["k"]), stride=int(data["stride"]))

    @property
    def sha256(self) -> str:
        """Digest of the definition: two tokenizers with the same digest give the same ids."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()
