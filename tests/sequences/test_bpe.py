"""The BPE tokenizer against merging by hand, the library's own offsets, and windows one by one."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import numpy as np
import pytest

from seqmask.errors import SeqmaskError
from seqmask.sequences import bpe
from seqmask.sequences.bpe import BpeTokenizer, token_windows
from seqmask.sequences.explanations import Status
from seqmask.sequences.pool import make_pool
from seqmask.sequences.records import Record, read
from seqmask.sequences.tokenizer import tokenizer_of
from seqmask.sequences.tokens import SPECIALS, UNK, KmerTokenizer, to_codes
from seqmask.sequences.windows import count_windows, join, split

READS = Path(__file__).resolve().parents[2] / "examples" / "reads.fasta.gz"


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """200 real reads."""
    return [record.sequence for record in read([str(READS)])][:200]


@pytest.fixture(scope="module")
def tokenizer(texts: list[str]) -> BpeTokenizer:
    return BpeTokenizer.learn(texts, 300)


def by_hand(tokenizer: BpeTokenizer, sequence: str) -> list[str]:
    """The words of a sequence: of all pairs of neighbours the one that was learned first is merged, until none is."""
    merges = [tuple(pair) for pair in json.loads(tokenizer.definition)["model"]["merges"]]
    order = {pair: i for i, pair in enumerate(merges)}
    words = list(sequence)
    while pairs := [(order[p], i) for i, p in enumerate(itertools.pairwise(words)) if p in order]:
        _, i = min(pairs)
        words[i : i + 2] = ["".join(words[i : i + 2])]
    return words


def test_merges_by_hand(tokenizer: BpeTokenizer, texts: list[str]) -> None:
    for text in texts[:10]:
        tokens = tokenizer.encode(text)
        words = [text.upper()[begin:end] for begin, end in tokens.spans.tolist()]
        assert words == by_hand(tokenizer, text.upper())
        assert tokens.ids.tolist() == [tokenizer.library.token_to_id(word) for word in words]


def test_the_first_merge_is_the_most_frequent_pair() -> None:
    learned = BpeTokenizer.learn(["ACACACAC", "GTAC"], 10)
    assert learned.vocabulary_size == 10
    assert json.loads(learned.definition)["model"]["merges"] == [["A", "C"]]
    assert learned.encode("ACGTAC").spans.tolist() == [[0, 2], [2, 3], [3, 4], [4, 6]]


def test_spans_are_the_offsets_of_the_library(tokenizer: BpeTokenizer, texts: list[str]) -> None:
    for text in texts[10:40]:
        encoding = tokenizer.library.encode(text.upper().replace("U", "T"), add_special_tokens=False)
        tokens = tokenizer.encode(text)
        assert tokens.ids.tolist() == encoding.ids
        assert tokens.spans.tolist() == [list(pair) for pair in encoding.offsets]
        assert tokens.ids.dtype == tokens.spans.dtype == np.int32


def test_letters_that_are_no_base_are_one_token_each(tokenizer: BpeTokenizer) -> None:
    tokens = tokenizer.encode("acgUNNr-ACGT")
    assert tokens.spans[0, 0] == 0
    assert tokens.spans[-1, 1] == 12
    assert (tokens.spans[1:, 0] == tokens.spans[:-1, 1]).all()
    unknown = tokens.spans[tokens.ids == UNK]
    assert unknown.tolist() == [[4, 5], [5, 6], [6, 7], [7, 8]]
    assert tokenizer.encode("acgu").ids.tolist() == tokenizer.encode("ACGT").ids.tolist()
    assert len(tokenizer.encode("")) == 0


def test_learning_is_repeatable_and_reads_bases_only(texts: list[str], tokenizer: BpeTokenizer) -> None:
    assert BpeTokenizer.learn(texts, 300) == tokenizer
    assert BpeTokenizer.learn([text.lower().replace("t", "U") + "NNN" for text in texts], 300).sha256 == (
        tokenizer.sha256
    )
    assert tokenizer.vocabulary_size == 300
    assert [tokenizer.library.id_to_token(i) for i in range(9)] == [*SPECIALS, *"ACGT"]
    lengths = [len(tokenizer.encode(text)) for text in texts]
    assert tokenizer.nt_per_token == pytest.approx(sum(map(len, texts)) / sum(lengths), rel=0.02)
    assert tokenizer.max_length(100) == int(100 * tokenizer.nt_per_token)
    with pytest.raises(SeqmaskError, match="expected 9 or more"):
        BpeTokenizer.learn(texts, 8)


def test_json_is_whole(tokenizer: BpeTokenizer, texts: list[str]) -> None:
    back = tokenizer_of(json.loads(json.dumps(tokenizer.to_json())))
    assert isinstance(back, BpeTokenizer)
    assert back.sha256 == tokenizer.sha256
    assert back.encode(texts[0]).ids.tolist() == tokenizer.encode(texts[0]).ids.tolist()
    assert isinstance(tokenizer_of(KmerTokenizer().to_json()), KmerTokenizer)
    with pytest.raises(SeqmaskError, match="reads kmer, bpe"):
        tokenizer_of({"type": "wordpiece"})
    other = tokenizer.to_json()
    other["tokenizer"]["model"]["vocab"]["[PAD]"] = 299
    with pytest.raises(SeqmaskError):
        BpeTokenizer.from_json(other)


def test_a_contig_is_encoded_in_blocks(
    tokenizer: BpeTokenizer, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block's end is a token's end, and what many sequences give together each gives alone."""
    monkeypatch.setattr(bpe, "BLOCK", 64)
    long = "".join(texts[:5])
    tokens = tokenizer.encode(long)
    assert set(range(64, len(long), 64)) <= set(tokens.spans[:, 0].tolist())
    assert tokens.spans[-1, 1] == len(long)
    together = tokenizer.encode_all([long, "", "A", texts[7]])
    assert [ids.tolist() for ids in together] == [tokenizer.encode(s).ids.tolist() for s in (long, "", "A", texts[7])]
    codes = [to_codes(text) for text in texts[:3]]
    assert [ids.tolist() for ids in tokenizer.encode_crops(codes)] == [
        tokenizer.encode(text).ids.tolist() for text in texts[:3]
    ]


@pytest.mark.parametrize(("most", "overlap"), [(8, 0), (8, 5), (24, 11), (24, 1000), (400, 50)])
def test_windows_cover_the_record(tokenizer: BpeTokenizer, texts: list[str], most: int, overlap: int) -> None:
    for text in texts[:30]:
        spans = tokenizer.encode(text).spans
        windows = token_windows(spans, most, overlap)
        assert windows[0][0] == 0
        assert windows[-1][1] == len(spans)
        if len(spans) <= most:
            assert windows == [(0, len(spans))]
            continue
        assert {last - first for first, last in windows} == {most}
        for (first, last), (after, _) in itertools.pairwise(windows):
            assert first < after <= last
            shared = spans[last - 1, 1] - spans[after, 0] if last > after else 0
            assert shared >= min(overlap, spans[last - 1, 1] - spans[first + most // 2, 0])
        assert len(windows) <= 2 * len(spans) / most + 1, "half a window on, at least"


def odd_records(seed: int) -> list[Record]:
    rng = random.Random(seed)
    found = ["".join(rng.choices("ACGTACGTACGTacgtuNRn-", k=rng.randrange(300))) for _ in range(40)]
    found += ["", "A", "N" * 30, "-.*n" * 5, "acgtuACGTU" * 3]
    return [Record(f"r{i}", f"r{i}", sequence) for i, sequence in enumerate(found)]


def test_a_pool_is_what_split_makes_of_each_record(tokenizer: BpeTokenizer) -> None:
    given = odd_records(3)
    pool = make_pool(given, range(len(given)), tokenizer, 24, 11)
    apart = [split(record, tokenizer, 24, 11) for record in given]
    assert pool.status.tolist() == [status for status, _ in apart]
    assert set(pool.status.tolist()) == {Status.ok, Status.empty, Status.no_bases}
    assert pool.windows.tolist() == [len(windows) for _, windows in apart]
    windows = [window for _, of_record in apart for window in of_record]
    assert np.diff(pool.offsets).tolist() == [len(window.tokens) for window in windows]
    assert pool.ids.tolist() == np.concatenate([window.tokens.ids for window in windows]).tolist()
    spans = np.concatenate([window.tokens.spans + window.start for window in windows])
    assert pool.spans.tolist() == spans.tolist()
    assert pool.ids.dtype == pool.spans.dtype == np.int32
    for record, of_record in zip(given, (windows for _, windows in apart), strict=True):
        if of_record:
            mask = [np.ones((len(window.tokens), 1), np.float32) for window in of_record]
            joined, _ = join(of_record, mask)
            assert (joined[0, 0], joined[:, 1].max()) == (0, len(record.sequence))


def test_frames_are_of_kmers_only(tokenizer: BpeTokenizer, texts: list[str]) -> None:
    """Where a token begins is told by the sequence, so that there is one reading whatever --frames is."""
    record = Record("r", "r", texts[0])
    assert len(split(record, tokenizer, 1000, 0, 3)[1]) == count_windows(len(texts[0]), tokenizer, 1000, 0, 3) == 1


def test_a_pool_without_anything_to_read(tokenizer: BpeTokenizer) -> None:
    pool = make_pool([Record("r", "r", "")], [0], tokenizer, 24, 0)
    assert (len(pool.ids), pool.windows.tolist(), pool.offsets.tolist()) == (0, [0], [0])
