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

AGAIN = 2  # batches of a step and shape that go by before it is recorded
MOST = 8  # recordings: each keeps its inputs and outputs
CLOSE = 0.05  # of the outputs: what another attention may change in bfloat16 is a tenth of that
# cuDNN's is the fastest, but is built anew for every shape: not for batches that are not recorded
CUDNN = SDPBackend.CUDNN_ATTENTION
OTHERS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


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

    Batches with padding are launched as they are: what is made of their mask asks the device, and waits.
    """

    def __init__(self, record: Callable[[Step, Batch], Recording] | None = None) -> None:
        self._record = record or Recorder()
        self._seen: Counter[Hashable] = Counter()
        self._known: dict[Hashable, Recording] = {}
        self._able = True

    def run(self, step: Step, batch: Batch) -> Found:
        """What the step gives for the batch; the next run may overwrite it."""
        if batch.padded:
            return step(batch)
        key = (step, *((tensor.shape, tensor.dtype) for tensor in _tensors(batch)))
        known = self._known.get(key)
        if known is not None:
            return known.run(batch)
        found = step(batch)
        self._seen[key] += 1
        if self._able and self._seen[key] > AGAIN and len(self._known) < MOST:
            self._add(key, step, batch, found)
        return found

    def _add(self, key: Hashable, step: Step, batch: Batch, expected: Found) -> None:
        """Record the step, unless that fails or says something else of this batch: then nothing is recorded any more.

        What the step itself has to say it has said. Older recordings go, too: with a graph that is given up torch
        (2.13) frees cuBLAS's workspace of its stream, to which the others point.
        """
        try:
            recording = self._record(step, batch)
            for part in recording.found:
                if part is not None:
                    part.fill_(torch.nan)  # or what launches nothing would say the right thing of this batch
            if not _close(recording.run(batch), expected):
                raise RuntimeError("a recording does not say what the step says")
        except RuntimeError as error:
            log.warning("batches are launched kernel by kernel, which is slower: %s", error)
            self.drop()
        else:
            self._known[key] = recording

    def drop(self) -> None:
        """Give back their memory, and record no more."""
        self._known.clear()
        self._able = False


class Recorder:
    """Records CUDA graphs on the current device, all in the same memory: they run one after the other."""

    def __init__(self) -> None:
        self._pool: Any = None
        self._stream: Any = None

    def __call__(self, step: Step, batch: Batch) -> Recording:
        """A recording of the step; raises RuntimeError where it does what can not be recorded, or memory is short."""
        if self._stream is None:
            self._pool, self._stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        held = replace(
            batch,
            ids=batch.ids.clone(),
            attention=batch.attention.clone(),
            values=tuple(value.clone() for value in batch.values),
            fixed=None if batch.fixed is None else batch.fixed.clone(),
        )
        graph, usual = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        # Weights that were cast for this block would be gone when the next one reads them
        cast = torch.autocast(
            "cuda", torch.get_autocast_dtype("cuda"), torch.is_autocast_enabled("cuda"), cache_enabled=False
        )
        capture = torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local")
        self._stream.wait_stream(usual)
        try:
            with cast, sdpa_kernel(attentions(), set_priority=True):
                with torch.cuda.stream(self._stream):
                    step(held)  # libraries take what they need for this stream
                with torch.cuda.stream(usual), capture:  # a capture that fails would leave its own stream in use
                    found = step(held)
        finally:
            usual.wait_stream(self._stream)
        return Recording(held, graph.replay, found)


def attentions() -> list[SDPBackend]:
    """Kinds of attention for recordings, the best first.

    cuDNN's only where torch itself would prefer it: versions up to 9.15 have faults at some lengths (pytorch issue
    167101), and on GPUs that are no Hopper or first Blackwell torch does not take it of its own accord.
    """
    version: int = torch.backends.cudnn.version() or 0  # type: ignore[no-untyped-call]
    return [CUDNN, *OTHERS] if version > 91500 and torch.cuda.get_device_capability()[0] in (9, 10) else OTHERS


def _tensors(batch: Batch) -> list[Tensor]:
    tensors = [batch.ids, batch.attention, *batch.values]
    return tensors if batch.fixed is None else [*tensors, batch.fixed]


def _close(found: Found, expected: Found) -> bool:
    """Whether all outputs are nearly the same: in the mean, since single tokens may lie at an edge."""
    return all(
        bool(_apart(a.float(), b.float()) <= CLOSE)
        for a, b in zip(found, expected, strict=True)
        if a is not None and b is not None
    )


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """How far a is from b in the mean, as a share of b; of infinities those that are the same are not apart."""
    size = b.nan_to_num(0, 0, 0).abs().mean()
    return torch.where(a == b, 0, a - b).abs().mean() / size.clamp_min(torch.finfo(size.dtype).tiny)
