"""The smallest mask that holds: found, verified, and moved to the threshold without touching the order of tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from seqmask.inference import explain as module
from seqmask.inference.engine import Engine
from seqmask.inference.explain import (
    check_pool,
    classify_pool,
    mask_pool,
    pooled,
    predictions,
    smallest_pool,
)
from seqmask.inference.smallest import SHARES, at_smallest, levels, moved, search
from seqmask.models.checkpoint import Model, load_model
from seqmask.sequences.pool import Pool, make_pool
from seqmask.sequences.records import Record
from seqmask.sequences.tokens import UNK, KmerTokenizer

TAU = 0.5


def pool_of(*sequences: str) -> Pool:
    records = [Record(f"r{i}", f"r{i}", text) for i, text in enumerate(sequences)]
    return make_pool(records, list(range(len(records))), KmerTokenizer(6, 6), 256, 0)


def kept_counts(pool: Pool, kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Kept tokens of each record."""
    of_record = np.repeat(np.arange(len(pool.records)), pool.token_counts)
    return np.bincount(of_record, kept, len(pool.records)).astype(np.int64)


def scores_of(pool: Pool) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(0.01, 0.99, len(pool.ids)).astype(np.float32)


def test_each_record_keeps_as_little_as_it_needs() -> None:
    """100 tokens a record, two ranks; records without tokens between. What is done is not asked again."""
    pool = pool_of("ACGTAC" * 100, "ACG", "ACGTAC" * 100, "", "ACGTAC" * 100)
    needs = np.array([[1, 7], [1, 1], [50, 51], [1, 1], [20, 100]])
    mask, asked = scores_of(pool), []

    def holds(part: Pool, rows: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        assert [record.name for record in part.records] == [f"r{row}" for row in rows]
        asked.append(len(rows))
        return kept_counts(part, kept)[:, None] >= needs[rows]

    cut, share = search(pool, mask, holds, 2)
    found = [[0.02, 0.08], [np.nan] * 2, [0.5, np.nan], [np.nan] * 2, [0.2, np.nan]]
    np.testing.assert_allclose(share, found)
    assert np.isinf(cut[np.isnan(share)]).all()
    assert asked == [3] * 4 + [2] * 11

    def first(part: Pool, rows: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return holds(part, rows, kept)[:, :1]

    after = at_smallest(pool, mask, TAU, first)
    assert kept_counts(pool, after >= np.float32(TAU)).tolist() == [2, 0, 50, 0, 20]
    both = at_smallest(pool, mask, TAU, holds)  # at both ranks: half does not do for two of the records
    assert kept_counts(pool, both >= np.float32(TAU))[0] == 8
    np.testing.assert_array_equal(both[100:], mask[100:])
    for before, now in zip(mask.reshape(3, 100), after.reshape(3, 100), strict=True):
        assert (np.diff(now[np.argsort(before)]) >= 0).all()


def test_less_may_hold_where_more_does_not() -> None:
    """The first share that holds is taken, whatever larger ones do."""
    pool = pool_of("ACGTAC" * 100)
    mask = scores_of(pool)

    def holds(part: Pool, rows: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.array([[kept.sum() == 15]])

    assert search(pool, mask, holds, 1)[1] == pytest.approx(0.15)


def test_levels_are_shares_of_what_is_read() -> None:
    """Unknown tokens count for nothing; a level that keeps what the one before does is left out, and one of more than
    half.
    """
    pool = pool_of("ACGTAC" * 8 + "NNNNNN" * 56, "ACGTAC" * 3, "ACGTAC", "ACGTACGTA")
    mask = scores_of(pool)
    mask[pool.ids == UNK] = 0
    thresholds, covered = levels(pool, mask)
    assert thresholds.shape == covered.shape == (4, len(SHARES))
    first, second = np.split(mask, [64, 67])[:2]
    known = np.isfinite(thresholds)
    assert covered[0, known[0]].tolist() == [0.125, 0.25, 0.375, 0.5]
    assert thresholds[0, known[0]].tolist() == np.sort(first[:8])[::-1][:4].tolist()
    assert (covered[1, known[1]], thresholds[1, known[1]]) == (pytest.approx(1 / 3), second.max())
    assert not known[2].any()  # a single token
    assert not known[3].any()  # two that overlap: either is two thirds


def test_a_subset_of_a_pool_is_the_pool_of_these_records() -> None:
    texts = ("ACGTAC" * 100, "ACG", "ACGTNN" * 400, "", "GATTACA" * 9)
    pool = pool_of(*texts)
    for rows in ([0, 2, 4], [1, 3], [2], [0, 1, 2, 3, 4]):
        part, tokens = pool.subset(np.array(rows))
        alone = pool_of(*(texts[row] for row in rows))
        for name in ("status", "windows", "offsets", "ids", "spans"):
            np.testing.assert_array_equal(getattr(part, name), getattr(alone, name))
        assert part.index.tolist() == rows
        assert [record.sequence for record in part.records] == [texts[row] for row in rows]
        np.testing.assert_array_equal(pool.ids[tokens], part.ids)


def test_moved_by_hand() -> None:
    """Logits of .2, .5, .8 are -1.39, 0, 1.39: with the cut at .8 all are lower by that."""
    mask = np.array([0.2, 0.5, 0.8], dtype=np.float32)
    found = moved(mask, np.full_like(mask, 0.8), 0.5)
    np.testing.assert_allclose(found, [0.25 * 0.25 / (1 + 0.25 * 0.25), 0.2, 0.5], atol=1e-6)
    assert found[2] == 0.5


@pytest.mark.parametrize("tau", [0.03, 0.5, 0.7, 0.97])
def test_what_reaches_the_cut_reaches_the_threshold(tau: float) -> None:
    """Whether m is compared with tau in single or in double precision."""
    rng = np.random.default_rng(1)
    mask = np.concatenate([rng.uniform(0, 1, 2000), [0, 1, 1 - 1e-7, 1e-30]]).astype(np.float32)
    for cut in [*mask[:50], np.nextafter(mask[3], np.float32(1)), *map(np.float32, (0, 1, 1e-30, np.inf))]:
        found = moved(mask, np.full(len(mask), cut, np.float32), tau)
        np.testing.assert_array_equal(found >= np.float32(tau), mask >= cut)
        np.testing.assert_array_equal(found.astype(np.float64) >= tau, mask >= cut)
        assert ((found >= 0) & (found <= 1)).all()
        assert found.dtype == np.float32


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return load_model(tiny_model)


def test_every_mask_that_is_moved_holds(model: Model) -> None:
    """Against the classifier itself, by the path of `--check`: windows, several frames, records without tokens."""
    rng = np.random.default_rng(2)
    texts = ["".join(rng.choice(list("ACGT"), n)) for n in (700, 60, 380, 90, 1500)] * 6 + ["", "N" * 50]
    records = [Record(f"r{i}", f"r{i}", text) for i, text in enumerate(texts)]
    (pool,) = pooled(enumerate(records), model.classifier, 192, 3)
    engine, network, slices = Engine(), model.classifier.network, model.classifier.ranks.slices
    classes = predictions(classify_pool(pool, network, engine), slices)
    mask = mask_pool(pool, model.explainer, engine, classes)
    mask = np.concatenate([mask**power for power in (1, 2, 3)], axis=1)
    after = smallest_pool(pool, model.classifier, engine, mask, model.operator, classes, TAU)
    tokens = np.repeat(np.arange(len(records)), pool.token_counts)
    changed = np.zeros((len(records), 3), dtype=bool)
    np.logical_or.at(changed, tokens, after != mask)
    assert changed.any()
    assert not changed[:-2].all()
    for rank, columns in enumerate(slices):
        both = check_pool(pool, network, engine, after[:, rank] >= np.float32(TAU), model.operator)
        kept, left = (logits[:, columns].argmax(axis=1) for logits in both)
        own = classes[:, rank]
        assert ((kept == own) & (left != own))[changed[:, rank]].all()


def test_a_mask_for_all_ranks_has_to_hold_at_each(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a check that says of each rank that it holds from so many kept tokens on, the largest number counts."""
    (pool,) = pooled(enumerate([Record("r", "r", "ACGTAC" * 50)]), model.classifier, 0)
    needs, ranks = (5, 9, 3), model.classifier.ranks
    classes = np.array([[1, 2, 3]])

    def by_count(
        pool: Pool, classifier: object, engine: object, kept: NDArray[np.bool_], operator: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        right, wrong = np.zeros((2, 1, ranks.slices[-1].stop), dtype=np.float32)
        for columns, need, own in zip(ranks.slices, needs, classes[0], strict=True):
            right[0, columns.start + (own if kept.sum() >= need else 0)] = 1
        return right, wrong

    monkeypatch.setattr(module, "check_pool", by_count)
    mask = scores_of(pool)[:, None]
    after = smallest_pool(pool, model.classifier, Engine(), mask, "", classes, TAU)
    assert kept_counts(pool, after[:, 0] >= TAU).tolist() == [10]  # .175 of 50 are 8.75, .2 are 10
