"""The k-mer tokenizer against plain dictionaries and loops."""

from __future__ import annotations

import itertools
import json
import random

import numpy as np
import pytest
from Bio.Seq import Seq

from seqmask.errors import SeqmaskError
from seqmask.sequences.tokens import NO_BASE, SPECIALS, UNK, KmerTokenizer, reverse_complement_codes, to_codes

SHAPES = [(1, 1), (2, 1), (3, 2), (3, 3), (6, 1), (6, 4), (6, 6), (8, 1), (8, 8)]


def random_sequence(rng: random.Random, length: int, letters: str = "ACGTACGTACGTacgtuNRn-") -> str:
    return "".join(rng.choices(letters, k=length))


def ids_by_dictionary(sequence: str, k: int, starts: list[int]) -> list[int]:
    kmers = {"".join(kmer): len(SPECIALS) + i for i, kmer in enumerate(itertools.product("ACGT", repeat=k))}
    plain = sequence.upper().replace("U", "T")
    return [kmers.get(plain[start : start + k], UNK) for start in starts]


def test_codes():
    assert to_codes("ACGTUacgtu").tolist() == [0, 1, 2, 3, 3] * 2
    assert set(to_codes("NRYSWKMBDHV-.* 1ü\u2013").tolist()) == {NO_BASE}
    assert to_codes("").shape == (0,)
    assert to_codes("A\u2013CüG").tolist() == [0, NO_BASE, 1, NO_BASE, 2]  # one code a letter, whatever the letter


def test_reverse_complement_agrees_with_biopython():
    rng = random.Random(1)
    for length in (0, 1, 2, 7, 200):
        sequence = random_sequence(rng, length, "ACGTacgtNRYSWKMBDHV-")
        codes = to_codes(sequence)
        flipped = reverse_complement_codes(codes)
        assert flipped.tolist() == to_codes(str(Seq(sequence).reverse_complement())).tolist()
        assert flipped.dtype == np.uint8
        assert reverse_complement_codes(flipped).tolist() == codes.tolist()
    rows = np.arange(10, dtype=np.uint8).reshape(2, 5) % 5
    assert [row.tolist() for row in reverse_complement_codes(rows)] == [
        reverse_complement_codes(row).tolist() for row in rows
    ]


@pytest.mark.parametrize(("k", "stride"), SHAPES)
def test_ids_and_spans(k, stride):
    rng = random.Random(k * 10 + stride)
    tokenizer = KmerTokenizer(k, stride)
    for length in [*range(30), 100, 101, 102, 103]:
        sequence = random_sequence(rng, length)
        tokens = tokenizer.encode(sequence)
        starts = tokens.spans[:, 0].tolist()
        assert tokens.ids.tolist() == ids_by_dictionary(sequence, k, starts)
        assert len(tokens) == len(tokens.ids) == len(tokens.spans) == tokenizer.token_count(length)
        assert tokens.ids.dtype == tokens.spans.dtype == np.int32
        assert (tokens.spans[:, 1] - tokens.spans[:, 0] == k).all()
        if length < k:
            assert len(tokens) == 0
            continue
        # Sorted, every stride, and all nucleotides covered: only the last may come closer to its neighbour
        assert starts[:-1] == list(range(0, length - k, stride))
        assert tokens.spans[-1, 1] == length
        assert set().union(*(range(*span) for span in tokens.spans.tolist())) == set(range(length))


@pytest.mark.parametrize(("k", "stride"), SHAPES)
def test_encoding_codes(k, stride):
    """A batch of codes is its rows; ids at every position are those of stride 1."""
    rng = random.Random(k)
    tokenizer = KmerTokenizer(k, stride)
    for length in (0, 1, 5, 6, 7, 8, 9, 40):
        sequences = [random_sequence(rng, length) for _ in range(3)]
        codes = np.stack([to_codes(sequence) for sequence in sequences])
        assert [row.tolist() for row in tokenizer.encode_codes(codes)] == [
            tokenizer.encode(sequence).ids.tolist() for sequence in sequences
        ]
        every = KmerTokenizer(k, 1)
        assert [row.tolist() for row in tokenizer.all_ids(codes)] == [
            every.encode(sequence).ids.tolist() for sequence in sequences
        ]


@pytest.mark.parametrize(("k", "stride"), SHAPES)
def test_longest_sequence_of_so_many_tokens(k, stride):
    tokenizer = KmerTokenizer(k, stride)
    for tokens in (1, 2, 3, 50):
        assert tokenizer.token_count(tokenizer.max_length(tokens)) == tokens
        assert tokenizer.token_count(tokenizer.max_length(tokens) + 1) == tokens + 1


def test_vocabulary():
    tokenizer = KmerTokenizer(2, 2)
    assert tokenizer.vocabulary_size == 5 + 16
    assert tokenizer.encode("AATTNA").ids.tolist() == [5, 20, UNK]


def test_json():
    tokenizer = KmerTokenizer(5, 3)
    assert KmerTokenizer.from_json(json.loads(json.dumps(tokenizer.to_json()))) == tokenizer
    digests = {KmerTokenizer(k, stride).sha256 for k, stride in SHAPES}
    assert len(digests) == len(SHAPES)
    assert KmerTokenizer(5, 3).sha256 == tokenizer.sha256


@pytest.mark.parametrize("change", [{"type": "bpe"}, {"specials": ["[PAD]"]}, {"k": 9}, {"stride": 0}])
def test_foreign_json_is_refused(change):
    with pytest.raises(SeqmaskError):
        KmerTokenizer.from_json({**KmerTokenizer().to_json(), **change})


@pytest.mark.parametrize(("k", "stride"), [(0, 1), (9, 1), (6, 0), (6, 7), (6, -1)])
def test_impossible_tokenizers(k, stride):
    with pytest.raises(SeqmaskError, match="expected 1 <= stride <= k <= 8"):
        KmerTokenizer(k, stride)
