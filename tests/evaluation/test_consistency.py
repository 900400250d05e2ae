import numpy as np
import pytest
import torch

from seqmask.evaluation.consistency import consistency, reverse_complement
from seqmask.evaluation.ranking import spearman
from seqmask.evaluation.resampling import Resampling
from seqmask.sequences.records import Record

BY = Resampling(1)


def classify(ids, shown, masked):
    return torch.stack([shown.sum(1), 0 * shown.sum(1)], dim=1)


def test_the_other_strand():
    assert reverse_complement(Record("a", "a b", "AACGUnrT", "IIIIIIII")) == Record("a", "a b", "ANNACGTT", None)


def codes(ids):
    """The six base codes of each k-mer (B, T, 6), 0 to 3 as A, C, G, T."""
    return torch.stack([(ids - 5) // 4**place % 4 for place in range(6)], dim=-1)


def by_gc(ids, attention, classes):
    """The same on both strands."""
    return ((codes(ids) == 1) | (codes(ids) == 2)).float().sum(-1) - 3


def by_purines(ids, attention, classes):
    """The opposite on the other strand."""
    return (codes(ids) % 2 == 0).float().sum(-1) - 3


def by_place(ids, attention, classes):
    return -torch.arange(ids.shape[1]).float().expand(ids.shape) / 10


@pytest.fixture
def scorer(make_scorer):
    rng = np.random.default_rng(0)
    # whole numbers of 6-mers: the other strand has the same tokens
    sequences = ["".join(rng.choice(list("ACGT"), 6 * n)) for n in rng.integers(30, 40, 8)]
    return make_scorer(classify, sequences)


@pytest.fixture
def found(make_explainer):
    def run(scorer, explain, other=None, count=None):
        records = [item.record for item in scorer.prepared[:count]]
        (track,) = consistency(records, scorer, make_explainer(explain), other and make_explainer(other), BY)
        return track

    return run


@pytest.mark.parametrize(("explain", "strand"), [(by_gc, 1), (by_purines, -1), (by_place, -1)])
def test_reverse_complement(scorer, found, explain, strand):
    of = found(scorer, explain)
    assert of["sequences"] == 8
    assert of["reverse_complement"]["mean"] == pytest.approx(strand, abs=1e-9)
    assert of["other"] is None


def test_another_frame(scorer, found):
    """A mask that falls from the start does so in every frame; GC of other 6-mers is half the same."""
    assert found(scorer, by_place)["frame"]["mean"] > 0.99
    assert 0.4 < found(scorer, by_gc)["frame"]["mean"] < 0.8


def test_a_frame_by_hand(scorer, found):
    """One sequence and one shift, nucleotide by nucleotide."""
    sequence = scorer.prepared[0].record.sequence

    def gc(text):
        parts = [text[i : i + 6] for i in range(0, len(text) - 5, 6)]
        return [sum(letter in "CG" for letter in part) for part in parts]

    whole = np.repeat(gc(sequence), 6).astype(float)
    wanted = []
    for shift in range(1, 6):
        text = sequence[shift:]
        track = np.zeros(len(text))
        track[: len(text) // 6 * 6] = np.repeat(gc(text), 6)
        # the last 6-mer ends with the sequence, and where it overlaps the one before both count
        last, covered = gc(text[-6:])[0], len(text) // 6 * 6
        m = 1 / (1 + np.exp(3 - track))
        m[covered:] = 1 / (1 + np.exp(3.0 - last))
        m[len(text) - 6 : covered] = (m[len(text) - 6 : covered] + 1 / (1 + np.exp(3.0 - last))) / 2
        wanted.append(spearman(whole[shift:], m))
    assert found(scorer, by_gc, count=1)["frame"]["mean"] == pytest.approx(np.mean(wanted), abs=1e-6)


def test_another_explainer(scorer, found):
    assert found(scorer, by_gc, by_gc)["other"]["mean"] == pytest.approx(1)
    assert found(scorer, by_gc, lambda *batch: -by_gc(*batch))["other"]["mean"] == pytest.approx(-1)
    assert found(scorer, by_gc, by_place)["other"]["mean"] == pytest.approx(0, abs=0.1)


def test_constant_masks_and_short_records(make_scorer, found):
    """What has no order has no correlation; a record that is gone without its first nt is left out of that."""
    scorer = make_scorer(classify, ["ACGTAC", "ACGTACGTTTGGCA"])
    of = found(scorer, lambda ids, attention, classes: 0.0 * ids)
    assert np.isnan([of["reverse_complement"]["mean"], of["frame"]["mean"]]).all()
    assert of["sequences"] == 2
