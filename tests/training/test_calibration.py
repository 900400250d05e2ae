"""Temperature scaling by hand, on an overconfident toy, and folded into a head; class frequencies taken out of one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seqmask.evaluation.metrics import expected_calibration_error, softmax
from seqmask.models.heads import Heads
from seqmask.training.calibration import COLDEST, HOTTEST, log_shares, temperatures

Logits = NDArray[np.float32]
TWO = (slice(0, 2),)


def pair(gap: float, right: int, wrong: int) -> tuple[Logits, NDArray[np.int64]]:
    """Sequences of two classes, the first better by `gap` in all; it is right so often and wrong so often."""
    logits = np.tile(np.array([gap, 0.0], dtype=np.float32), (right + wrong, 1))
    return logits, np.repeat([[0], [1]], [right, wrong], axis=0)


@pytest.mark.parametrize(("gap", "right"), [(6.0, 3), (1.0, 3), (4.0, 9)])
def test_two_classes_by_hand(gap: float, right: int) -> None:
    """The best T gives the share of right answers: sigmoid(gap / T) = right / (right + 1), so T = gap / ln(right)."""
    assert temperatures(*pair(gap, 5000 * right, 5000), TWO)[0] == pytest.approx(gap / np.log(right), rel=1e-3)


def test_ranks_are_apart_and_unknown_classes_left_out() -> None:
    logits, targets = pair(6.0, 15000, 5000)
    other, others = pair(1.0, 15000, 5000)
    both = np.hstack([logits, other, logits])
    classes = np.hstack([targets, others, np.full_like(targets, -1)])
    slices = (slice(0, 2), slice(2, 4), slice(4, 6))
    found = temperatures(both, classes, slices)
    assert found[:2] == pytest.approx([6 / np.log(3), 1 / np.log(3)], rel=1e-3)
    assert found[2] == 1  # nothing is known of the third
    more = np.vstack([both, np.full((5, 6), 9, dtype=np.float32)])
    unknown = np.vstack([classes, np.full((5, 3), -1)])
    assert (temperatures(more, unknown, slices) == found).all()


def test_where_all_are_right_nothing_is_sure() -> None:
    """Without a prior the coldest T would be the best, and confidence in whatever comes next 1."""
    found = [temperatures(*pair(1.0, n, 0), TWO)[0] for n in (1, 5, 50, 500)]
    assert found == sorted(found, reverse=True)
    assert softmax(np.array([[1.0, 0.0]]) / found[1]).max() < 0.95  # five right are no proof
    for n, temperature in zip((1, 5, 50, 500), found, strict=True):  # where the slope is 0

        def cost(log_t: float, n: int = n) -> float:
            return np.log1p(np.exp(-np.exp(-log_t))) + log_t**2 / (2 * n)

        at = np.log(temperature)
        assert cost(at + 1e-3) - cost(at - 1e-3) == pytest.approx(0, abs=2e-6)
    assert temperatures(np.zeros((9, 1), dtype=np.float32), np.zeros((9, 1), dtype=np.int64), (slice(0, 1),))[0] == 1


def test_the_ends_of_the_search() -> None:
    assert temperatures(*pair(0.02, 10**5, 0), TWO)[0] == pytest.approx(COLDEST, rel=1e-3)  # never sure enough
    assert temperatures(*pair(99.0, 10**5, 5 * 10**5), TWO)[0] == pytest.approx(
        HOTTEST, rel=1e-3
    )  # never unsure enough


def test_no_other_temperature_is_better() -> None:
    logits, targets = overconfident(400)
    found = temperatures(logits, targets, (slice(0, 5),))[0]

    def cost(temperature: float) -> float:
        likelihood = softmax(logits / temperature)[np.arange(len(targets)), targets[:, 0]]
        return float(-np.log(likelihood).mean()) + np.log(temperature) ** 2 / (2 * len(targets))

    others = np.geomspace(COLDEST, HOTTEST, 200)
    assert cost(found) <= min(map(cost, others)) + 1e-6


def overconfident(n: int, factor: float = 4.0, seed: int = 0) -> tuple[Logits, NDArray[np.int64]]:
    """Classes drawn from a softmax, and its logits times a factor: what is needed is that factor as the temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 5))
    cumulative = softmax(logits).cumsum(axis=1)
    classes = (rng.random((n, 1)) > cumulative[:, :-1]).sum(axis=1, keepdims=True)
    return (logits * factor).astype(np.float32), classes.astype(np.int64)


def test_an_overconfident_toy_is_mended() -> None:
    (logits, targets), (unseen, truth) = overconfident(4000), overconfident(4000, seed=1)
    found = temperatures(logits, targets, (slice(0, 5),))[0]
    assert found == pytest.approx(4, rel=0.1)

    def error(scores: NDArray[np.float32]) -> float:
        sure = softmax(scores)
        return expected_calibration_error(sure.max(axis=1), sure.argmax(axis=1) == truth[:, 0])

    before, after = error(unseen), error(unseen / np.float32(found))
    assert before > 0.3
    assert after < 0.03


def test_a_folded_head_needs_no_more() -> None:
    """Fitted again on its own logits it finds temperature 1, but for the prior."""
    torch.manual_seed(1)
    head = Heads(6, (4,))
    with torch.no_grad():
        head.weight.mul_(5)
    states = torch.randn(500, 6)
    targets = torch.randint(4, (500, 1)).numpy()
    targets[:300, 0] = head(states[:300]).argmax(dim=1).numpy()
    found = temperatures(head(states).detach().numpy(), targets, (slice(0, 4),))
    assert found[0] > 1.5
    head.divide(0, found[0])
    assert temperatures(head(states).detach().numpy(), targets, (slice(0, 4),))[0] == pytest.approx(1, abs=1e-2)


def test_shares_by_hand() -> None:
    """Unknown ones count for no class."""
    assert np.exp(log_shares(np.array([0, 0, -1, 0, 1, -1]))) == pytest.approx([0.75, 0.25])


def test_balancing_divides_the_posterior_by_the_prior() -> None:
    """Two kinds of a sequence: P(x1 | a) = .6, P(x1 | b) = .1; priors .2 and .8. Balanced: .6 / .7 and .4 / 1.3."""
    head = Heads(2, (2, 2))
    joint = np.array([[0.2 * 0.6, 0.8 * 0.1], [0.2 * 0.4, 0.8 * 0.9]])
    with torch.no_grad():
        head.bias.zero_()
        head.weight.copy_(torch.from_numpy(np.log(np.hstack([joint, joint])).T))  # up to a constant, log P(class | x)
    before = head(torch.eye(2))
    assert before[:, :2].softmax(dim=1)[:, 0].tolist() == pytest.approx([0.12 / 0.2, 0.08 / 0.8])
    head.subtract(1, torch.from_numpy(log_shares(np.repeat([0, 1], [20, 80]))))
    after = head(torch.eye(2))
    assert torch.equal(after[:, :2], before[:, :2]), "the other rank stays"
    assert after[:, 2:].softmax(dim=1)[:, 0].tolist() == pytest.approx([0.6 / 0.7, 0.4 / 1.3])
