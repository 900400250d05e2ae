"""Batches made in other processes: the same ones, in the same order, and what fails there fails here."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from seqmask.training.ahead import MOST_WORKERS, made_ahead, workers_for

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def numbered(place: int) -> tuple[int, np.ndarray]:
    return os.getpid(), np.full(place % 5, place, dtype=np.int64)


def few(made: Iterator[tuple[int, np.ndarray]], count: int = 30) -> list[tuple[int, np.ndarray]]:
    return list(itertools.islice(made, count))


def test_in_order_and_as_numpy() -> None:
    here = few(made_ahead(numbered, itertools.count(7), 0))
    there = few(made_ahead(numbered, itertools.count(7), 2))
    assert {process for process, _ in here} == {os.getpid()}
    assert len({process for process, _ in there}) == 2
    assert os.getpid() not in {process for process, _ in there}
    for (_, one), (_, other) in zip(here, there, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


def test_an_end() -> None:
    assert [len(array) for _, array in made_ahead(numbered, range(4), 2)] == [0, 1, 2, 3]


def test_what_fails_there_fails_here() -> None:
    def failing(place: int) -> int:
        if place == 3:
            raise ValueError("no such crop")
        return place

    made = made_ahead(failing, itertools.count(), 2)
    with pytest.raises(ValueError, match="no such crop"):
        list(made)


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    few(made_ahead(numbered, itertools.count(), 2), 3)
    assert torch.equal(torch.rand(2), expected)


def test_none_for_a_cpu() -> None:
    assert workers_for(torch.device("cpu")) == 0
    assert 0 <= workers_for(torch.device("cuda")) <= MOST_WORKERS
