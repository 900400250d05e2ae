"""Several processes, each with its rows of every batch: started by `accelerate launch`, torchrun or SLURM.

All processes draw the same batches and the same noise. Only the networks' forward and backward passes are shared out
(`by_rows`): what comes out of them is gathered, so the loss, with its means over the batch and its constraints, is that
of one process. Alone, everything here does nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from seqmask.config import ClassifierOptions, Compute, ExplainerOptions
from seqmask.inference.device import choose_device, keep_freed_memory
from seqmask.training.signals import stoppable

R = TypeVar("R")
Options = TypeVar("Options", ClassifierOptions, ExplainerOptions)
Report = Callable[[Any], None]
Say = Callable[[str], None]

TIMEOUT = timedelta(hours=3)  # the others wait while the first process validates


def count() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_main() -> bool:
    """Whether this is the process that validates, writes and prints."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def in_each_process(command: Callable[[Options, Report, Say], R]) -> Callable[[Options, Report, Say], R]:
    """A training command that joins the processes of its launcher; only in the first one it reports and says.

    Its steps are alike, so memory that one frees is kept for the next.
    """

    @wraps(command)
    def run(options: Options, report: Report, say: Say) -> R:
        keep_freed_memory()
        with stoppable(), _joined(options.compute):
            return command(options, report, say) if is_main() else command(options, lambda _: None, lambda _: None)

    return run


@contextlib.contextmanager
def _joined(compute: Compute) -> Iterator[None]:
    """Join the processes that RANK and WORLD_SIZE speak of, each with a GPU of its own where there are any."""
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1 or distributed.is_initialized():
        yield
        return
    from accelerate import PartialState

    state = PartialState(cpu=choose_device(compute.device).type == "cpu", timeout=TIMEOUT)
    try:
        yield
    finally:
        state.destroy_process_group()


def by_rows(module: nn.Module, *inputs: Any) -> Tensor:
    """module(*inputs), each process with its part of the rows of all tensors among the inputs: (B, ...) to (B, ...).

    The gradient that reaches parameters or inputs is, averaged over the processes, that of one process.
    """
    if count() == 1:
        whole: Tensor = module(*inputs)
        return whole
    rows = next(len(part) for part in inputs if isinstance(part, Tensor))
    size = -(-rows // count())
    # the last processes may lack rows: they take the first ones again, and nobody looks at what comes out
    own = (torch.arange(size) + size * distributed.get_rank()) % rows
    part = module(*(x[own.to(x.device)] if isinstance(x, Tensor) else x for x in inputs))
    gathered: Tensor = _Gather.apply(part.float())  # type: ignore[no-untyped-call]
    return gathered[:rows]


class _Gather(torch.autograd.Function):
    """The parts of all processes, one after the other.

    What follows may be done by every process alike, or again by rows, where each process finds the gradient of its own
    rows, times the number of processes. The sum over processes is that number times the gradient, either way; averaging
    the parameters' gradients takes it out.
    """

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        parts = [torch.empty_like(part) for _ in range(count())]
        distributed.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed = gradient.contiguous().clone()
        distributed.all_reduce(summed)
        return summed.chunk(count())[distributed.get_rank()]


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its mean over the processes."""
    if count() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= count()
    means = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, mean in zip(gradients, means, strict=True):
        gradient.copy_(mean.view_as(gradient))


def start_alike(module: nn.Module) -> None:
    """Give every process the first one's weights."""
    if count() > 1:
        for tensor in module.state_dict().values():
            distributed.broadcast(tensor, 0)


def first_ones(value: R) -> R:
    """The value that the first process has."""
    if count() == 1:
        return value
    held: list[Any] = [value]
    distributed.broadcast_object_list(held, 0)
    found: R = held[0]
    return found


def anywhere(asked: bool, device: torch.device) -> bool:
    """Whether it is true in any process; waits for all."""
    if count() == 1:
        return asked
    found = torch.tensor(float(asked), device=device)
    distributed.all_reduce(found)
    return bool(found > 0)
