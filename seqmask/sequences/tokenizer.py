"""Either tokenizer, and its definition read back."""

from __future__ import annotations

from typing import Any

from seqmask.errors import SeqmaskError
from seqmask.sequences.bpe import BpeTokenizer
from seqmask.sequences.tokens import KmerTokenizer

Tokenizer = KmerTokenizer | BpeTokenizer
KINDS = ("kmer", "bpe")


def tokenizer_of(data: dict[str, Any]) -> Tokenizer:
    """The tokenizer that `to_json` of either gave; SeqmaskError where it is of no known type."""
    kind = data.get("type")
    if kind not in KINDS:
        raise SeqmaskError(f"tokenizer of type {kind!r}: this seqmask reads {', '.join(KINDS)}")
    return BpeTokenizer.from_json(data) if kind == "bpe" else KmerTokenizer.from_json(data)
