import numpy as np
import pytest

from seqmask.evaluation.annotations import by_kind, score_annotations
from seqmask.evaluation.intervals import BedInterval
from seqmask.evaluation.resampling import Resampling
from seqmask.sequences.tokens import KmerTokenizer

BY = Resampling(1)

SPANS = KmerTokenizer(6, 6).encode("A" * 60).spans


def bed(start, end, name):
    return BedInterval("s", start, end, name, 1)


def score(masks, intervals, threshold=0.5, by=BY):
    n = len(masks)
    return score_annotations(masks, [SPANS] * n, intervals, [60] * n, threshold, by)


def test_kinds_are_names_and_what_stands_before_the_colon():
    items = [bed(0, 1, "CDS:COX1"), bed(1, 2, "CDS:ND5"), bed(2, 3, "V1"), bed(3, 4, "")]
    assert {kind: len(of) for kind, of in by_kind(items).items()} == {
        "CDS": 2, "CDS:COX1": 1, "CDS:ND5": 1, "V1": 1, "annotated": 1, "any": 4,
    }  # fmt: skip


def test_figures_by_hand():
    mask = np.array([0.9, 0.7, 0.1, 0.1, 0.6, 0.1, 0.1, 0.1, 0.1, 0.1], np.float32)
    found = score([mask], [[bed(0, 15, "V1")]])["V1"]
    inside = (6 * 0.9 + 6 * 0.7 + 3 * 0.1) / 15
    outside = (6 * mask.sum() - 15 * inside) / 45
    assert found["inside"]["mean"] == pytest.approx(inside, abs=1e-6)
    assert found["outside"]["mean"] == pytest.approx(outside, abs=1e-6)
    assert found["ratio"]["mean"] == pytest.approx(inside / outside, abs=1e-5)
    # kept are 0 to 11 and 24 to 29
    assert found["kept_inside"]["mean"] == pytest.approx(12 / 15)
    assert found["kept_outside"]["mean"] == pytest.approx(6 / 45)
    assert found["kept_ratio"]["mean"] == pytest.approx(6)
    assert (found["sequences"], found["nucleotides"], found["whole"]) == (1, 15, 0)


def test_of_tokens_that_overlap_one_is_enough_to_keep():
    """A mean importance below the threshold does not take a nucleotide away (docs/decisions/0034)."""
    spans = np.array([[0, 6], [3, 9], [6, 12]], np.int32)
    masks = [np.array([0.9, 0.0, 0.0], np.float32)]
    found = score_annotations(masks, [spans], [[bed(0, 6, "V1")]], [12], 0.5, BY)["V1"]
    assert found["inside"]["mean"] == pytest.approx((3 * 0.9 + 3 * 0.45) / 6, abs=1e-6)
    assert (found["kept_inside"]["mean"], found["kept_outside"]["mean"]) == (1, 0)


def test_sequences_are_pooled_by_nucleotides():
    masks = [np.full(10, 0.2, np.float32), np.full(10, 0.8, np.float32)]
    found = score(masks, [[bed(0, 30, "x")], [bed(0, 6, "x")]])["x"]
    assert found["inside"]["mean"] == pytest.approx((30 * 0.2 + 6 * 0.8) / 36, abs=1e-6)
    assert found["outside"]["mean"] == pytest.approx((30 * 0.2 + 54 * 0.8) / 84, abs=1e-6)


def test_clusters_are_those_of_the_sequences_that_hold_the_kind():
    masks = [mask.astype(np.float32) for mask in np.random.default_rng(2).random((5, 10))]
    items = [[bed(0, 30, "x")], [bed(0, 30, "y")], [bed(0, 60, "x")], [bed(12, 24, "x")], [bed(0, 6, "x")]]
    of = Resampling(1, np.array([0, 1, 1, 0, 2]))
    left = [0, 3, 4]  # the third lies inside from end to end
    expected = score([masks[i] for i in left], [items[i] for i in left], by=of.of(np.array(left)))["x"]
    found = score(masks, items, by=of)
    assert found["x"] == {**expected, "whole": 1}
    drawn = np.random.default_rng(1).integers(0, 2, (1000, 2))
    sums = [sum((np.repeat(masks[i], 6)[slice(*end)].sum() for i, end in of), 0.0) for of in (
        [(0, (0, 30)), (3, (12, 24))], [(4, (0, 6))],
    )]  # fmt: skip
    means = np.array(sums)[drawn].sum(axis=1) / np.array([42, 6])[drawn].sum(axis=1)
    np.testing.assert_allclose(found["x"]["inside"]["interval"], np.percentile(means, [2.5, 97.5]), atol=1e-6)
    assert np.isnan(found["y"]["inside"]["interval"]).all()  # of one cluster


def test_a_sequence_inside_from_end_to_end_has_no_rest():
    masks = [np.full(10, 0.5, np.float32)] * 3
    found = score(masks, [[bed(0, 60, "CDS:A")], [bed(0, 20, "CDS:A"), bed(20, 60, "CDS:B")], [bed(0, 30, "CDS:A")]])
    assert (found["CDS"]["sequences"], found["CDS"]["whole"]) == (1, 2)
    assert (found["CDS:A"]["sequences"], found["CDS:A"]["whole"]) == (2, 1)
    assert found["CDS:B"] == {**found["CDS:B"], "sequences": 1, "whole": 0}
    assert score(masks[:1], [[bed(0, 60, "x")]])["x"] == {"sequences": 0, "whole": 1}


def test_intervals_hold_the_truth():
    rng = np.random.default_rng(0)
    masks = [np.where(np.arange(10) < 3, 0.6, 0.3) + rng.normal(0, 0.1, 10) for _ in range(200)]
    found = score([np.clip(m, 0, 1).astype(np.float32) for m in masks], [[bed(0, 18, "x")]] * 200)["x"]
    low, high = found["ratio"]["interval"]
    assert low < 2 < high
    assert low > 1.8
    assert high < 2.2
    for name in ("inside", "outside", "ratio", "kept_inside", "kept_outside", "kept_ratio"):
        low, high = found[name]["interval"]
        assert low <= found[name]["mean"] <= high


def test_nothing_kept_outside_has_no_ratio():
    mask = np.where(np.arange(10) < 3, 1, 0).astype(np.float32)
    found = score([mask], [[bed(0, 18, "x")]])["x"]
    assert np.isnan(found["kept_ratio"]["mean"])
    assert np.isnan(found["ratio"]["interval"][0])
