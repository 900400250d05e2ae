"""Batches made in other processes: the same ones, in the same order, and what fails there fails here."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from seqmask.training.ahead import MOST_WORKERS, made_ahead, workers_for

pytestmark = pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="where it is not, no worker is used")


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


STOPPED = """
import itertools, os, signal, subprocess
from seqmask.training.ahead import made_ahead

asked = []
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
    signal.signal(number, lambda number, _: asked.append(number))
made = made_ahead(lambda place: place, itertools.count(), 2)
found = [next(made) for _ in range(5)]
for name in ("TERM", "USR1", "INT"):
    subprocess.run(["kill", f"-{name}", "--", f"-{os.getpgrp()}"])
    found += [next(made) for _ in range(20)]
assert found == list(range(65)), found
print(len(asked))  # the workers are still there, and are ended with the interpreter
"""


def test_a_signal_to_all_processes_is_the_parents_to_answer() -> None:
    """As SLURM and torchrun send them: the parent ends its step and writes a checkpoint, so batches must still come."""
    done = subprocess.run(
        [sys.executable, "-c", STOPPED],
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
        timeout=120,  # workers that their parent could not end would be waited for without end
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "3", "")


def test_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert workers_for(torch.device("cpu")) == workers_for(torch.device("mps")) == 0
    assert workers_for(torch.device("cuda")) == MOST_WORKERS
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert workers_for(torch.device("cuda")) == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert workers_for(torch.device("cuda")) == 0
