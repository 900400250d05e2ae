import numpy as np
import pytest
from sklearn.metrics import auc

from seqmask.evaluation import faithfulness as f

FULL = np.array([0.9, 0.5])
ONLY = np.array([[0.4, 0.8, 0.95], [0.5, 0.5, 0.5]])
REMOVED = np.array([[0.9, 0.6, 0.1], [0.5, 0.4, 0.6]])
NULL = np.array([0.1, 0.5])


def test_eraser_by_hand():
    np.testing.assert_allclose(f.sufficiency(FULL, ONLY), [[0.5, 0.1, -0.05], [0, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(f.comprehensiveness(FULL, REMOVED), [[0, 0.3, 0.8], [0, 0.1, -0.1]], atol=1e-12)
    np.testing.assert_allclose(f.aopc(f.comprehensiveness(FULL, REMOVED)), [1.1 / 3, 0.0], atol=1e-12)
    assert f.ERASER_FRACTIONS == (0.01, 0.05, 0.1, 0.2, 0.5)


def test_null_normalised_by_hand():
    # Hiding everything costs .8 in the first sequence and nothing in the second, which is left undefined.
    np.testing.assert_allclose(f.normalised_sufficiency(FULL, ONLY, NULL)[0], [0.3 / 0.8, 0.7 / 0.8, 1.0])
    np.testing.assert_allclose(f.normalised_comprehensiveness(FULL, REMOVED, NULL)[0], [0.0, 0.3 / 0.8, 1.0])
    assert np.isnan(f.normalised_sufficiency(FULL, ONLY, NULL)[1]).all()
    assert np.isnan(f.normalised_comprehensiveness(FULL, REMOVED, NULL)[1]).all()


def test_normalised_sufficiency_is_0_on_the_empty_input_and_below():
    lower = np.array([[0.1, 0.05]])
    assert f.normalised_sufficiency(FULL[:1], lower, NULL[:1]).tolist() == [[0.0, 0.0]]


def test_normalised_sufficiency_is_the_published_formula():
    rng = np.random.default_rng(0)
    full, null, only = rng.uniform(0.5, 1, 30), rng.uniform(0, 0.4, 30), rng.random((30, 5))

    def s(p):
        return 1 - np.maximum(0, full[:, None] - p)

    published = (s(only) - s(null[:, None])) / (1 - s(null[:, None]))
    np.testing.assert_allclose(f.normalised_sufficiency(full, only, null), published.clip(0, 1), atol=1e-12)


def test_curve_auc():
    assert f.curve_auc(np.array([[0.0, 1.0], [1.0, 1.0]])).tolist() == [0.5, 1.0]
    # RISE: (sum - first / 2 - last / 2) / steps
    curve = np.random.default_rng(1).random((3, 21))
    expected = (curve.sum(axis=1) - curve[:, 0] / 2 - curve[:, -1] / 2) / 20
    np.testing.assert_allclose(f.curve_auc(curve), expected)
    fractions = np.sort(np.random.default_rng(2).random(21))
    expected = [auc(fractions, row) / (fractions[-1] - fractions[0]) for row in curve]
    np.testing.assert_allclose(f.curve_auc(curve, fractions), expected)


def test_mask_bins():
    mask = np.array([0.0, 0.0999, 0.1, 0.95, 1.0], dtype=np.float32)
    assert f.mask_bins(mask).tolist() == [0, 0, 1, 9, 9]
    assert f.mask_bins(mask, bins=2).tolist() == [0, 0, 0, 1, 1]


def test_calibration():
    result = f.calibration(np.array([0, 0, 2, 3]), np.array([0.0, 0.2, 0.3, 0.3]), bins=4)
    np.testing.assert_allclose(result.drops, [0.1, np.nan, 0.3, 0.3])
    assert result.trials.tolist() == [2, 0, 1, 1]
    # Ranks 1 2 3 against 1 2.5 2.5
    assert result.monotonicity == pytest.approx(1.5 / np.sqrt(2 * 1.5))
    assert f.calibration(np.array([0, 1, 2]), np.array([0.1, 0.2, 0.9]), bins=3).monotonicity == 1.0
    assert np.isnan(f.calibration(np.array([1]), np.array([0.1])).monotonicity)
