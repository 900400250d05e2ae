"""k-mers that cross from one token into the next: the right ones are read, and none that reaches a hidden token."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from seqmask.labels.ranks import Rank, Ranks
from seqmask.models.checkpoint import load_classifier, round_to_half, save_classifier, weights_sha256
from seqmask.models.classifier import Classifier
from seqmask.models.crossing import CrossingEmbedding, canonical_rows, crossing_kmers
from seqmask.models.encoders import configuration
from seqmask.models.explainer import Explainer
from seqmask.models.operators import OPERATORS
from seqmask.models.selftest import check_operator
from seqmask.sequences.tokens import CLS, MASK, PAD, SEP, SPECIALS, UNK, KmerTokenizer, to_codes
from seqmask.training.bag import Bag, start_as_bag

LENGTHS = range(2, 8)


def some_sequence(k: int, tokens: int, seed: int = 0) -> str:
    return "".join(np.random.default_rng([seed, k]).choice(list("ACGT"), k * tokens))


def ids_of(sequence: str, k: int) -> Tensor:
    """Tokens of one sequence (1, T)."""
    return torch.from_numpy(KmerTokenizer(k, k).encode(sequence).ids.astype(np.int64))[None]


def reverse_complement(sequence: str) -> str:
    return sequence[::-1].translate(str.maketrans("ACGT", "TGCA"))


class TestKmers:
    """`crossing_kmers` against the tokenizer, which reads the sequence itself."""

    @pytest.mark.parametrize("k", LENGTHS)
    def test_they_are_those_of_the_sequence(self, k: int) -> None:
        sequence = some_sequence(k, 9)
        kmers, there = crossing_kmers(ids_of(sequence, k), k)
        every = KmerTokenizer(k, k).all_ids(to_codes(sequence))
        assert kmers.shape == there.shape == (1, 9, k)
        assert there.dtype == torch.bool
        read = []
        for token in range(9):
            for place in range(k):
                start = token * k - k // 2 + place
                inside = 0 <= start <= len(sequence) - k
                assert there[0, token, place] == inside
                if inside:
                    assert kmers[0, token, place] == every[start]
                    read.append(start)
        assert kmers[~there].eq(PAD).all()
        assert sorted(read) == list(range(len(every))), "every k-mer of the sequence is read once"

    def test_the_example_of_the_docstring(self) -> None:
        kmers, there = crossing_kmers(ids_of("ACGT", 2), 2)
        cg = int(KmerTokenizer(2, 2).encode("CG").ids[0])
        ac, gt = ids_of("ACGT", 2)[0].tolist()
        assert kmers.tolist() == [[[PAD, ac], [cg, gt]]]
        assert there.tolist() == [[[False, True], [True, True]]]

    @pytest.mark.parametrize("k", LENGTHS)
    def test_letters_that_are_no_bases(self, k: int) -> None:
        """Of a token with an N no crossing k-mer is known, on either side; all others are as they were."""
        sequence = some_sequence(k, 8)
        at = 3 * k + k // 2
        ids, broken = ids_of(sequence, k), ids_of(sequence[:at] + "N" + sequence[at + 1 :], k)
        assert broken[0, 3] == UNK
        (kmers, there), (found, found_there) = crossing_kmers(ids, k), crossing_kmers(broken, k)
        left = k // 2
        expected = there.clone()
        expected[0, 3] = torch.arange(k) == left
        expected[0, 2, left + 1 :] = False
        expected[0, 4, :left] = False
        assert torch.equal(found_there, expected)
        found[0, 3, left] = kmers[0, 3, left]
        assert torch.equal(found[expected], kmers[expected])

    @pytest.mark.parametrize("special", [PAD, UNK, CLS, SEP, MASK])
    def test_nothing_crosses_a_special_token(self, special: int) -> None:
        """So that sequences end to end with one between them are read as if each were alone."""
        one, other = ids_of(some_sequence(5, 4, 1), 5), ids_of(some_sequence(5, 6, 2), 5)
        kmers, there = crossing_kmers(torch.cat([one, torch.tensor([[special]]), other], dim=1), 5)
        alone = [crossing_kmers(ids, 5) for ids in (one, other)]
        assert torch.equal(torch.cat([kmers[:, :4], kmers[:, 5:]], dim=1), torch.cat([a[0] for a in alone], dim=1))
        assert torch.equal(torch.cat([there[:, :4], there[:, 5:]], dim=1), torch.cat([a[1] for a in alone], dim=1))
        assert kmers[0, 4].tolist() == [PAD, PAD, special, PAD, PAD]
        assert there[0, 4].tolist() == [False, False, True, False, False]

    def test_a_single_token(self) -> None:
        kmers, there = crossing_kmers(ids_of("ACGTAC", 6), 6)
        assert there.tolist() == [[[False] * 3 + [True] + [False] * 2]]
        assert kmers[0, 0, 3] == ids_of("ACGTAC", 6)[0, 0]

    def test_a_last_token_that_overlaps(self) -> None:
        """10 nt in tokens of 4: the last one ends with the sequence; what crosses into it is of both as they stand."""
        sequence = "ACGTTGCAGA"
        ids = ids_of(sequence, 4)
        kmers, there = crossing_kmers(ids, 4)
        as_read = KmerTokenizer(4, 4).all_ids(to_codes(sequence[:8] + sequence[6:]))
        assert kmers[0][there[0]].tolist() == as_read.tolist()

    @pytest.mark.parametrize("k", [3, 5, 7])
    def test_the_other_strand_reads_the_same_in_reverse(self, k: int) -> None:
        """For odd k: the k-mers lie evenly around the token's middle."""
        sequence = some_sequence(k, 7)
        kmers, there = crossing_kmers(ids_of(sequence, k), k)
        turned, turned_there = crossing_kmers(ids_of(reverse_complement(sequence), k), k)
        partner = KmerTokenizer(k, k).all_ids(to_codes(reverse_complement(sequence)))
        by_id = dict(zip(KmerTokenizer(k, k).all_ids(to_codes(sequence)).tolist(), partner[::-1].tolist(), strict=True))
        assert torch.equal(turned_there, there.flip(1, 2))
        assert [by_id[i] for i in kmers[there].tolist()] == turned.flip(1, 2)[there].tolist()


class TestEmbedding:
    def embedding(self, k: int, width: int = 6, dtype: torch.dtype = torch.float64) -> CrossingEmbedding:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(k)
            return CrossingEmbedding(len(SPECIALS) + 4**k, width, k).to(dtype)

    @pytest.mark.parametrize("k", LENGTHS)
    def test_the_sum_over_tokens_is_that_over_all_kmers(self, k: int) -> None:
        """A bag of the crossing embeddings is the bag of all overlapping k-mers, divided by sqrt(k)."""
        words = self.embedding(k)
        sequence = some_sequence(k, 12)
        every = torch.from_numpy(KmerTokenizer(k, k).all_ids(to_codes(sequence)).astype(np.int64))
        found = words(ids_of(sequence, k)).sum(dim=1)[0]
        torch.testing.assert_close(found, words.weight[every].sum(dim=0) / k**0.5)

    @pytest.mark.parametrize("phases", [1, 3])
    @pytest.mark.parametrize("k", [3, 5, 6])
    def test_canonical_kmers_read_both_strands_alike(self, k: int, phases: int) -> None:
        """Token by token for odd k, whose k-mers lie evenly around the middle; as a sum over tokens for any k."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(k)
            words = CrossingEmbedding(len(SPECIALS) + 4**k, 6, k, phases, canonical=True).double().requires_grad_(False)
        if phases > 1:  # those that are their own reverse complement have the phase of the strand that is read
            every = ("".join(letters) for letters in itertools.product("ACGT", repeat=k))
            own = [kmer for kmer in every if kmer == reverse_complement(kmer)]
            words.weight[[int(KmerTokenizer(k, k).encode(kmer).ids[0]) for kmer in own]] = 0
        sequence = some_sequence(k, 9)
        one, other = (words(ids_of(text, k))[0] for text in (sequence, reverse_complement(sequence)))
        torch.testing.assert_close(one.sum(dim=0), other.sum(dim=0))
        if k % 2:
            torch.testing.assert_close(one, other.flip(0))
        words.canonical = False
        assert not torch.allclose(words(ids_of(sequence, k))[0].sum(dim=0), one.sum(dim=0))

    @pytest.mark.parametrize("k", [2, 3, 6])
    def test_a_kmer_stands_for_its_reverse_complement(self, k: int) -> None:
        rows = canonical_rows(k)
        assert rows[: len(SPECIALS)].tolist() == list(range(len(SPECIALS)))
        every = ["".join(letters) for letters in itertools.product("ACGT", repeat=k)]
        tokenizer = KmerTokenizer(k, k)
        for kmer in every[:: max(len(every) // 64, 1)]:
            first = min(kmer, reverse_complement(kmer))
            assert rows[int(tokenizer.encode(kmer).ids[0])] == int(tokenizer.encode(first).ids[0])
        palindromes = 4 ** (k // 2) if k % 2 == 0 else 0
        assert len(rows.unique()) == len(SPECIALS) + (4**k + palindromes) // 2

    @pytest.mark.parametrize("k", [2, 3, 6])
    def test_neighbours_count_to_the_degree_that_they_are_shown(self, k: int) -> None:
        words = self.embedding(k)
        ids = ids_of(some_sequence(k, 5), k)
        shown = torch.tensor([[0.3, 1.0, 0.0, 0.6, 0.9]], dtype=torch.float64)
        words.visible = shown
        kmers, there = crossing_kmers(ids, k)
        padded = torch.cat([torch.zeros(1), shown[0], torch.zeros(1)])
        for token in range(5):
            expected = torch.zeros(6, dtype=torch.float64)
            for place in range(k):
                neighbour = token + 1 + (place > k // 2) - (place < k // 2)
                weight = 1.0 if place == k // 2 else padded[neighbour]
                expected += weight * there[0, token, place] * words.weight[kmers[0, token, place]].detach()
            torch.testing.assert_close(words(ids)[0, token].detach(), expected / k**0.5)

    @pytest.mark.parametrize("k", [2, 3, 6])
    def test_gradients(self, k: int) -> None:
        """By the weights and by what is shown, against finite differences."""
        words = self.embedding(k, width=2) if k < 6 else self.embedding(k, width=1)
        ids = ids_of(some_sequence(k, 4), k)
        shown = torch.tensor([[0.3, 1.0, 0.0, 0.6]], dtype=torch.float64, requires_grad=True)

        def of_shown(visible: Tensor) -> Tensor:
            words.visible = visible
            found: Tensor = words(ids)
            return found

        assert torch.autograd.gradcheck(of_shown, (shown,))
        used = words.weight[crossing_kmers(ids, k)[0].unique()].detach()
        assert used.abs().min() > 0
        (gradient,) = torch.autograd.grad(of_shown(shown.detach()).sum(), words.weight)
        assert (gradient[ids[0]] != 0).all()
        (by_shown,) = torch.autograd.grad(of_shown(shown)[0, 1].sum(), shown)
        expected = [True, False, k > 2, False]  # with k = 2 the only crossing k-mer of a token begins before it
        assert (by_shown[0] != 0).tolist() == expected, "of its own token an embedding takes nothing"

    @pytest.mark.parametrize("k", [2, 3, 5, 6])
    @pytest.mark.parametrize("phases", [2, 3])
    def test_phases_are_weights_by_the_place_in_the_token(self, k: int, phases: int) -> None:
        plain = self.embedding(k)
        words = CrossingEmbedding(len(SPECIALS) + 4**k, 6, k, phases).double()
        words.weight.data.copy_(plain.weight)
        ids = ids_of(some_sequence(k, 5), k)
        assert words.phases.mean(dim=0).tolist() == pytest.approx([1] * 6)
        assert (words.phases.amax(dim=0) > 1).all()
        assert not torch.allclose(words(ids), plain(ids))
        for embedding in (words, plain):
            embedding.visible = torch.tensor([[0.3, 1.0, 0.0, 0.6, 0.9]], dtype=torch.float64)
        kmers, there = crossing_kmers(ids, k)
        weights = there * plain._neighbours_shown(plain.visible) / k**0.5
        by_place = words.phases[torch.arange(k) % phases]  # (k, D)
        expected = torch.einsum("btkd,btk,kd->btd", plain.weight[kmers], weights, by_place)
        torch.testing.assert_close(words(ids), expected)
        words.phases.data.fill_(1)
        torch.testing.assert_close(words(ids), plain(ids))
        words(ids).sum().backward()
        assert (words.phases.grad != 0).any()

    def test_phases_are_codon_positions(self) -> None:
        """Where k is a multiple of 3: a k-mer 3 nt further on is weighted alike, one 1 or 2 nt further on is not."""
        k, width = 6, 3
        words = CrossingEmbedding(len(SPECIALS) + 4**k, width, k, 3)
        words.phases.data.copy_(torch.eye(3))
        words.weight.data.zero_()
        found = int(KmerTokenizer(k, k).encode("GATTAC").ids[0])
        words.weight.data[found] = 1
        phases = []
        for start in range(6, 18):
            sequence = "C" * start + "GATTAC" + "C" * (30 - start - 6)
            phases.append(words(ids_of(sequence, k)).sum(dim=(0, 1)).argmax().item())
        assert phases == [phases[i % 3] for i in range(12)]
        assert len(set(phases[:3])) == 3

    @pytest.mark.parametrize(("vocabulary", "k"), [(68, 3), (70, 3), (9, 1)])
    def test_another_vocabulary(self, vocabulary: int, k: int) -> None:
        with pytest.raises(ValueError, match="expected the special tokens and all k-mers"):
            CrossingEmbedding(vocabulary, 8, k)


def test_it_starts_from_the_numbers_of_any_other_embedding() -> None:
    """Not from those of a torch embedding, whose standard deviation is 1."""
    plain, crossing = (
        Classifier(configuration("tiny", 69, 24, crossing=k), (2,), "blend").encoder.embeddings.word_embeddings.weight
        for k in (0, 3)
    )
    assert 0.018 < float(plain.detach().std()) < 0.022
    assert 0.018 < float(crossing.detach().std()) < 0.022


def network(
    k: int = 3, operator: str = "blend", sizes: tuple[int, ...] = (2, 3), seed: int = 1, phases: int = 1
) -> Classifier:
    """Random weights, large enough for every token to count."""
    vocabulary = len(SPECIALS) + 4**k
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        classifier = Classifier(configuration("tiny", vocabulary, 24, k, phases), sizes, operator).eval()
        for name, weight in classifier.encoder.named_parameters():
            if "word_embeddings" in name:
                weight.normal_()
            elif "dense" in name or "self" in name:
                weight.mul_(3)
        classifier.head.weight.normal_()
    return classifier.requires_grad_(False)


def some_ids(k: int, rows: int = 8, width: int = 20, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random tokens, padded from a different place on in each row."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(len(SPECIALS), len(SPECIALS) + 4**k, (rows, width), generator=generator)
    attention = torch.arange(width) < torch.randint(width // 2, width + 1, (rows, 1), generator=generator)
    return ids.where(attention, PAD), attention


class TestHiding:
    """In a classifier, under the three operators."""

    @pytest.mark.parametrize("operator", OPERATORS)
    @pytest.mark.parametrize(("k", "phases"), [(2, 1), (3, 1), (6, 1), (3, 3), (6, 3)])
    def test_a_hidden_token_leaks_nothing(self, operator: str, k: int, phases: int) -> None:
        """Whatever stands in the place of hidden tokens, no bit of any logit changes."""
        classifier = network(k, operator, phases=phases)
        ids, attention = some_ids(k)
        generator = torch.Generator().manual_seed(2)
        mask = (torch.rand(ids.shape, generator=generator) < torch.rand(8, 1, generator=generator)).float()
        hidden = attention & (mask == 0)
        assert hidden.any()
        expected = classifier(ids, attention, mask, operator)
        leaks = False
        for seed in range(6):
            other = some_ids(k, seed=10 + seed)[0].clamp_min(UNK)  # other k-mers, and [UNK] where those rows are padded
            swapped = torch.where(hidden, other, ids)
            assert (swapped != ids).any()
            assert torch.equal(classifier(swapped, attention, mask, operator), expected)
            crossing, classifier.site._crossing = classifier.site._crossing, None  # the neighbours are not told
            one, two = (classifier(given, attention, mask, operator) for given in (swapped, ids))
            leaks |= not torch.equal(one, two)
            classifier.site._crossing = crossing
        assert leaks, "or the test above could not fail"

    @pytest.mark.parametrize("operator", OPERATORS)
    def test_a_kept_token_is_read(self, operator: str) -> None:
        classifier = network(3, operator)
        ids, attention = some_ids(3)
        mask = torch.ones(ids.shape)
        mask[:, 4] = 0
        before = classifier(ids, attention, mask, operator)
        for token in (3, 5):
            other = ids.clone()
            other[:, token] = (ids[:, token] - len(SPECIALS) + 7) % 64 + len(SPECIALS)
            assert (classifier(other, attention, mask, operator) != before).all()

    @pytest.mark.parametrize("operator", OPERATORS)
    @pytest.mark.parametrize(("k", "phases"), [(2, 1), (3, 1), (6, 1), (3, 3), (6, 3)])
    def test_a_mask_of_ones_changes_nothing(self, operator: str, k: int, phases: int) -> None:
        classifier = network(k, operator, phases=phases)
        ids, attention = some_ids(k)
        plain = classifier(ids, attention)
        ones = classifier(ids, attention, torch.ones(ids.shape), operator)
        torch.testing.assert_close(ones, plain, rtol=0, atol=1e-5)
        assert plain.std() > 0.1
        assert classifier.site._crossing.visible is None, "the mask is gone"

    @pytest.mark.parametrize("operator", OPERATORS)
    def test_with_everything_hidden_sequences_look_alike(self, operator: str) -> None:
        classifier = network(3, operator)
        ids, attention = some_ids(3)
        attention[:] = True
        ids = ids.clamp_min(UNK)
        nothing = classifier(ids, attention, torch.zeros(ids.shape), operator)
        torch.testing.assert_close(nothing, nothing[:1].expand_as(nothing), rtol=0, atol=1e-5)

    @pytest.mark.parametrize("operator", OPERATORS)
    def test_the_gradient_knows_the_neighbours(self, operator: str) -> None:
        """At one hidden token, against a small step of the mask there: what it brings next door counts, too."""
        classifier = network(3, operator)
        ids, attention = some_ids(3, rows=1)
        attention[:] = True
        ids = ids.clamp_min(UNK)
        pull = torch.randn(5, generator=torch.Generator().manual_seed(0))
        level = 0.3  # where all three operators are smooth
        mask = torch.ones(ids.shape)
        mask[0, 6] = level
        mask.requires_grad_(True)
        (gradient,) = torch.autograd.grad((classifier(ids, attention, mask, operator) @ pull).sum(), mask)
        step = 5e-3
        ends = []
        for change in (step, -step):
            moved = mask.detach().clone()
            moved[0, 6] += change
            ends.append(float((classifier(ids, attention, moved, operator) @ pull).sum()))
        assert float(gradient[0, 6]) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=0.02)
        blind = torch.autograd.grad((self.deaf(classifier, ids, attention, mask, operator) @ pull).sum(), mask)[0]
        assert abs(float(blind[0, 6] - gradient[0, 6])) > 0.02 * abs(float(gradient[0, 6]))

    def deaf(self, classifier: Classifier, ids: Tensor, attention: Tensor, mask: Tensor, operator: str) -> Tensor:
        """The same logits, the mask of the neighbours taken as a constant."""
        site = classifier.site
        crossing, site._crossing = site._crossing, None
        crossing.visible = mask.detach()
        try:
            found: Tensor = classifier(ids, attention, mask, operator)
            return found
        finally:
            site._crossing, crossing.visible = crossing, None

    @pytest.mark.parametrize("operator", OPERATORS)
    def test_the_self_test_passes(self, operator: str) -> None:
        response = check_operator(network(3, operator), operator)
        assert response.identity < 1e-5
        assert response.leak < 1e-5

    def test_the_mask_is_gone_after_an_error(self) -> None:
        classifier = network()
        ids, attention = some_ids(3)
        plain = classifier(ids, attention)
        with pytest.raises(RuntimeError):
            classifier(ids, attention, torch.zeros(8, 21), "scale")
        assert torch.equal(classifier(ids, attention), plain)


def test_evidence_across_a_border_needs_both_tokens() -> None:
    """A bag that looks for one k-mer alone, where it stands across two tokens: either one hidden, it is gone."""
    k, width = 4, 32
    wanted = "GATC"
    classifier = Classifier(
        {**configuration("tiny", len(SPECIALS) + 4**k, 16, crossing=k), "hidden_size": width}, (2,), "blend"
    ).eval()
    bag = Bag(classifier.config, 2)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bag.embedding.weight.normal_()
        bag.embedding.weight[:, 0] = 0
        bag.embedding.weight[KmerTokenizer(k, k).encode(wanted).ids[0], 0] = 30
        bag.head.weight.zero_()
        bag.head.weight[1, 0] = 20
        bag.head.bias.zero_()
    start_as_bag(classifier, bag)
    with torch.no_grad():  # it starts as the mean of all k-mers, of which one is huge here
        classifier.encoder.embeddings.word_embeddings.weight[MASK].copy_(bag.embedding.weight[MASK])
    sequence = "ACCATTGAACCATGCAGGTA" + "TTGA" + "TCCA" + "TACA"
    ids = ids_of(sequence, k)
    attention = torch.ones_like(ids, dtype=torch.bool)

    def sure(*hidden: int) -> float:
        mask = torch.ones(ids.shape)
        mask[0, list(hidden)] = 0
        with torch.no_grad():
            logits = classifier(ids, attention, mask)[0]
        return float(logits[1] - logits[0])

    without = sure(5, 6)
    assert sure() > without + 3
    assert sure(5) == pytest.approx(without, abs=0.5)
    assert sure(6) == pytest.approx(without, abs=0.5)
    assert sure(1, 3) == pytest.approx(sure(), abs=0.5)


@pytest.mark.parametrize("phases", [1, 3])
def test_the_explainer_reads_everything(phases: int) -> None:
    """It starts with the classifier's embeddings, crossing k-mers included, and is never masked itself."""
    classifier = network(phases=phases)
    explainer = Explainer.like(classifier).eval()
    words = explainer.encoder.embeddings.word_embeddings
    assert isinstance(words, CrossingEmbedding)
    assert torch.equal(words.weight, classifier.encoder.embeddings.word_embeddings.weight)
    ids, attention = some_ids(3)
    with torch.no_grad():
        before = explainer(ids, attention)
        with classifier.site.masked(torch.zeros(ids.shape), "blend"):
            assert torch.equal(explainer(ids, attention), before)


@pytest.mark.parametrize("phases", [1, 3])
def test_a_model_directory_keeps_it(tmp_path: Path, phases: int) -> None:
    saved = network(phases=phases)
    round_to_half(saved)
    ranks = Ranks((Rank("domain", ("a", "b")), Rank("genus", ("c", "d", "e"))))
    save_classifier(tmp_path, saved, KmerTokenizer(3, 3), ranks, {})
    found = load_classifier(tmp_path).network
    assert isinstance(found.encoder.embeddings.word_embeddings, CrossingEmbedding)
    assert weights_sha256(found) == weights_sha256(saved)
    ids, attention = some_ids(3)
    mask = torch.rand(ids.shape, generator=torch.Generator().manual_seed(0)).round()
    with torch.no_grad():
        assert torch.equal(found(ids, attention, mask), saved(ids, attention, mask))
