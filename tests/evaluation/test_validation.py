"""Fitting `need` where what each record needs, and what is seen of it, is known by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seqmask.evaluation.frontier import AREAS, Point, Wanted
from seqmask.evaluation.scoring import Scorer
from seqmask.evaluation.validation import Validation, needed, slope
from seqmask.models.explainer import LOGIT_BOUND, Explainer, unbounded

TOKENS, RECORDS = 40, 60
LEVELS = np.linspace(2, -2, TOKENS)  # logits of a record's tokens, in their order
FEW = np.arange(RECORDS) % 2 == 0
NEEDS = np.where(FEW, 2, 14)
SEEN = np.where(FEW, -0.5, 0.5)  # how far ahead is a record's class, where that says what it needs


class Needs:
    """A scorer made by hand: at each rank a record is called right while one of its first `needs` tokens is shown.

    Tokens have 1 nt, the last one is not read. `seen` (records, ranks): how far ahead its Explainer finds the classes,
    which has a mask for each rank.
    """

    def __init__(self, seen: NDArray[np.float64], needs: NDArray[np.int64] = NEEDS) -> None:
        self.seen, self.needs = seen, needs
        self.truth = np.repeat((np.arange(RECORDS) % 3 + 1)[:, None], seen.shape[1], axis=1)
        self.model = SimpleNamespace(ranks=SimpleNamespace(sizes=(4,) * seen.shape[1]))

    def logits(self, masks: list[NDArray[np.float32]] | None = None) -> NDArray[np.int64]:
        shown = [np.ones(TOKENS)] * RECORDS if masks is None else masks
        seen = [mask[:n].any() for mask, n in zip(shown, self.needs, strict=True)]
        return np.where(np.array(seen)[:, None], self.truth, 0)

    def classes(self, logits: NDArray[np.int64]) -> NDArray[np.int64]:
        return logits

    def spans(self) -> list[NDArray[np.int64]]:
        return [np.stack([np.arange(TOKENS), np.arange(TOKENS) + 1], axis=1)] * RECORDS

    def ahead(self, explainer: Any) -> NDArray[np.float32]:
        return self.seen.astype(np.float32)

    def masks(self, explainer: Any) -> list[NDArray[np.float32]]:
        raised = explainer.need.numpy() * (self.seen - explainer.usual.numpy())
        logits = LEVELS[None, :, None] + raised[:, None, :]
        m = 1 / (1 + np.exp(-LOGIT_BOUND * np.tanh(logits / LOGIT_BOUND)))
        m[:, -1] = 0
        return list(m.astype(np.float32))


def explainer_of(scorer: Needs, need: float = 0.0) -> Any:
    tracks = scorer.seen.shape[1]
    return SimpleNamespace(
        need=torch.full((tracks,), need), usual=torch.zeros(tracks), tracks=tracks, eval=lambda: None
    )


def fitted(scorer: Needs, need: float = 0.0) -> tuple[Validation, list[Point], Any]:
    validation = Validation(cast(Scorer, scorer), scorer.truth, Wanted(0.97))
    explainer = explainer_of(scorer, need)
    return validation, validation.fit_need(cast(Explainer, explainer), 7, AREAS), explainer


@pytest.mark.parametrize("first", [True, False])
def test_masks_become_smaller_where_less_is_needed(first: bool) -> None:
    """Half of the records need 2 tokens and half 14: no mask of one size serves both well. Of two masks it is seen of
    the one, of the other by chance alone, and that stays what it was.
    """
    noise = np.random.default_rng(1).normal(size=RECORDS)
    scorer = Needs(np.stack([SEEN, noise] if first else [noise, SEEN], axis=1))
    it, other = (0, 1) if first else (1, 0)
    plain = Validation(cast(Scorer, scorer), scorer.truth, Wanted(0.97))
    before = plain.measure(cast(Explainer, explainer_of(scorer)), 7, AREAS)
    validation, after, explainer = fitted(scorer)
    assert before[it].area >= 0.34
    assert after[it].area == pytest.approx(0.2, abs=0.03)
    assert after[it].removed[0] <= after[it].chance[0] + 0.02
    assert after[other] == before[other]
    assert float(explainer.need[other]) == 0
    need = float(explainer.need[it])
    assert need == pytest.approx(LEVELS[1] - LEVELS[13], rel=0.35), "by about what they need more; areas are a grid"
    assert need == float(torch.tensor(need).half()), "as it is stored"
    (entry,) = validation.log
    assert [Point.of(point) for point in entry["chosen"]] == after, "only what stays is told"
    told = [[Point.of(point) for point in of_track] for of_track in entry["frontier"]]
    assert all(point in points for point, points in zip(after, told, strict=True))
    assert np.array_equal(validation.masks, scorer.masks(explainer)), "the masks are those of what stays"


def test_what_is_usual_moves_nothing() -> None:
    """The mean record has the logits that it had, so that thresholds stay where they were."""
    _, _, explainer = fitted(Needs((SEEN + 3)[:, None]))
    assert float(explainer.usual[0]) == pytest.approx(3, abs=0.01)
    assert float(explainer.need[0]) > 0


@pytest.mark.parametrize("seen", ["nothing", "noise", "the other way round"])
@pytest.mark.parametrize("need", [0.0, 3.0])
def test_there_is_none_where_nothing_is_gained(seen: str, need: float) -> None:
    """Whatever another Explainer, with which this one began, had."""
    ahead = {"nothing": np.ones(RECORDS), "noise": np.random.default_rng(1).normal(size=RECORDS)}.get(seen, -SEEN)
    validation, chosen, explainer = fitted(Needs(ahead[:, None]), need)
    assert float(explainer.need[0]) == 0
    plain = Needs(ahead[:, None])
    before = Validation(cast(Scorer, plain), plain.truth, Wanted(0.97))
    assert chosen == before.measure(cast(Explainer, explainer_of(plain)), 7, AREAS)
    assert len(validation.log) == 1


def test_noise_is_rarely_taken_for_need() -> None:
    few = [np.random.default_rng(seed).normal(size=(RECORDS, 1)) for seed in range(60)]
    assert sum(float(fitted(Needs(seen))[2].need[0]) > 0 for seen in few) <= 3


def test_a_fit_does_not_depend_on_an_earlier_one() -> None:
    once, twice = (float(fitted(Needs(SEEN[:, None]), need)[2].need[0]) for need in (0.0, 5.0))
    assert once == twice > 0


def test_levels_that_are_needed() -> None:
    holds = np.array([[True, False, False, False], [False, True, False, True], [True, True, True, False], [False] * 4])
    found = needed([0.9, 0.5, 0.4, 0.2], holds)
    assert found == pytest.approx(unbounded(np.array([0.9, 0.5, 0.4, 0.5])))
    assert needed([0.9, 0.2], np.zeros((2, 1), dtype=bool)) == pytest.approx(unbounded(np.array([0.2])))


def test_a_slope_by_hand() -> None:
    by = np.array([0.0, 1.0, 2.0])
    assert slope(np.array([1.0, 2.0, 6.0]), by) == pytest.approx(2.5)
    assert slope(np.array([6.0, 2.0, 1.0]), by) == 0
    assert slope(np.array([6.0, 2.0, 1.0]), np.ones(3)) == 0


def test_logits_before_they_were_bounded() -> None:
    raw = torch.linspace(-12, 12, 25, dtype=torch.float64)
    m = torch.sigmoid(LOGIT_BOUND * torch.tanh(raw / LOGIT_BOUND))
    assert unbounded(m.numpy()) == pytest.approx(raw.numpy(), abs=1e-6)
    ends = unbounded(np.array([0.0, 1.0], np.float32))
    assert ends[0] == pytest.approx(-ends[1])
    assert 12 < ends[1] < 30
