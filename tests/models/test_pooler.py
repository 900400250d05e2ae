"""The block after pooling: its gradient as written out, and that Explainers and bags carry it."""

from __future__ import annotations

import pytest
import torch

from seqmask.models.classifier import Classifier
from seqmask.models.encoders import configuration
from seqmask.models.pooler import Pooler, pooled_states
from seqmask.sequences.tokens import KmerTokenizer


@pytest.fixture
def pooler() -> Pooler:
    torch.manual_seed(0)
    made = Pooler(12, 20).double()
    torch.nn.init.normal_(made.norm.weight)
    torch.nn.init.normal_(made.norm.bias)
    return made


def test_pull_back_is_the_gradient(pooler: Pooler) -> None:
    pooled = torch.randn(3, 12, dtype=torch.float64, requires_grad=True)
    directions = torch.randn(3, 4, 12, dtype=torch.float64)
    found = pooler.pull_back(pooled, directions)
    for n in range(directions.shape[1]):
        wanted = torch.autograd.grad((pooler(pooled) * directions[:, n]).sum(), pooled)[0]
        torch.testing.assert_close(found[:, n], wanted)


def test_the_size_of_the_pooled_state_tells_nothing(pooler: Pooler) -> None:
    pooled = torch.randn(2, 12, dtype=torch.float64) * 10
    torch.testing.assert_close(pooler(pooled), pooler(pooled * 7), rtol=1e-4, atol=1e-4)


def test_a_sequence_of_which_nothing_is_shown_has_no_gradient() -> None:
    """By gate the mean over no token is 0; its slope there would be a million times that of any other sequence."""
    torch.manual_seed(0)
    tokenizer = KmerTokenizer(3, 3)
    config = configuration("tiny", tokenizer.vocabulary_size, 24) | {"pooler": 16}
    classifier = Classifier(config, (2, 3), "gate").eval()
    ids = torch.randint(5, tokenizer.vocabulary_size, (2, 10))
    hidden = torch.zeros(2, 10)
    hidden[1, 3:6] = 1
    mask = hidden.requires_grad_()
    logits = classifier(ids, torch.ones(2, 10, dtype=torch.bool), mask, "gate")
    torch.testing.assert_close(logits[0], classifier.head(pooled_states(classifier.pooler, torch.zeros(1, 64)))[0])
    logits.square().sum().backward()
    assert mask.grad is not None
    first, second = mask.grad.abs().amax(dim=1).tolist()
    assert 0 < second < 100
    assert first == 0
