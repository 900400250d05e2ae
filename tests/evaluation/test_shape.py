import numpy as np
import pytest

from seqmask.evaluation.controls import MaskSet
from seqmask.evaluation.resampling import Resampling
from seqmask.evaluation.shape import mask_shape, position_share, profile

BY = Resampling(1)


def masks_of(soft, nt=6):
    soft = [np.asarray(m, dtype=np.float32) for m in soft]
    edges = [nt * np.arange(len(m) + 1, dtype=np.int32) for m in soft]
    spans = [np.stack([e[:-1], e[1:]], axis=1) for e in edges]
    return MaskSet(soft, [m >= 0.5 for m in soft], spans, ["A" * e[-1] for e in edges])


def test_profile_by_hand():
    spans = np.array([[0, 4], [4, 8], [6, 10]], dtype=np.int32)
    mask = np.array([1.0, 0.0, 0.5], dtype=np.float32)  # nt: 1 1 1 1 0 0 .25 .25 .5 .5
    np.testing.assert_allclose(profile(mask, spans, 5), [1, 1, 0, 0.25, 0.5])
    np.testing.assert_allclose(profile(mask, spans, 2), [0.8, 0.3])
    assert profile(mask[:1], spans[:1], 50).tolist() == [1.0] * 50, "fewer nt than parts"


def test_a_mask_of_position_alone_is_all_position():
    rng = np.random.default_rng(0)
    soft = [0.2 + 0.6 * (np.arange(n) / n - 0.5) ** 2 for n in rng.integers(60, 90, 20)]
    assert position_share(masks_of(soft)).mean() > 0.97


def test_masks_of_their_own_are_not():
    rng = np.random.default_rng(1)
    assert position_share(masks_of([rng.random(n) for n in rng.integers(60, 90, 40)])).mean() < 0.08


def test_a_share_by_hand():
    """Half of the variance: each mask is the common course plus as much of its own, orthogonal to it."""
    common = np.repeat([0.2, -0.2, 0.2, -0.2, 0.0], 10)
    own = [np.tile([0.2, 0.2, 0.2, 0.2, 0.2, -0.2, -0.2, -0.2, -0.2, -0.2], 5) * [1, 1, 1, 1, 0][i] for i in (0, 4)]
    own[0][40:] = 0
    # of three masks, the first has a course of its own, the others none: they show the common course
    found = position_share(masks_of([0.5 + common + own[0], 0.5 + common, 0.5 + common]))
    assert found[0] == pytest.approx(0.5, abs=1e-5)


def test_no_share_without_variance_or_company():
    assert np.isnan(position_share(masks_of([[0.5] * 60, [0.5] * 70]))).all()
    assert np.isnan(position_share(masks_of([[0.1, 0.9]]))).all()
    flat = position_share(masks_of([np.linspace(0, 1, 60), [0.5] * 60]))
    assert flat[0] == 0, "a flat course explains nothing"
    assert np.isnan(flat[1])


def test_shape_by_hand():
    found = mask_shape(masks_of([[1, 1, 0, 0], [0, 1, 0, 1]]), BY)
    assert (found["area"]["mean"], found["soft_area"]["mean"], found["binarity"]) == (0.5, 0.5, 1)
    assert found["variation"] == pytest.approx((1 / 3 + 1) / 2)
    assert found["segments"] == 1.5
    assert found["median_segment_nt"] == 6
    assert found["intervals"]["segments"] == [1, 2]


def test_the_area_of_overlapping_tokens_is_of_nucleotides():
    """Two frames of 6-mers: a nucleotide under any kept token is kept."""
    spans = np.array([[0, 6], [6, 12], [3, 9], [9, 15]], dtype=np.int32)
    soft = np.array([0.9, 0.2, 0.3, 0.6], dtype=np.float32)
    found = mask_shape(MaskSet([soft], [soft >= 0.5], [spans], ["A" * 20]), BY)
    # of 15 nt, as no token covers the last five: 0 to 5 and 9 to 14
    assert found["area"]["mean"] == pytest.approx(12 / 15)
    assert found["soft_area"]["mean"] == pytest.approx(0.5)
    assert (found["segments"], found["median_segment_nt"]) == (2, 6)
    assert mask_shape(masks_of([[0.9, 0.2, 0.5]]), BY)["area"]["mean"] == pytest.approx(2 / 3)
