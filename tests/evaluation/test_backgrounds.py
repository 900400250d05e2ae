import numpy as np
import pytest

from seqmask.errors import UsageError
from seqmask.evaluation import backgrounds
from seqmask.evaluation.backgrounds import default_markov, fit_markov, fragment_background


def count_words(texts, length):
    counts = {}
    for text in texts:
        for i in range(len(text) - length + 1):
            counts[text[i : i + length]] = counts.get(text[i : i + length], 0) + 1
    return counts


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("order", [2, 3])
def test_default_chains_are_laws_and_cover_gc_bins(order):
    model = default_markov(order)
    assert model.order == order
    assert model.steps.shape == (4, 4**order, 4)
    np.testing.assert_allclose(model.steps.sum(axis=2), 1)
    np.testing.assert_allclose(model.starts.sum(axis=1), 1)
    # Stationary: one step leaves the shares of the contexts as they are.
    after = (model.starts[:, :, None] * model.steps).reshape(4, 4, -1, 4).sum(axis=1).reshape(4, -1)
    np.testing.assert_allclose(after, model.starts, atol=1e-12)
    texts = model.draw(rng(), np.full(200, 300), ["train"] * 200)
    gc = [(t.count("G") + t.count("C")) / 300 for t in texts]
    assert min(gc) < 0.38
    assert max(gc) > 0.62


def test_drawn_sequences_follow_the_chain():
    model = default_markov(2, gc_bins=1)
    texts = model.draw(rng(), np.full(400, 500), ["train"] * 400)
    counts = count_words(texts, 3)
    for context in ("AC", "GT", "TT"):
        number = "ACGT".index(context[0]) * 4 + "ACGT".index(context[1])
        found = np.array([counts[context + letter] for letter in "ACGT"])
        np.testing.assert_allclose(found / found.sum(), model.steps[0, number], atol=0.015)


def test_lengths_are_as_wanted():
    texts = default_markov(3).draw(rng(), np.array([3, 10, 301]), ["train"] * 3)
    assert [len(t) for t in texts] == [3, 10, 301]
    assert default_markov(3).draw(rng(), np.array([], dtype=np.int64), []) == []


def test_fit_recovers_the_chain():
    model = default_markov(2, gc_bins=1)
    texts = model.draw(rng(), np.full(300, 600), ["train"] * 300)
    fitted = fit_markov(texts, 2, gc_bins=1)
    np.testing.assert_allclose(fitted.steps, model.steps, atol=0.03)
    np.testing.assert_allclose(fitted.starts, model.starts, atol=0.01)


def test_fit_by_hand_counts_plus_one_and_skips_uncalled_bases():
    # ACG twice, CGT once (the N breaks the last word); u reads as T.
    fitted = fit_markov(["ACGuNACG"], 2, gc_bins=4)
    assert fitted.weights.tolist() == [1.0]
    ac, cg = 0 * 4 + 1, 1 * 4 + 2
    assert fitted.steps[0, ac].tolist() == [1 / 6, 1 / 6, 3 / 6, 1 / 6]
    assert fitted.steps[0, cg].tolist() == [1 / 5, 1 / 5, 1 / 5, 2 / 5]


def test_fit_sorts_pieces_by_gc():
    fitted = fit_markov(["AT" * 300, "GC" * 300], 2, gc_bins=2)
    at = fitted.steps[:, 0 * 4 + 3, 0]  # A after AT
    gc = fitted.steps[:, 2 * 4 + 1, 2]  # G after GC
    assert at[0] > 0.9 > at[1]
    assert gc[1] > 0.9 > gc[0]


def test_fit_needs_bases():
    with pytest.raises(UsageError, match="3 bases in a row"):
        fit_markov(["ACNNAC", ""], 2)


def test_fragments_come_from_sources_of_their_split_only():
    letters = rng(1).choice(list("ACGT"), (9, 400))
    sources = ["".join(row) for row in letters]
    background = fragment_background(sources, (0.7, 0.1, 0.2), rng())
    dealt = [background.sources[split] for split in backgrounds.SPLITS]
    assert all(dealt)
    assert sorted(s for part in dealt for s in part) == sorted(sources)
    splits = [backgrounds.SPLITS[i % 3] for i in range(60)]
    for text, split in zip(background.draw(rng(), np.full(60, 50), splits), splits, strict=True):
        assert len(text) == 50
        assert any(text in source for source in background.sources[split])


def test_fragments_avoid_uncalled_bases_and_read_u_as_t():
    background = fragment_background(["acgu" * 20 + "N" * 20 + "acgu" * 20], (1.0, 0.0, 0.0), rng())
    for text in background.draw(rng(), np.full(50, 30), ["train"] * 50):
        assert set(text) == set("ACGT")


def test_fragments_that_cannot_be():
    with pytest.raises(UsageError, match="cannot serve 3 splits"):
        fragment_background(["ACGT"] * 2, (0.7, 0.1, 0.2), rng())
    short = fragment_background(["ACGT"] * 3, (0.7, 0.1, 0.2), rng())
    with pytest.raises(UsageError, match="no background sequence has 9 nt"):
        short.draw(rng(), np.array([9]), ["train"])
    uncalled = fragment_background(["N" * 100], (1.0, 0.0, 0.0), rng())
    with pytest.raises(UsageError, match="free of N"):
        uncalled.draw(rng(), np.array([9]), ["train"])
