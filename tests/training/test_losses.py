"""Loss terms against numbers worked out by hand and against the same formulas in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from seqmask.training.losses import (
    area,
    bounds,
    classification,
    entropy_deficit,
    null_divergence,
    sufficiency,
    unlikelihood,
    variation,
)

SIZES = (2, 5, 17)


def softmax(logits):
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def kl(p, q):
    """Mean over rows of sum p log(p / q), nats."""
    return float((p * np.log(p / q)).sum(axis=1).mean())


def some_logits(seed, rows=6):
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 2, (rows, size)).astype(np.float32) for size in SIZES]


def tensors(arrays):
    return [torch.from_numpy(array) for array in arrays]


def values(terms):
    return [float(term) for term in terms]


def log_of(*probabilities):
    """Logits of one row with these probabilities."""
    return torch.tensor([probabilities]).log()


def test_classification_by_hand():
    # ln 2 for even odds; -ln .9 = .105 for the likely class, -ln .1 = 2.303 for the other
    assert values(classification([torch.zeros(1, 2)], torch.tensor([[0]]))) == pytest.approx([0.6931], abs=1e-4)
    assert values(classification([log_of(0.9, 0.1)], torch.tensor([[0]]))) == pytest.approx([0.1054], abs=1e-4)
    assert values(classification([log_of(0.9, 0.1)], torch.tensor([[1]]))) == pytest.approx([2.3026], abs=1e-4)


def test_classification_with_smoothed_targets():
    """By its definition: the share goes to all classes alike."""
    logits, targets = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([[1]])
    log_p = torch.log_softmax(logits[0], dim=0)
    expected = -(0.8 * log_p[1] + 0.2 * log_p.mean())
    torch.testing.assert_close(classification([logits], targets, 0.2)[0], expected)


def test_classification_leaves_unknown_classes_out():
    logits = some_logits(0)
    targets = np.array([[0, 4, -1], [1, -1, -1], [-1, 2, -1], [0, 0, -1], [1, 3, -1], [-1, 1, -1]])
    expected = []
    for rank, scores in enumerate(logits):
        known = targets[:, rank] >= 0
        chosen = softmax(scores)[known, targets[known, rank]]
        expected.append(-np.log(chosen).mean() if known.any() else 0.0)
    held = [torch.from_numpy(scores).requires_grad_() for scores in logits]
    terms = classification(held, torch.from_numpy(targets))
    assert values([term.detach() for term in terms]) == pytest.approx(expected, abs=1e-5)
    torch.stack(terms).sum().backward()
    assert (held[2].grad == 0).all()  # a rank of which nothing is known
    assert (held[0].grad[targets[:, 0] < 0] == 0).all()
    assert (held[0].grad[targets[:, 0] >= 0] != 0).all()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_divergences_agree_with_numpy(seed):
    one, other = some_logits(seed), some_logits(seed + 10)
    # KL(f(x) || f(o(m, x))): what the full prediction loses. KL(f(o(1 - m, x)) || f(o(0, x))): what the rest tells
    expected = [kl(softmax(full), softmax(masked)) for masked, full in zip(one, other, strict=True)]
    assert values(sufficiency(tensors(one), tensors(other))) == pytest.approx(expected, rel=1e-4)
    expected = [kl(softmax(inverse), softmax(null)) for inverse, null in zip(one, other, strict=True)]
    assert values(null_divergence(tensors(one), tensors(other))) == pytest.approx(expected, rel=1e-4)
    assert values(sufficiency(tensors(one), tensors(one))) == pytest.approx([0, 0, 0], abs=1e-6)


def test_divergences_by_hand():
    # KL((.5, .5) || (.9, .1)) = .5 ln(.5/.9) + .5 ln(.5/.1) = .5108; the other way round .9 ln 1.8 + .1 ln .2 = .3681
    even, sure = log_of(0.5, 0.5), log_of(0.9, 0.1)
    assert values(sufficiency([sure], [even])) == pytest.approx([0.5108], abs=1e-4)
    assert values(sufficiency([even], [sure])) == pytest.approx([0.3681], abs=1e-4)
    assert values(null_divergence([even], [sure])) == pytest.approx([0.5108], abs=1e-4)
    assert values(null_divergence([sure], [even])) == pytest.approx([0.3681], abs=1e-4)


def test_entropy_deficit_by_hand():
    assert values(entropy_deficit([log_of(0.5, 0.5)])) == pytest.approx([0], abs=1e-6)
    assert values(entropy_deficit([log_of(0.9, 0.1)])) == pytest.approx([0.531], abs=1e-3)
    assert values(entropy_deficit([torch.tensor([[50.0, -50.0]])])) == pytest.approx([1], abs=1e-6)
    # The same for any number of classes: certain is 1, even is 0, and a uniform half of them 1 - ln(C/2) / ln(C)
    for classes in (4, 64, 1024):
        half = torch.where(torch.arange(classes) < classes // 2, 0.0, -60.0)[None]
        expected = 1 - math.log(classes / 2) / math.log(classes)
        assert values(entropy_deficit([torch.zeros(3, classes), half])) == pytest.approx([0, expected], abs=1e-5)


@pytest.mark.parametrize("seed", [1, 2])
def test_entropy_deficit_agrees_with_numpy(seed):
    logits = some_logits(seed)
    expected = [
        np.mean([1 + (p * np.log(p)).sum() / np.log(size) for p in softmax(scores)])
        for scores, size in zip(logits, SIZES, strict=True)
    ]
    assert values(entropy_deficit(tensors(logits))) == pytest.approx(expected, abs=1e-5)


def test_unlikelihood_by_hand():
    # -ln(1 - .9) = 2.3026 for the likely class, -ln(1 - .1) = .1054 for the other
    assert values(unlikelihood([log_of(0.9, 0.1)], torch.tensor([[0]]))) == pytest.approx([2.3026], abs=1e-4)
    assert values(unlikelihood([log_of(0.9, 0.1)], torch.tensor([[1]]))) == pytest.approx([0.1054], abs=1e-4)
    # sure of it: 1 - p is 0 in float32, the value is the distance to the next logit, and the gradient is 1
    sure = torch.tensor([[60.0, 0.0, -50.0]], requires_grad=True)
    (term,) = unlikelihood([sure], torch.tensor([[0]]))
    (gradient,) = torch.autograd.grad(term, sure)
    assert float(term.detach()) == pytest.approx(60)
    assert gradient[0].tolist() == pytest.approx([1, -1, 0])


@pytest.mark.parametrize("seed", [1, 2])
def test_unlikelihood_agrees_with_numpy_and_leaves_unknown_classes_out(seed):
    logits = some_logits(seed)
    targets = np.array([[0, 4, -1], [1, -1, -1], [-1, 2, -1], [0, 0, -1], [1, 3, -1], [-1, 1, -1]])
    expected = []
    for rank, scores in enumerate(logits):
        known = targets[:, rank] >= 0
        chosen = softmax(scores)[known, targets[known, rank]]
        expected.append(-np.log(1 - chosen).mean() if known.any() else 0.0)
    held = [torch.from_numpy(scores).requires_grad_() for scores in logits]
    terms = unlikelihood(held, torch.from_numpy(targets))
    assert values([term.detach() for term in terms]) == pytest.approx(expected, rel=1e-4)
    torch.stack(terms).sum().backward()
    for rank, scores in enumerate(held):
        assert torch.isfinite(scores.grad).all()
        assert ((scores.grad != 0).all(dim=1).numpy() == (targets[:, rank] >= 0)).all()


def test_a_rank_of_one_class_tells_nothing():
    """Its probability is 1 whatever is seen: no term may reward moving its only logit."""
    logits = torch.tensor([[3.0], [-5.0]], requires_grad=True)
    for terms in (unlikelihood([logits], torch.zeros(2, 1, dtype=torch.long)), entropy_deficit([logits])):
        (gradient,) = torch.autograd.grad(terms[0], logits)
        assert (gradient == 0).all()
    assert values(unlikelihood([logits.detach()], torch.zeros(2, 1, dtype=torch.long))) == [0]


def row(*numbers):
    """One sequence with one mask track: (1, T, 1)."""
    return torch.tensor(numbers, dtype=torch.float32)[None, :, None]


def nt(*numbers):
    return torch.tensor([numbers], dtype=torch.float32)


def test_area_by_hand():
    assert area(row(1, 0), nt(6, 6)).tolist() == [[0.5]]
    assert area(row(1, 0), nt(3, 1)).tolist() == [[0.75]]  # by nucleotides, not by tokens
    assert area(row(1, 0.5, 0.7), nt(6, 6, 0)).tolist() == [[0.75]]  # the last is padding
    assert area(row(1, 1), nt(0, 0)).tolist() == [[0]]


def test_variation_by_hand():
    assert variation(row(1, 1, 1), nt(6, 6, 6)).tolist() == [[0]]
    assert variation(row(1, 0, 1), nt(6, 6, 6)).tolist() == [[1]]
    assert variation(row(1, 0, 0), nt(6, 6, 6)).tolist() == [[0.5]]
    assert variation(row(1, 0, 0), nt(1, 1, 5)).tolist() == [[0.25]]  # steps of 1 and 3 nt: 1 * 1 / (1 + 3)
    assert variation(row(1, 0, 1), nt(6, 6, 0)).tolist() == [[1]]  # the step into padding does not count
    assert variation(row(1), nt(6)).tolist() == [[0]]


def test_bounds_by_hand():
    valid = torch.ones(1, 10, dtype=torch.bool)
    # 10 tokens, low .05 and high .3: the first must be 1 (0 < .5), those from the fourth on 0
    assert bounds(row(*[1.0] * 3 + [0.0] * 7), valid).tolist() == [[0]]
    assert bounds(row(*[0.0] * 7 + [1.0] * 3), valid).tolist() == [[0]]  # wherever they are
    assert bounds(row(*[0.0] * 10), valid).item() == pytest.approx(0.1)  # the one that is missing
    assert bounds(row(*[1.0] * 10), valid).item() == pytest.approx(0.7)  # the seven that are too many
    assert bounds(row(*[0.5] * 10), valid).item() == pytest.approx((0.5 + 7 * 0.5) / 10)
    assert bounds(row(*[0.4] * 10), valid, low=0.5, high=1.0).item() == pytest.approx(5 * 0.6 / 10)


def numpy_terms(mask, lengths):
    """area, variation and bounds of one track (n,) of n valid tokens."""
    kept = (mask * lengths).sum() / lengths.sum()
    weight = (lengths[1:] + lengths[:-1]) / 2
    steps = (np.abs(np.diff(mask)) * weight).sum() / weight.sum() if len(mask) > 1 else 0.0
    ordered, i, n = np.sort(mask)[::-1], np.arange(len(mask)), len(mask)
    outside = np.maximum((i < 0.05 * n) - ordered, 0) + np.maximum(ordered - (i < 0.3 * n), 0)
    return kept, steps, outside.mean()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_mask_terms_agree_with_numpy_and_ignore_padding(seed):
    rng = np.random.default_rng(seed)
    counts, tracks = [1, 2, 3, 20, 31], 3
    width = max(counts) + 4
    mask = rng.random((len(counts), width, tracks), dtype=np.float32)
    valid = np.arange(width) < np.array(counts)[:, None]
    lengths = np.where(valid, rng.integers(1, 17, valid.shape), 0).astype(np.float32)
    expected = np.array(
        [
            [numpy_terms(mask[row, :n, track].astype(float), lengths[row, :n]) for track in range(tracks)]
            for row, n in enumerate(counts)
        ]
    )
    other = np.where(valid[..., None], mask, rng.random(mask.shape, dtype=np.float32))  # other numbers in the padding
    for shown in (mask, other):
        held = torch.from_numpy(shown)
        nucleotides, attention = torch.from_numpy(lengths), torch.from_numpy(valid)
        found = torch.stack([area(held, nucleotides), variation(held, nucleotides), bounds(held, attention)], dim=2)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_padding_takes_no_gradient():
    mask = torch.rand(2, 8, 1, requires_grad=True)
    valid = torch.arange(8) < torch.tensor([[8], [5]])
    lengths = torch.where(valid, 6.0, 0.0)
    (area(mask, lengths) + variation(mask, lengths) + bounds(mask, valid)).sum().backward()
    assert (mask.grad[1, 5:] == 0).all()
    assert (mask.grad[0] != 0).any()
