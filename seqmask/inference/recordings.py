"""What a step launches on a GPU, recorded once for batches of one shape and launched at once from then on."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from seqmask.inference.batches import Batch, Found, Step

log = logging.getLogger("seqmask")

AGAIN = 2  # batches of a shape that go by before it is recorded
# cuDNN's is the fastest, but is built anew for every shape: not for batches that are not recorded
ATTENTION = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]
MOST = 8  # shapes: each keeps its inputs and outputs


@dataclass(slots=True)
class Recording:
    """A step of batches of one shape: `launch` reads `batch` and fills `found`, all in place."""

    batch: Batch
    launch: Callable[[], Any]
    found: Found

    def run(self, batch: Batch) -> Found:
        """What the step gives for a batch of this shape; it stands until the next run."""
        for own, other in zip(_tensors(self.batch), _tensors(batch), strict=True):
            own.copy_(other)
        self.launch()
        return self.found


class Recordings:
    """Runs steps, and records those whose shapes come again. A step is known by its equality.

    A forward pass is hundreds of launches, each of which waits for the interpreter while another thread has it: beside
    a busy writer that takes longer than the GPU needs (docs/decisions/0024). A recording is one launch. It reads the
    weights where they stood: they may change, not move.
    """

    def __init__(self, record: Callable[[Step, Batch], Recording] | None = None) -> None:
        self._record = record or Recorder()
        self._seen: Counter[Hashable] = Counter()
        self._known: dict[Hashable, Recording] = {}
        self._able = True

    def run(self, step: Step, batch: Batch) -> Found:
        """What the step gives for the batch; the next run may overwrite it."""
        key = (step, batch.padded, *((tensor.shape, tensor.dtype) for tensor in _tensors(batch)))
        known = self._known.get(key)
        if known is None and self._able and self._seen[key] >= AGAIN and len(self._known) < MOST:
            known = self._try(step, batch)
            if known is not None:
                self._known[key] = known
        self._seen[key] += 1
        return step(batch) if known is None else known.run(batch)

    def _try(self, step: Step, batch: Batch) -> Recording | None:
        try:
            return self._record(step, batch)
        except RuntimeError as error:  # what the step itself has to say it says when it runs as before
            log.debug("steps are not recorded: %s", error)
            self._able = False
            return None

    def drop(self) -> None:
        """Give back their memory, and record no more."""
        self._known.clear()
        self._able = False


class Recorder:
    """Records CUDA graphs, all in the same memory: they run one after the other."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, step: Step, batch: Batch) -> Recording:
        """A recording of the step; raises RuntimeError where it does what can not be recorded, or memory is short."""
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        held = replace(
            batch,
            ids=batch.ids.clone(),
            attention=batch.attention.clone(),
            values=tuple(value.clone() for value in batch.values),
            fixed=None if batch.fixed is None else batch.fixed.clone(),
        )
        stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        # Weights that were cast for this block would be gone when the next one reads them
        cast = torch.autocast(
            "cuda", torch.get_autocast_dtype("cuda"), torch.is_autocast_enabled("cuda"), cache_enabled=False
        )
        with cast, sdpa_kernel(ATTENTION, set_priority=True):
            with torch.cuda.stream(stream):
                step(held)  # libraries take what they need for this stream
            with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
                found = step(held)
        torch.cuda.current_stream().wait_stream(stream)
        return Recording(held, graph.replay, found)


def _tensors(batch: Batch) -> list[Tensor]:
    tensors = [batch.ids, batch.attention, *batch.values]
    return tensors if batch.fixed is None else [*tensors, batch.fixed]
