import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss

from seqmask.evaluation import metrics


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def spans_of(*sizes):
    ends = np.cumsum(sizes)
    return np.stack([ends - sizes, ends], axis=1).astype(np.int32)


TRUE = np.array([0, 0, 0, 1, 1, 2, -1])
PREDICTED = np.array([0, 0, 1, 1, 3, 0, 0])


def test_classification_by_hand():
    assert metrics.correct(PREDICTED, TRUE).tolist() == [1, 1, 0, 1, 0, 0]
    assert metrics.accuracy(PREDICTED, TRUE) == pytest.approx(3 / 6)
    assert metrics.balanced_accuracy(PREDICTED, TRUE) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert metrics.majority_rate(TRUE) == pytest.approx(3 / 6)
    # F1 of the classes 0, 1, 2, 3: 2*2/(3+3), 2*1/(2+2), 0, 0
    assert metrics.macro_f1(PREDICTED, TRUE) == pytest.approx((2 / 3 + 1 / 2) / 4)


def test_a_missing_prediction_is_wrong_and_an_unknown_label_is_left_out():
    true, predicted = np.array([0, 1, -1]), np.array([0, -1, -1])
    assert metrics.accuracy(predicted, true) == 0.5
    assert metrics.macro_f1(predicted, true) == 0.5
    assert metrics.agreement(np.array([1, 1, 2]), np.array([1, 2, -1])) == 0.5


@pytest.mark.parametrize("measure", [metrics.accuracy, metrics.balanced_accuracy, metrics.macro_f1])
def test_no_known_label_gives_nan(measure):
    unknown = np.array([-1, -1])
    assert np.isnan(measure(unknown, unknown))
    assert np.isnan(metrics.majority_rate(unknown))


def test_classification_against_sklearn(rng):
    true = rng.integers(0, 7, 500)
    predicted = np.where(rng.random(500) < 0.6, true, rng.integers(0, 7, 500))
    hidden = np.append(true, [-1] * 20), np.append(predicted, rng.integers(0, 7, 20))
    assert metrics.accuracy(hidden[1], hidden[0]) == pytest.approx(accuracy_score(true, predicted))
    assert metrics.balanced_accuracy(hidden[1], hidden[0]) == pytest.approx(balanced_accuracy_score(true, predicted))
    assert metrics.macro_f1(hidden[1], hidden[0]) == pytest.approx(f1_score(true, predicted, average="macro"))


def test_macro_f1_counts_classes_that_are_only_predicted_like_sklearn():
    true, predicted = np.array([0, 0, 1]), np.array([0, 5, 1])
    assert metrics.macro_f1(predicted, true) == pytest.approx(
        f1_score(true, predicted, average="macro", zero_division=0)
    )


def test_softmax_of_huge_logits_is_exact_enough():
    assert metrics.softmax(np.array([[1e4, 0.0]], dtype=np.float32)).tolist() == [[1.0, 0.0]]
    assert metrics.log_softmax(np.array([[0.0, 1e4]])).tolist() == [[-1e4, 0.0]]


def test_kl_by_hand_and_against_scipy(rng):
    p, q = np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])
    assert metrics.kl_divergence(p, q)[0] == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3))
    assert metrics.kl_divergence(p, p).tolist() == [0.0]
    a, b = rng.normal(size=(2, 50, 9)).astype(np.float32)
    expected = entropy(metrics.softmax(a), metrics.softmax(b), axis=1)
    np.testing.assert_allclose(metrics.kl_divergence(a, b), expected, rtol=1e-9)


def test_normalised_entropy(rng):
    logits = np.stack([np.zeros(4), [100.0, 0, 0, 0], np.log([0.5, 0.5, 1e-300, 1e-300])])
    np.testing.assert_allclose(metrics.normalised_entropy(logits), [1.0, 0.0, 0.5], atol=1e-9)
    random = rng.normal(size=(20, 6))
    expected = entropy(metrics.softmax(random), axis=1) / np.log(6)
    np.testing.assert_allclose(metrics.normalised_entropy(random), expected, rtol=1e-9)
    assert metrics.normalised_entropy(np.array([[3.0]])).tolist() == [1.0]


def test_log_softmax_against_sklearn_log_loss(rng):
    logits, true = rng.normal(size=(40, 5)), np.arange(40) % 5
    ours = -metrics.log_softmax(logits)[np.arange(40), true].mean()
    assert ours == pytest.approx(log_loss(true, metrics.softmax(logits)))


def test_expected_calibration_error_by_hand():
    # 15 bins: .05 and .06 fall into (0, 1/15], .5 into (7/15, 8/15], 1 into the last.
    confidence = np.array([0.05, 0.06, 0.5, 1.0])
    right = np.array([False, True, True, True])
    expected = (abs(1 - 0.11) + abs(1 - 0.5) + 0) / 4
    assert metrics.expected_calibration_error(confidence, right) == pytest.approx(expected)
    assert metrics.expected_calibration_error(np.array([0.0]), np.array([False])) == 0.0
    assert np.isnan(metrics.expected_calibration_error(np.array([]), np.array([], dtype=bool)))


def test_calibration_by_chance_is_the_mean_error_of_right_confidences():
    """Against draws of the classes by the confidences themselves; a certain one has none, and none is NaN."""
    rng = np.random.default_rng(0)
    for confidence in (rng.random(3000), rng.beta(5, 1, 600)):
        draws = [
            metrics.expected_calibration_error(confidence, rng.random(len(confidence)) < confidence) for _ in range(300)
        ]
        assert metrics.calibration_by_chance(confidence) == pytest.approx(np.mean(draws), rel=0.05)
    assert metrics.calibration_by_chance(np.ones(9)) == 0
    assert np.isnan(metrics.calibration_by_chance(np.array([])))


def test_expected_calibration_error_bins_are_closed_above():
    # .2 closes the first of five bins; .3 is in the second: two bins, two gaps that do not cancel.
    assert metrics.expected_calibration_error(np.array([0.2, 0.3]), np.array([True, False]), bins=5) == pytest.approx(
        (0.8 + 0.3) / 2
    )


def test_area_and_binarity_are_weighted_by_nucleotides():
    spans = spans_of(6, 2)
    mask = np.array([1.0, 0.5], dtype=np.float32)
    assert metrics.area(mask, spans) == pytest.approx((6 * 1 + 2 * 0.5) / 8)
    assert metrics.binarity(mask, spans) == pytest.approx(1 - 2 / 8)
    assert metrics.binarity(np.array([0.0, 1.0]), spans) == 1.0
    assert metrics.binarity(np.array([0.5, 0.5]), spans) == 0.0
    assert np.isnan(metrics.area(np.zeros(1), np.zeros((1, 2), dtype=np.int32)))


def test_variation():
    spans = spans_of(1, 3, 1)
    # Pairs weigh (1 + 3) / 2 = 2 and 2.
    mask = np.array([0.0, 1.0, 0.5])
    assert metrics.variation(mask, spans) == pytest.approx((2 * 1 + 2 * 0.5) / 4)
    uneven, sizes = np.array([0.0, 1.0, 0.9, 0.2]), (4, 1, 7, 2)
    assert metrics.variation(uneven, spans_of(*sizes)) == pytest.approx(
        metrics.variation(uneven[::-1], spans_of(*sizes[::-1]))
    )
    assert metrics.variation(np.array([0.3]), spans_of(5)) == 0.0


def test_summary():
    values = np.append(np.arange(101.0), np.nan)
    assert metrics.summary(values) == metrics.Summary(50.0, 50.0, 5.0, 95.0)
    assert np.isnan(metrics.summary(np.array([np.nan])).mean)
