"""Which items go together: length-sorted batches under a token budget; and what a step gets and gives for one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

# Tokens a batch at most. Activations of a feed-forward layer beyond CPU_CACHE bytes leave the cache and make malloc
# return pages at every step: 4,096 tokens at width 384, 2,048 at 768; short reads are a little faster with fewer. A GPU
# wants much more to be busy.
CPU_TOKENS, GPU_TOKENS = 3072, 65536
CPU_CACHE = 1 << 25


@dataclass(frozen=True, slots=True)
class Batch:
    """ids (B, T) int64, attention (B, T) bool, values: (B, T) float32 each, padded with 1; fixed (B, K) int64 or None.

    All on the device. attention: False where a token is padding or [UNK]. padded: whether any is, which the host knows
    without asking the device.
    """

    ids: Tensor
    attention: Tensor
    values: tuple[Tensor, ...] = ()
    fixed: Tensor | None = None
    padded: bool = True

    @property
    def seen(self) -> Tensor | None:
        """`attention`, or None where every token is read."""
        return self.attention if self.padded else None


Found = tuple[Tensor | None, Tensor | None]
Step = Callable[[Batch], Found]
"""A batch to (B, F) or None, and (B, T, G) or None."""


def plan(counts: Sequence[int] | NDArray[np.int64], budget: int, most: int = 0) -> list[NDArray[np.int64]]:
    """Batches as arrays of item numbers, longest items first, so that memory runs out at once or never.

    counts: tokens an item (all > 0). budget: tokens a batch, padding included; an item longer than it goes alone.
    most: items a batch at most, 0 = no limit.
    """
    lengths = np.asarray(counts, dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    batches, begin = [], 0
    while begin < len(order):
        size = max(budget // int(lengths[order[begin]]), 1)
        if most:
            size = min(size, most)
        batches.append(order[begin : begin + size])
        begin += size
    return batches
