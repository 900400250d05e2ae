import numpy as np
import pytest
import torch

from seqmask.evaluation.resampling import Resampling, bootstrap_interval
from seqmask.evaluation.scoring import classifier_report
from seqmask.sequences.records import Record
from seqmask.sequences.tokens import KmerTokenizer

A = int(KmerTokenizer().encode("AAAAAA").ids[0])


def by_motif(ids, shown, masked):
    """`one` where AAAAAA stands, `other` elsewhere, e^2 to 1."""
    there = (ids == A).any(dim=1).float()
    return 2 * torch.stack([there, 1 - there], dim=1)


def test_report_of_a_classifier_by_hand(make_scorer):
    """Right, right, wrong; one of no class that it knows, and one without a token, which counts as wrong."""
    scorer = make_scorer(by_motif, ["GGGGGG"])
    texts = ["AAAAAA" * 2, "GGGGGG" * 3, "GGGGGG", "AAAAAA", "ACG"]
    records = [Record(f"r{i}", f"r{i}", text) for i, text in enumerate(texts)]
    rows = [{"kind": kind} for kind in ("one", "other", "one", "third", "one")]
    of = Resampling(1, np.array([0, 1, 1, 2, 2]))
    found = classifier_report(records, rows, scorer.model, scorer.engine, overlap=0, by=of)["kind"]
    assert (found["known"], found["labelled"]) == (4, 5)
    assert found["accuracy"] == 0.5
    assert found["accuracy_all"] == pytest.approx(2 / 5)
    assert found["balanced_accuracy"] == pytest.approx((1 / 3 + 1) / 2)
    assert found["majority_rate"] == 0.75
    expected = bootstrap_interval(np.array([1.0, 1, 0, 0]), Resampling(1, np.array([0, 1, 1, 2])))
    assert found["interval"] == list(expected)
    sure = np.exp(2) / (np.exp(2) + 1)
    assert found["ece"] == pytest.approx(sure - 2 / 3)  # of the three that were read
    assert [(of["share"], of["accuracy"]["mean"]) for of in found["at_least"]][1:3] == [(1.0, pytest.approx(2 / 3))] * 2
    assert found["at_least"][3]["share"] == 0
    kinds = {of["class"]: (of["scored"], of["accuracy"]["mean"]) for of in found["groups"]}
    assert kinds == {"one": (2, 0.5), "other": (1, 1.0)}
