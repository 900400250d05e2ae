"""A residual feed-forward block between mean pooling and the heads: classes told by combinations of k-mers."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Pooler(nn.Module):
    """x = LN(pooled); x + out(relu(inner(x))).

    A linear head on a mean of token states adds up evidence token by token; composition does not tell classes apart
    that way (docs/decisions/0010-pooler.md).
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, inner)
        self.out = nn.Linear(inner, width)

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, D) to (B, D)."""
        states = self.norm(pooled)
        found: Tensor = states + self.out(F.relu(self.inner(states)))
        return found

    def pull_back(self, pooled: Tensor, directions: Tensor) -> Tensor:
        """Gradients (B, N, D) with respect to pooled (B, D) of what lies along directions (B, N, D) behind the block.

        Written out, so that it can be trained through and costs one more pass of the block, not of the encoder.
        """
        states = self.norm(pooled)
        active = (self.inner(states) > 0).to(directions.dtype).unsqueeze(1)
        inner = (directions @ self.out.weight) * active
        found = (directions + inner @ self.inner.weight) * self.norm.weight
        centred = pooled - pooled.mean(dim=1, keepdim=True)
        deviation = (centred.square().mean(dim=1, keepdim=True) + self.norm.eps).sqrt().unsqueeze(1)
        unit = centred.unsqueeze(1) / deviation
        along = (found * unit).mean(dim=2, keepdim=True)
        gradients: Tensor = (found - found.mean(dim=2, keepdim=True) - unit * along) / deviation
        return gradients


def pooler_of(width: int, inner: int) -> Pooler | None:
    """None where inner is 0."""
    return Pooler(width, inner) if inner else None


def pooled_states(pooler: Pooler | None, pooled: Tensor) -> Tensor:
    """What the heads read (B, D) of the mean over tokens (B, D)."""
    return pooled if pooler is None else pooler(pooled)
