"""Heads: lineages against sums written out, directions against autograd, calibration, and what is stored."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from seqmask.models.classifier import Classifier, log_odds
from seqmask.models.encoders import configuration
from seqmask.models.explainer import Explainer
from seqmask.models.heads import Heads, LineageHeads, heads_of
from seqmask.sequences.tokens import SPECIALS

WIDTH, SIZES = 7, (2, 3, 5)
# one class under two, one lineage that ends at the second rank, one without it
LINEAGES = [[0, 0, 0], [0, 0, 1], [0, 1, 2], [0, 1, -1], [1, 2, 3], [1, 2, 4], [1, 1, 4], [1, -1, 2]]
TEMPERATURE = 1.7


def lineage_heads() -> LineageHeads:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        heads = heads_of({"hidden_size": WIDTH, "lineages": len(LINEAGES)}, SIZES)
        assert isinstance(heads, LineageHeads)
        heads.lineages.copy_(torch.tensor(LINEAGES))
        torch.nn.init.normal_(heads.energy)
    return heads


def alone() -> Heads:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return heads_of({"hidden_size": WIDTH}, SIZES)


def calibrated(heads: Heads) -> Heads:
    heads.divide(1, TEMPERATURE)
    heads.subtract(2, torch.tensor([0.5, -1.0, 0.0, 2.0, 0.3]))
    return heads


def some_states(rows: int = 6) -> Tensor:
    return torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(1))


def test_a_class_is_as_probable_as_the_lineages_through_it() -> None:
    heads, states = lineage_heads(), some_states()
    with torch.no_grad():
        logits = heads(states).double().split(SIZES, dim=1)
        own = torch.nn.functional.linear(states, heads.weight, heads.bias).double().split(SIZES, dim=1)
    for row in range(len(states)):
        energies = [
            float(heads.energy[i].detach()) + sum(float(own[rank][row, c]) for rank, c in enumerate(lineage) if c >= 0)
            for i, lineage in enumerate(LINEAGES)
        ]
        for rank, size in enumerate(SIZES):
            for c in range(size):
                through = sum(np.exp(e) for e, of in zip(energies, LINEAGES, strict=True) if of[rank] == c)
                assert float(logits[rank][row, c]) == pytest.approx(np.log(through), abs=1e-5)


def test_coarse_ranks_are_sums_of_fine_ones_on_a_tree() -> None:
    """Each phylum's probability is that of its genera, whatever the states are."""
    heads = LineageHeads(WIDTH, (2, 4), 4)
    heads.lineages.copy_(torch.tensor([[0, 0], [0, 1], [1, 2], [1, 3]]))
    coarse, fine = heads(some_states(50)).split((2, 4), dim=1)
    below = fine.softmax(dim=1).unflatten(1, (2, 2)).sum(dim=2)
    torch.testing.assert_close(coarse.softmax(dim=1), below)


def test_a_class_far_below_the_others_has_a_logit_and_a_gradient() -> None:
    heads = lineage_heads()
    with torch.no_grad():
        heads.bias[0] = -400.0  # exp of it is 0 in float32
    states = some_states().requires_grad_()
    logits = heads(states)
    assert logits.isfinite().all()
    assert (logits[:, 0] < -300).all()
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), states)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0.01


@pytest.mark.parametrize("heads", [calibrated(alone()), calibrated(lineage_heads())], ids=["alone", "lineages"])
def test_the_competing_direction_is_the_gradient_of_the_log_odds(heads: Heads) -> None:
    states = some_states(4).requires_grad_()
    for explained in itertools.islice(itertools.product(*map(range, SIZES)), 0, None, 3):
        told = torch.tensor([explained] * 4)
        odds = log_odds(heads(states).split(SIZES, dim=1), told)
        _, competing, found = heads.directions(states, told, range(3))
        torch.testing.assert_close(found, odds, rtol=1e-5, atol=1e-5)
        for rank in range(3):
            (wanted,) = torch.autograd.grad(odds[:, rank].sum(), states, retain_graph=True)
            factor = 1 / TEMPERATURE if rank == 1 and isinstance(heads, LineageHeads) else 1.0
            torch.testing.assert_close(competing[:, rank] * factor, wanted, rtol=1e-4, atol=1e-5)


def test_the_mean_direction_by_hand() -> None:
    """Away from the mean over classes of the mean over their lineages; of single ranks as of all."""
    heads, states, rank, own = lineage_heads(), some_states(1), 1, 1
    with torch.no_grad():
        padded = [torch.cat([part, torch.zeros(1, WIDTH)]) for part in heads.weight.split(SIZES)]
        rows = torch.stack([sum(padded[r][c] for r, c in enumerate(lineage)) for lineage in LINEAGES])
        energies = (
            heads.energy
            + rows @ states[0]
            + torch.stack([sum(heads.bias.split(SIZES)[r][c] for r, c in enumerate(of) if c >= 0) for of in LINEAGES])
        )
        through = {c: [i for i, of in enumerate(LINEAGES) if of[rank] == c] for c in range(SIZES[rank])}
        mean = torch.stack([rows[of].mean(dim=0) for of in through.values()]).mean(dim=0)
        wanted = energies[through[own]].softmax(dim=0) @ rows[through[own]] - mean
        told = torch.tensor([[0, own, 0]])
        alone, *_ = heads.directions(states, told, [rank])
        together, *_ = heads.directions(states, told, range(3))
    torch.testing.assert_close(alone[0, 0], wanted)
    torch.testing.assert_close(together[:, rank], alone[:, 0])


@pytest.mark.parametrize("make", [alone, lineage_heads])
def test_calibration_divides_and_subtracts_the_logits_of_its_rank(make: type[Heads]) -> None:
    states = some_states()
    before, after = make()(states).split(SIZES, dim=1), calibrated(make())(states).split(SIZES, dim=1)
    torch.testing.assert_close(after[0], before[0])
    torch.testing.assert_close(after[1], before[1] / TEMPERATURE)
    torch.testing.assert_close(after[2], before[2] - torch.tensor([0.5, -1.0, 0.0, 2.0, 0.3]))
    heads = calibrated(make())
    heads.divide(2, 2.0)  # what was subtracted is divided as well
    torch.testing.assert_close(heads(states).split(SIZES, dim=1)[2], after[2] / 2.0)


def test_weights_hold_the_lineages() -> None:
    """What is stored gives the same logits; an Explainer that starts from a classifier knows its lineages."""
    heads, other = calibrated(lineage_heads()), LineageHeads(WIDTH, SIZES, len(LINEAGES))
    other.load_state_dict(heads.state_dict())
    assert torch.equal(other(some_states()), heads(some_states()))
    config = {**configuration("tiny", len(SPECIALS) + 64, 32), "lineages": len(LINEAGES)}
    classifier = Classifier(config, SIZES, "gate")
    assert isinstance(classifier.head, LineageHeads)
    classifier.head.lineages.copy_(torch.tensor(LINEAGES))
    explainer = Explainer.like(classifier, tracks=3)
    assert torch.equal(explainer.query.lineages, classifier.head.lineages)  # type: ignore[arg-type]
