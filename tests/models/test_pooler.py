"""The block after pooling: its gradient as written out, and that Explainers and bags carry it."""

from __future__ import annotations

import pytest
import torch

from seqmask.models.pooler import Pooler


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
