"""Records to explanations: nothing cut off, nothing left out, nothing that depends on the neighbours."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seqmask.inference import explain as module
from seqmask.inference.batches import Batch
from seqmask.inference.engine import Engine, Items
from seqmask.inference.explain import (
    check_pool,
    classify,
    classify_pool,
    explain,
    mask_pool,
    pooled,
    pools,
    predictions,
    prepare,
    window_masks,
)
from seqmask.inference.steps import Check, Classify
from seqmask.models.checkpoint import Model, load_model
from seqmask.sequences.explanations import Explanation, Status
from seqmask.sequences.pool import Pool
from seqmask.sequences.records import Record
from seqmask.sequences.tokens import UNK
from seqmask.sequences.windows import Window

OVERLAP = 192


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return load_model(tiny_model)


def sequence(seed: int, length: int) -> str:
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


def records(*sequences: str) -> list[Record]:
    return [Record(f"r{i}", f"r{i} x", text) for i, text in enumerate(sequences)]


def run(model: Model, given: list[Record], engine: Engine | None = None, **options: Any) -> list[Explanation]:
    return list(explain(given, model, engine or Engine(), overlap=OVERLAP, **options))


ODD = ("", "A", "ACGTA", "N" * 40, "n-.*N" * 9)
ODD_STATUS = [Status.empty, Status.too_short, Status.too_short, Status.no_bases, Status.no_bases]


def test_a_contig_is_covered_to_its_last_base(model: Model) -> None:
    (found,) = run(model, records(sequence(0, 200_003)))
    assert found.status is Status.ok
    assert found.spans[0, 0] == 0
    assert found.spans[:, 1].max() == 200_003
    assert (np.diff(found.spans[:, 0]) >= 0).all()
    # Every next token begins at or before the end of all before it: no gap anywhere
    assert (found.spans[1:, 0] <= np.maximum.accumulate(found.spans[:, 1])[:-1]).all()
    assert len(found.mask) == len(found.spans) > 200_000 / 6
    track = found.track()
    assert track.shape == (200_003,)
    assert not np.isnan(track).any()
    assert track.min() >= 0
    assert track.max() <= 1


@pytest.mark.parametrize("length", [6, 7, 383, 384, 385, 389, 390, 576, 1000])
def test_lengths_around_a_window(model: Model, length: int) -> None:
    (found,) = run(model, records(sequence(1, length)))
    assert not np.isnan(found.track()).any()
    assert found.spans.max() == length


@pytest.mark.parametrize("length", [6, 11, 100, 383, 384, 1000, 5003])
def test_frames_cover_everything_too(model: Model, length: int) -> None:
    """Three readings, 2 nt apart: each nucleotide still has its tokens, and more of them."""
    record = records(sequence(1, length))[0]
    one, three = (run(model, [record], frames=frames)[0] for frames in (1, 3))
    assert not np.isnan(three.track()).any()
    assert three.spans.min() == 0
    assert three.spans.max() == length
    assert (np.diff(three.spans[:, 0]) >= 0).all()
    if length >= 100:
        assert len(three.spans) > 2.5 * len(one.spans)
        assert (one.logits != three.logits).any()


def test_the_models_own_number_of_frames_is_the_default(model: Model) -> None:
    record = records(sequence(1, 500))[0]
    own, named = run(model, [record])[0], run(model, [record], frames=model.frames)[0]
    np.testing.assert_array_equal(own.mask, named.mask)


def test_a_long_record_is_the_mean_of_its_windows(model: Model) -> None:
    """Logits weighted by tokens, the class of the record from them, and the masks of the windows side by side."""
    record = records(sequence(2, 1000))[0]
    (prepared,) = prepare([record], model.classifier, OVERLAP)
    assert len(prepared.windows) > 2
    parts = run(model, records(*(record.sequence[w.start : w.stop] for w in prepared.windows)))
    weights = np.array([len(window.tokens) for window in prepared.windows], dtype=np.float32)
    (found,) = run(model, [record])
    mean = np.average([part.logits for part in parts], axis=0, weights=weights)
    np.testing.assert_allclose(found.logits, mean, atol=1e-4)
    assert found.targets.tolist() == [int(mean[part].argmax()) for part in model.classifier.ranks.slices]
    starts = np.concatenate([part.spans[:, 0] + w.start for part, w in zip(parts, prepared.windows, strict=True)])
    order = np.argsort(starts, kind="stable")
    np.testing.assert_array_equal(found.spans[:, 0], starts[order])
    # every window explains the class of the record, whatever it would be classified as alone
    with torch.inference_mode():
        masks = [
            torch.sigmoid(
                model.explainer(
                    torch.from_numpy(window.tokens.ids.astype(np.int64))[None],
                    torch.ones(1, len(window.tokens), dtype=torch.bool),
                    torch.from_numpy(found.targets)[None],
                )
            )[0].numpy()
            for window in prepared.windows
        ]
    np.testing.assert_allclose(found.mask, np.concatenate(masks)[order], atol=1e-5)


@pytest.mark.parametrize("operator", ["gate", "blend", "scale"])
@pytest.mark.parametrize("frames", [1, 3])
def test_what_can_not_be_read_says_nothing(tiny_model: Path, operator: str, frames: int) -> None:
    """Whatever the embedding of [UNK] is, no bit of a result changes: single letters, gaps, whole windows of N."""
    gaps = [text[:250] + "N" * n + text[250:] for n in (1, 60, 2000) for text in (sequence(n, 500),)]
    scattered = np.array(list(sequence(3, 900)))
    scattered[::70] = "R"
    given = records(*gaps, sequence(4, 300) + "N" * 900, "".join(scattered), sequence(5, 400))
    found = []
    for value in (None, 1.0):
        model = load_model(tiny_model)
        model = replace(model, operator=operator)
        if value is not None:
            with torch.no_grad():
                for network in (model.classifier.network, model.explainer):
                    network.encoder.embeddings.word_embeddings.weight[UNK] = value  # type: ignore[union-attr, index]
        found.append(run(model, given, frames=frames, check=True))
    for one, other in zip(*found, strict=True):
        for name in ("logits", "mask", "masked_logits", "inverse_logits"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
            assert np.isfinite(getattr(one, name)).all()
    for item in found[0][:4]:
        unread = ["N" in item.record.sequence[start:end] for start, end in item.spans.tolist()]
        assert (item.mask[unread] == 0).all()
        assert (item.mask[~np.array(unread)] > 0).all()


@pytest.mark.parametrize(("length", "count"), [(300, 6), (300, 84), (300, 1979)])
def test_n_behind_a_sequence_is_as_if_it_ended(model: Model, length: int, count: int) -> None:
    """In one window of 384 nt, and where windows of N alone follow, which count for nothing."""
    texts = [sequence(seed, length) for seed in range(30, 40)]
    plain, found = (
        list(explain(records(*(text + more for text in texts)), model, Engine(), overlap=0, frames=1, check=True))
        for more in ("", "N" * count)
    )
    for one, other in zip(plain, found, strict=True):
        np.testing.assert_allclose(one.mask, other.mask[: length // 6], atol=1e-5)
        assert (other.mask[length // 6 :] == 0).all()
        for name in ("logits", "masked_logits", "inverse_logits"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-5)


def test_a_named_class_is_explained_whatever_is_predicted(model: Model) -> None:
    """Against the Explainer called by hand; ranks that are not named keep the predicted class."""
    given = records(*(sequence(20 + i, 300) for i in range(8)), *ODD)
    plain, found = run(model, given), run(model, given, named=np.array([-1, 3, -1]))
    assert len({int(item.targets[1]) for item in plain}) > 2
    for one, other in zip(plain, found, strict=True):
        np.testing.assert_array_equal(one.logits, other.logits)
        if other.status is not Status.ok:
            assert (other.targets == -1).all()
            continue
        assert other.targets.tolist() == [one.targets[0], 3, one.targets[2]]
        assert (one.mask != other.mask).any() == (one.targets[1] != 3)
        ids = torch.from_numpy(model.classifier.tokenizer.encode(other.record.sequence).ids[None].astype(np.int64))
        with torch.inference_mode():
            classes = torch.from_numpy(other.targets)[None]
            mask = torch.sigmoid(model.explainer(ids, torch.ones_like(ids, dtype=torch.bool), classes))
        np.testing.assert_allclose(other.mask, mask[0].numpy(), atol=1e-5)


@pytest.mark.parametrize("check", [False, True])
def test_every_record_has_a_status(model: Model, check: bool) -> None:
    given = records(ODD[0], sequence(3, 500), *ODD[1:], sequence(4, 100))
    found = run(model, given, check=check)
    assert [item.record for item in found] == given
    assert [item.index for item in found] == list(range(len(given)))
    assert [item.status for item in found] == [ODD_STATUS[0], Status.ok, *ODD_STATUS[1:], Status.ok]
    for item in found:
        if item.status is not Status.ok:
            assert item.spans.shape == (0, 2)
            assert item.mask.shape == (0, 1)
            assert (item.targets == -1).all()
            assert (item.logits == 0).all()
            assert item.masked_logits is item.inverse_logits is None


def test_nothing_but_odd_records(model: Model) -> None:
    assert [item.status for item in run(model, records(*ODD), check=True)] == ODD_STATUS
    assert run(model, []) == []


def test_neighbours_do_not_matter(model: Model) -> None:
    rng = np.random.default_rng(5)
    given = records(*(sequence(10 + i, int(n)) for i, n in enumerate(rng.integers(6, 1500, 25))), *ODD)
    together = run(model, given, Engine(budget=700), check=True)
    for item, record in zip(together, given, strict=True):
        (alone,) = run(model, [record], check=True)
        np.testing.assert_array_equal(alone.spans, item.spans)
        np.testing.assert_allclose(alone.mask, item.mask, atol=1e-5)
        np.testing.assert_allclose(alone.logits, item.logits, atol=1e-4)
    values = np.concatenate([item.mask.ravel() for item in together])
    assert values.std() > 0.1, "constant masks would pass every test here"


def test_pools_do_not_show(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    given = records(*(sequence(40 + i, 300 + 90 * i) for i in range(12)), *ODD)
    whole = run(model, given)
    monkeypatch.setattr(module, "POOL_WINDOWS", 5)
    for one, other in zip(whole, run(model, given), strict=True):
        assert (one.index, one.status) == (other.index, other.status)
        np.testing.assert_allclose(one.mask, other.mask, atol=1e-5)


def test_pools_hold_whole_records_in_order(model: Model) -> None:
    given = records(*(sequence(60 + i, 1000) for i in range(10)), *[""] * 20)
    prepared = list(prepare(given, model.classifier, OVERLAP))
    found = list(pools(prepared, 8))
    assert [item for pool in found for item in pool] == prepared
    assert len(found) > 3
    assert all(sum(max(len(item.windows), 1) for item in pool[:-1]) < 8 for pool in found)


def test_records_are_taken_lazily(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by a pool: the second pool is not read before the first has been given out."""
    monkeypatch.setattr(module, "POOL_WINDOWS", 4)
    taken = 0

    def source() -> Any:
        nonlocal taken
        for record in records(*(sequence(i, 50) for i in range(40))):
            taken += 1
            yield record

    next(iter(explain(source(), model, Engine(), overlap=OVERLAP)))
    assert taken == 4


def test_the_first_pool_is_a_small_one(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks at the first results need not wait for a whole pool; a run that goes on has the same pools."""
    monkeypatch.setattr(module, "POOL_WINDOWS", 12)
    monkeypatch.setattr(module, "FIRST_WINDOWS", 3)
    numbered = list(enumerate(records(*(sequence(i, 50) for i in range(40)))))

    def sizes(first: int) -> list[int]:
        return [len(index) for index, _ in module.grouped(numbered[first:], model.classifier, OVERLAP)]

    assert sizes(0) == [3, 12, 12, 12, 1]
    assert sizes(3) == [12, 12, 12, 1]


def test_check_classifies_the_hard_masks(model: Model) -> None:
    """Against the classifier called by hand on one window, whose last token overlaps the one before."""
    record = records(sequence(7, 301))[0]
    (plain,) = run(model, [record])
    assert plain.masked_logits is plain.inverse_logits is None
    tau = float(np.quantile(plain.mask, 0.6))
    (found,) = run(model, [record], check=True, tau=tau)
    ids = torch.from_numpy(model.classifier.tokenizer.encode(record.sequence).ids[None].astype(np.int64))
    attention = torch.ones_like(ids, dtype=torch.bool)
    hard = found.mask[:, 0] >= tau
    assert hard[-2] != hard[-1], "the fixture"
    shown, left = hard.copy(), ~hard
    left[-1] &= ~hard[-2]  # a token that shares a nucleotide with a kept one, and is none, is read on neither side
    left[-2] &= ~hard[-1]
    with torch.inference_mode():
        kept, rest = (
            model.classifier.network(ids, attention, torch.from_numpy(side.astype(np.float32))[None], model.operator)
            for side in (shown, left)
        )
    kept, rest = kept[0].numpy(), rest[0].numpy()
    np.testing.assert_allclose(found.masked_logits, kept, atol=1e-4)
    np.testing.assert_allclose(found.inverse_logits, rest, atol=1e-4)
    assert np.abs(kept - rest).max() > 0.1


def test_masked_and_inverse_in_one_pass_or_two(model: Model) -> None:
    """What a GPU does and what a CPU does: a doubled batch, within half of the budget, or the same batch twice."""
    numbered = enumerate(records(*(sequence(70 + i, 60 + 31 * i) for i in range(20)), *ODD))
    (pool,) = pooled(numbered, model.classifier, OVERLAP, 2)
    hard = np.random.default_rng(0).random(len(pool.ids)) < 0.3
    shown, left = whole_tokens(pool, hard)
    network = model.classifier.network
    items = Items(pool.ids, pool.offsets, (shown, left))
    sizes: list[int] = []

    def watched(batch: Batch) -> Any:
        sizes.append(2 * batch.ids.numel())
        return Check(network, model.operator, stacked=True)(batch)

    together = Engine(budget=500).run_all(watched, items, copies=2).window
    assert max(sizes) <= 500
    apart = Engine(budget=500).run_all(Check(network, model.operator, stacked=False), items).window
    np.testing.assert_allclose(together, apart, atol=1e-4)
    plain = [
        Engine(budget=500).run_all(Classify(network, model.operator), Items(pool.ids, pool.offsets, (m,)))
        for m in (shown, left)
    ]
    np.testing.assert_array_equal(apart, np.concatenate([found.window for found in plain], axis=1))
    kept, inverse = check_pool(pool, network, Engine(budget=500), hard, model.operator)
    np.testing.assert_array_equal(kept, classify_pool(pool, network, Engine(budget=500), shown, model.operator))
    np.testing.assert_array_equal(inverse, classify_pool(pool, network, Engine(budget=500), left, model.operator))


def whole_tokens(pool: Pool, hard: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Tokens whose nucleotides are all under kept ones of their record, and those that have none of them."""
    shown, left = np.zeros((2, len(hard)), dtype=np.float32)
    ends = np.cumsum(pool.token_counts)
    for first, last in zip(ends - pool.token_counts, ends, strict=True):
        places = [set(range(*span)) for span in pool.spans[first:last].tolist()]
        kept: set[int] = set().union(*(of for of, value in zip(places, hard[first:last], strict=True) if value))
        for token, own in enumerate(places, first):
            shown[token], left[token] = own <= kept, not own & kept
    assert (hard <= (shown > 0)).all()
    assert ((shown + left) < 1).any(), "tokens of other frames lie across the edges"
    return shown, left


def test_windows_in_lists_are_those_in_columns(model: Model) -> None:
    """What `evaluate` holds and what `mask` streams: the same logits and masks, bit by bit."""
    given = records(*(sequence(90 + i, 60 + 131 * i) for i in range(12)), *ODD)
    prepared = list(prepare(given, model.classifier, OVERLAP, 2))
    (pool,) = pooled(enumerate(given), model.classifier, OVERLAP, 2)
    network = model.classifier.network
    logits = classify_pool(pool, network, Engine())
    np.testing.assert_array_equal(classify(prepared, network, Engine()), logits)
    classes = predictions(logits, model.classifier.ranks.slices)
    masks = window_masks(prepared, model.explainer, Engine(), classes)
    assert [len(of_record) for of_record in masks] == pool.windows.tolist()
    flat = mask_pool(pool, model.explainer, Engine(), classes)
    np.testing.assert_array_equal(np.concatenate([mask for of_record in masks for mask in of_record]), flat)
    halves = [[np.float32(0.5) * (mask[:, 0] > 0.5) for mask in of_record] for of_record in masks]
    np.testing.assert_array_equal(
        classify(prepared, network, Engine(), halves),
        classify_pool(pool, network, Engine(), np.float32(0.5) * (flat[:, 0] > 0.5)),
    )
    nothing = list(prepare(records(*ODD), model.classifier, OVERLAP))
    assert (classify(nothing, network, Engine(), [[]] * len(ODD)) == 0).all()
    assert window_masks(nothing, model.explainer, Engine(), classes[: len(ODD)]) == [[]] * len(ODD)


def test_a_pulse_after_each_batch(model: Model) -> None:
    """Between two batches a run can be stopped; it is told how many items were in each."""
    pulses = []

    def pulse(items: int) -> None:
        pulses.append(items)
        if len(pulses) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(model, records(*(sequence(i, 300) for i in range(10))), Engine(most=1, pulse=pulse))
    assert pulses == [1, 1, 1]


def test_the_models_own_threshold_is_the_default(model: Model) -> None:
    record = records(sequence(8, 300))[0]
    own, same, other = (run(model, [record], check=True, tau=tau)[0] for tau in (None, model.threshold, 0.0))
    np.testing.assert_array_equal(own.masked_logits, same.masked_logits)
    assert (own.masked_logits != other.masked_logits).any()
    np.testing.assert_allclose(other.masked_logits, other.logits, atol=1e-4)


def test_windows_share_the_overlap(model: Model) -> None:
    (prepared,) = prepare(records(sequence(9, 3000)), model.classifier, OVERLAP)
    windows: list[Window] = prepared.windows
    assert all(len(window.tokens) <= model.classifier.network.max_tokens for window in windows)
    shared = [a.stop - b.start for a, b in pairwise(windows)]
    assert min(shared) >= OVERLAP
