"""The one batched inference engine: items in, one output an item, in order. It knows no ranks, files or nucleotides."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqmask.inference.batches import CPU_TOKENS, GPU_TOKENS, Batch, Found, Step, plan
from seqmask.inference.device import autocast, on
from seqmask.inference.recordings import Recordings
from seqmask.sequences.tokens import UNK

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
class Items:
    """n items end to end, T tokens in all: the same fields, ids (T,), values (T,) each, fixed (n, K).

    offsets (n + 1,) int64: the first token of each item, and T.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    values: tuple[NDArray[np.float32], ...] = ()
    fixed: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, items: Sequence[Item]) -> Items:
        """From n >= 1 single items, all with as many values, all or none with `fixed`."""
        fixed = [item.fixed for item in items if item.fixed is not None]
        return cls(
            np.concatenate([item.ids for item in items]),
            np.concatenate(([0], np.cumsum([len(item.ids) for item in items]))),
            tuple(np.concatenate(parts) for parts in zip(*(item.values for item in items), strict=True)),
            np.stack(fixed) if fixed else None,
        )


@dataclass(frozen=True, slots=True)
class Output:
    """CPU arrays, padding removed. Of one item: window (F,) float32, token (T, G) float32; either may be None.

    Of n items end to end: window (n, F), token (T, G).
    """

    window: NDArray[np.float32] | None = None
    token: NDArray[np.float32] | None = None


def no_pulse(items: int) -> None:
    """For an engine that nobody watches."""


@dataclass(slots=True)
class Engine:
    """Runs a step over items on one device; threads may share it.

    budget: tokens a batch, 0 = by device; most: items a batch, 0 = any. pulse: called after each batch with the number
    of its items; what it raises ends the run. recordings: on CUDA, for steps whose weights stay where they are; None =
    every batch is launched anew.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "fp32"
    budget: int = 0
    most: int = 0
    pulse: Callable[[int], None] = no_pulse
    recordings: Recordings | None = None
    _launching: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    shrunk: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if self.budget <= 0:
            self.budget = CPU_TOKENS if self.device.type == "cpu" else GPU_TOKENS

    def run(self, step: Step, items: Sequence[Item]) -> list[Output]:
        """One output an item, in the order of the items; see `run_all`."""
        if not items:
            return []
        together = Items.of(items)
        found = self.run_all(step, together)
        return [
            Output(
                None if found.window is None else found.window[i],
                None if found.token is None else found.token[start:stop].copy(),  # a view would keep all of them alive
            )
            for i, (start, stop) in enumerate(pairwise(together.offsets.tolist()))
        ]

    def run_all(self, step: Step, items: Items, copies: int = 1) -> Output:
        """Outputs of n items end to end, whatever the batches were. They go to the device and come back once.

        copies: how often the step runs each item of its batch at the same time; the budget is shared between them.
        Out of GPU memory: the cache is freed, the budget halved for good, and all that is left is planned anew.
        """
        with on(self.device):
            return self._on_device(step, items, np.diff(items.offsets), copies)

    def _on_device(self, step: Step, items: Items, lengths: NDArray[np.int64], copies: int) -> Output:
        held, found = _Held(items, lengths, self.device), _Found(len(lengths), len(items.ids), self.device)
        # One run at a time, and autocast around all batches: weights are cast once
        with self._launching, autocast(self.precision, self.device)():
            waiting = self._plan(lengths, np.arange(len(lengths)), copies)
            log.debug("%d windows, %d tokens, %d batches", len(lengths), len(items.ids), len(waiting))
            while waiting:
                rows = waiting.pop()
                try:
                    items_of, places, batch = held.gather(rows, int(lengths[rows[0]]), int(lengths[rows[-1]]))
                    found.put(items_of, places, *self._run(step, batch))
                except torch.OutOfMemoryError:
                    if len(rows) == 1:
                        raise
                else:
                    self.pulse(len(rows))
                    continue
                # Outside of the `except`, whose traceback holds the tensors of the failed batch
                self._shrink(len(rows) * int(lengths[rows[0]]) * copies // 2)
                waiting = self._plan(lengths, np.concatenate([rows, *waiting]), copies)
            landing = found.landing()  # on their way before another run launches anything
        return landing()

    def _run(self, step: Step, batch: Batch) -> Found:
        with torch.inference_mode():
            return step(batch) if self.recordings is None else self.recordings.run(step, batch)

    def _plan(self, lengths: NDArray[np.int64], rows: NDArray[np.int64], copies: int) -> list[NDArray[np.int64]]:
        """Batches of these rows of the items, the longest last, where `pop` takes it, and in each the longest first."""
        return [rows[batch] for batch in plan(lengths[rows], self.budget // copies, self.most)][::-1]

    def _shrink(self, budget: int) -> None:
        if self.recordings is not None:
            self.recordings.drop()
        torch.cuda.empty_cache()
        self.budget = min(self.budget, budget)
        if not self.shrunk:
            log.warning("out of GPU memory: going on with smaller batches (%d tokens)", budget)
        self.shrunk = True


def read_tokens(ids: NDArray[np.int32], offsets: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """Which tokens (T,) of items end to end the networks read; None = all of them.

    An [UNK] says nothing, so that it is to the networks what padding is. Of an item without any other token all are
    read, since attention needs one; what comes of that counts for nothing (`Pool.read_counts`).
    """
    read: NDArray[np.bool_] = ids != UNK
    if read.all():
        return None
    nothing = ~np.logical_or.reduceat(read, offsets[:-1])
    read |= np.repeat(nothing, np.diff(offsets))
    return read


class _Held:
    """Items on the device, each array followed by the value that pads it; batches are gathered from them there."""

    def __init__(self, items: Items, lengths: NDArray[np.int64], device: torch.device) -> None:
        self.device = device
        self.ids = self._send(np.append(items.ids, np.int32(0)))
        self.values = [self._send(np.append(value, np.float32(1))) for value in items.values]  # padding is never masked
        self.fixed = None if items.fixed is None else self._send(items.fixed)
        self.begins, self.lengths = self._send(items.offsets[:-1]), self._send(lengths)
        read = read_tokens(items.ids, items.offsets)
        self.gaps = None if read is None else ~np.logical_and.reduceat(read, items.offsets[:-1])
        self.read = None if read is None else self._send(np.append(read, False))

    def gather(self, rows: NDArray[np.int64], longest: int, shortest: int) -> tuple[Tensor, Tensor, Batch]:
        """Items (B,), where each of their tokens stands among all, padding last (B, T), and the batch of them."""
        items, columns = self._send(rows), torch.arange(longest, device=self.device)
        attention = columns < self.lengths[items, None]
        places = torch.where(attention, self.begins[items, None] + columns, len(self.ids) - 1)
        padded = shortest < longest
        if self.read is not None and self.gaps is not None and self.gaps[rows].any():
            attention, padded = self.read[places], True
        fixed = None if self.fixed is None else self.fixed[items]
        values = tuple(value[places] for value in self.values)
        return items, places, Batch(self.ids[places].long(), attention, values, fixed, padded)

    def _send(self, array: NDArray[np.generic]) -> Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)


class _Found:
    """Outputs of n items and T tokens on the device, filled batch by batch."""

    def __init__(self, n: int, tokens: int, device: torch.device) -> None:
        self.n, self.tokens, self.device = n, tokens, device
        self.window: Tensor | None = None
        self.token: Tensor | None = None

    def put(self, items: Tensor, places: Tensor, window: Tensor | None, token: Tensor | None) -> None:
        """What a step gave for items (B,), whose tokens stand at places (B, T)."""
        if window is not None:
            if self.window is None:
                self.window = torch.empty((self.n, window.shape[1]), device=self.device)
            self.window[items] = window.float()
        if token is not None:
            if self.token is None:
                self.token = torch.empty((self.tokens + 1, token.shape[2]), device=self.device)
            self.token[places] = token.float()

    def landing(self) -> Callable[[], Output]:
        """Send all of it to the CPU; what is returned waits for that, and gives it."""
        window = None if self.window is None else _sent(self.window)
        token = None if self.token is None else _sent(self.token[:-1])
        arrived = torch.cuda.current_stream().record_event() if self.device.type == "cuda" else None

        def wait() -> Output:
            if arrived is not None:
                arrived.synchronize()
            return Output(*(None if part is None else part.numpy() for part in (window, token)))

        return wait


def _sent(tensor: Tensor) -> Tensor:
    """On the CPU; from CUDA it may still be on its way."""
    if tensor.device.type != "cuda":
        return tensor.cpu()
    landed = torch.empty(tensor.shape, pin_memory=True)
    return landed.copy_(tensor, non_blocking=True)
