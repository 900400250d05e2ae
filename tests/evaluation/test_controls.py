from itertools import groupby

import numpy as np
import pytest

from seqmask.errors import UsageError
from seqmask.evaluation import controls
from seqmask.evaluation.controls import REFERENCES, SAME_AREA, MaskSet
from seqmask.sequences.spans import sides, under
from seqmask.sequences.tokens import KmerTokenizer


def make_masks(seed=0, sizes=(40, 1, 25, 60, 7)):
    rng = np.random.default_rng(seed)
    soft = [rng.random(size).astype(np.float32) for size in sizes]
    ends = [np.cumsum(rng.integers(1, 9, size)) for size in sizes]
    spans = [np.stack([np.append(0, end[:-1]), end], axis=1).astype(np.int32) for end in ends]
    sequences = ["".join(rng.choice(list("ACGTNu"), end[-1])) for end in ends]
    return MaskSet(soft, [m >= 0.7 for m in soft], spans, sequences)


def run_lengths(kept):
    return sorted(len(list(group)) for value, group in groupby(np.asarray(kept) > 0) if value)


def on_tokens(control, seed, masks):
    """A control's kept tokens (T,) of each sequence: those whose nucleotides it keeps."""
    tracks = control(np.random.default_rng(seed), masks)
    return [sides(track, spans)[0] for track, spans in zip(tracks, masks.spans, strict=True)]


@pytest.mark.parametrize(("kind", "dtype"), [(SAME_AREA, np.bool_), (REFERENCES, np.float32)])
def test_shapes_and_seeds(kind, dtype):
    masks = make_masks()
    shapes = [m.shape for m in (masks.hard if kind is SAME_AREA else masks.soft)]
    for control in kind.values():
        result = control(np.random.default_rng(3), masks)
        again = control(np.random.default_rng(3), masks)
        assert [m.shape for m in result] == shapes
        assert all(m.dtype == dtype for m in result)
        assert all(np.array_equal(a, b) for a, b in zip(result, again, strict=True))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", SAME_AREA)
def test_same_area_keeps_as_much_in_whole_tokens(name, seed):
    """As many nucleotides to within a token (of up to 8 nt here), or as many tokens where runs are moved."""
    masks = make_masks(seed)
    tracks = SAME_AREA[name](np.random.default_rng(seed), masks)
    for track, hard, kept, spans in zip(tracks, masks.hard, masks.kept, masks.spans, strict=True):
        shown, left = sides(track, spans)
        assert (shown ^ left).all()
        if name in ("shuffled", "shifted"):
            assert shown.sum() == kept.sum()
        else:
            assert abs(int(track.sum()) - int(hard.sum())) <= 4


@pytest.mark.parametrize("name", SAME_AREA)
def test_controls_keep_what_is_read(name):
    """Beside a long gap a control keeps as many tokens that say something as the mask does."""
    rng = np.random.default_rng(0)
    spans = KmerTokenizer().encode("A" * 6 * 300).spans
    read = np.ones(300, dtype=bool)
    read[100:250] = False
    soft = [(rng.random(300) * read).astype(np.float32) for _ in range(4)]
    sequences = ["".join(rng.choice(list("ACGT"), 600)) + "N" * 900 + "ACGTAC" * 50 for _ in range(4)]
    masks = MaskSet(soft, [m >= 0.7 for m in soft], [spans] * 4, sequences, [read] * 4)
    for shown, kept in zip(on_tokens(SAME_AREA[name], 1, masks), masks.kept, strict=True):
        assert (shown & read).sum() == kept.sum()


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("name", SAME_AREA)
def test_full_and_empty_masks_stay_what_they_are(name, value):
    masks = make_masks()
    masks = MaskSet(masks.soft, [np.full(len(m), value) for m in masks.soft], masks.spans, masks.sequences)
    assert all((m == value).all() for m in SAME_AREA[name](np.random.default_rng(0), masks))


def test_random_tokens_reach_every_place():
    kept = np.array([True, False, False, False])
    spans = np.stack([np.arange(0, 12, 3), np.arange(3, 15, 3)], axis=1)
    masks = MaskSet([np.ones(4, dtype=np.float32)] * 4000, [kept] * 4000, [spans] * 4000, ["A" * 12] * 4000)
    share = np.mean(on_tokens(controls.random_tokens, 0, masks), axis=0)
    np.testing.assert_allclose(share, 0.25, atol=0.03)


def test_shuffled_keeps_the_runs_and_moves_them():
    masks = make_masks(sizes=(200,) * 5)
    result = on_tokens(controls.shuffled, 0, masks)
    for control, kept in zip(result, masks.kept, strict=True):
        assert run_lengths(control) == run_lengths(kept)
        assert not np.array_equal(control, kept)


def test_shuffled_changes_the_order_of_the_runs():
    kept = np.array([0, 1, 0, 1, 1, 0, 0, 1, 1, 1, 0]) > 0
    spans = np.stack([np.arange(11), np.arange(11) + 1], axis=1).astype(np.int32)
    masks = MaskSet([kept.astype(np.float32)] * 200, [kept] * 200, [spans] * 200, ["A" * 11] * 200)
    result = controls.shuffled(np.random.default_rng(0), masks)
    orders = {tuple(len(list(g)) for value, g in groupby(m) if value) for m in result}
    assert orders == {(1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1)}


def test_shifted_is_a_rotation_by_another_offset():
    masks = make_masks(sizes=(30, 41))
    seen = set()
    for seed in range(200):
        result = on_tokens(controls.shifted, seed, masks)
        for control, kept in zip(result, masks.kept, strict=True):
            offsets = [o for o in range(kept.size) if np.array_equal(np.roll(kept, o), control)]
            assert len(offsets) == 1
            assert offsets != [0]
        seen.update(o for o in range(30) if np.array_equal(np.roll(masks.kept[0], o), result[0]))
    assert {1, 29} <= seen


def test_other_sequence_takes_the_donors_top_positions():
    # The donor's mask rises to the right; six of twelve kept must be the right half whatever the own mask was.
    rising, falling = np.linspace(0, 1, 30, dtype=np.float32), np.linspace(1, 0, 12, dtype=np.float32)
    spans = [np.stack([np.arange(n), np.arange(n) + 1], axis=1).astype(np.int32) for n in (30, 12)]
    masks = MaskSet([rising, falling], [rising > 0.9, falling > 0.5], spans, ["A" * 30, "A" * 12])
    of_first, of_second = controls.other_sequence(np.random.default_rng(0), masks)
    assert of_second.tolist() == [0] * 6 + [1] * 6
    assert np.flatnonzero(of_first).tolist() == [0, 1, 2]


def test_no_sequence_is_its_own_donor():
    n = 6
    soft = [np.eye(n, dtype=np.float32)[i] for i in range(n)]
    spans = [np.stack([np.arange(n), np.arange(n) + 1], axis=1).astype(np.int32)] * n
    masks = MaskSet(soft, [m > 0 for m in soft], spans, ["A" * n] * n)
    for seed in range(50):
        result = controls.other_sequence(np.random.default_rng(seed), masks)
        assert np.trace(np.stack(result)) == 0
        assert np.stack(result).sum(axis=0).tolist() == [1] * n


def test_other_sequence_needs_two():
    with pytest.raises(UsageError, match="two sequences"):
        controls.other_sequence(np.random.default_rng(0), make_masks(sizes=(9,)))


def test_heuristics_find_the_region_they_are_named_for():
    rng = np.random.default_rng(0)
    plain, diverse, rich = "AT" * 100, "".join(rng.choice(list("ACGT"), 200)), "GC" * 100
    sequence = plain + diverse + rich
    spans = np.stack([np.arange(0, 600, 6), np.arange(6, 606, 6)], axis=1).astype(np.int32)
    kept = np.arange(100) < 20
    masks = MaskSet([kept.astype(np.float32)], [kept], [spans], [sequence])
    diverse_tokens = np.flatnonzero(on_tokens(controls.complexity, 0, masks)[0])
    rich_tokens = np.flatnonzero(on_tokens(controls.gc, 0, masks)[0])
    assert spans[diverse_tokens].min() >= 200
    assert spans[diverse_tokens].max() <= 406
    assert spans[rich_tokens].min() >= 400


def test_gc_content_and_entropy_by_hand():
    middles = np.array([0, 4, 7])
    # Windows of four: nt -2..1, 2..5, 5..8 of ACGTNNgc
    assert controls.gc_content("ACGTNNgc", middles, window=4).tolist() == [0.5, 0.5, 1.0]
    assert controls.gc_content("NNNN", np.array([2]), window=4).tolist() == [0.0]
    # In the window AC CA AC CA, beyond it GA and AT: one bit; all A: none; with N between: none left.
    np.testing.assert_allclose(controls.dinucleotide_entropy("GACACAT", np.array([3]), window=5), [1.0])
    assert controls.dinucleotide_entropy("AAAAA", np.array([2]), window=5).tolist() == [0.0]
    assert controls.dinucleotide_entropy("ANANA", np.array([2]), window=5).tolist() == [0.0]
    assert controls.dinucleotide_entropy("A", np.array([0])).tolist() == [0.0]
    assert controls.base_codes("AcGUtN-").tolist() == [0, 1, 2, 3, 3, 4, 4]


def test_references():
    masks = make_masks()
    rng = np.random.default_rng(0)
    assert set(REFERENCES) == {"all_ones", "all_zeros", "constant"}
    assert all((m == 1).all() for m in controls.all_ones(rng, masks))
    assert all((m == 0).all() for m in controls.all_zeros(rng, masks))
    for control, soft, spans in zip(controls.constant(rng, masks), masks.soft, masks.spans, strict=True):
        np.testing.assert_allclose(control, np.average(soft, weights=spans[:, 1] - spans[:, 0]), rtol=1e-6)


def test_top_fraction_counts_nucleotides():
    rng = np.random.default_rng(0)
    scores, nt = np.array([0.1, 0.9, 0.5, 0.7]), np.array([10, 2, 4, 4])
    # Falling: 2, 4, 4, 10 nt of 20
    assert controls.top_fraction(scores, nt, 0.1, rng).tolist() == [False, True, False, False]
    assert controls.top_fraction(scores, nt, 0.11, rng).tolist() == [False, True, False, True]
    assert controls.top_fraction(scores, nt, 0.5, rng).tolist() == [False, True, True, True]
    assert controls.top_fraction(scores, nt, 0.0, rng).sum() == 1
    assert controls.top_fraction(scores, nt, 1.0, rng).all()
    assert controls.top_fraction(np.array([0.3]), np.array([6]), 0.01, rng).tolist() == [True]


def test_top_fraction_does_not_trip_over_rounding():
    fractions = [0.07, 0.14, 0.28, 0.55]
    assert [f * 100 > round(f * 100) for f in fractions] == [True] * 4
    kept = controls.top_fractions(np.arange(100.0), np.ones(100, int), fractions, np.random.default_rng(0))
    assert kept.sum(axis=1).tolist() == [7, 14, 28, 55]


def test_top_fractions_are_nested_even_with_ties():
    kept = controls.top_fractions(np.zeros(50), np.full(50, 3), np.linspace(0, 1, 21), np.random.default_rng(1))
    assert (kept[:-1] <= kept[1:]).all()
    assert np.flatnonzero(kept[4]).max() - np.flatnonzero(kept[4]).min() - 8 > 1  # not one run: ties are random


def test_place_blocks():
    sizes = np.array([3, 1, 2])
    for seed in range(100):
        starts = controls.place_blocks(sizes, 9, np.random.default_rng(seed))
        assert (starts[1:] > starts[:-1] + sizes[:-1]).all()
        assert starts[0] >= 0
        assert starts[-1] + 2 <= 9
    assert controls.place_blocks(sizes, 8, np.random.default_rng(0)).tolist() == [0, 4, 6]
    assert controls.place_blocks(np.array([], dtype=int), 5, np.random.default_rng(0)).tolist() == []
    with pytest.raises(ValueError, match="do not fit"):
        controls.place_blocks(sizes, 7, np.random.default_rng(0))


def test_every_layout_of_blocks_is_equally_likely():
    seen = [tuple(controls.place_blocks(np.array([1, 1]), 4, np.random.default_rng(s))) for s in range(3000)]
    layouts, counts = np.unique(seen, axis=0, return_counts=True)
    assert layouts.tolist() == [[0, 2], [0, 3], [1, 3]]
    assert counts.min() > 900


def test_mask_set_refuses_what_does_not_belong_together():
    masks = make_masks()
    with pytest.raises(ValueError, match="same sequences"):
        MaskSet(masks.soft, masks.kept[1:], masks.spans, masks.sequences)
    with pytest.raises(ValueError, match="no tokens"):
        MaskSet([np.zeros(0, np.float32)], [np.zeros(0, bool)], [np.zeros((0, 2), np.int32)], [""])


def read_in(frames, length, rng, n=40):
    """Masks as an Explainer makes them: of runs of few tokens, alike in the frames in which windows are read."""
    tokenizer = KmerTokenizer(6, 6)
    spans = []
    for _ in range(n):
        parts = [tokenizer.encode("A" * (length - frame)).spans + np.int32(frame) for frame in frames]
        spans.append(np.concatenate(parts))
    tracks = [np.convolve(rng.random(length), np.ones(7) / 7, mode="same") for _ in range(n)]
    soft = [
        np.array([track[a:b].mean() for a, b in of], dtype=np.float32) for track, of in zip(tracks, spans, strict=True)
    ]
    kept = [values >= np.quantile(values, 0.85) for values in soft]
    return MaskSet(soft, kept, spans, ["".join(rng.choice(list("ACGT"), length)) for _ in range(n)])


@pytest.mark.parametrize(("frames", "length"), [((0,), 600), ((0,), 601), ((0, 3), 500), ((0, 2, 4), 605)])
@pytest.mark.parametrize("name", SAME_AREA)
def test_a_control_is_read_as_well_as_the_mask(name, frames, length):
    """As many nucleotides, and of them at least as many whole tokens: or it would be weak for its borders alone."""
    masks = read_in(frames, length, np.random.default_rng(7))
    tracks = SAME_AREA[name](np.random.default_rng(3), masks)
    area = [np.concatenate(of).mean() for of in (tracks, masks.hard)]
    assert area[0] == pytest.approx(area[1], rel=0.02)
    if name not in ("shuffled", "shifted"):
        pairs = zip(tracks, masks.hard, strict=True)
        assert all(abs(int(track.sum()) - int(hard.sum())) <= 3 for track, hard in pairs)
    shown, own = (
        sum(sides(track, spans)[0].sum() for track, spans in zip(of, masks.spans, strict=True))
        for of in (tracks, masks.hard)
    )
    assert shown > 0.95 * own


def test_the_hard_mask_is_what_kept_tokens_cover():
    masks = read_in((0, 2, 4), 301, np.random.default_rng(0), 1)
    (hard,), spans, kept = masks.hard, masks.spans[0], masks.kept[0]
    covered = {place for start, end in spans[kept] for place in range(start, end)}
    assert set(np.flatnonzero(hard).tolist()) == covered
    assert np.array_equal(hard, under(kept, spans, spans.max()))


def test_counts_near_the_ends_are_those_within():
    rng = np.random.default_rng(8)
    codes = rng.integers(0, 5, 90)
    middles = np.arange(90)
    found = controls._window_counts(codes, 4, middles, 50)
    expected = [np.bincount(codes[max(m - 25, 0) : m + 25], minlength=5)[:4] for m in middles]
    assert np.array_equal(found, expected)
