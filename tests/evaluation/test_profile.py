"""Means along a reference: by hand, planted, and their intervals against a bootstrap of numpy's own draws."""

from __future__ import annotations

import numpy as np
import pytest

from seqmask.evaluation import profile
from seqmask.evaluation.profile import DRAWS, Profile


def f32(values: object) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def i32(values: object) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def test_by_hand() -> None:
    sums = Profile(5, 1)
    sums.add(f32([[0.2, 0.4, 0.9]]), np.array([[False, False, True]]), i32([0, 1, 3]), 0)
    sums.add(f32([[0.6, np.nan, 0.5, 0.1]]), np.array([[True, False, True, False]]), i32([1, 2, -1, 3]), 1)
    found = sums.means()
    assert sums.n == 2
    assert found.sequences.tolist() == [1, 2, 0, 2, 0]
    assert found.importance[0] == pytest.approx([0.2, 0.5, np.nan, 0.5, np.nan], nan_ok=True)
    assert found.kept[0] == pytest.approx([0, 0.5, np.nan, 0.5, np.nan], nan_ok=True)
    low, high = found.importance_interval[:, 0]
    assert np.isnan(low).tolist() == np.isnan(high).tolist() == [False, False, True, False, True]
    assert low[0] == high[0] == pytest.approx(0.2)  # one sequence: nothing to draw from
    assert (low[1], high[1]) == pytest.approx((0.4, 0.6))


def test_positions_may_fall() -> None:
    sums = Profile(4, 1)
    sums.add(f32([[0.1, 0.2, 0.3]]), np.zeros((1, 3), bool), i32([3, 2, 0]), 0)
    assert sums.means().importance[0] == pytest.approx([0.3, np.nan, 0.2, 0.1], nan_ok=True)


def test_nothing_added() -> None:
    found = Profile(3, 2).means()
    assert found.sequences.tolist() == [0, 0, 0]
    assert np.isnan(found.importance).all()
    assert np.isnan(found.kept_interval).all()


def test_a_planted_profile_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two masks, importance planted at other places; pieces of the reference, in any blocks."""
    rng = np.random.default_rng(0)
    truth = np.full((2, 300), 0.2)
    truth[0, 100:150], truth[1, 200:220] = 0.8, 0.6
    pieces = [(start, start + 150) for start in rng.integers(0, 151, 400)]
    noise = [rng.normal(0, 0.1, (2, 150)) for _ in pieces]
    found = []
    for block in (profile.BLOCK, 7):
        monkeypatch.setattr(profile, "BLOCK", block)
        sums = Profile(300, 2)
        for i, ((start, stop), of) in enumerate(zip(pieces, noise, strict=True)):
            track = f32(truth[:, start:stop] + of)
            sums.add(track, track >= 0.5, i32(np.arange(start, stop)), i)
        found.append(sums.means())
    for one in found:
        assert one.sequences.sum() == 400 * 150
        many = one.sequences > 30
        assert np.abs(one.importance - truth)[:, many].max() < 0.1
        assert (one.kept[0, 100:150] > 0.9).all()
        assert (one.kept[1, :200][many[:200]] < 0.1).all()
        low, high = one.importance_interval
        covered = ((low <= truth) & (truth <= high))[:, many]
        assert 0.9 < covered.mean() < 0.99
    assert np.allclose(found[0].importance, found[1].importance, equal_nan=True, atol=1e-6)


def test_intervals_are_those_of_a_bootstrap() -> None:
    rng = np.random.default_rng(1)
    values = rng.random((200, 4)).astype(np.float32)
    sums = Profile(4, 1, seed=5)
    for i, row in enumerate(values):
        sums.add(row[None], row[None] >= 0.7, i32(range(4)), i)
    found = sums.means()
    rows = rng.integers(0, 200, (4000, 200))
    for got, data in ((found.importance_interval, values), (found.kept_interval, values >= np.float32(0.7))):
        expected = np.percentile(data[rows].mean(axis=1), [2.5, 97.5], axis=0)
        assert got[:, 0] == pytest.approx(expected, abs=0.02)
    again = Profile(4, 1, seed=5)
    for i in rng.permutation(200).tolist():  # the order they come in does not matter
        again.add(values[i][None], values[i][None] >= 0.7, i32(range(4)), i)
    np.testing.assert_allclose(again.means().importance_interval, found.importance_interval, atol=1e-6)
    assert DRAWS >= 500


def test_copies_in_a_cluster_tell_nothing_new() -> None:
    values = np.random.default_rng(2).random((50, 3)).astype(np.float32)
    found = []
    for copies in (1, 4):
        sums = Profile(3, 1, seed=5)
        for i, row in enumerate(np.tile(values, (copies, 1))):
            sums.add(row[None], row[None] >= 0.5, i32(range(3)), i % 50)
        found.append(sums.means())
    assert found[1].sequences.tolist() == [200] * 3
    np.testing.assert_allclose(found[0].importance_interval, found[1].importance_interval, atol=1e-5)
