"""The engine: one output an item, in order, whatever the batches were and whatever memory there is."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from seqmask.inference.batches import CPU_TOKENS, GPU_TOKENS, Batch, Found, Step
from seqmask.inference.engine import Engine, Item, Output
from seqmask.inference.stages import Stages
from seqmask.inference.steps import Classify, Explain
from seqmask.models.checkpoint import Model, load_model


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return load_model(tiny_model)


def random_items(seed: int, n: int, *, shortest: int = 1, longest: int = 64, values: bool = False) -> list[Item]:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(shortest, longest + 1, n)
    return [
        Item(
            rng.integers(5, 4101, size, dtype=np.int32),
            ((rng.random(size) < 0.5).astype(np.float32),) if values else (),
        )
        for size in sizes
    ]


def echo(batch: Batch) -> tuple[Tensor | None, Tensor | None]:
    """An item's first id and length, and its ids: what was put in, and where."""
    window = torch.stack([batch.ids[:, 0], batch.attention.sum(dim=1)], dim=1)
    return window.float(), batch.ids.unsqueeze(-1).float()


def scarce(most: int, sizes: list[tuple[int, int]]) -> Callable[[Batch], tuple[Tensor | None, Tensor | None]]:
    """`echo` on a device that holds `most` tokens; every size that was tried is noted."""

    def step(batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        sizes.append(tuple(batch.ids.shape))
        if batch.ids.numel() > most:
            raise torch.OutOfMemoryError("out of memory")
        return echo(batch)

    return step


def check_echo(items: list[Item], outputs: list[Output]) -> None:
    assert len(outputs) == len(items)
    for item, output in zip(items, outputs, strict=True):
        assert output.window is not None
        assert output.token is not None
        assert output.window.tolist() == [item.ids[0], len(item.ids)]
        assert output.token[:, 0].tolist() == item.ids.tolist()


@pytest.mark.parametrize("budget", [1, 64, 500, 100_000])
@pytest.mark.parametrize("most", [0, 1, 4])
def test_input_order_and_no_padding(budget: int, most: int) -> None:
    items = random_items(0, 60)
    check_echo(items, Engine(budget=budget, most=most).run(echo, items))


def test_no_items() -> None:
    assert Engine().run(echo, []) == []


def test_values_are_padded_with_one() -> None:
    """Padding is never masked, whatever the mask of the longest item is."""
    seen: list[Batch] = []

    def step(batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        seen.append(batch)
        return None, None

    zeros = [Item(np.full(n, 9, np.int32), (np.zeros(n, np.float32),)) for n in (2, 5)]
    assert Engine().run(step, zeros) == [Output(), Output()]
    (batch,) = seen
    assert batch.ids.tolist() == [[9] * 5, [9, 9, 0, 0, 0]]
    assert batch.attention.tolist() == [[True] * 5, [True, True, False, False, False]]
    assert batch.values[0].tolist() == [[0.0] * 5, [0.0, 0.0, 1.0, 1.0, 1.0]]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("budget", "most"), [(1, 0), (200, 0), (1000, 5), (10**6, 0)])
def test_results_do_not_depend_on_the_batches(model: Model, budget: int, most: int, masked: bool) -> None:
    # A mask is of unit variance within its sequence: of two tokens that are almost alike, that is mostly rounding
    items = random_items(1, 50, shortest=5, values=masked)
    network, explainer = model.classifier.network, model.explainer
    alone, together = Engine(most=1), Engine(budget=budget, most=most)
    for one, other in zip(
        alone.run(Classify(network, "blend"), items),
        together.run(Classify(network, "blend"), items),
        strict=True,
    ):
        np.testing.assert_allclose(one.window, other.window, atol=1e-5 * np.abs(one.window).max(), rtol=0)
    for item, one, other in zip(
        items, alone.run(Explain(explainer), items), together.run(Explain(explainer), items), strict=True
    ):
        assert one.token.shape == other.token.shape == (len(item.ids), 1)
        np.testing.assert_allclose(one.token, other.token, atol=1e-5, rtol=0)


def test_masked_logits_depend_on_the_mask(model: Model) -> None:
    """Or the test above would hold for a step that ignores `values`."""
    masked = random_items(1, 20, longest=64, values=True)
    plain = [Item(item.ids) for item in masked]
    step = Classify(model.classifier.network, "blend")
    a, b = (np.stack([output.window for output in Engine().run(step, items)]) for items in (masked, plain))
    assert np.abs(a - b).max() > 0.1


def test_outputs_do_not_keep_the_batch_alive() -> None:
    """A pool of outputs that are views would hold every padded batch in memory."""
    outputs = Engine().run(echo, random_items(2, 10))
    assert all(output.token.base is None for output in outputs)


def test_budget_by_device() -> None:
    assert Engine().budget == CPU_TOKENS
    assert Engine(torch.device("cuda")).budget == GPU_TOKENS
    assert Engine(budget=17).budget == 17


def test_threads_share_an_engine(model: Model) -> None:
    """Modules hold the mask of the batch that they are in, and what the Explainer keeps of it: one at a time."""
    network, engine = model.classifier.network, Engine(budget=512)
    sets = [random_items(20 + i, 40, longest=40, values=True) for i in range(9)]
    steps: list[Step] = [Classify(network, "blend"), Classify(network, "gate"), Explain(model.explainer)]

    def run(i: int) -> list[Output]:
        return engine.run(steps[i % 3], sets[i])

    alone = [run(i) for i in range(9)]
    together: list[list[Output]] = []
    Stages(iter(range(9)), run, abreast=3).run(together.append)
    for one, other in zip(alone, together, strict=True):
        for a, b in zip(one, other, strict=True):
            for part, same in ((a.window, b.window), (a.token, b.token)):
                assert (part is None) == (same is None)
                if part is not None:
                    np.testing.assert_array_equal(part, same)


class TestOutOfMemory:
    def test_a_thread_that_waited_plans_with_the_smaller_budget(self) -> None:
        items, sizes, met = random_items(8, 100), [], threading.Event()
        engine = Engine(budget=2048)

        def first(batch: Batch) -> Found:
            met.set()  # the other one is under way, and waits
            time.sleep(0.05 if not sizes else 0)
            return scarce(100, sizes)(batch)

        second: list[tuple[int, int]] = []
        thread = threading.Thread(target=engine.run, args=(first, items))
        thread.start()
        assert met.wait(10)
        check_echo(items, engine.run(scarce(100, second), items))
        thread.join()
        assert all(rows * width <= 128 for rows, width in second)
        assert engine.budget <= 128

    def test_goes_on_with_smaller_batches_and_keeps_the_order(self, caplog: pytest.LogCaptureFixture) -> None:
        items, sizes = random_items(3, 200), []
        engine = Engine(budget=2048)
        with caplog.at_level(logging.WARNING, logger="seqmask"):
            check_echo(items, engine.run(scarce(1100, sizes), items))
        failed = [size for size in sizes if size[0] * size[1] > 1100]
        assert len(failed) == 1, "what is still waiting must be planned again, not fail batch by batch"
        assert 0 < engine.budget <= 1100
        (record,) = caplog.records
        assert "out of GPU memory" in record.message
        assert "\n" not in record.message

    def test_says_so_once_however_often_it_halves(self, caplog: pytest.LogCaptureFixture) -> None:
        items, sizes = random_items(4, 100), []
        engine = Engine(budget=4096)
        with caplog.at_level(logging.WARNING, logger="seqmask"):
            check_echo(items, engine.run(scarce(100, sizes), items))
            check_echo(items, engine.run(scarce(70, sizes), items))
        assert len(caplog.records) == 1
        assert sum(rows * width > 100 for rows, width in sizes) <= 6  # 4096 to 128 in five halvings

    def test_the_smaller_budget_stays(self) -> None:
        items, sizes = random_items(5, 100), []
        engine = Engine(budget=2048)
        engine.run(scarce(600, []), items)
        check_echo(items, engine.run(scarce(600, sizes), items))
        assert max(rows * width for rows, width in sizes) <= 600

    def test_batches_that_only_most_limits_are_halved_too(self) -> None:
        items = [Item(np.full(10, i, np.int32)) for i in range(5, 69)]
        check_echo(items, Engine(budget=10**6, most=8).run(scarce(40, []), items))

    def test_one_item_that_does_not_fit_is_an_error(self) -> None:
        items = [Item(np.full(size, 7, np.int32)) for size in (64, 3, 3)]
        with pytest.raises(torch.OutOfMemoryError):
            Engine().run(scarce(63, []), items)

    def test_other_errors_are_not_swallowed(self) -> None:
        def step(batch: Batch) -> tuple[Tensor | None, Tensor | None]:
            raise RuntimeError("a bug")

        with pytest.raises(RuntimeError, match="a bug"):
            Engine().run(step, random_items(6, 4))


def test_verbose_says_what_is_run(caplog: pytest.LogCaptureFixture) -> None:
    items = [Item(np.full(5, 7, dtype=np.int32)) for _ in range(3)]
    with caplog.at_level("DEBUG", logger="seqmask"):
        Engine(budget=10).run(lambda batch: (batch.ids.float(), None), items)
    assert "3 windows, 15 tokens, 2 batches" in caplog.text
