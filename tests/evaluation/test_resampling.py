import numpy as np
import pytest

from seqmask.evaluation import metrics, resampling
from seqmask.evaluation.resampling import (
    Resampling,
    balanced_interval,
    bootstrap_interval,
    calibration_interval,
    estimate,
    estimate_over_columns,
)

PERCENTS = [2.5, 97.5]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def clustered(rng, n=30):
    """Nine clusters of different sizes, mixed up."""
    return Resampling(7, rng.permutation(np.arange(n) * np.arange(n) // 101))


def test_bootstrap_interval(rng):
    values = rng.normal(3.0, 2.0, 400)
    low, high = bootstrap_interval(values, Resampling(1), draws=4000)
    # The normal approximation: mean +- 1.96 s / sqrt(n).
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.02)
    assert high == pytest.approx(values.mean() + half, abs=0.02)
    once = bootstrap_interval(values, Resampling(1))
    assert bootstrap_interval(values, Resampling(1)) == once
    assert bootstrap_interval(values, Resampling(2)) != once
    assert bootstrap_interval(np.append(values, np.nan), Resampling(1)) == once
    assert bootstrap_interval(np.ones(5), Resampling(0)) == (1.0, 1.0)
    assert np.isnan(bootstrap_interval(np.array([]), Resampling(0))).all()


def test_whole_clusters_are_drawn(rng):
    """The mean over all sequences of the clusters drawn, however many these are."""
    values, by = rng.random(30), clustered(rng)
    drawn = np.random.default_rng(7).integers(0, 9, (1000, 9))
    means = [np.concatenate([values[by.clusters == c] for c in row]).mean() for row in drawn]
    np.testing.assert_allclose(bootstrap_interval(values, by), np.percentile(means, PERCENTS), atol=1e-12)


def test_copies_in_a_cluster_tell_nothing_new(rng):
    values = rng.random(40)
    once = bootstrap_interval(values, Resampling(1))
    copies = np.repeat(values, 5)
    together = bootstrap_interval(copies, Resampling(1, np.repeat(np.arange(40), 5)))
    np.testing.assert_allclose(together, once, atol=1e-12)
    low, high = bootstrap_interval(copies, Resampling(1))
    assert high - low < 0.6 * (once[1] - once[0])


def test_clusters_of_one_are_no_clusters(rng):
    values, true = rng.random(30), rng.integers(0, 4, 30)
    alone, of_one = Resampling(3), Resampling(3, np.arange(30))
    assert bootstrap_interval(values, of_one) == pytest.approx(bootstrap_interval(values, alone))
    assert balanced_interval(values, true, of_one) == pytest.approx(balanced_interval(values, true, alone))


def test_unknown_values_leave_their_clusters_aligned(rng):
    values, by = rng.random(30), clustered(rng)
    values[[0, 7, 20]] = np.nan
    known = ~np.isnan(values)
    expected = bootstrap_interval(values[known], by.of(known))
    assert bootstrap_interval(values, by) == expected
    assert bootstrap_interval(values[known], by.of(np.flatnonzero(known))) == expected
    assert estimate(values, by) == {"mean": pytest.approx(np.nanmean(values)), "interval": list(expected)}


def test_clusters_of_other_sequences_are_refused(rng):
    with pytest.raises(ValueError, match="clusters of 30 sequences for 29 values"):
        balanced_interval(rng.random(29), np.zeros(29, np.int64), clustered(rng))


def test_of_one_cluster_there_is_no_interval(rng):
    """However many its sequences: they say no more than one. One that nobody put anywhere has its own value."""
    values, one = rng.random(5), Resampling(1, np.zeros(5, np.int64))
    assert np.isnan(bootstrap_interval(values, one)).all()
    assert np.isnan(balanced_interval(values, np.arange(5), one)).all()
    assert np.isnan(calibration_interval(values, values > 0.5, one)).all()
    assert np.isnan(bootstrap_interval(values[:1], Resampling(1))).all()
    assert np.isnan(estimate_over_columns(values[:, None], one)["interval"]).all()


def test_a_mean_over_columns_is_a_mean_of_ratios(rng):
    """Half of the second column is unknown: how many known ones a draw holds must not move its mean."""
    table = np.ones((200, 2))
    table[::2, 1] = np.nan
    assert estimate_over_columns(table, Resampling(1)) == {"mean": 1.0, "interval": [1.0, 1.0]}
    table = rng.random((200, 2))
    table[50:, 1] = np.nan
    found = estimate_over_columns(table, Resampling(1))
    assert found["mean"] == pytest.approx((table[:, 0].mean() + table[:50, 1].mean()) / 2)
    one = estimate_over_columns(table[:, :1], Resampling(1))
    assert one["interval"] == pytest.approx(bootstrap_interval(table[:, 0], Resampling(1)))
    nothing = estimate_over_columns(np.full((5, 2), np.nan), Resampling(1))
    assert np.isnan([nothing["mean"], *nothing["interval"]]).all()
    # a column that a draw happens to miss is left out of that draw
    table = np.array([[1.0, 1.0], [1.0, np.nan]])
    assert estimate_over_columns(table, Resampling(1))["interval"] == [1.0, 1.0]


def test_names_make_clusters_and_nameless_sequences_are_by_themselves():
    by = Resampling.of_names(["x", "", "y", "x", ""], 4)
    assert by.clusters is not None
    same = by.clusters[:, None] == by.clusters
    assert same.sum() == 7
    assert same[0, 3]
    assert by.seed == 4


@pytest.mark.parametrize("together", [False, True])
def test_beyond_many_clusters_the_interval_is_as_good_as_the_same(rng, monkeypatch, together):
    values = rng.normal(3.0, 2.0, 800)
    by = Resampling(1, np.arange(800) // 2) if together else Resampling(1)
    values[1::2] += 2 * values[::2]  # two of a cluster are alike
    drawn = bootstrap_interval(values, by, draws=4000)
    monkeypatch.setattr(resampling, "MANY", 399)
    assert bootstrap_interval(values, by) == pytest.approx(drawn, abs=0.05)
    true = rng.integers(0, 3, 800)
    low, high = balanced_interval(values, true, by)
    assert low < np.mean([values[true == c].mean() for c in range(3)]) < high


def test_draws_in_blocks_are_all_there(rng, monkeypatch):
    values = rng.random(30)
    monkeypatch.setattr(resampling, "BLOCK", 70)  # two draws a block
    low, high = bootstrap_interval(values, Resampling(3), draws=1001)
    assert low < values.mean() < high
    low, high = bootstrap_interval(values, Resampling(3), draws=1)
    assert low == high
    assert len(Resampling(3).drawn(values[:, None], 1001)) == 1001


def draws_by_hand(by, n=30, draws=1000):
    """Numbers of the sequences in each draw, by multinomial counts of the clusters."""
    clusters = np.arange(n) if by.clusters is None else by.clusters
    k = clusters.max() + 1
    counts = np.random.default_rng(by.seed).multinomial(k, np.full(k, 1 / k), draws)
    return [np.repeat(np.arange(n), row[clusters]) for row in counts]


@pytest.mark.parametrize("together", [False, True])
def test_balanced_interval_is_that_of_resampled_sequences(rng, together):
    by = clustered(rng) if together else Resampling(7)
    true, guess = rng.integers(0, 4, 30), rng.integers(0, 4, 30)
    means = [metrics.balanced_accuracy(guess[rows], true[rows]) for rows in draws_by_hand(by)]
    found = balanced_interval(metrics.correct(guess, true), true, by)
    np.testing.assert_allclose(found, np.percentile(means, PERCENTS), atol=1e-12)


@pytest.mark.parametrize("together", [False, True])
def test_calibration_interval_is_that_of_resampled_sequences(rng, together):
    by = clustered(rng) if together else Resampling(7)
    sure = rng.random(30)
    right = rng.random(30) < sure
    errors = [metrics.expected_calibration_error(sure[rows], right[rows]) for rows in draws_by_hand(by)]
    found = calibration_interval(sure, right, by)
    np.testing.assert_allclose(found, np.percentile(errors, PERCENTS), atol=1e-12)


def test_estimate_leaves_nan_out():
    found = estimate(np.array([1.0, np.nan, 3.0]), Resampling(1))
    assert found["mean"] == 2
    assert found["interval"] == [1, 3]
