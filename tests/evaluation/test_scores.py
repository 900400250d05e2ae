import numpy as np
import pytest

from seqmask.evaluation import metrics, scores
from seqmask.evaluation.resampling import Resampling, bootstrap_interval, estimate

BY = Resampling(1)


def logits_of(classes, count=3):
    return np.eye(count, dtype=np.float32)[classes] * 5


TRUE = np.array([0, 0, 0, 1, 1, 2, -1])
OURS = np.array([0, 0, 1, 1, 1, 0, 2])  # right: 2 of 3, 2 of 2, 0 of 1
THEIRS = np.array([0, 1, 1, 1, 0, 2, 0])  # right: 1 of 3, 1 of 2, 1 of 1


def test_gap_by_hand():
    found = scores.gap(logits_of(OURS), logits_of(THEIRS), TRUE, BY)
    assert found["gap"] == pytest.approx(4 / 6 - 3 / 6)
    assert found["balanced"] == pytest.approx((2 / 3 + 1 + 0) / 3 - (1 / 3 + 1 / 2 + 1) / 3)
    assert found["interval"][0] <= found["gap"] <= found["interval"][1]


def test_the_gap_is_paired():
    """Two classifiers that err on the same sequences: the gap is certain although either accuracy is not."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 400)
    theirs = np.where(rng.random(400) < 0.5, true, (true + 1) % 3)
    ours = theirs.copy()
    wrong = np.flatnonzero(theirs != true)[:20]
    ours[wrong] = true[wrong]
    low, high = scores.gap(logits_of(ours), logits_of(theirs), true, BY)["interval"]
    assert 0.02 < low < 0.05 < high < 0.08
    one, other = (bootstrap_interval(metrics.correct(c, true), BY) for c in (ours, theirs))
    assert one[0] < other[1], "the two intervals overlap"


def test_score_by_hand():
    found = scores.score(logits_of(OURS), logits_of(THEIRS), TRUE, BY)
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found["agreement"] == pytest.approx(3 / 7)
    p = np.exp(5) / (np.exp(5) + 2)
    q = (1 - p) / 2
    assert found["kl"] == pytest.approx(4 / 7 * (p - q) * 5, rel=1e-5)
    assert found["entropy"] == pytest.approx(-(p * np.log(p) + 2 * q * np.log(q)) / np.log(3), rel=1e-5)
    for name, (low, high) in found["intervals"].items():
        assert low <= found[name] + 1e-9, name
        assert found[name] <= high + 1e-9, name


def test_nothing_scored_is_nan_and_not_an_error():
    unknown = np.full(7, -1)
    found = scores.score(logits_of(OURS), logits_of(THEIRS), unknown, BY)
    assert np.isnan([found["accuracy"], found["balanced_accuracy"], *found["intervals"]["balanced_accuracy"]]).all()
    gap = scores.gap(logits_of(OURS), logits_of(THEIRS), unknown, BY)
    assert np.isnan([gap["gap"], gap["balanced"], *gap["interval"], *gap["balanced_interval"]]).all()
    sure = scores.confidence(logits_of(OURS), unknown, BY)
    assert np.isnan([sure["mean"], sure["ece"], sure["ece_by_chance"], *sure["interval"]]).all()


def test_confidence_by_hand():
    """One bin: confidence .97, 4 of 6 right."""
    found = scores.confidence(logits_of(OURS), TRUE, BY)
    p = np.exp(5) / (np.exp(5) + 2)
    assert found["mean"] == pytest.approx(p, rel=1e-6)
    assert found["ece"] == pytest.approx(p - 4 / 6, rel=1e-6)
    assert found["ece_by_chance"] == pytest.approx(np.sqrt(2 / np.pi * p * (1 - p) / 6), rel=1e-6)
    assert found["interval"][0] <= found["ece"] <= found["interval"][1]


def test_accuracy_by_confidence_by_hand():
    sure = np.array([0.2, 0.5, 0.6, 0.95, 0.9])
    right = np.array([True, False, True, True, True])
    by = Resampling(1, np.array([0, 0, 1, 2, 3]))
    found = {of["confidence"]: of for of in scores.by_confidence(sure, right, by)}
    assert {c: (of["share"], of["accuracy"]["mean"]) for c, of in found.items()} == {
        0.3: (0.8, 0.75),
        0.5: (0.8, 0.75),
        0.7: (0.4, 1.0),
        0.9: (0.4, 1.0),
    }
    assert found[0.9]["accuracy"]["interval"] == [1.0, 1.0]
    assert found[0.3]["accuracy"] == estimate(np.array([0.0, 1, 1, 1]), Resampling(1, np.array([0, 1, 2, 3])))
    none = scores.by_confidence(np.zeros(0), np.zeros(0, bool), by.of(np.zeros(0, np.int64)))
    assert np.isnan([none[0]["share"], none[0]["accuracy"]["mean"]]).all()


def test_groups_by_hand():
    """Two superkingdoms: all is right in the first, nothing in the second, and of the third no class is known."""
    reference = np.array([0, 1, 0, 1, -1, 0])
    group = np.array([0, 0, 2, 2, 1, -1])
    full, masked = np.array([0, 1, 1, 0, 0, 0]), np.array([0, 0, 1, 0, 0, 0])
    found = scores.groups({"full": full, "masked": masked}, reference, group, ["A", "B", "C"], BY)
    assert [(of["class"], of["scored"], of["full"]["mean"], of["masked"]["mean"]) for of in found] == [
        ("A", 2, 1.0, 0.5),
        ("C", 2, 0.0, 0.0),
    ]
    assert found[0]["full"]["interval"] == [1.0, 1.0]
    assert found[0]["masked"]["interval"] == [0.0, 1.0]
    assert scores.groups({"full": full}, np.full(6, -1), group, ["A", "B", "C"], BY) == []
