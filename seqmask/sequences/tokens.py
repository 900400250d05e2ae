"""Nucleotides to tokens: the k-mer tokenizer.

A token is an id and the span of nucleotides it stands for. Everything that follows (masks, BED, HDF5) works on spans,
so another tokenizer differs only in the spans it returns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.errors import SeqmaskError

PAD, UNK, CLS, SEP, MASK = range(5)
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
NO_BASE = 4  # the code of anything but A, C, G, T, U


_LETTERS = ("Aa", "Cc", "Gg", "TtUu")
_CODES = bytes(next((code for code, of in enumerate(_LETTERS) if chr(byte) in of), NO_BASE) for byte in range(256))


def to_codes(sequence: str) -> NDArray[np.uint8]:
    """Base codes (L,) uint8, read-only: A 0, C 1, G 2, T and U 3, anything else 4. Case does not matter."""
    return np.frombuffer(sequence.encode("latin-1", "replace").translate(_CODES), dtype=np.uint8)


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
    def shortest(self) -> int:
        """Nucleotides of the shortest sequence that can be read."""
        return self.k

    @property
    def summary(self) -> str:
        """One line for `seqmask info`."""
        return f"{self.k}-mers every {self.stride} nt"

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
        ids = _kmers(codes, self.k).astype(np.int32)
        ids += len(SPECIALS)
        if codes.max(initial=0) >= NO_BASE:
            ids[_any_of(codes >= NO_BASE, self.k)] = UNK
        return ids

    def ids_at(self, codes: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.int32]:
        """Ids (T,) int32 of the k-mers that begin at the positions at (T,) of base codes (L,)."""
        ids = _kmers(codes, self.k)[at].astype(np.int32)
        ids += len(SPECIALS)
        if codes.max(initial=0) >= NO_BASE:
            ids[_any_of(codes >= NO_BASE, self.k)[at]] = UNK
        return ids

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

    def encode_crops(self, crops: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.int32]]:
        """Ids (T,) int32 of each of base codes (L,)."""
        return [self.encode_codes(codes) for codes in crops]

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


def _kmers(codes: NDArray[np.uint8], k: int) -> NDArray[np.uint16]:
    """Numbers (..., L - k + 1) of the k-mers at every position, k <= 8; of any value where a letter is no base.

    A k-mer is two halves side by side: log k steps over the sequence instead of k.
    """
    if codes.shape[-1] < k:
        return np.zeros((*codes.shape[:-1], 0), dtype=np.uint16)
    if k == 1:
        return codes.astype(np.uint16)
    half = _kmers(codes, k // 2)
    numbers = half[..., : half.shape[-1] - k // 2] << np.uint16(2 * (k // 2))
    numbers += half[..., k // 2 :]
    if k % 2:
        numbers = numbers[..., :-1] << np.uint16(2)
        numbers += codes[..., k - 1 :]
    return numbers


def _any_of(flags: NDArray[np.bool_], k: int) -> NDArray[np.bool_]:
    """Whether any of the k flags from each position on is set (..., L - k + 1)."""
    found = np.zeros((*flags.shape[:-1], max(flags.shape[-1] - k + 1, 0)), dtype=bool)
    for i in range(k):
        found |= flags[..., i : i + found.shape[-1]]
    return found
