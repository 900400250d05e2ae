import numpy as np
import pytest
import torch

from seqmask.errors import InputError
from seqmask.evaluation.flags import red_flags
from seqmask.evaluation.leakage import Judge, Verdicts, carried, check_judge, common
from seqmask.evaluation.resampling import Resampling, bootstrap_interval
from seqmask.evaluation.scoring import on_tokens
from seqmask.evaluation.study import Study
from seqmask.labels.ranks import Rank, Ranks
from seqmask.sequences.spans import under
from seqmask.sequences.tokens import KmerTokenizer

BY = Resampling(1)

MOTIFS = KmerTokenizer().encode("AAAAAACCCCCC").ids.tolist()


def evidence(ids, shown, masked=True):
    """Logits (B, 2): how many tokens AAAAAA and CCCCCC are shown, times 4."""
    return 4 * torch.stack([((ids == motif) * shown).sum(1) for motif in MOTIFS], dim=1)


def turned(ids, shown, masked):
    """The same by a classifier that numbers the classes the other way round."""
    return evidence(ids, shown).flip(1)


def spans(*pairs):
    return np.array(pairs, dtype=np.int32)


def track(*values):
    return np.array(values, dtype=np.bool_)


def test_masks_are_carried_by_nucleotides():
    kept = np.repeat(track(1, 0, 1), 6)
    theirs = spans((0, 4), (4, 8), (8, 12), (11, 15), (14, 18), (4, 14))
    # of the judge's tokens 4, 2, 0, 3, 4 and 2 of 10 nt are kept: the first, the fifth, the fourth make 11 of 12 nt
    assert np.flatnonzero(carried(kept, theirs)).tolist() == [0, 1, 2, 3, 11, 12, 13, 14, 15, 16, 17]
    assert not carried(np.zeros(18, dtype=np.bool_), theirs).any()
    assert carried(np.ones(18, dtype=np.bool_), theirs).all()


@pytest.mark.parametrize("length", [3, 6, 16])
def test_tokens_that_lie_in_no_run_show_as_much_of_the_sequence(length):
    """Runs of 6 nt, a third of the sequence; tokens of another length, and those of two frames side by side."""
    kept = np.tile(track(1, 0, 0), 60).repeat(6)
    starts = np.concatenate([np.arange(frame, kept.size - length + 1, length) for frame in (0, length // 2)])
    theirs = np.stack([starts, starts + length], axis=1).astype(np.int32)
    assert carried(kept, theirs).sum() == pytest.approx(kept.sum(), abs=length)


def test_a_judge_may_read_less_or_more_of_a_sequence():
    kept = np.repeat(track(1, 0, 1), 6)
    assert carried(kept, spans((0, 6), (6, 12))).tolist() == [True] * 12  # 12 nt are kept, and so many there are
    longer = carried(kept, spans((0, 6), (6, 12), (12, 18), (18, 24)))
    assert np.flatnonzero(longer).tolist() == [*range(6), *range(12, 18)]


def test_a_judge_of_the_same_tokens_reads_the_same_mask(make_scorer, motifs):
    """In three frames, too, where a run of one token holds no other one, and most tokens lie across its edges."""
    sequences, _ = motifs
    seen = []

    def judge(ids, shown, masked):
        seen.extend(shown.tolist())
        return evidence(ids, shown)

    scorer = make_scorer(judge, [sequence[:40] for sequence in sequences[:3]], frames=3)
    places = scorer.spans()
    hard = [under(np.arange(len(of)) == 1, of, int(of[:, 1].max())) for of in places]
    ours = {view: np.zeros((3, 2), dtype=np.float32) for view in ("full", "masked", "inverse")}
    Judge(scorer).report(ours, hard, places, scorer.model.ranks)
    masked, inverse = on_tokens(hard, places)
    assert all(part.sum() == 1 for part in masked)
    assert all(part.sum() < len(part) - 1 for part in inverse)
    pairs = [pair for side in (masked, inverse) for pair in zip(side, scorer.prepared, strict=True)]
    for part, item in pairs:
        for window in np.split(part, np.cumsum([len(of.tokens) for of in item.windows])[:-1]):
            assert any(row[: len(window)] == window.tolist() and not any(row[len(window) :]) for row in seen)


def test_a_judge_of_as_many_other_tokens_gets_the_mask_carried(make_scorer, motifs):
    """The number of tokens says nothing: those of the same sequence may lie elsewhere."""
    sequences, _ = motifs
    scorer = make_scorer(lambda ids, shown, masked: evidence(ids, shown), [sequences[0][:40]])
    (theirs,) = scorer.spans()
    ours = theirs + np.int32(2)
    hard = under(np.arange(len(ours)) == 1, ours, 40)
    views = {view: np.zeros((1, 2), dtype=np.float32) for view in ("full", "masked", "inverse")}
    given = []
    real = type(scorer).logits

    def logits(self, masks=None):
        given.append(masks)
        return real(self, masks)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(scorer), "logits", logits)
        Judge(scorer).report(views, [hard], [ours], scorer.model.ranks)
    shown = given[1][0]
    assert shown.sum() == 1, "none of their tokens lies wholly in the run; carried, it is one of them"


def test_classes_are_matched_by_name():
    assert common(("c", "a", "x"), ("a", "b", "c")).tolist() == [2, 0, -1]


def ranks_of(**classes):
    return Ranks(tuple(Rank(name, tuple(of)) for name, of in classes.items()))


def verdicts_by_hand():
    ours, theirs = ranks_of(domain="AB", genus="xyz"), ranks_of(genus="zxw", superkingdom="BA")
    rows = np.array([0, 2, 3, 4])  # the judge can not read sequence 1
    own = {
        "full": np.array([[0, 0], [0, 1], [1, 2], [1, 2]]),
        "masked": np.array([[0, 0], [1, 1], [1, 2], [0, 2]]),
        "inverse": np.array([[1, 0], [1, 1], [0, 2], [0, 2]]),
    }
    # in the judge's numbers, genus first: z 0, x 1, w 2; B 0, A 1
    judged = {
        "full": np.array([[1, 1], [1, 1], [0, 0], [2, 0]]),
        "masked": np.array([[1, 1], [2, 1], [2, 1], [2, 1]]),
        "inverse": np.array([[0, 0], [0, 0], [0, 0], [0, 0]]),
    }
    return Verdicts(rows, own, judged, theirs, ours)


def test_accuracies_side_by_side_by_hand():
    verdicts = verdicts_by_hand()
    domain = verdicts.rank(0, np.array([0, 1, 0, 1, 1]), BY)  # superkingdom is the same rank
    assert (domain["scored"], domain["shared_classes"]) == (4, 2)
    assert [domain["classifier"][view]["mean"] for view in ("full", "masked", "inverse")] == [1, 0.5, 0]
    assert [domain["judge"][view]["mean"] for view in ("full", "masked", "inverse")] == [1, 0.5, 0.5]
    assert (domain["gap"]["mean"], domain["excess"]["mean"]) == (0, 0)
    genus = verdicts.rank(1, np.array([0, 1, 1, 2, 2]), BY)  # y is not the judge's: sequence 2 is left out
    assert (genus["scored"], genus["shared_classes"]) == (3, 2)
    assert [genus["classifier"][view]["mean"] for view in ("full", "masked")] == [1, 1]
    assert [genus["judge"][view]["mean"] for view in ("full", "masked")] == pytest.approx([2 / 3, 1 / 3])
    assert (genus["gap"]["mean"], genus["excess"]["mean"]) == pytest.approx((2 / 3, 1 / 3))


def test_intervals_are_of_the_clusters_that_were_judged():
    """The judge can not read sequence 1 nor know the class of 2: two of one cluster are left, and one alone."""
    of = Resampling(1, np.array([0, 1, 1, 0, 2]))
    genus = verdicts_by_hand().rank(1, np.array([0, 1, 1, 2, 2]), of)
    expected = bootstrap_interval(np.array([0.0, 1.0, 1.0]), Resampling(1, np.array([0, 0, 2])))
    assert genus["gap"]["interval"] == list(expected) == [0.5, 1]


def test_only_another_classifier_of_the_same_ranks_may_judge(make_scorer, tmp_path):
    model = make_scorer(evidence, ["ACGTAC"]).model
    with pytest.raises(InputError, match=r"judge is the classifier itself"):
        check_judge(model, model, tmp_path)
    judge = make_scorer(evidence, ["ACGTAC"], ("other", "third")).model
    check_judge(judge, model, tmp_path)
    for ranks in (ranks_of(genus="ab"), ranks_of(kind="ab", genus="xy")):
        judge.ranks = ranks
        with pytest.raises(InputError, match=r"a judge of the ranks .*genus; expected kind; train a judge") as error:
            check_judge(judge, model, tmp_path)
        assert "\n" not in str(error.value)


# Masks that leak by construction, and masks that do not


def is_motif(ids):
    return torch.isin(ids, torch.tensor(MOTIFS))


def reads_the_area(ids, shown, masked):
    """Counts its motifs; of masked input it takes the first class where more is shown than hidden."""
    if not masked:
        return evidence(ids, shown)
    area = shown.sum(1) / (ids > 0).sum(1)
    return 8 * torch.stack([area - 0.5, 0.5 - area], dim=1)


def leaks(ids, attention, classes):
    """Never the motif; 7 of 10 of the other tokens for the first class, 3 of 10 for the second."""
    place = torch.arange(ids.shape[1]) % 10 < torch.where(classes == 0, 7, 3)
    return torch.where(place & ~is_motif(ids), 3.0, -3.0)


def honest(ids, attention, classes):
    """The motif, and about every third of the other tokens by their letters."""
    return torch.where(is_motif(ids) | (ids % 3 == 0), 3.0, -3.0)


def by_position(ids, attention, classes):
    """The middle third of every sequence."""
    count = attention.sum(1, keepdim=True)
    place = (torch.arange(ids.shape[1]) + 0.5) / count
    return 4 - 24 * (place - 0.5).abs()


@pytest.fixture
def study(make_scorer, make_explainer, motifs):
    """A whole evaluation of stubs on the 60 sequences, with a judge."""
    sequences, classes = motifs

    def run(explain, score=evidence, judge=turned, names=("other", "one")):
        scorer, explainer = make_scorer(score, sequences), make_explainer(explain)
        judges = Judge(make_scorer(judge, sequences, names))
        masks = scorer.masks(explainer)
        return Study(scorer, explainer, masks, classes[:, None], 0.5, BY, sample=10, judge=judges).run()

    return run


def test_a_leak_is_caught_by_probe_and_judge(study):
    result = study(leaks, reads_the_area)
    rank = result["ranks"]["kind"]
    assert rank["rows"]["seqmask"]["masked"]["accuracy"] == 1, "it works, and means nothing"
    assert rank["judge"]["judge"]["full"]["mean"] == 1
    assert rank["judge"]["judge"]["masked"]["mean"] == pytest.approx(0.5, abs=0.01)
    assert rank["judge"]["judge"]["inverse"]["mean"] == 1, "the evidence is where the mask is not"
    assert rank["judge"]["gap"]["mean"] == pytest.approx(0.5, abs=0.01)
    assert rank["probe"]["accuracy"] > 0.95
    flags = red_flags(result)
    assert any("mask alone" in flag for flag in flags)
    assert any("independent judge" in flag for flag in flags)


def test_an_honest_mask_passes_both(study):
    result = study(honest)
    rank = result["ranks"]["kind"]
    assert rank["rows"]["seqmask"]["masked"]["accuracy"] == rank["judge"]["judge"]["masked"]["mean"] == 1
    assert rank["judge"]["gap"] == {"mean": 0, "interval": [0, 0]}
    assert rank["probe"]["excess"]["interval"][0] <= 0
    assert not any("mask alone" in flag or "judge" in flag or "position" in flag for flag in red_flags(result))


def test_a_mask_of_position_alone_is_flagged(study):
    result = study(by_position)
    assert result["mask"]["position"] > 0.95
    assert any("the mask knows positions only" in flag for flag in red_flags(result))


def test_a_weaker_judge_is_no_leak(study):
    """It errs as often on whole sequences: the gap is large, what is left of it is not."""
    result = study(honest, judge=lambda ids, shown, masked: 0 * evidence(ids, shown))
    judge = result["ranks"]["kind"]["judge"]
    assert (judge["gap"]["mean"], judge["excess"]["mean"]) == (0.5, 0)
    assert not any("judge" in flag for flag in red_flags(result))
