"""Batch plans: every item once, within the budget, longest first."""

from __future__ import annotations

import numpy as np
import pytest

from seqmask.inference.batches import plan


@pytest.mark.parametrize("budget", [1, 7, 100, 4096, 10**9])
@pytest.mark.parametrize("most", [0, 1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_covers_every_item_once_within_the_budget(budget: int, most: int, seed: int) -> None:
    counts = np.random.default_rng(seed).integers(1, 200, 150).tolist()
    batches = plan(counts, budget, most)
    assert sorted(np.concatenate(batches).tolist()) == list(range(150))
    for batch in batches:
        padded = len(batch) * max(counts[i] for i in batch)
        assert padded <= budget or len(batch) == 1
        assert not most or len(batch) <= most


def test_longest_first_so_that_memory_runs_out_at_once() -> None:
    counts = [3, 50, 7, 50, 1]
    batches = plan(counts, 100)
    assert [batch.tolist() for batch in batches] == [[1, 3], [2, 0, 4]]


def test_an_item_longer_than_the_budget_goes_alone() -> None:
    assert [batch.tolist() for batch in plan([500, 2, 2], 10)] == [[0], [1, 2]]


def test_batches_are_as_full_as_the_budget_allows() -> None:
    assert [len(batch) for batch in plan([10] * 25, 100)] == [10, 10, 5]


def test_no_items() -> None:
    assert plan([], 100) == []
