"""The one batched inference engine: items in, one output an item, in order. It knows no ranks, files or nucleotides."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqmask.inference.batches import CPU_TOKENS, GPU_TOKENS, plan
from seqmask.inference.device import autocast

log = logging.getLogger("seqmask")


@dataclass(frozen=True, slots=True)
class Item:
    """ids (T,) integer, T > 0, and what the step needs beside them.

    values: per-token float32 arrays (T,) (masks). fixed (K,) int64: numbers of the whole item (classes), or None.
    """

    ids: NDArray[np.int32]
    values: tuple[NDArray[np.float32], ...] = ()
    fixed: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """CPU arrays of one item, padding removed: window (F,) float32 and token (T, G) float32, each may be None."""

    window: NDArray[np.float32] | None = None
    token: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """ids (B, T) int64, attention (B, T) bool, values: (B, T) float32 each, padded with 1; fixed (B, K) int64 or None.

    All on the device.
    """

    ids: Tensor
    attention: Tensor
    values: tuple[Tensor, ...] = ()
    fixed: Tensor | None = None


Step = Callable[[Batch], tuple[Tensor | None, Tensor | None]]
"""A batch to (B, F) or None, and (B, T, G) or None."""


@dataclass(slots=True)
class Engine:
    """Runs a step over items on one device. budget: tokens a batch, 0 = by device; most: items a batch, 0 = any."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "fp32"
    budget: int = 0
    most: int = 0
    shrunk: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if self.budget <= 0:
            self.budget = CPU_TOKENS if self.device.type == "cpu" else GPU_TOKENS

    def run(self, step: Step, items: Sequence[Item]) -> list[Output]:
        """Outputs in the order of the items, whatever the batches were.

        Out of GPU memory: the cache is freed, the budget halved for good, and all that is left is planned anew.
        """
        outputs: list[Output] = [Output()] * len(items)
        waiting = self._plan(items, np.arange(len(items)))
        log.debug("%d windows, %d tokens, %d batches", len(items), sum(len(i.ids) for i in items), len(waiting))
        while waiting:
            rows = waiting.pop()
            try:
                results = self._forward(step, [items[i] for i in rows])
            except torch.OutOfMemoryError:
                if len(rows) == 1:
                    raise
                results = []
            if not results:  # outside of the `except`, whose traceback holds the tensors of the failed batch
                self._shrink(len(rows) * max(len(items[i].ids) for i in rows) // 2)
                waiting = self._plan(items, np.concatenate([rows, *waiting]))
                continue
            for row, output in zip(rows.tolist(), results, strict=True):
                outputs[row] = output
        return outputs

    def _plan(self, items: Sequence[Item], rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Batches of these rows of the items, the longest last, where `pop` takes it."""
        return [rows[batch] for batch in plan([len(items[i].ids) for i in rows], self.budget, self.most)][::-1]

    def _shrink(self, budget: int) -> None:
        torch.cuda.empty_cache()
        self.budget = budget
        if not self.shrunk:
            log.warning("out of GPU memory: going on with smaller batches (%d tokens)", budget)
        self.shrunk = True

    def _forward(self, step: Step, items: Sequence[Item]) -> list[Output]:
        lengths = [len(item.ids) for item in items]
        batch = _collate(items, lengths, self.device)
        with torch.inference_mode(), autocast(self.precision, self.device)():
            window, token = step(batch)
        windows = None if window is None else window.float().cpu().numpy()
        tokens = None if token is None else token.float().cpu().numpy()
        return [
            Output(
                None if windows is None else windows[i],
                None if tokens is None else tokens[i, :length].copy(),  # a view would keep the whole batch alive
            )
            for i, length in enumerate(lengths)
        ]


def _collate(items: Sequence[Item], lengths: Sequence[int], device: torch.device) -> Batch:
    """Pad items on the right; ids with 0, values with 1 (padding is never masked)."""
    shape = (len(items), max(lengths))
    ids = np.zeros(shape, dtype=np.int64)
    values = [np.ones(shape, dtype=np.float32) for _ in items[0].values]
    for row, item in enumerate(items):
        ids[row, : len(item.ids)] = item.ids
        for padded, value in zip(values, item.values, strict=True):
            padded[row, : len(value)] = value
    attention = np.arange(shape[1]) < np.asarray(lengths)[:, None]

    def send(array: NDArray[np.generic]) -> Tensor:
        tensor = torch.from_numpy(array)
        if device.type == "cuda":
            return tensor.pin_memory().to(device, non_blocking=True)
        return tensor.to(device)

    fixed = [item.fixed for item in items if item.fixed is not None]
    return Batch(
        send(ids), send(attention), tuple(send(value) for value in values), send(np.stack(fixed)) if fixed else None
    )
