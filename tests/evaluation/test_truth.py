import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from seqmask.evaluation.intervals import BedInterval
from seqmask.evaluation.resampling import Resampling
from seqmask.evaluation.truth import FIGURES, LEVELS, score_truth, truth_of
from seqmask.sequences.tokens import KmerTokenizer

BY = Resampling(1)

RANKS = ("superkingdom", "phylum")


def bed(start, end, name):
    return BedInterval("s", start, end, name, 1)


def where(track):
    return np.flatnonzero(track).tolist()


def test_roles():
    truth = truth_of(
        [
            bed(0, 2, "superkingdom,phylum:superkingdom.3"),
            bed(3, 5, "phylum:phylum.1"),
            bed(6, 8, "decoy:decoy.0"),
            bed(9, 11, "lone:phylum.0.a"),
            bed(12, 13, "TATA-box"),
            bed(14, 15, ""),
        ],
        20,
        RANKS,
    )
    everywhere = [12, 14]
    assert where(truth.of("superkingdom")) == [0, 1, *everywhere]
    assert where(truth.of("phylum")) == [0, 1, 3, 4, *everywhere]
    assert where(truth.of(None)) == [0, 1, 3, 4, *everywhere]
    assert where(truth.decoy) == [6, 7]


def test_a_rank_may_be_named_by_its_alias():
    assert where(truth_of([bed(1, 2, "domain")], 4, RANKS).of("superkingdom")) == [1]
    assert where(truth_of([bed(1, 2, "domain")], 4, RANKS).of("phylum")) == []


def test_a_motif_of_a_rank_that_the_model_lacks_decides_nothing():
    motifs = [bed(1, 2, "phylum:phylum.1"), bed(4, 5, "superkingdom,phylum:both"), bed(7, 8, "TATA-box")]
    truth = truth_of(motifs, 9, ["superkingdom"], others=["superkingdom", "phylum"])
    assert where(truth.of("superkingdom")) == where(truth.every) == [4, 7]
    assert where(truth.decoy) == []


def example(seed, length=90):
    """Random scores of 6-mers, one true stretch and one decoy."""
    rng = np.random.default_rng(seed)
    spans = KmerTokenizer(6, 6).encode("A" * length).spans
    truth, decoy = np.zeros(length, bool), np.zeros(length, bool)
    truth[20:36], decoy[60:75] = True, True
    return rng.random(len(spans)).astype(np.float32), spans, truth, decoy


def test_figures_are_those_of_scikit_learn():
    parts = [example(seed) for seed in range(7)]
    found = score_truth(*zip(*parts, strict=True), threshold=0.5, by=BY)
    # Nucleotides 20 to 35 of 6-mers at 0, 6, ...: the token at 18 has four, 24 and 30 all six
    tokens = [(s, np.isin(np.arange(len(s)), (3, 4, 5))) for s, *_ in parts]
    nucleotides = [(np.repeat(s, 6), t) for s, _, t, _ in parts]
    for level, pairs in (("token", tokens), ("nt", nucleotides)):
        expected = {
            "auroc": np.mean([roc_auc_score(t, s) for s, t in pairs]),
            "auprc": np.mean([average_precision_score(t, s) for s, t in pairs]),
            "prevalence": np.mean([t.mean() for _, t in pairs]),
            "iou": np.mean([((s >= 0.5) & t).sum() / ((s >= 0.5) | t).sum() for s, t in pairs]),
        }
        for name, value in expected.items():
            assert found[level][name]["mean"] == pytest.approx(value, abs=1e-6), (level, name)
            low, high = found[level][name]["interval"]
            assert low <= found[level][name]["mean"] <= high


def test_clusters_are_those_of_the_sequences_that_have_a_truth():
    parts = [example(seed) for seed in range(7)]
    of = Resampling(1, np.array([0, 1, 1, 2, 2, 2, 0]))
    scores, spans, truth, decoy = map(list, zip(*parts, strict=True))
    truth[1] = np.zeros_like(truth[1])
    left = [0, *range(2, 7)]
    expected = score_truth(*zip(*(parts[i] for i in left), strict=True), 0.5, of.of(np.array(left)))
    assert score_truth(scores, spans, truth, decoy, 0.5, of) == expected
    singly = score_truth(scores, spans, truth, decoy, 0.5, BY)
    assert singly["nt"]["auprc"]["mean"] == expected["nt"]["auprc"]["mean"]
    assert singly["nt"]["auprc"]["interval"] != expected["nt"]["auprc"]["interval"]


def test_a_perfect_score_and_its_opposite():
    _, spans, truth, decoy = example(0)
    best = np.isin(np.arange(len(spans)), (3, 4, 5)).astype(np.float32)
    lured = (np.arange(len(spans)) >= 10).astype(np.float32)
    perfect = score_truth([best], [spans], [truth], [decoy], 0.5, BY)
    wrong = score_truth([lured], [spans], [truth], [decoy], 0.5, BY)
    for name in ("auroc", "auprc", "precision", "iou", "pointing_game"):
        assert perfect["token"][name]["mean"] == 1
        assert wrong["token"][name]["mean"] < 0.35
    assert perfect["nt"]["pointing_game"]["mean"] == pytest.approx(16 / 18)
    assert perfect["token"]["decoy_hit_rate"]["mean"] == 0
    assert wrong["token"]["decoy_hit_rate"]["mean"] > 0.5
    assert set(perfect) == {"sequences", *LEVELS}
    assert set(perfect["nt"]) == set(FIGURES)


def test_what_is_both_truth_and_decoy_is_truth():
    scores, spans, truth, _ = example(0)
    found = score_truth([scores], [spans], [truth], [truth.copy()], np.nan, BY)
    assert found["nt"]["decoy_prevalence"]["mean"] == found["token"]["decoy_prevalence"]["mean"] == 0


def test_without_truth_or_threshold_there_is_no_figure():
    scores, spans, truth, decoy = example(0)
    nothing = score_truth([scores], [spans], [np.zeros_like(truth)], [decoy], 0.5, BY)
    assert nothing["sequences"] == 0
    assert np.isnan(nothing["token"]["auprc"]["mean"])
    found = score_truth([scores], [spans], [truth], [decoy], np.nan, BY)
    assert np.isnan(found["token"]["iou"]["mean"])
    assert not np.isnan(found["token"]["auprc"]["mean"])


def test_overlapping_tokens_share_their_nucleotides():
    spans = np.array([[0, 4], [2, 6], [4, 8]], np.int32)
    truth = np.zeros(8, bool)
    truth[4:6] = True
    found = score_truth([np.array([0, 1, 0.5], np.float32)], [spans], [truth], [np.zeros(8, bool)], np.nan, BY)
    # nucleotides score 0 0 .5 .5 .75 .75 .5 .5
    assert found["nt"]["auprc"]["mean"] == 1
    assert found["token"]["prevalence"]["mean"] == pytest.approx(2 / 3)
    kept = score_truth([np.array([0, 1, 0.5], np.float32)], [spans], [truth], [np.zeros(8, bool)], 0.8, BY)
    assert kept["nt"]["iou"]["mean"] == 2 / 4, "what the second token covers is kept, whatever the others say"
