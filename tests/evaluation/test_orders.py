import numpy as np
import pytest
import torch

from seqmask.evaluation import orders
from seqmask.evaluation.calibration import BINS, REMOVED, calibration, removals
from seqmask.evaluation.resampling import Resampling, bootstrap_interval
from seqmask.sequences.tokens import KmerTokenizer

BY = Resampling(1)

WEIGHTS = {"AAAAAA": 1.0, "CCCCCC": 2.0, "GGGGGG": 5.0}
IDS = {kmer: int(KmerTokenizer().encode(kmer).ids[0]) for kmer in WEIGHTS}
LOW, HIGH = 0.1, 0.9


def linear(ids, shown, masked):
    """Probability of the first class: .1 and .8 times the share of the weight that is shown."""
    weight = sum((ids == IDS[kmer]) * value for kmer, value in WEIGHTS.items())
    p = LOW + (HIGH - LOW) * (weight * shown).sum(1) / weight.sum(1).clamp_min(1)
    return torch.stack([p.log(), (1 - p).log()], dim=1)


@pytest.fixture
def scorer(make_scorer):
    """Ten tokens: one of weight 5, two of 2, one of 1, six of none."""
    tokens = ["GGGGGG", "CCCCCC", "CCCCCC", "AAAAAA", *["TTTTTT"] * 6]
    return make_scorer(linear, ["".join(tokens), "".join(tokens[::-1])])


BEST = [np.arange(10, 0, -1, dtype=np.float32), np.arange(1, 11, dtype=np.float32)]
COLUMNS = slice(0, 2)


def null_of(scorer):
    return scorer.logits([np.zeros(10, np.float32)] * 2)


def test_eraser_by_hand(scorer):
    full = scorer.logits()
    of = orders.at_fractions(scorer, BEST, np.random.default_rng(0))
    found = orders.eraser(full, of, COLUMNS, BY, null_of(scorer))
    # of ten equal tokens 1, 5 and 10 % are one token, 20 % two, 50 % five: shares of the weight of 10
    share = np.array([5, 5, 5, 7, 10]) / 10
    assert found["comprehensiveness"] == pytest.approx(0.8 * share.mean(), abs=1e-6)
    assert found["sufficiency"] == pytest.approx(0.8 * (1 - share).mean(), abs=1e-6)
    assert found["normalised_comprehensiveness"] == pytest.approx(share.mean(), abs=1e-6)
    assert found["normalised_sufficiency"] == pytest.approx(share.mean(), abs=1e-6)
    assert set(found["intervals"]) == set(found) - {"intervals"}
    np.testing.assert_allclose(found["intervals"]["sufficiency"], found["sufficiency"], atol=1e-6)


def test_fractions_are_of_what_is_read(make_scorer):
    """Tokens that are not read are neither kept first nor counted, whatever an order says of them."""
    tokens = ["GGGGGG", "CCCCCC", "CCCCCC", "AAAAAA", *["TTTTTT"] * 6]
    scorer = make_scorer(linear, ["".join([*tokens[:5], "N" * 60, *tokens[5:]])])
    order = np.concatenate([BEST[0][:5], np.full(10, 99, np.float32), BEST[0][5:]])
    of = orders.at_fractions(scorer, [order], np.random.default_rng(0))
    assert orders.eraser(scorer.logits(), of, COLUMNS, BY)["sufficiency"] == pytest.approx(
        0.8 * (1 - np.array([5, 5, 5, 7, 10]) / 10).mean(), abs=1e-6
    )


def test_areas_under_curves_by_hand(scorer):
    full = scorer.logits()
    of = orders.at_fractions(scorer, BEST, np.random.default_rng(0), orders.CURVE_FRACTIONS)
    found = orders.auc(full, of, COLUMNS, null_of(scorer), BY)
    # steps of 5 % are half a token, and half a token counts as one: the share shown after 0, 1, ... 20 steps
    after = np.array([0, 5, 7, 9, *[10] * 7])
    share = np.append(0, np.repeat(after[1:], 2)) / 10
    area = ((share[1:] + share[:-1]) / 2).mean()
    assert found["insertion"] == pytest.approx(0.1 + 0.8 * area, abs=1e-6)
    assert found["deletion"] == pytest.approx(0.9 - 0.8 * area, abs=1e-6)


def test_the_worst_order_is_worse(scorer):
    full, null = scorer.logits(), null_of(scorer)
    found = [
        orders.auc(
            full, orders.at_fractions(scorer, s, np.random.default_rng(0), orders.CURVE_FRACTIONS), COLUMNS, null, BY
        )
        for s in (BEST, [-part for part in BEST])
    ]
    assert found[0]["insertion"] > found[1]["insertion"] + 0.3
    assert found[0]["deletion"] < found[1]["deletion"] - 0.3


def test_accuracies_have_intervals(scorer):
    of = orders.at_fractions(scorer, BEST, np.random.default_rng(0))
    found = orders.accuracies(of, COLUMNS, np.array([0, 1]), BY)
    for point in found.values():
        assert point["kept"] == point["removed"] == 0.5
        assert point["intervals"] == {"kept": [0, 1], "removed": [0, 1]}


# Calibration


def test_calibration_by_hand(make_scorer):
    """Twenty tokens of each weight: eight of a bin cost eight times its weight."""
    tokens = [kmer for kmer in (*WEIGHTS, "TTTTTT") for _ in range(20)]
    scorer = make_scorer(linear, ["".join(tokens)] * 3)
    m = np.repeat([0.35, 0.55, 1.0, 0.05], 20).astype(np.float32)
    full = scorer.logits()
    without = removals(scorer, [m] * 3, np.random.default_rng(0))
    found = calibration(full, without, COLUMNS, BY)
    drops = {bin_of: 0.8 * REMOVED * weight / 160 for bin_of, weight in ((0, 0), (3, 1), (5, 2), (9, 5))}
    assert len(found["bins"]) == BINS
    for b, of in enumerate(found["bins"]):
        assert (of["from"], of["to"]) == (b / BINS, (b + 1) / BINS)
        assert of["trials"] == (3 if b in drops else 0)
        assert of["drop"] == pytest.approx(drops.get(b, np.nan), abs=1e-6, nan_ok=True)
    assert found["monotonicity"] == 1


def test_intervals_of_bins_are_of_the_clusters_with_a_trial():
    rng = np.random.default_rng(0)
    full = rng.normal(size=(6, 2)).astype(np.float32)
    of = Resampling(1, np.array([0, 1, 1, 0, 2, 2]))
    rows = np.array([1, 3, 4, 5])
    without = [(rows[:0], full[:0])] * (BINS - 1) + [(rows, rng.normal(size=(4, 2)).astype(np.float32))]
    found = calibration(full, without, COLUMNS, of)["bins"][-1]
    drops = orders.probability(full, full)[rows] - orders.probability(full[rows], without[-1][1])
    assert found["interval"] == list(bootstrap_interval(drops, Resampling(1, np.array([1, 0, 2, 2]))))


def test_calibration_upside_down(make_scorer):
    tokens = [kmer for kmer in (*WEIGHTS, "TTTTTT") for _ in range(20)]
    scorer = make_scorer(linear, ["".join(tokens)] * 3)
    m = 1 - np.repeat([0.35, 0.55, 1.0, 0.05], 20).astype(np.float32)
    without = removals(scorer, [m] * 3, np.random.default_rng(0))
    assert calibration(scorer.logits(), without, COLUMNS, BY)["monotonicity"] == -1


def test_bins_with_too_few_tokens_are_no_trial(make_scorer):
    scorer = make_scorer(linear, ["GGGGGG" * (REMOVED - 1), "GGGGGG" * REMOVED])
    masks = [np.full(n, 0.5, np.float32) for n in (REMOVED - 1, REMOVED)]
    without = removals(scorer, masks, np.random.default_rng(0))
    assert [rows.tolist() for rows, _ in without] == [[1] if b == 5 else [] for b in range(BINS)]
    found = calibration(scorer.logits(), without, COLUMNS, BY)
    assert np.isnan(found["monotonicity"])
    assert found["bins"][5]["drop"] == pytest.approx(0.8, abs=1e-6)
