"""Choosing among Explainers where what each record needs is known by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seqmask.evaluation.frontier import AREAS, Wanted
from seqmask.evaluation.scoring import Scorer
from seqmask.evaluation.validation import Validation, needed, slope
from seqmask.models.explainer import LOGIT_BOUND, Explainer, unbounded

TOKENS, RECORDS = 40, 60
LEVELS = np.linspace(2, -2, TOKENS)  # logits of a record's tokens, in their order


class Needs:
    """A scorer made by hand: a record is called right while one of its first `needs` tokens is shown, and 0 else.

    Tokens have 1 nt. `ahead`: what its Explainer sees of each record.
    """

    model = SimpleNamespace(ranks=SimpleNamespace(sizes=(4,)))

    def __init__(self, needs: NDArray[np.int64], ahead: NDArray[np.float64]) -> None:
        self.needs, self.ahead = needs, ahead
        self.truth = (np.arange(len(needs)) % 3 + 1)[:, None]

    def logits(self, masks: list[NDArray[np.float32]] | None = None) -> NDArray[np.int64]:
        shown = [np.ones(TOKENS)] * len(self.needs) if masks is None else masks
        seen = [mask[:n].any() for mask, n in zip(shown, self.needs, strict=True)]
        return np.where(np.array(seen)[:, None], self.truth, 0)

    def classes(self, logits: NDArray[np.int64]) -> NDArray[np.int64]:
        return logits

    def spans(self) -> list[NDArray[np.int64]]:
        return [np.stack([np.arange(TOKENS), np.arange(TOKENS) + 1], axis=1)] * len(self.needs)

    def masks(self, explainer: Any) -> list[NDArray[np.float32]]:
        raised = LEVELS + float(explainer.need[0]) * self.ahead[:, None]
        m = 1 / (1 + np.exp(-LOGIT_BOUND * np.tanh(raised / LOGIT_BOUND)))
        m[:, -1] = 0  # one that is not read
        return list(m.astype(np.float32)[:, :, None])


def fitted(scorer: Needs, need: float = 0.0) -> tuple[Validation, list[Any], float]:
    explainer = SimpleNamespace(need=torch.tensor([need]), tracks=1, eval=lambda: None)
    validation = Validation(cast(Scorer, scorer), scorer.truth, Wanted(0.97))
    chosen = validation.fit_need(cast(Explainer, explainer), 7, AREAS)
    return validation, chosen, float(explainer.need[0])


def test_masks_become_smaller_where_less_is_needed() -> None:
    """Half of the records need 2 tokens and half 14: no mask of one size serves both well."""
    few = np.arange(RECORDS) % 2 == 0
    needs = np.where(few, 2, 14)
    plain = Validation(cast(Scorer, Needs(needs, np.zeros(RECORDS))), Needs(needs, needs).truth, Wanted(0.97))
    before = plain.measure(cast(Explainer, SimpleNamespace(need=torch.zeros(1), tracks=1, eval=lambda: None)), 7, AREAS)
    validation, after, need = fitted(Needs(needs, np.where(few, -0.5, 0.5)))
    assert before[0].area >= 0.34
    assert after[0].area == pytest.approx(0.2, abs=0.03)
    assert after[0].removed[0] <= after[0].chance[0] + 0.02
    apart = LEVELS[1] - LEVELS[13]
    assert need == pytest.approx(apart, rel=0.35), "raised by about what they need more; areas are a grid"
    assert [entry["step"] for entry in validation.log] == [7], "only what stays is told"
    kept = np.array([(mask >= np.float32(after[0].threshold)).sum() for mask in validation.masks])
    assert kept[~few].mean() > kept[few].mean() + 6, "the masks that were measured last are those that stay"


@pytest.mark.parametrize("why", ["nothing seen", "seen by chance", "the other way round"])
def test_nothing_is_changed_where_nothing_is_gained(why: str) -> None:
    needs = np.where(np.arange(RECORDS) % 2 == 0, 2, 8)
    ahead = {
        "nothing seen": np.ones(RECORDS),
        "seen by chance": np.random.default_rng(1).normal(size=RECORDS),
        "the other way round": -0.1 * needs,
    }[why]
    validation, chosen, need = fitted(Needs(needs, ahead), 0.25 if why == "nothing seen" else 0.0)
    assert need == (0.25 if why == "nothing seen" else 0.0)
    assert len(validation.log) == 1
    assert validation.log[0]["chosen"][0]["area"] == chosen[0].area


def test_what_is_fitted_is_added_to_what_is_there() -> None:
    """A second fit finds that most of it was done."""
    needs = np.where(np.arange(RECORDS) % 2 == 0, 2, 14)
    ahead = np.where(needs == 2, -0.5, 0.5)
    once = fitted(Needs(needs, ahead))[2]
    assert fitted(Needs(needs, ahead), once)[2] == pytest.approx(once, rel=0.35)


def test_levels_that_are_needed() -> None:
    holds = np.array([[True, False, False, False], [False, True, False, True], [True, True, True, False], [False] * 4])
    found = needed([0.9, 0.5, 0.4, 0.2], holds.astype(bool))
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
