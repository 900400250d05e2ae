"""The bag of k-mers: what it reads, and that a transformer started from it says what it said."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from seqmask.models.classifier import Classifier
from seqmask.models.encoders import configuration
from seqmask.models.operators import OPERATORS
from seqmask.sequences.tokens import CLS, MASK, SPECIALS, UNK, KmerTokenizer, to_codes
from seqmask.training.bag import POOLER_RATE, Bag, BagBatch, BagObjective, bag_batches, start_as_bag, waves
from seqmask.training.dataset import Corpus, CropLaw, pad
from seqmask.training.fit import Schedule, fit

CPU = torch.device("cpu")
K = 3
TOKENIZER = KmerTokenizer(K, K)
WIDTH, SIZES = 64, (2, 3)


def a_bag(
    crossing: int, seed: int = 0, classes: int = sum(SIZES), phases: int = 1, pooler: int = 0, canonical: bool = False
) -> Bag:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bag = Bag(configuration("tiny", TOKENIZER.vocabulary_size, 32, crossing, phases, pooler, canonical), classes)
        if phases > 1:
            bag.embedding.phases.data.normal_(1.0, 0.5)
        torch.nn.init.normal_(bag.head.weight, std=0.5)
        bag.embedding.weight.data.mul_(torch.rand(TOKENIZER.vocabulary_size, 1) + 0.5)
    return bag.requires_grad_(False)


def sequences(count: int = 30, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("ACGT"), int(n))) for n in rng.integers(12, 70, count)]


def end_to_end(texts: list[str]) -> tuple[Tensor, Tensor]:
    """ids (N,) and rows (N,) as `bag_batches` gives them."""
    parts = [np.append(TOKENIZER.encode(text).ids, UNK) for text in texts]
    rows = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return torch.from_numpy(np.concatenate(parts).astype(np.int64)), torch.from_numpy(rows)


def by_hand(bag: Bag, text: str, crossing: int) -> Tensor:
    """Logits of one sequence: heads(mean of LN(embedding)), k-mers looked up one by one."""
    every = TOKENIZER.all_ids(to_codes(text))
    states = []
    for start in TOKENIZER.starts(len(text)).tolist():
        around = range(start - K // 2, start - K // 2 + K) if crossing else [start]
        read = sum(bag.embedding.weight[int(every[i])] for i in around if 0 <= i < len(every))
        states.append(torch.nn.functional.layer_norm(read / len(around) ** 0.5, (WIDTH,)))
    pooled = torch.stack(states).mean(dim=0)
    found: Tensor = bag.head(pooled)
    return found


class TestBag:
    @pytest.mark.parametrize("crossing", [0, K])
    def test_by_hand(self, crossing: int) -> None:
        """Sequences end to end do not read each other."""
        bag = a_bag(crossing)
        texts = [text[: len(text) // K * K] for text in sequences(8)]
        expected = torch.stack([by_hand(bag, text, crossing) for text in texts])
        torch.testing.assert_close(bag(*end_to_end(texts)), expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("crossing", [0, K])
    def test_special_tokens_count_for_nothing(self, crossing: int) -> None:
        bag = a_bag(crossing)
        ids, rows = torch.tensor([UNK, 20, 30, UNK, 40, CLS]), torch.tensor([0, 0, 0, 0, 0, 0])
        alone = [bag(torch.tensor(part), torch.zeros(len(part), dtype=torch.long)) for part in ([20, 30], [40])]
        together = (2 * (alone[0] - bag.head.bias) + alone[1] - bag.head.bias) / 3 + bag.head.bias
        torch.testing.assert_close(bag(ids, rows), together)

    @pytest.mark.parametrize("crossing", [0, K])
    def test_a_sequence_without_any_base_still_has_its_row(self, crossing: int) -> None:
        """In the middle, at the end, or alone: it gets the bias, which knows nothing."""
        bag = a_bag(crossing)
        text = sequences(1)[0]
        for texts in ([text, "N" * 9, text], [text, text, "N" * 30], ["NNN"], ["NNN", text]):
            logits = bag(*end_to_end(texts))
            assert logits.shape == (len(texts), sum(SIZES))
            for row, of in enumerate(texts):
                if "N" in of:
                    torch.testing.assert_close(logits[row], bag.head.bias.data)


class TestBatches:
    """Crops as bags of tokens."""

    CORPUS = Corpus.of(sequences(40), np.arange(40)[:, None] % 3)
    LAW = CropLaw(12, 60)

    def take(self, count: int, all_kmers: float, first: int = 0, seed: int = 1) -> list[BagBatch]:
        stream = bag_batches(self.CORPUS, TOKENIZER, self.LAW, 8, seed, CPU, all_kmers)
        return list(itertools.islice(stream(first), count))

    def counts(self, batch: BagBatch) -> list[tuple[int, int]]:
        """Tokens and [UNK] of each sequence."""
        known = batch.ids >= len(SPECIALS)
        return [(int(known[batch.rows == r].sum()), int((~known)[batch.rows == r].sum())) for r in range(8)]

    def test_never_all_kmers_is_one_frame(self) -> None:
        """As the transformer reads: a crop of n nt has at most n / k + 1 tokens, and one [UNK] after them."""
        for batch in self.take(12, 0):
            assert batch.rows.unique().tolist() == list(range(8))
            assert (batch.rows.diff() >= 0).all()
            for tokens, border in self.counts(batch):
                assert 4 <= tokens <= -(-60 // K)
                assert border == 1
            last = torch.cat([batch.rows.diff() == 1, torch.tensor([True])])
            assert (batch.ids[last] == UNK).all()

    def test_the_share_of_all_kmers_falls_to_nothing(self) -> None:
        """The same crops, read in both ways: all overlapping k-mers are three times as many."""
        batches = 60
        mixed, framed = self.take(batches, batches), self.take(batches, 0)
        all_kmers = [
            [a != b for (a, _), (b, _) in zip(self.counts(one), self.counts(other), strict=True)]
            for one, other in zip(mixed, framed, strict=True)
        ]
        share = np.array(all_kmers).mean(axis=1)
        assert share[:10].mean() > 0.8
        assert 0.35 < share[25:35].mean() < 0.65
        assert share[-10:].mean() < 0.2
        whole = self.take(1, 1e9)[0]
        for (every, _), (tokens, _) in zip(self.counts(whole), self.counts(framed[0]), strict=True):
            assert K * (tokens - 1) <= every + K - 1 <= K * tokens

    def test_any_batch_can_come_first(self) -> None:
        for one, other in zip(self.take(4, 20, first=9), self.take(13, 20)[9:], strict=True):
            assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("ids", "rows", "targets"))
        assert not torch.equal(self.take(1, 0)[0].ids, self.take(1, 0, seed=2)[0].ids)


def padded(texts: list[str]) -> tuple[Tensor, Tensor]:
    ids, attention = pad([TOKENIZER.encode(text).ids for text in texts])
    return torch.from_numpy(ids), torch.from_numpy(attention)


def started(
    bag: Bag,
    crossing: int,
    operator: str = "blend",
    layers: int = 2,
    phases: int = 1,
    pooler: int = 0,
    canonical: bool = False,
) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        config = configuration("tiny", TOKENIZER.vocabulary_size, 32, crossing, phases, pooler, canonical)
        config["num_hidden_layers"] = layers
        classifier = Classifier(config, SIZES, operator).eval()
        start_as_bag(classifier, bag)
    return classifier.requires_grad_(False)


class TestStart:
    @pytest.mark.parametrize(
        ("crossing", "layers", "more"),
        [
            (0, 1, {}),
            (0, 4, {}),
            (K, 1, {}),
            (K, 4, {}),
            (K, 2, {"phases": 3}),
            (K, 2, {"phases": 3, "canonical": True}),
            (0, 2, {"pooler": 48}),
            (K, 2, {"phases": 3, "pooler": 48}),
        ],
    )
    def test_the_transformer_says_what_the_bag_said(self, crossing: int, layers: int, more: dict[str, int]) -> None:
        """Exactly, but for positions and LayerNorm's epsilon: without positions to 2e-3."""
        bag, texts = a_bag(crossing, **more), sequences()
        classifier = started(bag, crossing, layers=layers, **more)
        expected = bag(*end_to_end(texts))
        assert expected.std() > 0.5
        with_positions = classifier(*padded(texts))
        near = torch.corrcoef(torch.stack([with_positions.flatten(), expected.flatten()]))[0, 1]
        assert float(near) > 0.98
        classifier.encoder.embeddings.position_embeddings.weight.zero_()
        torch.testing.assert_close(classifier(*padded(texts)), expected, rtol=0, atol=2e-3)

    def test_the_size_of_embeddings_does_not_matter(self) -> None:
        """The bag normalises them; so must the start, that positions stay small beside them."""
        bag, large = a_bag(K), a_bag(K)
        large.embedding.weight.mul_(50)
        one, other = (started(b, K)(*padded(sequences())) for b in (bag, large))
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)

    def test_every_row_of_canonical_kmers_is_the_one_it_stands_for(self) -> None:
        """Rows that no sequence reaches would otherwise take part in what [MASK] becomes."""
        words = started(a_bag(K, canonical=True), K, canonical=True).encoder.embeddings.word_embeddings
        assert torch.equal(words.weight[len(SPECIALS) :], words.weight[words.canonical_rows][len(SPECIALS) :])

    @pytest.mark.parametrize("operator", OPERATORS)
    def test_sublayers_add_nothing_but_can_learn(self, operator: str) -> None:
        bag = a_bag(K)
        classifier = started(bag, K, operator)
        for layer in classifier.encoder.encoder.layer:
            for projection in (layer.attention.output.dense, layer.output.dense):
                assert not projection.weight.any()
                assert bool(projection.bias.any()) is (operator == "scale"), "a hidden token needs a direction there"
        classifier.requires_grad_(True)
        classifier(*padded(sequences())).square().sum().backward()
        assert all(layer.output.dense.weight.grad.abs().max() > 0 for layer in classifier.encoder.encoder.layer)

    def test_heads_are_copies(self) -> None:
        bag = a_bag(0)
        classifier = started(bag, 0)
        assert torch.equal(classifier.head.weight, bag.head.weight)
        assert classifier.head.weight.data_ptr() != bag.head.weight.data_ptr()

    @pytest.mark.parametrize("crossing", [0, K])
    def test_a_hidden_token_is_the_mean_of_the_kmers(self, crossing: int) -> None:
        table = started(a_bag(crossing), crossing).encoder.embeddings.word_embeddings.weight
        mean = table[len(SPECIALS) :].mean(dim=0)
        assert float(torch.cosine_similarity(table[MASK], mean, dim=0)) == pytest.approx(1)
        assert float(table[MASK].square().mean()) == pytest.approx(1, abs=1e-4), "as large as they are"


def test_positions_are_short_waves() -> None:
    code = waves(256, 64)
    assert code.shape == (256, 64)
    assert float(code.std()) == pytest.approx(1, abs=0.02)
    assert code.mean(dim=0).abs().max() < 0.12, "their mean over a sequence would disturb the bag"
    distance = torch.cdist(code, code) + 100 * torch.eye(256)
    assert distance[:32, :32].min() > 0.5, "neighbours can be told apart"
    assert waves(5, 7).shape == (5, 7)


def test_dense_layers_learn_more_slowly_than_embeddings() -> None:
    assert {a_bag(K).rate(name) for name in ("embedding.weight", "head.weight")} == {1.0}
    bag = a_bag(K, pooler=8)
    rates = {name: bag.rate(name) for name, _ in bag.named_parameters()}
    assert rates["embedding.weight"] == 1.0
    assert {rate for name, rate in rates.items() if not name.startswith("embedding")} == {POOLER_RATE}


@pytest.mark.parametrize(("crossing", "pooler"), [(0, 0), (K, 0), (K, 32)])
def test_the_bag_learns(crossing: int, pooler: int) -> None:
    """One k-mer, in any frame, decides the class; with crossing k-mers one frame is enough to see it."""
    rng = np.random.default_rng(3)
    texts, targets = [], rng.integers(0, 2, 200)
    for target in targets:
        body = "".join(rng.choice(list("CG"), 40))
        at = int(rng.integers(0, 38))
        texts.append(body if target else body[:at] + "TTT" + body[at + 3 :])
    corpus = Corpus.of(texts, targets[:, None])
    bag = a_bag(crossing, classes=2, pooler=pooler).requires_grad_(True)
    stream = bag_batches(corpus, TOKENIZER, CropLaw(40, 40), 50, 1, CPU, 0 if crossing else 1e9)
    rows = fit(BagObjective(bag, (2,)), stream, Schedule(60, 3e-2), rates=bag.rate)
    assert np.mean([row["cross_entropy_0"] for row in rows[-5:]]) < 0.25 < rows[0]["loss"]
