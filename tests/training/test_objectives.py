"""What the two networks are trained for: the draws are what they claim, the classifier stays frozen, evidence wins."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seqmask.inference.engine import Engine
from seqmask.inference.explain import explain
from seqmask.labels.ranks import Rank, Ranks
from seqmask.models.checkpoint import load_classifier, load_model, save_classifier, save_explainer, weights_sha256
from seqmask.models.classifier import Classifier
from seqmask.models.encoders import configuration
from seqmask.models.explainer import Explainer
from seqmask.progress import Progress
from seqmask.sequences.records import Record
from seqmask.sequences.tokens import SPECIALS, KmerTokenizer
from seqmask.training.bag import Bag, start_as_bag
from seqmask.training.dataset import TrainingBatch
from seqmask.training.fit import Checkpoints, Schedule, fit
from seqmask.training.losses import area
from seqmask.training.objectives import (
    FORMS,
    KINDS,
    RAMP,
    TARGETS,
    ClassifierObjective,
    ExplainerObjective,
    Terms,
    fixed_shares,
    freeze,
    logistic,
    over_budget,
    sample,
    spread_of,
    temperature,
)

CPU = torch.device("cpu")
VOCABULARY, WIDTH, LONGEST = 21, 32, 20
KEYS = (7, 15)  # the k-mer that decides for class 0, and that for class 1
TERMS = Terms(area_budget=0.15)


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

    def test_temperature_is_that_of_the_noise(self) -> None:
        """With a fixed share: the draw of logits / temperature, and its gradient. A draw of its own knows none."""
        g = generator(5)
        logits = 2 * torch.randn(6, 40, 1, generator=g)
        attention = padded(list(self.LENGTHS), 40)
        noise, shares = logistic(logits.shape, g), torch.tensor([0.0, 0.3, 0.2, 0.0, 0.9, 0.05])
        pull = torch.rand(logits.shape, generator=g)
        drawn = []
        for given, t in ((logits, 0.4), (torch.where(shares[:, None, None] > 0, logits / 0.4, logits), 1.0)):
            given = given.clone().requires_grad_()
            mask, inverse = sample(given, attention, noise, shares, t)
            drawn.append((mask, inverse, torch.autograd.grad((mask * pull - inverse * pull).sum(), given)[0]))
        for cool, scaled in zip(*drawn, strict=True):
            torch.testing.assert_close(cool, scaled, rtol=1e-4, atol=1e-6)
        warm = sample(logits, attention, noise, shares)[0]
        changed = (warm != drawn[0][0]).any(dim=(1, 2))
        assert changed[shares > 0].any()
        assert not changed[shares == 0].any()

    def test_a_cooler_draw_is_nearer_to_the_hard_mask(self) -> None:
        n = 2000
        rows = torch.linspace(-2, 2, 10).expand(n, 10).unsqueeze(-1)
        top = torch.arange(10) >= 7
        hits = []
        for t in (1.0, 0.5, 0.1, 0.01):
            noise = logistic(rows.shape, generator(0))
            mask, _ = sample(rows, torch.ones(n, 10, dtype=torch.bool), noise, torch.full((n,), 0.3), t)
            hits.append(float(mask[:, top, 0].mean()))
        assert hits == sorted(hits)
        assert hits[0] < 0.75
        assert hits[-1] == 1
        assert [temperature(progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.65, 0.3])

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
        bag = Bag(config, 2)
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
        "terms": TERMS,
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
    objective = explainer_objective(explainer, toy, terms=Terms(area=0, variation=0, area_budget=0.15))
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
    mask, inverse = objective.draw(logits, torch.ones(1, 3, dtype=torch.bool), torch.zeros(1), 0.5, generator(0))
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


class Told(torch.nn.Module):
    """An Explainer that says what it is told to: keep-logits (B, T, tracks), whatever the ids."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(logits)
        self.classes = torch.zeros(0)

    def forward(self, ids: Tensor, attention: Tensor, classes: Tensor) -> Tensor:
        self.classes = classes
        return self.logits * 1


def wild_classifier(sizes: tuple[int, ...] = (2, 3), seed: int = 0) -> Classifier:
    """Random weights, large enough for classes and masks to matter."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        classifier = Classifier(configuration("tiny", VOCABULARY, LONGEST), sizes, "blend").eval()
        classifier.encoder.embeddings.word_embeddings.weight.normal_()
        classifier.head.weight.normal_(std=0.5)
    return classifier


def told(objective_of: Classifier, tracks: int, seed: int = 4, **changes: Any) -> ExplainerObjective:
    """An objective over random keep-logits for the six sequences of `small_batch`."""
    logits = 2 * torch.randn(6, LONGEST, tracks, generator=generator(seed))
    return explainer_objective(Told(logits), objective_of, **changes)  # type: ignore[arg-type]


def small_batch(step: int = 1, known: bool = True) -> TrainingBatch:
    """Six sequences with a class at two ranks; the first one's second is unknown."""
    batch = toy_batch(step, 6)
    targets = np.concatenate([batch.targets, np.arange(6)[:, None] % 3 if known else -np.ones((6, 1), np.int64)], 1)
    targets[0, 1] = -1
    return TrainingBatch(batch.ids, batch.attention, targets, step)


def softmax(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def by_hand(objective: ExplainerObjective, batch: TrainingBatch, progress: float) -> dict[str, float]:
    """The terms of soft masks, one shared by all ranks, written out in numpy."""
    ids, attention = torch.from_numpy(batch.ids), torch.from_numpy(batch.attention)
    keep = objective.explainer.logits.detach()[..., 0]
    m = torch.sigmoid(keep)
    with torch.no_grad():
        seen = [None, m, 1 - m, torch.zeros_like(m)]
        full, kept, rest, nothing = (
            [softmax(part.double().numpy()) for part in objective.classifier.split(logits)]
            for logits in (objective.classifier(ids, attention, mask, "blend") for mask in seen)
        )
    nothing = [np.repeat(part[:1], 6, axis=0) for part in nothing]
    rows = np.arange(6)
    t, lost, left, of_full, of_nothing = objective.terms, [], [], [], []
    for r in range(2):
        y = full[r].argmax(axis=1)
        if objective.target == "true":
            y = np.where(batch.targets[:, r] >= 0, batch.targets[:, r], y)

        def sufficient(p: Any, y: Any = y, r: int = r) -> float:
            each = (full[r] * np.log(full[r] / p)).sum(axis=1) if objective.target == "kl" else -np.log(p[rows, y])
            return float(each.mean())

        def tells(p: Any, y: Any = y, r: int = r) -> float:
            entropy = -(p * np.log(p)).sum(axis=1)
            return float(
                {
                    "class": -np.log(1 - p[rows, y]),
                    "entropy": 1 - entropy / np.log(p.shape[1]),
                    "null": (p * np.log(p / nothing[r])).sum(axis=1),
                }[t.kind].mean()
            )

        lost.append(sufficient(kept[r]))
        left.append(tells(rest[r]))
        of_full.append(sufficient(full[r]))
        of_nothing.append(tells(nothing[r]))
    share = [float(m[i, : batch.attention[i].sum()].mean()) for i in range(6)]
    steps = [float(m[i, : batch.attention[i].sum()].diff().abs().mean()) for i in range(6)]
    if t.form == "constrained":
        over = [max(a - b - t.sufficiency_bound, 0) ** 2 for a, b in zip(lost, of_full, strict=True)]
        above = [max(a - b - t.necessity_bound, 0) ** 2 for a, b in zip(left, of_nothing, strict=True)]
        evidence = {"sufficiency": t.penalty * sum(over), "necessity": t.penalty * sum(above)}
    else:
        evidence = {"sufficiency": sum(lost), "necessity": t.necessity * sum(left)}
    size = max(np.mean(share) - t.area_budget, 0) ** 2 if t.form == "budget" else np.mean(share)
    return {
        **evidence,
        "area": t.area * min(progress / 0.1, 1) * float(size),
        "variation": t.variation * float(np.mean(steps)),
        "mean_mask": float(np.mean(share)),
    }


class TestTerms:
    """What is added up, and for whom."""

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("target", TARGETS)
    def test_forms_kinds_and_targets_by_hand(self, form: str, kind: str, target: str) -> None:
        terms = Terms(form, kind, necessity=0.7, area=3.0, variation=0.4, area_budget=0.15)
        terms.sufficiency_bound, terms.necessity_bound = 0.02, 0.003
        objective = told(wild_classifier(), 1, target=target, terms=terms, soft=True)
        for progress in (0.04, 0.5):
            loss, logged = objective.loss(small_batch(), progress)
            expected = by_hand(objective, small_batch(), progress)
            assert {name: logged[name] for name in expected} == pytest.approx(expected, rel=1e-3, abs=1e-5)
            assert logged["sufficiency"] > 1e-4 < logged["necessity"], "or there is nothing to compare"
            parts = ("sufficiency", "necessity", "area", "variation", "bounds")
            assert float(loss.detach()) == pytest.approx(sum(logged[name] for name in parts), rel=1e-5)

    def test_area_weighs_nothing_at_first(self) -> None:
        objective = told(wild_classifier(), 1, terms=Terms("weighted", area=4.0))
        costs = [objective.loss(small_batch(), progress)[1] for progress in (0.0, RAMP / 2, RAMP, 0.9)]
        whole = 4.0 * costs[0]["mean_mask"]
        assert [cost["area"] for cost in costs] == pytest.approx([0, whole / 2, whole, whole])

    def test_constraints_that_a_mask_of_everything_meets(self) -> None:
        """The classifier is not sure and knows a prior: neither may count against the mask of ones."""
        classifier = wild_classifier()
        with torch.no_grad():
            classifier.head.weight.mul_(0.3)
            classifier.head.bias.copy_(torch.tensor([2.0, 0, 0, 1.0, 0]))
        for kind in KINDS:
            of = {
                form: told(classifier, 1, terms=Terms(form, kind, area=0, variation=0), soft=True)
                for form in ("constrained", "weighted")
            }
            for objective in of.values():
                objective.explainer.logits.data.fill_(30.0)
            constrained, weighted = (objective.loss(small_batch(), 0.5)[1] for objective in of.values())
            assert weighted["sufficiency"] > 0.2
            assert weighted["necessity"] > 0.2 or kind == "null"
            assert constrained["sufficiency"] == pytest.approx(0, abs=1e-6)
            assert constrained["necessity"] == pytest.approx(0, abs=1e-6)

    @pytest.mark.parametrize("kind", KINDS)
    def test_constraints_are_for_sequences_that_choose_their_area(
        self, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of a share fixed in advance no area can meet a bound: such sequences rank, as in the weighted form."""
        classifier = wild_classifier((4,))
        batch = TrainingBatch(
            *(getattr(small_batch(), n) for n in ("ids", "attention")), small_batch().targets[:, :1], 1
        )

        def terms(form: str, shares: Tensor, bound: float = 0.0) -> dict[str, float]:
            monkeypatch.setattr("seqmask.training.objectives.fixed_shares", lambda *_: shares)
            with_bound = Terms(form, kind, area=0, variation=0, sufficiency_bound=bound, necessity_bound=bound)
            return told(classifier, 1, terms=with_bound).loss(batch, 0.5)[1]

        fixed, own = torch.full((6,), 0.2), torch.zeros(6)
        assert terms("constrained", fixed) == terms("weighted", fixed)
        assert terms("constrained", own, bound=50.0)["sufficiency"] == 0
        assert terms("constrained", own, bound=50.0)["necessity"] == 0
        mixed = torch.tensor([0.2, 0.0, 0.2, 0.0, 0.0, 0.2])
        assert terms("constrained", mixed, bound=50.0)["sufficiency"] > 0
        assert terms("constrained", mixed)["sufficiency"] > terms("constrained", mixed, bound=50.0)["sufficiency"]

    def test_draws_are_shared_by_the_forms(self) -> None:
        """Budget and weighted differ in the area alone."""
        budget, weighted = (
            told(wild_classifier(), 1, terms=Terms(form)).loss(small_batch(), 0.5)[1] for form in ("budget", "weighted")
        )
        assert budget.pop("area") != weighted.pop("area")
        assert budget == weighted


class TestNamed:
    """Sequences whose mask explains another class than the classifier's."""

    def classes(self, sizes: tuple[int, ...], share: float, target: str = "predicted") -> tuple[Tensor, Tensor, Tensor]:
        """Of 600 sequences: the classes told, the classifier's own, and the places (0 = best) of the told ones."""
        classifier = wild_classifier(sizes)
        batch = toy_batch(2, 600)
        labels = np.full((600, len(sizes)), -1)
        ids, attention = torch.from_numpy(batch.ids), torch.from_numpy(batch.attention)
        objective = explainer_objective(
            Told(torch.zeros(600, LONGEST, 1)),
            classifier,
            named_share=share,
            target=target,  # type: ignore[arg-type]
        )
        objective.loss(TrainingBatch(batch.ids, batch.attention, labels, 2), 0.5)
        with torch.no_grad():
            scores = classifier.split(classifier(ids, attention))
        order = [part.argsort(dim=1, descending=True) for part in scores]
        found = objective.explainer.classes
        places = [(order[r] == found[:, r : r + 1]).int().argmax(dim=1) for r in range(len(sizes))]
        return found, torch.stack([part[:, 0] for part in order], dim=1), torch.stack(places, dim=1)

    def test_one_rank_of_the_share_gets_one_of_the_next_four(self) -> None:
        found, own, places = self.classes((8, 3, 12), 0.4)
        other = found != own
        assert set(other.sum(dim=1).tolist()) == {0, 1}
        assert 0.33 < float(other.any(dim=1).float().mean()) < 0.47
        assert (other.float().mean(dim=0) > 0.08).all(), "every rank has its turn"
        assert set(places[:, 0].tolist()) == set(places[:, 2].tolist()) == {0, 1, 2, 3, 4}
        assert set(places[:, 1].tolist()) == {0, 1, 2}, "of three classes there are two others"

    @pytest.mark.parametrize(
        ("sizes", "share", "target"), [((8, 3), 0.0, "predicted"), ((1, 1), 1.0, "predicted"), ((8, 3), 1.0, "kl")]
    )
    def test_nobody_is_named(self, sizes: tuple[int, ...], share: float, target: str) -> None:
        """No share; no other class; or a target that asks for all classes, which knows no other one."""
        found, own, _ = self.classes(sizes, share, target)
        assert torch.equal(found, own)

    def test_everybody_is(self) -> None:
        found, own, _ = self.classes((8, 3), 1.0)
        assert ((found != own).sum(dim=1) == 1).all()

    def test_sufficiency_is_of_the_named_class(self) -> None:
        """What is told to the Explainer is what it is judged by."""
        classifier = wild_classifier((6,))
        objective = told(classifier, 1, named_share=1.0, soft=True)
        batch = small_batch()
        logged = objective.loss(TrainingBatch(batch.ids, batch.attention, batch.targets[:, :1], 1), 0.5)[1]
        ids, attention = torch.from_numpy(batch.ids), torch.from_numpy(batch.attention)
        mask = torch.sigmoid(objective.explainer.logits.detach()[..., 0])
        with torch.no_grad():
            kept = classifier(ids, attention, mask, "blend").log_softmax(dim=1)
        expected = -kept[torch.arange(6), objective.explainer.classes[:, 0]].mean()
        assert logged["sufficiency"] == pytest.approx(float(expected), rel=1e-4)
        assert objective.explainer.classes.shape == (6, 1)


class TestTracks:
    """A mask a rank: each sequence draws one of them, which answers for its own rank."""

    def gradient(self, objective: ExplainerObjective, step: int = 1) -> Tensor:
        loss, _ = objective.loss(small_batch(step), 0.5)
        (gradient,) = torch.autograd.grad(loss, objective.explainer.logits)
        return gradient

    def evidence(self, classifier: Classifier, **changes: Any) -> ExplainerObjective:
        return told(classifier, 2, terms=Terms(area=0, variation=0, area_budget=0.15, **changes))

    def test_one_track_of_a_sequence_learns_in_a_step(self) -> None:
        objective = self.evidence(wild_classifier())
        seen = torch.zeros(6, 2)
        for step in range(12):
            moved = (self.gradient(objective, step) != 0).any(dim=1).float()
            assert (moved.sum(dim=1) == 1).all()
            seen += moved
        assert (seen > 0).all(), "each track of each sequence has its turn"

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_track_learns_from_its_own_rank_alone(self, form: str, kind: str) -> None:
        """Another head at one rank moves the track of that rank, and no bit of the other."""
        one, other = wild_classifier(), wild_classifier()
        with torch.no_grad():
            other.head.weight[2:] *= -1.7
        for step in range(3):
            before, after = (self.gradient(self.evidence(c, form=form, kind=kind), step) for c in (one, other))
            assert torch.equal(before[..., 0], after[..., 0])
            assert (before[..., 1] != after[..., 1]).any()

    def test_the_evidence_of_a_rank_is_the_mean_over_the_sequences_that_drew_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Stacked along the batch or apart, the same logits: one pass of masked and inverse-masked is two."""
        monkeypatch.setattr("seqmask.training.objectives.fixed_shares", lambda rows, *_: torch.zeros(rows))
        classifier = wild_classifier()
        objective = self.evidence(classifier)
        drew = (self.gradient(objective) != 0).any(dim=1)  # (6, 2) bool
        objective.explainer.logits.data.sign_().mul_(200)  # leaves nothing to chance
        logged = objective.loss(small_batch(), 0.5)[1]
        batch = small_batch()
        ids, attention = torch.from_numpy(batch.ids), torch.from_numpy(batch.attention)
        hard = (objective.explainer.logits.detach() > 0).float()
        expected = {"sufficiency": 0.0, "necessity": 0.0}
        with torch.no_grad():
            own = [part.argmax(dim=1) for part in classifier.split(classifier(ids, attention))]
            for rank in range(2):
                kept, rest = (
                    classifier.split(classifier(ids, attention, mask, "blend"))[rank].softmax(dim=1)
                    for mask in (hard[..., rank], 1 - hard[..., rank])
                )
                rows, y = drew[:, rank], own[rank][drew[:, rank], None]
                expected["sufficiency"] -= float(kept[rows].gather(1, y).log().mean())
                expected["necessity"] -= float((1 - rest[rows].gather(1, y)).log().mean())
        assert {name: logged[name] for name in expected} == pytest.approx(expected, rel=1e-4)

    def test_area_and_shape_are_of_all_tracks(self) -> None:
        """They need no pass of the classifier, so that every track is held to the budget in every step."""
        objective = told(wild_classifier(), 2, terms=Terms("weighted", necessity=0, area=1.0, variation=1.0))
        (gradient,) = torch.autograd.grad(objective.loss(small_batch(), 0.5)[0], objective.explainer.logits)
        valid = torch.from_numpy(small_batch().attention)
        assert (gradient[valid] != 0).all()
        assert (gradient[~valid] == 0).all()


@pytest.mark.parametrize("tracks", [1, 2])
def test_resuming_changes_no_bit(tracks: int, tmp_path: Path) -> None:
    """Tracks, named classes, shares, temperature and the ramp depend on the step and not on the run."""

    def train(checkpoints: Checkpoints | None = None, stop: int = 0) -> str:
        classifier = wild_classifier()
        explainer = Explainer.like(classifier, 1, tracks)

        def stream(first: int) -> Iterator[TrainingBatch]:
            return map(small_batch, itertools.count(first))

        def report(progress: Progress) -> None:
            if progress.step == stop:
                raise InterruptedError

        objective = explainer_objective(explainer, classifier, named_share=0.5, terms=Terms("constrained", "null"))
        fit(objective, stream, Schedule(12, 1e-2), checkpoints=checkpoints, report=report)
        return weights_sha256(explainer)

    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(InterruptedError):
        train(Checkpoints(path, minutes=0), 7)
    assert train(Checkpoints(path, minutes=1e9, resume=True)) == train()


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


@pytest.mark.parametrize(("token_nt", "expected"), [(None, 2 / 4), (torch.tensor([0.0, 1.0, 5.0]), 6 / 12)])
def test_area_weighs_tokens_by_their_nucleotides(token_nt: Tensor | None, expected: float) -> None:
    """Ids 1 and 2 have 1 and 5 nt; padding has none."""
    ids, attention = torch.tensor([[1, 2, 2, 1, 0]]), torch.tensor([[True, True, True, True, False]])
    weight = ExplainerObjective.nucleotides(SimpleNamespace(token_nt=token_nt), ids, attention)  # type: ignore[arg-type]
    assert weight.tolist() == ([[1, 1, 1, 1, 0]] if token_nt is None else [[1, 5, 5, 1, 0]])
    mask = torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0]).view(1, 5, 1)
    assert float(area(mask, weight)) == pytest.approx(expected)
    first = torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0]).view(1, 5, 1)
    assert float(area(first, weight)) == pytest.approx(1 / 4 if token_nt is None else 5 / 12)
