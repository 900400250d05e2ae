"""What the two networks are trained for: the draws are what they claim, the classifier stays frozen, evidence wins."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seqmask.inference.engine import Engine
from seqmask.inference.explain import explain
from seqmask.labels import Rank, Ranks
from seqmask.models.checkpoint import load_classifier, load_model, save_classifier, save_explainer, weights_sha256
from seqmask.models.classifier import Classifier
from seqmask.models.encoders import configuration
from seqmask.models.explainer import Explainer
from seqmask.sequences.records import Record
from seqmask.sequences.tokens import SPECIALS, KmerTokenizer
from seqmask.training.bag import Bag, start_as_bag
from seqmask.training.dataset import TrainingBatch
from seqmask.training.fit import Schedule, fit
from seqmask.training.objectives import (
    ClassifierObjective,
    ExplainerObjective,
    ExplainerWeights,
    fixed_shares,
    freeze,
    logistic,
    over_budget,
    sample,
    spread_of,
)

CPU = torch.device("cpu")
VOCABULARY, WIDTH, LONGEST = 21, 32, 20
KEYS = (7, 15)  # the k-mer that decides for class 0, and that for class 1
WEIGHTS = ExplainerWeights(entropy=1.0, area=10.0, variation=0.1, bounds=0.0)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def padded(lengths: list[int], width: int) -> Tensor:
    return torch.arange(width) < torch.tensor(lengths)[:, None]


class TestSample:
    """Draws m and 1 - m from logits."""

    LENGTHS = (40, 25, 10, 40, 33, 12)

    def draw(self, seed: int, shares: list[float], tracks: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        g = generator(seed)
        logits = (3 * torch.randn(len(self.LENGTHS), 40, tracks, generator=g)).requires_grad_()
        attention = padded(list(self.LENGTHS), 40)
        mask, inverse = sample(logits, attention, logistic(logits.shape, g), torch.tensor(shares))
        return logits, attention, mask, inverse

    @pytest.mark.parametrize("seed", range(5))
    def test_exactly_binary_and_complementary(self, seed: int) -> None:
        """Not 0.99999994: a straight-through sum in the wrong order is off by a rounding error."""
        _, attention, mask, inverse = self.draw(seed, [0, 0.3, 0.2, 0, 0.9, 0.05])
        for part in (mask, inverse):
            assert set(part.unique().tolist()) <= {0.0, 1.0}
            assert (part[~attention] == 1).all()
        assert (mask + inverse)[attention].unique().tolist() == [1.0]

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
    def test_a_fixed_share_is_kept(self, seed: int, share: float) -> None:
        _, attention, mask, _ = self.draw(seed, [share] * 6)
        kept = (mask * attention.unsqueeze(-1)).sum(dim=1)
        wanted = (share * torch.tensor(self.LENGTHS)).round().clamp_min(1)
        assert (kept == wanted[:, None]).all()

    def test_shares_are_per_sequence(self) -> None:
        _, attention, mask, _ = self.draw(1, [0.1, 0.0, 0.5, 0.9, 0.25, 0.5])
        kept = (mask * attention.unsqueeze(-1)).sum(dim=1)
        assert kept[[0, 2, 3, 4, 5]].tolist() == [[4, 4], [5, 5], [36, 36], [8, 8], [6, 6]]

    def test_kept_as_often_as_the_logit_says(self) -> None:
        """share 0: 20,000 draws a logit; four standard errors."""
        logits = torch.tensor([-4.0, -2.0, -1.0, 0.0, 0.5, 1.0, 3.0])
        n = 20_000
        rows = logits.expand(n, 7).unsqueeze(-1)
        mask, _ = sample(rows, torch.ones(n, 7, dtype=torch.bool), logistic(rows.shape, generator(0)), torch.zeros(n))
        p = torch.sigmoid(logits)
        error = (mask[..., 0].mean(dim=0) - p).abs() / (p * (1 - p) / n).sqrt()
        assert error.max() < 4

    def test_a_fixed_share_prefers_higher_logits(self) -> None:
        n = 5000
        rows = torch.linspace(-2, 2, 9).expand(n, 9).unsqueeze(-1)
        mask, _ = sample(
            rows, torch.ones(n, 9, dtype=torch.bool), logistic(rows.shape, generator(0)), torch.full((n,), 0.3)
        )
        frequency = mask[..., 0].mean(dim=0)
        assert (frequency.diff() > 0).all()

    @pytest.mark.parametrize("shares", [[0.0] * 6, [0.3] * 6])
    def test_hidden_tokens_learn_from_m_and_kept_ones_from_the_inverse(self, shares: list[float]) -> None:
        logits, attention, mask, inverse = self.draw(3, shares)
        tokens = attention.unsqueeze(-1).expand_as(mask)
        for part in (mask, inverse):
            pull = torch.rand(mask.shape, generator=generator(9))
            (gradient,) = torch.autograd.grad((part * pull).sum(), logits, retain_graph=True)
            assert torch.isfinite(gradient).all()
            assert (gradient[~attention] == 0).all()
            assert (gradient[tokens & (part == 0)] != 0).all()
            if not any(shares):  # with a fixed share the level of all logits is taken out, so that all are coupled
                assert (gradient[tokens & (part == 1)] == 0).all()

    @pytest.mark.parametrize("inverse", [False, True])
    def test_the_gradient_is_that_of_the_expected_loss(self, inverse: bool) -> None:
        """share 0 and a loss linear in m: d E[L] / d logit = p (1 - p) a; 40,000 draws, four standard errors."""
        n = 40_000
        logits = torch.tensor([-2.0, -0.5, 0.0, 1.0, 2.5])
        effects = torch.tensor([1.0, -2.0, 3.0, 0.5, -1.0])
        rows = logits.repeat(n, 1).unsqueeze(-1).requires_grad_()
        both = sample(rows, torch.ones(n, 5, dtype=torch.bool), logistic(rows.shape, generator(1)), torch.zeros(n))
        (gradient,) = torch.autograd.grad((both[inverse][..., 0] * effects).sum(), rows)
        p = torch.sigmoid(logits)
        wanted = (p * (1 - p) * effects) * (-1 if inverse else 1)
        error = gradient[..., 0].std(dim=0) / n**0.5
        assert ((gradient[..., 0].mean(dim=0) - wanted).abs() < 4 * error).all()


def test_fixed_shares() -> None:
    """Half of the sequences; log-uniform between a fifth of the budget and 1.5 times it, at most .9."""
    shares = fixed_shares(4000, 0.2, generator(0))
    drawn = shares[shares > 0]
    assert 0.46 < len(drawn) / 4000 < 0.54
    assert 0.04 <= drawn.min() < 0.042
    assert 0.29 < drawn.max() <= 0.3
    assert float(drawn.log().mean()) == pytest.approx(np.log((0.04 * 0.3) ** 0.5), abs=0.05)
    assert fixed_shares(4000, 1.0, generator(1)).max() <= 0.9


def test_small_pieces() -> None:
    assert float(over_budget(torch.tensor([[0.1], [0.5]]), 0.2)) == pytest.approx(0.01)
    assert float(over_budget(torch.tensor([[0.1], [0.2]]), 0.2)) == 0
    weight = torch.tensor([[1.0, 1.0, 0.0]])
    assert float(spread_of(torch.tensor([[[0.0], [1.0], [9.0]]]), weight)) == pytest.approx(0.5)
    assert float(spread_of(torch.full((1, 3, 1), 0.3), weight)) == pytest.approx(0, abs=1e-6)


def toy_classifier(operator: str = "blend", layers: int = 1) -> Classifier:
    """Made by hand: the class is decided by which of KEYS stands in the sequence, and by nothing else.

    All tokens are orthogonal; a head looks along its key's direction, so that one key in 16 tokens gives a logit of 4.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        basis = torch.linalg.qr(torch.cat([torch.ones(WIDTH, 1), torch.randn(WIDTH, WIDTH - 1)], dim=1)).Q.T[1:]
        config = {
            **configuration("tiny", VOCABULARY, LONGEST),
            "hidden_size": WIDTH,
            "intermediate_size": 2 * WIDTH,
            "num_hidden_layers": layers,
        }
        classifier = Classifier(config, (2,), operator)
        bag = Bag(VOCABULARY, WIDTH, 2)
        with torch.no_grad():
            bag.embedding.weight.copy_(basis[:VOCABULARY] * WIDTH**0.5)
            bag.head.weight.copy_(64 * basis[list(KEYS)] / WIDTH**0.5)
            bag.head.bias.zero_()
        start_as_bag(classifier, bag)
    return classifier


def toy_batch(step: int, rows: int = 32) -> TrainingBatch:
    """Sequences of 12 to 20 tokens with exactly one key among them."""
    rng = np.random.default_rng([5, step])
    others = np.setdiff1d(np.arange(len(SPECIALS), VOCABULARY), KEYS)
    ids = rng.choice(others, (rows, LONGEST))
    lengths = rng.integers(12, LONGEST + 1, rows)
    targets = rng.integers(0, 2, rows)
    ids[np.arange(rows), (rng.random(rows) * lengths).astype(int)] = np.array(KEYS)[targets]
    attention = np.arange(LONGEST) < lengths[:, None]
    return TrainingBatch(np.where(attention, ids, 0), attention, targets[:, None], step)


def toy_stream(first: int) -> Iterator[TrainingBatch]:
    return map(toy_batch, itertools.count(first))


def explainer_objective(explainer: Explainer, classifier: Classifier, **changes: Any) -> ExplainerObjective:
    options: dict[str, Any] = {
        "explainer": explainer,
        "classifier": classifier,
        "operator": classifier.operator,
        "target": "predicted",
        "weights": WEIGHTS,
        "budget": 0.15,
        "soft": False,
        "seed": 1,
        "device": CPU,
    }
    return ExplainerObjective(**(options | changes))


def fresh(classifier: Classifier, seed: int = 0) -> Explainer:
    """An Explainer that knows nothing of the classifier."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        explainer = Explainer.like(classifier)
        for name, weight in explainer.named_parameters():
            if weight.dim() > 1 and not name.startswith(("head", "mix")):
                torch.nn.init.normal_(weight, std=0.02 if "query" in name else 0.2)
    return explainer


def found(explainer: Explainer, classifier: Classifier, directory: Path) -> float:
    """Share of unseen sequences in which `seqmask mask` gives the key the highest mask, ties counting against it.

    Through the files and the whole inference path, so that it sees what a user would see.
    """
    tokenizer = KmerTokenizer(2, 2)
    ranks = Ranks((Rank("class", ("one", "other")),))
    save_classifier(directory, classifier, tokenizer, ranks, {})
    save_explainer(directory, explainer, load_classifier(directory), 0.5, classifier.operator, {})
    records, keys = [], []
    for batch in map(toy_batch, range(10_000, 10_008)):
        for ids, attention in zip(batch.ids, batch.attention, strict=True):
            words = [divmod(int(i) - len(SPECIALS), 4) for i in ids[attention]]
            records.append(Record(f"r{len(records)}", "", "".join("ACGT"[i] + "ACGT"[j] for i, j in words)))
            keys.append(np.flatnonzero(np.isin(ids[attention], KEYS))[0])
    hits = []
    for explanation, key in zip(explain(records, load_model(directory), Engine(), overlap=0), keys, strict=True):
        scores = explanation.mask[:, 0]
        assert explanation.spans[key, 0] == 2 * key
        hits.append(scores[key] > np.delete(scores, key).max())
    return float(np.mean(hits))


@pytest.fixture
def toy() -> Classifier:
    return toy_classifier()


def test_the_toy_is_what_it_says(toy: Classifier) -> None:
    """Right with the key, at chance without it: the ground truth of the tests below."""
    batch = toy_batch(0, 200)
    ids, attention = torch.from_numpy(batch.ids), torch.from_numpy(batch.attention)
    key = torch.isin(ids, torch.tensor(KEYS)).float()
    targets = torch.from_numpy(batch.targets[:, 0])
    with torch.inference_mode():
        full, kept, removed = (toy(ids, attention, mask).softmax(dim=1) for mask in (None, key, 1 - key))
    assert (full.argmax(dim=1) == targets).all()
    assert (kept.argmax(dim=1) == targets).all()
    assert kept.max(dim=1).values.min() > 0.9
    assert removed.max(dim=1).values.max() < 0.65


@pytest.mark.parametrize("soft", [False, True])
def test_the_classifier_is_frozen(toy: Classifier, soft: bool) -> None:
    toy.train()
    toy.requires_grad_(True)
    before = weights_sha256(toy)
    explainer = Explainer.like(toy)
    start = weights_sha256(explainer)
    objective = explainer_objective(explainer, toy, soft=soft)
    fit(objective, toy_stream, Schedule(5, 1e-2))
    assert weights_sha256(toy) == before
    assert weights_sha256(explainer) != start
    assert all(weight.grad is None and not weight.requires_grad for weight in toy.parameters())
    assert not any(module.training for module in toy.modules())
    assert objective.trained is explainer
    shared = {weight.data_ptr() for weight in toy.parameters()} & {
        weight.data_ptr() for weight in explainer.parameters()
    }
    assert not shared, "the Explainer's weights must be copies"


def test_the_classifier_is_put_back_into_eval_mode(toy: Classifier) -> None:
    """Whoever calls .train() on it between two steps, dropout must not come back."""
    objective = explainer_objective(Explainer.like(toy), toy)
    toy.train()
    objective.loss(toy_batch(0), 0.5)
    assert not any(module.training for module in toy.modules())
    assert objective.explainer.training


def test_freeze(toy: Classifier) -> None:
    freeze(toy)
    assert not toy.training
    assert not any(weight.requires_grad for weight in toy.parameters())


@pytest.mark.parametrize("target", ["predicted", "true", "kl"])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("operator", ["blend", "gate"])
def test_the_gradient_flows_to_the_explainer(target: str, soft: bool, operator: str) -> None:
    classifier = toy_classifier(operator)
    explainer = Explainer.like(classifier)
    torch.nn.init.normal_(explainer.head.weight, std=0.1)  # zero at the start, where it lets no gradient through
    loss, terms = explainer_objective(explainer, classifier, target=target, soft=soft).loss(toy_batch(0), 0.3)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(np.isfinite(value) for value in terms.values())
    gradients = {name: weight.grad for name, weight in explainer.named_parameters()}
    for name in ("head.weight", "head.bias", "encoder.embeddings.word_embeddings.weight"):
        assert gradients[name] is not None, name
        assert float(gradients[name].abs().max()) > 0, name
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values() if gradient is not None)


def test_the_evidence_itself_has_a_gradient(toy: Classifier) -> None:
    """Without any area term the key's logit is pulled up, in the average over draws, and more than any other's."""
    explainer = Explainer.like(toy)
    nothing = ExplainerWeights(1.0, 0.0, 0.0, 0.0)
    objective = explainer_objective(explainer, toy, weights=nothing)
    pull = torch.zeros(2)
    for step in range(20):
        batch = toy_batch(step)
        logits: list[Tensor] = []
        handle = explainer.register_forward_hook(lambda _, __, output, kept=logits: kept.append(output))
        loss, _ = objective.loss(batch, 0.5)
        handle.remove()
        (gradient,) = torch.autograd.grad(loss, logits)
        key = torch.isin(torch.from_numpy(batch.ids), torch.tensor(KEYS))
        other = torch.from_numpy(batch.attention) & ~key
        pull += torch.stack([-gradient[..., 0][where].mean() for where in (key, other)])
    assert pull[0] > 0
    assert pull[0] > 5 * pull[1].abs()


def test_soft_masks_keep_their_precision_at_both_ends(toy: Classifier) -> None:
    """1 - m is sigmoid(-logit): 1 - sigmoid(20) would be 0 in float32, and so would its gradient."""
    objective = explainer_objective(Explainer.like(toy), toy, soft=True)
    logits = torch.tensor([[[20.0], [-20.0], [0.0]]], requires_grad=True)
    mask, inverse = objective.draw(logits, torch.ones(1, 3, dtype=torch.bool), generator(0))
    expected = torch.sigmoid(-logits)
    assert float(inverse[0, 0, 0].detach()) == pytest.approx(2.061e-9, rel=1e-3)
    torch.testing.assert_close(inverse, expected, rtol=0, atol=0)
    torch.testing.assert_close(mask, torch.sigmoid(logits), rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(inverse.sum(), logits)
    assert gradient[0, 0, 0] < 0


def test_the_draws_depend_on_seed_and_step_alone(toy: Classifier) -> None:
    """What makes --resume exact; and the global generator is left alone."""
    objective = explainer_objective(Explainer.like(toy), toy)
    state = torch.get_rng_state()
    first, again = (float(objective.loss(toy_batch(3), 0.5)[0].detach()) for _ in range(2))
    assert first == again
    assert torch.equal(torch.get_rng_state(), state)
    other = explainer_objective(objective.explainer, toy, seed=2)
    assert float(other.loss(toy_batch(3), 0.5)[0].detach()) != first


@pytest.mark.parametrize("tracks", [1, 2])
def test_one_pass_of_masked_and_inverse_is_two(tracks: int) -> None:
    """Stacked along the batch, or apart: the same logits, each rank under its own track."""
    torch.manual_seed(0)
    config = configuration("tiny", VOCABULARY, LONGEST)
    classifier = Classifier(config, (2, 3), "blend").eval()
    objective = explainer_objective(Explainer.like(classifier, 1, tracks), classifier)
    batch = toy_batch(1, 6)
    ids, attention = torch.from_numpy(batch.ids), torch.from_numpy(batch.attention)
    mask = (torch.rand(6, LONGEST, tracks, generator=generator(4)) < 0.5).float()
    with torch.inference_mode():
        masked, rest = objective.classify_both(ids, attention, mask, 1 - mask)
        assert [part.shape for part in (*masked, *rest)] == [(6, 2), (6, 3)] * 2
        for rank in range(2):
            own = mask[..., min(rank, tracks - 1)]
            for one, of in ((masked[rank], own), (rest[rank], 1 - own)):
                torch.testing.assert_close(one, classifier.split(classifier(ids, attention, of, "blend"))[rank])


class TestNoCollapse:
    """The mask must point at the evidence; a constant one that lets everything through faintly must not win."""

    def test_finds_the_evidence_from_nothing(self, toy: Classifier, tmp_path: Path) -> None:
        explainer = fresh(toy)
        before = found(explainer, toy, tmp_path)
        assert before < 0.4, "or nothing is learned here"
        rows = fit(explainer_objective(explainer, toy), toy_stream, Schedule(300, 3e-3))
        assert found(explainer, toy, tmp_path) > 0.9
        assert np.mean([row["spread"] for row in rows[-20:]]) > 0.15
        assert np.mean([row["mean_mask"] for row in rows[-20:]]) < 0.3

    def test_keeps_the_evidence_that_it_starts_with(self, toy: Classifier, tmp_path: Path) -> None:
        """For every class, and not only for the one that the Explainer has come to prefer."""
        explainer = Explainer.like(toy, area=0.15)
        assert found(explainer, toy, tmp_path) > 0.9
        fit(explainer_objective(explainer, toy, seed=2), toy_stream, Schedule(300, 5e-4))
        assert found(explainer, toy, tmp_path) > 0.9


class TestClassifierObjective:
    def classifier(self) -> Classifier:
        torch.manual_seed(1)
        return Classifier(configuration("tiny", VOCABULARY, LONGEST), (2, 3), "blend")

    def batch(self, step: int) -> TrainingBatch:
        batch = toy_batch(step)
        return TrainingBatch(batch.ids, batch.attention, np.concatenate([batch.targets, batch.targets + 1], 1), step)

    @pytest.mark.parametrize(("share", "kinds"), [(0.0, {"full"}), (1.0, {"masked"}), (0.5, {"full", "masked"})])
    def test_share_of_masked_batches(self, share: float, kinds: set[str]) -> None:
        objective = ClassifierObjective(self.classifier(), share, 1, CPU)
        seen = [{key.split("_")[0] for key in objective.loss(self.batch(step), 0)[1]} for step in range(12)]
        assert all(len(kind) == 1 for kind in seen)
        assert set().union(*seen) == kinds

    def test_the_sum_over_ranks_of_the_cross_entropy(self) -> None:
        objective = ClassifierObjective(self.classifier(), 0.0, 1, CPU)
        batch = self.batch(0)
        unknown = batch.targets.copy()
        unknown[::2, 0] = -1
        batch = TrainingBatch(batch.ids, batch.attention, unknown, 0)
        loss, terms = objective.loss(batch, 0)
        with torch.no_grad():
            logits = objective.classifier(torch.from_numpy(batch.ids), torch.from_numpy(batch.attention))
        log_p = [part.log_softmax(dim=1).double().numpy() for part in objective.classifier.split(logits)]
        rows = np.arange(32)
        expected = [-log_p[0][rows[1::2], unknown[1::2, 0]].mean(), -log_p[1][rows, unknown[:, 1]].mean()]
        assert list(terms.values()) == pytest.approx(expected, rel=1e-5)
        assert float(loss.detach()) == pytest.approx(sum(expected), rel=1e-5)

    def test_a_rank_without_any_known_class_does_no_harm(self) -> None:
        objective = ClassifierObjective(self.classifier(), 0.0, 1, CPU)
        batch = self.batch(0)
        loss, terms = objective.loss(TrainingBatch(batch.ids, batch.attention, np.full_like(batch.targets, -1), 0), 0)
        loss.backward()
        assert float(loss.detach()) == 0
        assert terms == {"full_cross_entropy_0": 0, "full_cross_entropy_1": 0}
