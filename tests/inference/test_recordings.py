"""What is recorded, when, and that a recording says what the step says. tests/test_gpu.py records CUDA graphs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seqmask.inference.batches import Batch, Found, Step
from seqmask.inference.engine import Engine, Items
from seqmask.inference.recordings import AGAIN, CUDNN, MOST, OTHERS, Recording, Recordings, attentions
from seqmask.inference.steps import Classify
from seqmask.models.checkpoint import load_model


class Steps:
    """Counts how often it is run; equal to others of its name."""

    def __init__(self, name: str = "") -> None:
        self.name, self.runs = name, 0

    def __call__(self, batch: Batch) -> Found:
        self.runs += 1
        return (
            batch.ids.sum(dim=1, keepdim=True) + sum(v.sum(dim=1, keepdim=True) for v in batch.values)
        ).float(), None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Steps) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


class Recorder:
    """As CUDA graphs do: runs the step on what the batch was, and fills the outputs of that one run."""

    def __init__(self, says: str = "") -> None:
        self.made, self.says = 0, says

    def __call__(self, step: Step, batch: Batch) -> Recording:
        self.made += 1
        assert not batch.padded
        copies = tuple(value.clone() for value in batch.values)
        held = Batch(batch.ids.clone(), batch.attention.clone(), copies, batch.fixed, batch.padded)
        window, _ = step(held)
        assert window is not None
        if self.says == "the first":
            return Recording(held, lambda: None, (window, None))

        def launch() -> None:
            window.copy_(step(held)[0] * (1.2 if self.says == "more" else 1))  # type: ignore[operator]

        return Recording(held, launch, (window, None))


def batch(rows: int, tokens: int, seed: int = 0, *, padded: bool = False, values: int = 0) -> Batch:
    drawn = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 50, (rows, tokens), generator=drawn)
    masks = tuple(torch.rand(rows, tokens, generator=drawn) for _ in range(values))
    return Batch(ids, torch.ones_like(ids, dtype=torch.bool), masks, None, padded)


def test_what_comes_again_is_recorded_and_says_the_same() -> None:
    recorder = Recorder()
    recordings = Recordings(recorder)
    for seed in range(AGAIN + 4):
        given = batch(3, 7, seed, values=1)
        found, _ = recordings.run(Steps(), given)  # another object each time, and the same step
        torch.testing.assert_close(found, Steps()(given)[0])
        assert recorder.made == (seed >= AGAIN)


@pytest.mark.parametrize("says", ["the first", "more"])
def test_a_recording_that_says_something_else_is_not_used(says: str, caplog: pytest.LogCaptureFixture) -> None:
    """One that launches nothing leaves what was there when it was made, which is right for that batch alone."""
    recorder = Recorder(says)
    recordings = Recordings(recorder)
    for seed in range(AGAIN + 4):
        given = batch(3, 7, seed, values=1)
        torch.testing.assert_close(recordings.run(Steps(), given)[0], Steps()(given)[0])
    assert recorder.made == 1
    assert caplog.text.count("launched kernel by kernel, which is slower") == 1


def test_a_recording_that_fails_takes_the_others_with_it() -> None:
    """What they point to may be gone with it (cuBLAS's workspace of the stream): they are launched from then on."""
    recorder = Recorder()
    recordings = Recordings(recorder)
    for seed in range(AGAIN + 2):
        recordings.run(Steps("a"), batch(3, 7, seed))
    step = Steps("a")
    recordings.run(step, batch(3, 7))
    assert (recorder.made, step.runs) == (1, 0)
    recorder.says = "more"
    for seed in range(AGAIN + 1):
        recordings.run(Steps("b"), batch(3, 8, seed))
    assert recorder.made == 2
    given = batch(3, 7, 9)
    torch.testing.assert_close(recordings.run(step, given)[0], Steps()(given)[0])
    assert step.runs == 1, "and is not recorded again"


@pytest.mark.parametrize(
    ("version", "capability", "first"),
    [(91900, (9, 0), CUDNN), (92000, (10, 0), CUDNN), (91002, (9, 0), OTHERS[0]), (91900, (8, 9), OTHERS[0])],
)
def test_cudnn_attention_is_for_where_torch_prefers_it(
    monkeypatch: pytest.MonkeyPatch, version: int, capability: tuple[int, int], first: object
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: version)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert attentions()[0] == first
    assert attentions()[-3:] == OTHERS


def test_padded_batches_are_launched() -> None:
    """Attention asks the device whether there is padding, which no recording can."""
    recorder, step = Recorder(), Steps()
    recordings = Recordings(recorder)
    for seed in range(AGAIN + 4):
        recordings.run(step, batch(3, 7, seed, padded=True))
    assert recorder.made == 0
    for seed in range(AGAIN + 1):
        recordings.run(step, batch(3, 7, seed))
    assert recorder.made == 1, "and others are recorded all the same"


def test_another_shape_or_step_is_another_recording() -> None:
    recorder = Recorder()
    recordings = Recordings(recorder)
    kinds = [
        (Steps("a"), batch(3, 7)),
        (Steps("b"), batch(3, 7)),
        (Steps("a"), batch(3, 8)),
        (Steps("a"), batch(2, 7)),
        (Steps("a"), batch(3, 7, values=1)),
    ]
    for _ in range(AGAIN):
        for step, given in kinds:
            recordings.run(step, given)
    assert recorder.made == 0
    for step, given in kinds:
        torch.testing.assert_close(recordings.run(step, given)[0], step(given)[0])
    assert recorder.made == len(kinds)


def test_there_is_an_end_to_what_is_kept() -> None:
    recorder = Recorder()
    recordings = Recordings(recorder)
    for tokens in range(1, MOST + 5):
        for seed in range(AGAIN + 2):
            given = batch(2, tokens, seed)
            torch.testing.assert_close(recordings.run(Steps(), given)[0], Steps()(given)[0])
    assert recorder.made == MOST


@pytest.mark.parametrize("error", [RuntimeError("not while capturing"), torch.OutOfMemoryError("full")])
def test_what_can_not_be_recorded_runs_as_before(error: Exception) -> None:
    tries = []

    def failing(step: Step, given: Batch) -> Recording:
        tries.append(given)
        raise error

    recordings = Recordings(failing)
    for seed in range(AGAIN + 5):
        given = batch(2, 5, seed)
        torch.testing.assert_close(recordings.run(Steps(), given)[0], Steps()(given)[0])
    assert len(tries) == 1


def test_nothing_is_kept_or_recorded_once_they_are_dropped() -> None:
    recorder, step = Recorder(), Steps()
    recordings = Recordings(recorder)
    for seed in range(AGAIN + 1):
        recordings.run(step, batch(2, 5, seed))
    recordings.drop()
    before = step.runs
    for seed in range(5):
        recordings.run(step, batch(2, 5, seed))
    assert step.runs == before + 5
    assert recorder.made == 1


def test_an_engine_with_recordings_gives_the_same(tiny_model: str) -> None:
    """Most batches are of one shape, the last one is not; results are copied before the next run overwrites them."""
    network = load_model(tiny_model).classifier.network
    rng, recorder = np.random.default_rng(3), Recorder()
    ids = rng.integers(5, 4101, (19, 6)).astype(np.int32)
    items = Items(ids.reshape(-1), np.arange(20) * 6)
    plain = Engine(budget=24).run_all(Classify(network, "blend"), items).window
    recorded = Engine(budget=24, recordings=Recordings(recorder)).run_all(Classify(network, "blend"), items).window
    assert recorder.made == 1
    np.testing.assert_allclose(recorded, plain, rtol=0, atol=1e-5 * np.abs(plain).max())


def test_memory_that_runs_out_drops_the_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    recordings, calls = Recordings(Recorder()), []

    def step(given: Batch) -> Found:
        calls.append(len(given.ids))
        if len(given.ids) > 2:
            raise torch.OutOfMemoryError("full")
        return given.ids.float(), None

    items = Items(np.arange(32, dtype=np.int32), np.arange(9) * 4)
    found = Engine(budget=16, recordings=recordings).run_all(step, items).window
    np.testing.assert_array_equal(found, np.arange(32).reshape(8, 4))
    assert calls == [4, 2, 2, 2, 2]  # and none of the last two was run once more to record it
