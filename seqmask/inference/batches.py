"""Which items go together: length-sorted batches under a token budget."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Tokens a batch at most. Activations of a feed-forward layer beyond CPU_CACHE bytes leave the cache and make malloc
# return pages at every step: 4,096 tokens at width 384, 2,048 at 768; short reads are a little faster with fewer. A GPU
# wants much more to be busy.
CPU_TOKENS, GPU_TOKENS = 3072, 65536
CPU_CACHE = 1 << 25


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
