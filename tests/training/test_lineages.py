"""Ranks that were alone are joined: what the fit finds on data made for it, and heads that say the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seqmask.models.heads import Heads, by_lineage, summed
from seqmask.training.lineages import Joint, alone_cross_entropy, join, too_little

SIZES = (2, 5)
PARENT = np.array([0, 0, 1, 1, 1])


def told_by_the_fine_rank(n: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The fine rank's logits are right about its class; the coarse one's are noise."""
    rng = np.random.default_rng(seed)
    fine = rng.normal(size=(n, 5)) * 2
    noise = rng.gumbel(size=(n, 5))
    classes = (fine + noise).argmax(axis=1)
    logits = np.hstack([rng.normal(size=(n, 2)), fine]).astype(np.float32)
    return logits, np.stack([PARENT[classes], classes], axis=1)


def cross_entropy(joint: Joint, logits: NDArray[np.float32], targets: NDArray[np.int64]) -> list[float]:
    of = torch.from_numpy(joint.lineages)
    weighted = torch.from_numpy(logits).double() * torch.from_numpy(np.repeat(joint.weights, SIZES))
    scores = summed(joint.energies() + by_lineage(weighted, of, SIZES), of, SIZES)
    return [
        float(torch.nn.functional.cross_entropy(part, torch.from_numpy(target)))
        for part, target in zip(scores, targets.T, strict=True)
    ]


def test_a_rank_that_knows_nothing_has_no_weight() -> None:
    """And one whose logits are those of the posterior counts as it is."""
    (logits, targets), (unseen, truth) = told_by_the_fine_rank(4000, 0), told_by_the_fine_rank(4000, 1)
    joint = join(logits, targets, SIZES, targets)
    assert joint.weights[0] == pytest.approx(0, abs=0.1)
    assert joint.weights[1] == pytest.approx(1, abs=0.1)
    best = float(np.mean(np.log(np.exp(unseen[:, 2:]).sum(axis=1)) - unseen[np.arange(4000), 2 + truth[:, 1]]))
    coarse, fine = cross_entropy(joint, unseen, truth)
    assert fine == pytest.approx(best, abs=0.01)
    assert coarse < fine
    alone = float(np.mean(np.log(np.exp(unseen[:, :2]).sum(axis=1)) - unseen[np.arange(4000), truth[:, 0]]))
    assert coarse < alone - 0.2


def test_frequencies_that_the_logits_do_not_know() -> None:
    """Where training shares are those of the sequences to come, and logits are of equal frequencies: prior 1."""
    rng = np.random.default_rng(3)
    shares = np.array([0.4, 0.3, 0.2, 0.07, 0.03])
    classes = rng.choice(5, 6000, p=shares)
    states = np.eye(5)[classes] * 1.5 + rng.normal(size=(6000, 5))  # log likelihood up to a constant: 1.5 x
    logits = np.hstack([np.zeros((6000, 2)), 1.5 * states]).astype(np.float32)
    targets = np.stack([PARENT[classes], classes], axis=1)
    joint = join(logits, targets, SIZES, targets)
    assert joint.prior == pytest.approx(1, abs=0.1)
    assert joint.weights[1] == pytest.approx(1, abs=0.1)


def test_unknown_targets_and_lineages_that_end() -> None:
    """A third of the sequences have no class at the fine rank: they are a lineage of their own, told by `absent`."""
    logits, targets = told_by_the_fine_rank(3000, 4)
    targets[::3, 1] = -1
    targets[0] = -1
    joint = join(logits, targets, SIZES, targets)
    assert [1, -1] in joint.lineages.tolist()
    assert [-1, -1] not in joint.lineages.tolist()
    assert np.exp(joint.shares).sum() == pytest.approx(1)
    ends = joint.lineages[:, 1] == -1
    expected = joint.prior * joint.shares + ends * joint.absent[1]
    assert joint.energies().numpy() == pytest.approx(expected)
    assert np.isfinite(joint.weights).all()


def test_the_heads_are_what_was_fitted() -> None:
    torch.manual_seed(0)
    alone = Heads(8, SIZES)
    states = torch.randn(40, 8)
    joint = Joint(
        np.stack([PARENT, np.arange(5)], axis=1),
        np.log(np.full(5, 0.2)),
        np.array([0.3, 1.2]),
        np.array([0.0, 0.7]),
        0.5,
        0.0,
    )
    with torch.no_grad():
        found = joint.heads(alone)(states)
        coarse, fine = alone(states).split(SIZES, dim=1)
        energies = 0.3 * coarse[:, PARENT] + 1.2 * fine + 0.5 * np.log(0.2)
    torch.testing.assert_close(found[:, 2:], energies)
    torch.testing.assert_close(found[:, 0], energies[:, :2].logsumexp(dim=1))
    torch.testing.assert_close(found[:, 1], energies[:, 2:].logsumexp(dim=1))


def test_what_the_fit_reached_beside_ranks_alone() -> None:
    logits, targets = told_by_the_fine_rank(3000, 6)
    slices = (slice(0, SIZES[0]), slice(SIZES[0], sum(SIZES)))
    joint = join(logits, targets, SIZES, targets)
    assert joint.cross_entropy == pytest.approx(sum(cross_entropy(joint, logits, targets)), rel=1e-5)
    assert joint.cross_entropy < alone_cross_entropy(logits, targets, slices), "only the fine rank knows anything"
    targets[::2, 0] = -1
    wrong = logits.copy()
    wrong[::2, : SIZES[0]] = 50  # of sequences whose class is not known
    assert alone_cross_entropy(wrong, targets, slices) == pytest.approx(alone_cross_entropy(logits, targets, slices))


def test_too_little_to_join_by() -> None:
    known, names = np.zeros((40, 2), np.int64), ("phylum", "genus")
    lacking = known.copy()
    lacking[:30, 1] = -1
    assert too_little(known, known, names) == ""
    assert too_little(known[:9], known, names) == "split `val` has 9 sequences of a known phylum, fewer than 10"
    assert too_little(lacking, lacking, names) == ""
    said = too_little(known, lacking, names)
    assert said.startswith("75% of the training sequences have no genus that is a class, and 0 of split `val`")
    few = np.repeat(known, 10, axis=0)
    few[0, 1] = -1
    assert too_little(known, few, names) == "", "one of 400 does not matter"


def test_many_lineages_are_fitted_on_fewer_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqmask.training.lineages.MOST", 5 * 500)
    logits, targets = told_by_the_fine_rank(4000, 5)
    few = join(logits, targets, SIZES, targets)
    rows = np.linspace(0, 3999, 500).astype(int)
    same = join(logits[rows], targets[rows], SIZES, targets)
    assert few.weights == pytest.approx(same.weights, abs=1e-4)
