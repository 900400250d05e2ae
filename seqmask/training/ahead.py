"""Batches made in other processes, ahead of the steps that take them: a GPU wants more than one core makes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader

B = TypeVar("B")

MOST_WORKERS = 8


def workers_for(device: torch.device) -> int:
    """Processes that make batches for this device: none for a CPU, whose cores the network wants."""
    if device.type == "cpu":
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores - 1, MOST_WORKERS)


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
