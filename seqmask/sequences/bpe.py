"""Byte-pair encoding of nucleotides: tokens of unequal length, learned from the training sequences."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Library
from tokenizers import models, trainers

from seqmask.errors import SeqmaskError
from seqmask.sequences.tokens import SPECIALS, Tokens, to_codes

BLOCK = 8192  # nt that are encoded together: a token boundary at each multiple bounds time and memory of a contig
WORD = 512  # nt of the pieces that pairs are counted in
LEARNED_FROM = 10_000_000  # nt of the training sequences that are enough to count pairs in
_LETTERS = bytes(b"ACGTN"[min(code, 4)] for code in range(256))


@dataclass(frozen=True)
class BpeTokenizer:
    """Pairs of neighbouring tokens merged from single bases on (Sennrich et al. 2016; Zhou et al. 2023 for genomes).

    The algorithm is the `tokenizers` library's. Ids 0 to 4 are special, as of k-mers. Any letter but A, C, G, T, U is
    an [UNK] of 1 nt, so the spans follow from the ids alone. definition: the library's JSON, as text. nt_per_token:
    mean over what it was learned from.
    """

    definition: str
    nt_per_token: float

    shortest = 1  # nt that can be read
    stride = 1  # there are no frames: where a token begins is told by the sequence

    @classmethod
    def learn(cls, sequences: Iterable[str], vocabulary: int) -> BpeTokenizer:
        """Learn at most `vocabulary` ids, the special ones among them, from sequences; the same ones give the same."""
        if vocabulary < len(SPECIALS) + 4:
            raise SeqmaskError(f"BPE vocabulary of {vocabulary}; expected {len(SPECIALS) + 4} or more")
        words, read = [], 0
        for sequence in sequences:
            for piece in re.findall("[ACGT]+", _text(to_codes(sequence))):
                words += [piece[begin : begin + WORD] for begin in range(0, len(piece), WORD)]
                read += len(piece)
            if read >= LEARNED_FROM:
                break
        library = Library(models.BPE(unk_token=SPECIALS[1]))
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary, special_tokens=list(SPECIALS), initial_alphabet=list("ACGT"), show_progress=False
        )
        library.train_from_iterator(words, trainer)
        found = cls(library.to_str(), 1.0)
        tokens = sum(len(ids) for ids in found.encode_all(words[:2000]))
        return cls(found.definition, sum(map(len, words[:2000])) / max(tokens, 1))

    @cached_property
    def library(self) -> Library:
        """The library's tokenizer."""
        return Library.from_str(self.definition)

    @cached_property
    def token_nt(self) -> NDArray[np.int32]:
        """Nucleotides of each id (V,) int32: 1 of a special one, as an [UNK] is one letter."""
        letters = {i: token for token, i in self.library.get_vocab().items()}
        return np.array([1 if i < len(SPECIALS) else len(letters[i]) for i in range(len(letters))], dtype=np.int32)

    @property
    def vocabulary_size(self) -> int:
        """Number of ids."""
        return int(self.library.get_vocab_size())

    @property
    def summary(self) -> str:
        """One line for `seqmask info`."""
        return f"BPE, {self.vocabulary_size} ids, {self.nt_per_token:.1f} nt each"

    def max_length(self, tokens: int) -> int:
        """About the longest sequence, in nt, of so many tokens; a repeat can be longer, a rare sequence is shorter."""
        return max(int(tokens * self.nt_per_token), 1)

    def encode_all(self, sequences: Sequence[str]) -> list[NDArray[np.int32]]:
        """Ids (T,) int32 of each sequence."""
        texts = [_text(to_codes(sequence)) for sequence in sequences]
        blocks = [text[begin : begin + BLOCK] for text in texts for begin in range(0, len(text), BLOCK)]
        encoded = iter(self.library.encode_batch_fast(blocks, add_special_tokens=False))
        nothing = np.zeros(0, dtype=np.int32)
        return [
            np.concatenate(
                [nothing, *(np.array(next(encoded).ids, dtype=np.int32) for _ in range(0, len(text), BLOCK))]
            )
            for text in texts
        ]

    def encode_crops(self, crops: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.int32]]:
        """Ids (T,) int32 of each of base codes (L,)."""
        return self.encode_all([_text(codes) for codes in crops])

    def encode(self, sequence: str) -> Tokens:
        """Tokens of one sequence; none of an empty one."""
        (ids,) = self.encode_all([sequence])
        return Tokens(ids, self.spans(ids))

    def spans(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Spans (T, 2) int32 of the ids (T,) of a sequence that begins with the first."""
        ends = np.cumsum(self.token_nt[ids], dtype=np.int32)
        return np.stack([ends - self.token_nt[ids], ends], axis=1)

    def to_json(self) -> dict[str, Any]:
        """The content of tokenizer.json."""
        return {
            "type": "bpe",
            "specials": list(SPECIALS),
            "nt_per_token": self.nt_per_token,
            "tokenizer": json.loads(self.definition),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> BpeTokenizer:
        """Inverse of `to_json`; SeqmaskError where the library can not read it or special tokens are others."""
        found = cls(json.dumps(data["tokenizer"]), float(data["nt_per_token"]))
        try:
            names = [found.library.id_to_token(i) for i in range(len(SPECIALS))]
        except Exception as error:  # the library raises nothing narrower
            raise SeqmaskError(str(error)) from error
        if names != list(SPECIALS):
            raise SeqmaskError(f"BPE whose first ids are {names}; expected {list(SPECIALS)}")
        return found

    @property
    def sha256(self) -> str:
        """Digest of the definition: two tokenizers with the same digest give the same ids."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


def _text(codes: NDArray[np.uint8]) -> str:
    return codes.tobytes().translate(_LETTERS).decode("ascii")


def token_windows(spans: NDArray[np.int32], most: int, overlap: int) -> list[tuple[int, int]]:
    """First and last token (half-open) of windows of at most `most` tokens that cover spans (T, 2) without gaps.

    Neighbours share at least `overlap` nt, or half of their tokens if that is less; the last window is as long as the
    others. One window where all tokens fit, none where there are none.
    """
    count = len(spans)
    if count <= most:
        return [(0, count)] if count else []
    begins = [0]
    while begins[-1] + most < count:
        reach = spans[begins[-1] + most - 1, 1] - overlap
        begin = int(np.searchsorted(spans[:, 0], reach, side="right")) - 1
        begins.append(min(max(begin, begins[-1] + max(most // 2, 1)), count - most))
    return [(begin, begin + most) for begin in begins]
