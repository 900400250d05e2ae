"""Batches made in other processes, ahead of the steps that take them: a GPU wants more than one core makes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader

B = TypeVar("B")

MOST_WORKERS = 8


def workers_for(device: torch.device) -> int:
    """Processes that make batches for this device: only CUDA wants them so fast, and other systems forbid the fork.

    Training processes of one node share its cores.
    """
    if device.type != "cuda" or not hasattr(signal, "sigwaitinfo"):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) - 1, 0), MOST_WORKERS)


def made_ahead(make: Callable[[int], B], places: Iterable[int], workers: int) -> Iterator[B]:
    """make(place) of each place, in their order; workers = 0: here, when it is asked for.

    make must be a function of its argument alone, of numpy and not of torch: the processes are forks of this one.
    """
    if not workers:
        return map(make, places)
    loader: DataLoader[B] = DataLoader(
        _Made(make),  # type: ignore[arg-type]
        batch_size=None,
        sampler=places,
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_leave_signals_to_the_parent,
        multiprocessing_context="fork",
        generator=torch.Generator(),  # not the global one, whose draws must not depend on workers
    )
    return iter(loader)


@dataclass(frozen=True, slots=True)
class _Made(Generic[B]):
    """What DataLoader takes for a dataset."""

    make: Callable[[int], B]

    def __getitem__(self, place: int) -> B:
        return self.make(place)


def _as_it_is(batch: Any) -> Any:
    return batch


def _leave_signals_to_the_parent(worker: int) -> None:
    """A signal to all processes of a job asks the parent for a checkpoint: batches must go on until it ends these."""
    for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_the_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_the_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
