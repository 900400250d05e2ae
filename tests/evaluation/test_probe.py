import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from seqmask.evaluation.controls import MaskSet
from seqmask.evaluation.probe import FEWEST, FOLDS, TOP, features, fit_logistic, folds, order_as_mask, pool_rare, probe
from seqmask.evaluation.resampling import Resampling

BY = Resampling(1)


def masks_of(soft, tokens=6):
    soft = [np.asarray(m, dtype=np.float32) for m in soft]
    edges = [tokens * np.arange(len(m) + 1, dtype=np.int32) for m in soft]
    spans = [np.stack([e[:-1], e[1:]], axis=1) for e in edges]
    return MaskSet(soft, [m >= 0.5 for m in soft], spans, ["A" * e[-1] for e in edges])


def random_masks(rng, n=80, low=40, high=60):
    return [rng.random(rng.integers(low, high)) for _ in range(n)]


def test_the_regression_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(90, 5)), rng.integers(0, 3, 90)
    x[np.arange(90), y] += 1.5
    weights, bias = fit_logistic(x, y, 3, ridge=0.02, iterations=2000)
    peer = LogisticRegression(C=1 / (90 * 0.02), tol=1e-10, max_iter=10_000).fit(x, y)
    ours = np.exp(x @ weights + bias)
    np.testing.assert_allclose(ours / ours.sum(axis=1, keepdims=True), peer.predict_proba(x), atol=1e-6)


@pytest.mark.parametrize("leak", ["place", "area", "rhythm"])
def test_a_mask_that_encodes_the_class_is_caught(leak):
    rng = np.random.default_rng(1)
    classes = np.arange(80) % 2
    soft = []
    for label, noise in zip(classes, random_masks(rng), strict=True):
        t = np.arange(len(noise))
        pattern = {
            "place": (t < len(t) / 2) == label,
            "area": noise < (0.3, 0.6)[label],
            "rhythm": t % (2, 3)[label] == 0,
        }[leak]
        soft.append(0.2 + 0.5 * pattern + 0.2 * rng.random(len(t)))
    found = probe(masks_of(soft), classes, BY)
    assert found["accuracy"] > 0.95
    assert found["majority_rate"] == 0.5
    assert found["excess"]["mean"] == pytest.approx(found["accuracy"] - 0.5)
    assert found["excess"]["interval"][0] > 0.3
    assert found["length_accuracy"] < 0.7


def test_an_order_as_a_mask_by_hand():
    held = masks_of([[0.3, 0.9, 0.3, 0.8, 0.1]])
    places = order_as_mask(held.soft, held.spans, held.sequences, np.random.default_rng(0))
    np.testing.assert_allclose(places.soft[0], [0.5, 1.0, 0.5, 0.8, 0.2])
    np.testing.assert_array_equal(places.kept[0], [False, True, False, False, False])
    assert TOP == 0.2


def test_orders_are_read_alike_whatever_their_scores_mean():
    """A class that only the size of the scores tells is not in their order; one that their places tell is."""
    rng = np.random.default_rng(3)
    classes = np.arange(80) % 2
    noise = random_masks(rng)
    by_size = [np.float32(values * (1, 1000)[label]) for label, values in zip(classes, noise, strict=True)]
    by_place = [
        np.float32(values + ((np.arange(len(values)) < len(values) / 2) == label))
        for label, values in zip(classes, noise, strict=True)
    ]
    spans = masks_of(noise).spans
    sequences = masks_of(noise).sequences

    def told(scores):
        return probe(order_as_mask(scores, spans, sequences, np.random.default_rng(4)), classes, BY)["accuracy"]

    assert told(by_size) == told([np.float32(values) for values in noise]) < 0.65
    assert told(by_place) > 0.95


def test_masks_that_know_nothing_tell_nothing():
    rng = np.random.default_rng(2)
    found = probe(masks_of(random_masks(rng, 200)), np.arange(200) % 2, BY)
    assert abs(found["accuracy"] - 0.5) < 0.12
    assert found["excess"]["interval"][0] <= 0


def test_length_is_told_apart_from_the_mask():
    """Masks that know nothing on sequences whose length decides the class: what a probe finds is length."""
    rng = np.random.default_rng(3)
    classes = np.arange(80) % 2
    soft = [rng.random((30, 90)[label]) for label in classes]
    assert probe(masks_of(soft), classes, BY)["length_accuracy"] == 1.0


def test_rare_classes_are_pooled_and_unknown_ones_left_out():
    rng = np.random.default_rng(4)
    reference = np.array([0] * 30 + [1] * 20 + [2] * 7 + [3] * 6 + [-1] * 5)
    found = probe(masks_of(random_masks(rng, 68)), reference, BY)
    assert (found["scored"], found["classes"]) == (63, 3)
    assert (found["pooled_classes"], found["pooled_sequences"]) == (2, 13)
    assert found["majority_rate"] == 30 / 63


def test_pooling_by_hand():
    classes = np.array([5] * FEWEST + [7] * (FEWEST + 1) + [8, 9])
    alone = np.arange(len(classes))
    pooled, rare = pool_rare(classes, alone)
    assert rare.tolist() == [8, 9]
    # two sequences are too few for a class of their own: they join the smaller of the others
    assert pooled.tolist() == [5] * FEWEST + [7] * (FEWEST + 1) + [5, 5]
    assert pool_rare(np.array([1, 2, 3]), np.arange(3))[0].tolist() == [-1, -1, -1]
    # all of one species can not be told from other species of their class: there is none
    of_one = np.where(classes == 5, 0, alone + 1)
    assert pool_rare(classes, np.unique(of_one, return_inverse=True)[1])[1].tolist() == [5, 8, 9]


@pytest.mark.parametrize("reference", [[0] * 30, [-1] * 30, list(range(30))])
def test_nothing_to_predict_is_said_so(reference):
    found = probe(masks_of(random_masks(np.random.default_rng(5), 30)), np.array(reference), BY)
    assert np.isnan([found["accuracy"], found["length_accuracy"], found["excess"]["mean"]]).all()
    assert found["classes"] < 2
    assert found["majority_rate"] == 1 or (found["scored"] == 0 and np.isnan(found["majority_rate"]))


def test_every_fold_has_every_class():
    classes = np.array([0] * 10 + [1] * 23 + [2] * 11)
    fold = folds(classes, np.arange(44), np.random.default_rng(0))
    for label in range(3):
        counts = np.bincount(fold[classes == label], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1


def test_a_species_is_in_one_fold():
    classes, species = np.repeat([0, 1], 60), np.repeat(np.arange(20), 6)
    species[-1] = 0  # a name that stands in both classes
    fold = folds(classes, species, np.random.default_rng(0))
    assert all(len(np.unique(fold[species == i])) == 1 for i in range(20))
    for label in range(2):
        assert np.bincount(fold[classes == label], minlength=FOLDS).max() <= 12 + 1


def test_a_mask_that_tells_the_species_alone_tells_no_class():
    """Every species has a pattern of its own, and nothing in it is of the class: relatives in another fold would say
    which class it is."""
    rng = np.random.default_rng(6)
    species = np.repeat(np.arange(20), 12)
    patterns = rng.random((20, 40))
    masks = masks_of([(patterns[i] + 0.02 * rng.random(40)).clip(0, 1) for i in species])
    classes = species % 4
    assert probe(masks, classes, BY)["accuracy"] > 0.9
    found = probe(masks, classes, Resampling(1, species))
    assert found["accuracy"] < 0.5
    assert not found["excess"]["interval"][0] > 0


@pytest.mark.parametrize("soft", [[0.7], [0.2, 0.2], np.linspace(0, 1, 300)])
def test_features_are_numbers_for_any_mask(soft):
    masks = masks_of([soft])
    found = features(masks.soft[0], masks.kept[0], masks.spans[0])
    assert np.isfinite(found).all()
    short = masks_of([[1, 0]])
    assert found.shape == features(short.soft[0], short.kept[0], short.spans[0]).shape
