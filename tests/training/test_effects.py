"""Measured effects of single tokens are what they claim, and the Explainer learns to tell them in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seqmask.models.classifier import Classifier, log_odds
from seqmask.models.encoders import configuration
from seqmask.models.explainer import LOGIT_BOUND, Explainer, quantile_threshold
from seqmask.training import effects as module
from seqmask.training.dataset import TrainingBatch
from seqmask.training.effects import (
    AT_RANDOM,
    IN_MASKS,
    LEAST_SHOWN,
    SHOWN,
    WHOLE,
    EffectsThenMasks,
    drawn_tokens,
    effects,
    random_others,
    standardised,
)
from seqmask.training.fit import Schedule, fit
from seqmask.training.objectives import ExplainerObjective, Terms

VOCABULARY, ROWS, LONGEST = 69, 6, 24
LENGTHS = (24, 9, 15, 24, 20, 12)


def classifier_of(sizes: tuple[int, ...] = (2, 5)) -> Classifier:
    """Random weights, large enough for tokens to matter."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(2)
        classifier = Classifier(configuration("tiny", VOCABULARY, LONGEST), sizes, "blend").eval()
        classifier.encoder.embeddings.word_embeddings.weight.normal_()
        classifier.head.weight.normal_(std=0.5)
    return classifier.requires_grad_(False)


def batch_of(step: int) -> TrainingBatch:
    rng = np.random.default_rng([3, step])
    attention = np.arange(LONGEST) < np.array(LENGTHS)[:, None]
    ids = np.where(attention, rng.integers(5, VOCABULARY, (ROWS, LONGEST)), 0)
    return TrainingBatch(ids, attention, np.zeros((ROWS, 2), np.int64), step)


def tensors(step: int = 0) -> tuple[Tensor, Tensor]:
    batch = batch_of(step)
    return torch.from_numpy(batch.ids), torch.from_numpy(batch.attention)


def odds_of(classifier: Classifier, ids: Tensor, mask: Tensor | None, classes: Tensor) -> Tensor:
    """Of one sequence (T,), by probabilities in double precision: (R,)."""
    attention = torch.ones(1, len(ids), dtype=torch.bool)
    logits = classifier(ids[None], attention, None if mask is None else mask[None], "blend")
    p = [part[0].double().softmax(0)[own] for part, own in zip(classifier.split(logits), classes, strict=True)]
    return torch.stack([torch.log(value / (1 - value)) for value in p])


def test_log_odds() -> None:
    p = torch.tensor([[0.5, 0.3, 0.2]]).log()
    assert torch.allclose(
        log_odds([p, torch.ones(1, 1)], torch.tensor([[1, 0]])), torch.tensor([[np.log(0.3 / 0.7), 0]]).float()
    )


@pytest.mark.parametrize("chunk", [1, 100, 10**6])
@pytest.mark.parametrize("tracks", [1, 2])
def test_the_five_views_by_hand(chunk: int, tracks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sequence alone, each token alone, without padding: what stands beside a sequence in a batch is nothing."""
    monkeypatch.setattr(module, "CHUNK_TOKENS", chunk)
    classifier, (ids, attention) = classifier_of(), tensors()
    full = classifier.split(classifier(ids, attention))
    classes = torch.stack([part.argmax(dim=1) for part in full], dim=1)
    tokens = drawn_tokens(attention, 8, torch.Generator().manual_seed(1))
    kept = list(torch.rand((tracks, *ids.shape), generator=torch.Generator().manual_seed(4)) < 0.4)
    others = random_others(attention, torch.Generator().manual_seed(5))
    found = effects(classifier, "blend", ids, attention, classes, tokens, kept, others)
    assert found.shape == (ROWS, 8, tracks)
    for row, length in enumerate(LENGTHS):
        own, chosen = ids[row, :length], tokens[row].tolist()

        def beside(shown: Tensor, own: Tensor = own, row: int = row, chosen: list[int] = chosen) -> Tensor:
            """Odds with a token less those without it, beside these, standardised (S, R)."""
            values = []
            for token in chosen:
                odds = []
                for there in (1.0, 0.0):
                    mask = shown.clone()
                    mask[token] = there
                    odds.append(odds_of(classifier, own, mask, classes[row]))
                values.append(odds[0] - odds[1])
            of_tokens = torch.stack(values)
            return (of_tokens - of_tokens.mean(dim=0)) / of_tokens.std(dim=0, correction=0)

        views = WHOLE * beside(torch.ones(length)) + SHOWN * beside(torch.zeros(length))
        views += AT_RANDOM * beside(others[row, :length])
        for track in range(tracks):
            mask = kept[track][row, :length].float()
            expected = views + IN_MASKS * (beside(mask) + beside(1 - mask))
            expected = expected.mean(dim=1) if tracks == 1 else expected[:, track]
            assert torch.allclose(found[row, :, track].double(), expected, atol=4e-3)


def test_tokens_are_drawn_from_the_sequence_without_repeats() -> None:
    attention = torch.arange(10) < torch.tensor([10, 7, 3])[:, None]
    tokens = drawn_tokens(attention, 5, torch.Generator().manual_seed(0))
    assert tokens.shape == (3, 5)
    assert all(len(set(row.tolist())) == 5 for row in tokens)
    assert tokens[0].max() < 10
    assert tokens[1].max() < 7
    assert sorted(tokens[2].tolist())[:3] == [0, 1, 2], "padding only where there is nothing else"
    assert drawn_tokens(attention, 50, torch.Generator()).shape == (3, 10)


def test_others_are_of_every_share() -> None:
    attention = torch.arange(400) < torch.full((300, 1), 400)
    others = random_others(attention, torch.Generator().manual_seed(0))
    assert set(others.unique().tolist()) == {0.0, 1.0}
    shares = others.mean(dim=1)
    assert LEAST_SHOWN - 0.08 < float(shares.min()) < LEAST_SHOWN + 0.05
    assert float(shares.max()) > 0.95
    assert abs(float(shares.mean()) - (1 + LEAST_SHOWN) / 2) < 0.03


def test_no_target_is_beyond_what_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a token far above the rest would cost most, however well it is told."""
    for name in ("WHOLE", "SHOWN", "IN_MASKS", "AT_RANDOM"):
        monkeypatch.setattr(module, name, 1e4)
    assert float(objective(1).loss(batch_of(0), 0.0)[0].detach()) <= (2 * LOGIT_BOUND) ** 2


def test_padding_has_no_part_in_the_standard() -> None:
    values, valid = torch.tensor([[[1.0], [3.0], [100.0]]]), torch.tensor([[True, True, False]])
    assert torch.allclose(standardised(values, valid)[0, :2, 0], torch.tensor([-1.0, 1.0]))


def objective(tracks: int, share: float = 1.0, **changes: Any) -> EffectsThenMasks:
    classifier = classifier_of()
    torch.manual_seed(0)
    explainer = Explainer.like(classifier, tracks=tracks, area=0.25)
    torch.nn.init.normal_(explainer.query.weight, std=0.2)  # it would know nearly everything from the start
    masks = ExplainerObjective(
        explainer, classifier, "blend", "predicted", Terms(area_budget=0.25), False, 1, torch.device("cpu"), **changes
    )
    return EffectsThenMasks(masks, share, tokens=8)


def test_effects_are_measured_in_the_precision_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """And bf16 tells tokens apart as fp32 does, though an effect is a small difference of large numbers."""
    seen: list[Tensor] = []
    monkeypatch.setattr(module, "effects", lambda *args: seen.append(effects(*args)) or seen[-1])
    of = objective(2)
    of.loss(batch_of(0), 0.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        of.loss(batch_of(0), 0.0)
    exact, fast = (values.flatten().numpy() for values in seen)
    assert not np.array_equal(exact, fast)
    assert np.corrcoef(exact, fast)[0, 1] > 0.99


def correlation(of: EffectsThenMasks, step: int) -> float:
    """Of keep-logits and the effects of every token, mean over sequences and tracks."""
    batch = batch_of(step)
    ids, attention, _, classes, _ = of.masks.begin(batch)
    everything = torch.arange(LONGEST).expand(ROWS, -1)
    with torch.no_grad():
        logits = of.masks.explainer.eval()(ids, attention, classes)
    kept = (logits > quantile_threshold(logits, attention, torch.full((ROWS,), 0.25))).unbind(2)
    draws = [random_others(attention, torch.Generator().manual_seed(seed)) for seed in range(8)]
    target = torch.stack(
        [effects(of.masks.classifier, "blend", ids, attention, classes, everything, kept, others) for others in draws]
    ).mean(dim=0)
    pairs = [
        (logits[row, :length, track], target[row, :length, track])
        for row, length in enumerate(LENGTHS)
        for track in range(logits.shape[2])
    ]
    return float(np.mean([np.corrcoef(mine.numpy(), true.numpy())[0, 1] for mine, true in pairs]))


@pytest.mark.parametrize("tracks", [1, 2])
def test_the_explainer_learns_the_effects_of_unseen_sequences(tracks: int) -> None:
    of = objective(tracks)
    before = np.mean([correlation(of, step) for step in range(900, 905)])
    fit(of, lambda first: map(batch_of, range(first, 10**6)), Schedule(80, 5e-3), name="effects", size=lambda b: ROWS)
    after = np.mean([correlation(of, step) for step in range(900, 905)])
    assert before < 0.4
    assert after > 0.7


def test_masks_are_drawn_after_the_share() -> None:
    of = objective(2, share=0.5)
    first, second = (set(of.loss(batch_of(0), progress)[1]) for progress in (0.49, 0.5))
    assert first == {"effects", "mean_mask", "spread"}
    assert second == set(of.masks.loss(batch_of(0), 0.0)[1])
    assert of.loss(batch_of(0), 0.75)[1] == of.masks.loss(batch_of(0), 0.5)[1]


def test_the_draws_depend_on_seed_and_step_alone() -> None:
    values = [float(objective(2).loss(batch_of(step), 0.1)[0].detach()) for step in (1, 1, 2)]
    assert values[0] == values[1] != values[2]
