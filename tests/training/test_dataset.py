"""Training batches: a pure function of seed and step, whatever was asked for first."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from seqmask.inference.engine import read_tokens
from seqmask.sequences.tokens import PAD, UNK, KmerTokenizer, reverse_complement_codes, to_codes
from seqmask.training import dataset
from seqmask.training.dataset import Corpus, CropLaw, Ragged, batches, crop_codes, pad, plan_pool, random_mask

LAW = CropLaw(12, 90)
MOST = 30  # tokens of 90 nt
TOKENIZER = KmerTokenizer(3, 3)
BUDGET = 200


def corpus_of(count, seed=0, shortest=1, longest=150):
    """Random sequences, some shorter than a token; the first target is the row itself."""
    rng = np.random.default_rng(seed)
    sequences = ["".join(rng.choice(list("ACGT"), rng.integers(shortest, longest))) for _ in range(count)]
    return Corpus.of(sequences, np.stack([np.arange(count), rng.integers(-1, 3, count)], axis=1)), sequences


def take(count, first=0, seed=1, corpus=None):
    corpus = corpus or corpus_of(100)[0]
    return list(itertools.islice(batches(corpus, TOKENIZER, LAW, MOST, BUDGET, seed, first), count))


def same(one, other):
    assert one.step == other.step
    for name in ("ids", "attention", "targets"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), strict=True)


def test_corpus():
    corpus, sequences = corpus_of(5)
    assert len(corpus) == len(corpus.codes) == 5
    assert corpus.codes.lengths.tolist() == [len(sequence) for sequence in sequences]
    assert [corpus.codes[i].tolist() for i in range(5)] == [to_codes(sequence).tolist() for sequence in sequences]
    empty = Corpus.of([], np.zeros((0, 1), dtype=np.int64))
    assert (len(empty), empty.codes.offsets.tolist(), empty.codes.values.dtype) == (0, [0], np.uint8)
    ragged = Ragged(np.arange(5, dtype=np.uint8), np.array([0, 0, 5]))
    assert [ragged[0].tolist(), ragged[1].tolist()] == [[], [0, 1, 2, 3, 4]]


def test_batches_are_deterministic():
    for one, other in zip(take(40), take(40), strict=True):
        same(one, other)
    assert any(
        a.ids.shape != b.ids.shape or (a.ids != b.ids).any() for a, b in zip(take(5), take(5, seed=2), strict=True)
    )


@pytest.mark.parametrize("pool", [7, 32, 4096])
@pytest.mark.parametrize("first", [1, 7, 30, 61])
def test_resuming_gives_the_batches_that_would_have_come(monkeypatch, pool, first):
    """Over the ends of pools and of epochs: 100 sequences are about 30 batches."""
    monkeypatch.setattr(dataset, "POOL", pool)
    whole = take(first + 5)
    assert [batch.step for batch in whole] == list(range(first + 5))
    for resumed, expected in zip(take(5, first=first), whole[first:], strict=True):
        same(resumed, expected)


@pytest.mark.parametrize("pool", [16, 4096])
def test_an_epoch_holds_every_sequence_once(monkeypatch, pool):
    monkeypatch.setattr(dataset, "POOL", pool)
    corpus, _ = corpus_of(100, shortest=20)
    epochs = []
    rows = []
    for batch in batches(corpus, TOKENIZER, LAW, MOST, BUDGET, seed=1):
        rows += batch.targets[:, 0].tolist()
        assert (batch.targets == corpus.targets[batch.targets[:, 0]]).all()
        if len(rows) >= 100:
            epochs.append(rows)
            rows = []
        if len(epochs) == 3:
            break
    assert all(sorted(epoch) == list(range(100)) for epoch in epochs)
    assert epochs[0] != epochs[1]  # in another order


def test_token_budget_and_padding():
    for batch in take(60):
        rows, width = batch.ids.shape
        assert rows * width <= BUDGET
        assert batch.ids.dtype == batch.targets.dtype == np.int64
        assert batch.attention.dtype == np.bool_
        assert (batch.ids[~batch.attention] == PAD).all()
        assert (batch.ids[batch.attention] != PAD).all()
        assert batch.attention[:, 0].all()  # no sequence without a token
        assert batch.attention.all(axis=0).any()
        assert (np.diff(batch.attention.astype(int), axis=1) <= 0).all()  # padded on the right
    filled = np.mean([batch.attention.mean() for batch in take(60)])
    assert filled > 0.85  # like lengths go together


def test_crops_stay_within_the_law():
    law, rng = CropLaw(20, 100), np.random.default_rng(0)
    lengths = rng.integers(1, 400, 5000)
    starts, sizes = law.draw(rng, lengths)
    assert (starts >= 0).all()
    assert (starts + sizes <= lengths).all()
    assert (sizes <= 100).all()
    assert (sizes[lengths >= 100] >= 20).all()
    assert (sizes[lengths <= 20] == lengths[lengths <= 20]).all()  # a short sequence is taken whole
    assert {int(sizes.min()), int(sizes.max())} == {1, 100}


def test_crop_lengths_are_log_uniform_and_starts_uniform():
    """As many between 100 and 200 nt as between 200 and 400 nt; every place of the sequence is as likely."""
    law, rng = CropLaw(100, 400), np.random.default_rng(0)
    starts, sizes = law.draw(rng, np.full(40_000, 10_000))
    assert np.mean(sizes < 200) == pytest.approx(0.5, abs=0.01)
    assert np.mean(sizes < 141) == pytest.approx(0.25, abs=0.01)
    assert np.mean(starts / (10_000 - sizes)) == pytest.approx(0.5, abs=0.01)
    assert np.std(starts / (10_000 - sizes)) == pytest.approx(12**-0.5, abs=0.01)


def test_crops_are_pieces_of_either_strand():
    corpus, sequences = corpus_of(1, shortest=300, longest=301)
    crops = crop_codes(corpus, np.zeros(200, dtype=np.int64), CropLaw(20, 60), np.random.default_rng(0))
    codes = "".join(map(str, to_codes(sequences[0])))
    turned = "".join(map(str, reverse_complement_codes(to_codes(sequences[0]))))
    texts = ["".join(map(str, crop)) for crop in crops]
    forward, backward = [text in codes for text in texts], [text in turned for text in texts]
    assert all(a or b for a, b in zip(forward, backward, strict=True))
    assert 70 < sum(forward) < 130
    assert 70 < sum(backward) < 130


def test_pad_hides_what_the_engine_does_not_read():
    rows = [np.array([7, UNK, 8, UNK], np.int32), np.array([UNK, UNK], np.int32), np.array([9], np.int32)]
    ids, attention = pad(rows)
    assert attention.tolist() == [[True, False, True, False], [True, True, False, False], [True, False, False, False]]
    read = read_tokens(np.concatenate(rows), np.array([0, 4, 6, 7]))
    assert read is not None
    assert read.tolist() == attention[ids != PAD].tolist()
    assert read_tokens(np.array([7, 8], np.int32), np.array([0, 2])) is None


def test_pad():
    ids, attention = pad([np.array([7, 8], np.int32), np.array([9], np.int32), np.array([5, 6, 7], np.int32)])
    assert ids.tolist() == [[7, 8, PAD], [9, PAD, PAD], [5, 6, 7]]
    assert attention.tolist() == [[True, True, False], [True, False, False], [True, True, True]]


@pytest.mark.parametrize("budget", [1, 10, 64, 1000])
def test_plan_covers_everything_once(budget):
    rng = np.random.default_rng(budget)
    counts = rng.integers(0, 40, 300)
    plan = plan_pool(counts, budget, np.random.default_rng(0))
    assert sorted(np.concatenate(plan).tolist()) == np.flatnonzero(counts).tolist()
    for rows in plan:
        assert len(rows) * counts[rows].max() <= budget or len(rows) == 1  # one longer than the budget goes alone
    again = plan_pool(counts, budget, np.random.default_rng(0))
    assert [rows.tolist() for rows in plan] == [rows.tolist() for rows in again]


def test_plan_order_is_random_and_empty_pools_are_fine():
    counts = np.arange(1, 200)
    widths = [int(counts[rows].max()) for rows in plan_pool(counts, 400, np.random.default_rng(0))]
    assert widths != sorted(widths)
    assert plan_pool(np.zeros(3, dtype=np.int64), 400, np.random.default_rng(0)) == []
    assert plan_pool(np.zeros(0, dtype=np.int64), 400, np.random.default_rng(0)) == []


def changes(rows):
    return np.mean(rows[:, 1:] != rows[:, :-1], axis=1)


def test_random_mask_rates_and_spans():
    """Binary; the hidden share is uniform over sequences; half of them are hidden in spans, half token by token."""
    width = 200
    attention = np.ones((4000, width), dtype=bool)
    mask = random_mask(attention, np.random.default_rng(0))
    assert mask.dtype == np.float32
    assert set(np.unique(mask)) == {0.0, 1.0}
    hidden = 1 - mask.mean(axis=1)
    assert hidden.mean() == pytest.approx(0.5, abs=0.02)
    assert hidden.std() == pytest.approx(12**-0.5, abs=0.03)
    # Token by token a share h changes with probability 2 h (1 - h); in spans of 2 to 16 tokens at most half as often
    middle = (hidden > 0.3) & (hidden < 0.7)
    ratio = changes(mask[middle]) / (2 * hidden * (1 - hidden))[middle]
    assert np.mean(ratio > 0.75) == pytest.approx(0.5, abs=0.05)
    assert ratio[ratio < 0.75].mean() == pytest.approx(0.16, abs=0.04)


def test_random_mask_never_hides_padding():
    attention = np.arange(50) < np.array([0, 1, 10, 50] * 50)[:, None]
    mask = random_mask(attention, np.random.default_rng(1))
    assert (mask[~attention] == 1).all()
    assert (mask[attention.sum(axis=1) == 0] == 1).all()
    assert (mask[attention] == 0).mean() == pytest.approx(0.5, abs=0.1)


def test_random_mask_is_a_function_of_its_generator():
    attention = np.ones((5, 30), dtype=bool)
    one, other = (random_mask(attention, np.random.default_rng(9)) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_batches_made_in_other_processes_are_the_same(monkeypatch):
    monkeypatch.setattr(dataset, "POOL", 16)
    corpus = corpus_of(100)[0]
    made = batches(corpus, TOKENIZER, LAW, MOST, BUDGET, 1, 5, workers=2)
    for one, other in zip(itertools.islice(made, 40), take(40, first=5), strict=True):
        same(one, other)
