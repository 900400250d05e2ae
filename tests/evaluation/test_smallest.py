"""How much an order needs until a mask holds: known by hand, and beside a random order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from seqmask.evaluation.resampling import Resampling
from seqmask.evaluation.smallest import smallest_areas, smallest_report
from seqmask.sequences.tokens import KmerTokenizer

A = int(KmerTokenizer().encode("AAAAAA").ids[0])


def by_motif(ids, shown, masked):
    """`one` where an AAAAAA is shown, else `other`."""
    there = ((ids == A) * shown).sum(dim=1).clamp_max(1)
    return 2 * torch.stack([there, 1 - there], dim=1)


def needles(counts, tokens=100):
    """Sequences of so many AAAAAA, all in front, among GTGTGT; scores that rank them first."""
    sequences = ["AAAAAA" * n + "GTGTGT" * (tokens - n) for n in counts]
    scores = [(np.arange(tokens) < n).astype(np.float32) for n in counts]
    return sequences, scores


def test_all_of_the_evidence_has_to_be_taken(make_scorer):
    """One motif is enough to keep the class, but the rest loses it only without any: 2, 4, 20 of 100 tokens. Of 60 half
    leaves some, and `other` has no evidence that can be taken.
    """
    sequences, scores = needles([2, 4, 20, 60, 0])
    found = smallest_areas(make_scorer(by_motif, sequences), scores, [0], np.random.default_rng(0))
    np.testing.assert_allclose(found[:, 0], [0.02, 0.04, 0.2, np.nan, np.nan])


def test_the_other_order_needs_more_and_equal_scores_say_nothing(make_scorer):
    sequences, scores = needles([4] * 40)
    scorer = make_scorer(by_motif, sequences)
    rng = np.random.default_rng(0)
    assert np.isnan(smallest_areas(scorer, [-part for part in scores], [0], rng)).all()
    flat = smallest_areas(scorer, [part * 0 for part in scores], [0], rng)[:, 0]
    # all four among half of the tokens in random order: about one of 16 sequences, and then with much of the half
    assert 0 < (~np.isnan(flat)).mean() < 0.25
    assert np.nanmin(flat) > 0.04


@pytest.mark.parametrize("frames", [1, 3])
def test_frames_are_cut_together(make_scorer, frames):
    """A share is of the nucleotides, however many tokens cover them: here 12 of 600, and what of the tokens across."""
    scorer = make_scorer(by_motif, ["GTGTGT" * 8 + "AAAAAAAAAAAA" + "GTGTGT" * 90], frames=frames)
    spans = scorer.spans()[0].mean(axis=1)
    scores = [-np.abs(spans - 54).astype(np.float32)]  # 54: the middle of the motif
    found = smallest_areas(scorer, scores, [0], np.random.default_rng(0))
    assert 12 / 600 <= found[0, 0] <= 24 / 600


@pytest.mark.parametrize("frames", [1, 3])
def test_unknown_tokens_are_never_kept(make_scorer, frames):
    """However high an order has them: between read ones they would take what stands beside them, in other frames."""
    unknown = "GTGTGTN" * 40
    scorer = make_scorer(by_motif, ["A" * 24 + unknown, "A" * 24 + "GTGTGT" * 40], frames=frames)
    read = scorer.read()
    assert not read[0].all()
    scores = [np.where(of, -spans[:, 0], 1).astype(np.float32) for of, spans in zip(read, scorer.spans(), strict=True)]
    found = smallest_areas(scorer, scores, [0], np.random.default_rng(0))[:, 0]
    assert found[1] <= 0.125  # 24 of 264
    covered = np.zeros(len("A" * 24 + unknown), dtype=bool)
    for start, end in scorer.spans()[0][read[0]]:
        covered[start:end] = True
    assert found[0] <= (24 + 6) / covered.sum()


def test_masks_of_a_scorer_are_the_smallest(make_scorer, make_explainer):
    """The Explainer keeps all, the motif first; the smallest mask keeps the motif alone."""
    explainer = make_explainer(lambda ids, attention, classes: 1 + (ids == A).float())
    sequences = ["GTGTGT" * 50 + "AAAAAA" * 2 + "GTGTGT" * 48, "GTGTGT" * 100]
    scorer = make_scorer(by_motif, sequences)
    plain, least = scorer.masks(explainer), replace(scorer, smallest=0.5).masks(explainer)
    assert all((mask >= 0.5).all() for mask in plain)
    assert np.flatnonzero(least[0][:, 0] >= 0.5).tolist() == [50, 51]
    np.testing.assert_array_equal(least[1], plain[1])  # nothing can take the class `other`
    assert scorer.subset([0]).smallest is scorer.like([]).smallest is None
    assert replace(scorer, smallest=0.5).subset([0]).smallest == replace(scorer, smallest=0.5).like([]).smallest == 0.5


def test_report_by_hand():
    found = smallest_report(np.array([0.1, 0.3, np.nan, np.nan]), Resampling(1))
    assert found["area"]["mean"] == pytest.approx((0.1 + 0.3 + 1 + 1) / 4)
    assert found["area"]["interval"][0] < found["area"]["mean"] < found["area"]["interval"][1]
    assert found["holds"] == 0.5
