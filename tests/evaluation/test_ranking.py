import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr
from sklearn.metrics import average_precision_score, jaccard_score, roc_auc_score

from seqmask.evaluation import ranking

SCORES = np.array([0.9, 0.8, 0.7, 0.1])
TRUTH = np.array([True, False, True, False])


def random_case(seed, ties):
    rng = np.random.default_rng(seed)
    truth = rng.random(60) < 0.3
    scores = rng.random(60) + 0.4 * truth
    return (np.round(scores, 1) if ties else scores), truth


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_against_sklearn_and_scipy(seed, ties):
    scores, truth = random_case(seed, ties)
    assert ranking.auroc(scores, truth) == pytest.approx(roc_auc_score(truth, scores))
    assert ranking.average_precision(scores, truth) == pytest.approx(average_precision_score(truth, scores))
    assert ranking.intersection_over_union(scores >= 0.5, truth) == pytest.approx(jaccard_score(truth, scores >= 0.5))
    other = np.round(np.random.default_rng(seed + 100).random(60), 1)
    assert ranking.spearman(scores, other) == pytest.approx(spearmanr(scores, other).statistic)
    np.testing.assert_allclose(ranking.mean_ranks(scores), rankdata(scores))


def test_by_hand():
    # Pairs (true, false): .9 beats both, .7 beats .1 only.
    assert ranking.auroc(SCORES, TRUTH) == pytest.approx(3 / 4)
    assert ranking.average_precision(SCORES, TRUTH) == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert ranking.precision_at_truth(SCORES, TRUTH) == pytest.approx(1 / 2)
    assert ranking.intersection_over_union(SCORES >= 0.75, TRUTH) == pytest.approx(1 / 3)
    assert ranking.pointing_game(SCORES, TRUTH) == 1.0
    assert ranking.pointing_game(-SCORES, TRUTH) == 0.0
    decoy = np.array([False, True, False, False])
    assert ranking.decoy_hit_rate(SCORES, TRUTH, decoy) == pytest.approx(1 / 2)
    assert ranking.decoy_hit_rate(np.array([2.0, 0, 1, 0]), TRUTH, decoy) == 0.0


def test_a_constant_score_is_at_chance_whatever_the_order():
    scores, prevalence = np.full(4, 0.3), 0.5
    decoy = np.array([False, True, False, False])
    assert ranking.auroc(scores, TRUTH) == 0.5
    assert ranking.average_precision(scores, TRUTH) == prevalence
    assert ranking.precision_at_truth(scores, TRUTH) == prevalence
    assert ranking.pointing_game(scores, TRUTH) == prevalence
    assert ranking.decoy_hit_rate(scores, TRUTH, decoy) == 0.25


def test_partial_ties_at_the_border_count_in_expectation():
    # |truth| = 2: .9 is in, and one of the three at .5, of which one is true.
    scores, truth = np.array([0.9, 0.5, 0.5, 0.5]), np.array([True, True, False, False])
    assert ranking.precision_at_truth(scores, truth) == pytest.approx((1 + 1 / 3) / 2)


@pytest.mark.parametrize(
    "measure",
    [
        ranking.auroc,
        ranking.average_precision,
        ranking.precision_at_truth,
        ranking.intersection_over_union,
        ranking.pointing_game,
    ],
)
def test_empty_truth_is_nan_and_shapes_must_agree(measure):
    assert np.isnan(measure(SCORES, np.zeros(4, dtype=bool)))
    with pytest.raises(ValueError, match="same length"):
        measure(SCORES, np.ones(1, dtype=bool))


def test_decoy_hit_rate_of_empty_truth_is_nan():
    assert np.isnan(ranking.decoy_hit_rate(SCORES, np.zeros(4, dtype=bool), TRUTH))


def test_auroc_of_nothing_but_truth_is_nan():
    assert np.isnan(ranking.auroc(SCORES, np.ones(4, dtype=bool)))


def test_spearman_extremes():
    rising = np.arange(5.0)
    assert ranking.spearman(rising, rising**3) == 1.0
    assert ranking.spearman(rising, -rising) == -1.0
    assert np.isnan(ranking.spearman(rising, np.ones(5)))
    assert np.isnan(ranking.spearman(np.array([]), np.array([])))


def test_token_truth():
    truth = np.zeros(12, dtype=bool)
    truth[4:9] = True
    spans = np.array([[0, 6], [6, 12], [4, 9], [0, 4], [5, 5], [3, 6]], dtype=np.int32)
    # 2 of 6, 3 of 6, 5 of 5, 0 of 4, nothing, 2 of 3
    assert ranking.token_truth(truth, spans).tolist() == [False, True, True, False, False, True]
    assert ranking.token_truth(truth, spans, share=0.3).tolist() == [True, True, True, False, False, True]
    assert ranking.token_truth(truth, spans, share=1.0).tolist() == [False, False, True, False, False, False]
