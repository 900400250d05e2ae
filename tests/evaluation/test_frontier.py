"""Kept and removed accuracy against area on sequences whose evidence is known, and the threshold chosen on it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from seqmask.evaluation.frontier import AREAS, FEW_AREAS, Point, Wanted, frontier, thresholds_for
from seqmask.evaluation.scoring import hard_masks
from seqmask.sequences.spans import Spans

TOKENS = 10


class Known:
    """A scorer made by hand: record i has class i % 3 + 1 at both ranks and is called 0 where its evidence is hidden.

    The evidence of the first rank is token 2, that of the second tokens 2 and 7 together. `blind` records are always
    called 0. Tokens have 1 nt, token 2 has `long`.
    """

    model = SimpleNamespace(ranks=SimpleNamespace(sizes=(4, 4)))

    def __init__(self, records: int = 12, blind: Sequence[int] = (), long: int = 1) -> None:
        self.truth = np.stack([np.arange(records) % 3 + 1] * 2, axis=1)
        self.blind = list(blind)
        self.lengths = np.where(np.arange(TOKENS) == 2, long, 1)

    def logits(self, masks: list[NDArray[np.float32]] | None = None) -> NDArray[np.int64]:
        shown = np.ones((len(self.truth), TOKENS)) if masks is None else np.stack(masks)
        assert set(np.unique(shown)) <= {0, 1}, "hard masks"
        seen = np.stack([shown[:, 2] == 1, (shown[:, 2] == 1) & (shown[:, 7] == 1)], axis=1)
        seen[self.blind] = False
        return np.where(seen, self.truth, 0)

    def classes(self, logits: NDArray[np.int64]) -> NDArray[np.int64]:
        return logits

    def spans(self) -> list[NDArray[np.int64]]:
        ends = np.cumsum(self.lengths)
        return [np.stack([ends - self.lengths, ends], axis=1)] * len(self.truth)


def masks(*ranked: Sequence[int], records: int = 12) -> list[NDArray[np.float32]]:
    """For each record a track for each order of tokens, the first one with the highest mask."""
    one = np.zeros((TOKENS, len(ranked)), dtype=np.float32)
    for track, order in enumerate(ranked):
        one[list(order), track] = np.linspace(0.95, 0.05, TOKENS)
    return [one.copy() for _ in range(records)]


ORDER = (2, 7, 0, 1, 3, 4, 5, 6, 8, 9)
FIRST, SECOND, WORST = ORDER, (7, 2, 0, 1, 3, 4, 5, 6, 8, 9), (0, 1, 3, 4, 5, 6, 8, 9, 7, 2)


def side_by_side(tokens: int) -> Spans:
    """Spans of tokens of 6 nt."""
    starts = np.arange(0, 6 * tokens, 6, dtype=np.int32)
    return np.stack([starts, starts + 6], axis=1)


def of(scorer: Any, of_masks: list[NDArray[np.float32]], reference: NDArray[np.int64], *areas: float) -> list[Any]:
    """The frontier at thresholds that keep these shares."""
    tracks = range(of_masks[0].shape[1])
    wanted = [thresholds_for([m[:, track] for m in of_masks], scorer.spans(), areas) for track in tracks]
    return frontier(scorer, of_masks, reference, wanted)[0]


class TestThresholds:
    def test_shares_are_kept(self) -> None:
        rng = np.random.default_rng(0)
        track = [rng.random(n).astype(np.float32) for n in (40, 1, 160, 199)]
        found = thresholds_for(track, [side_by_side(len(mask)) for mask in track], AREAS)
        assert found == sorted(found, reverse=True)
        kept = [float(np.mean(np.concatenate(track) >= np.float32(tau))) for tau in found]
        assert kept == pytest.approx(AREAS, abs=1e-9)

    def test_shares_are_of_nucleotides(self) -> None:
        """In three frames as many tokens cover more of the sequence than a third of it in one."""
        rng = np.random.default_rng(0)
        spans = [np.concatenate([side_by_side(n) + shift for shift in (0, 2, 4)]) for n in (40, 160)]
        track = [rng.random(len(places)).astype(np.float32) for places in spans]
        found = thresholds_for(track, spans, AREAS)
        assert [float(np.mean(np.concatenate(hard_masks(track, spans, tau)))) for tau in found] == pytest.approx(
            AREAS, abs=0.01
        )
        tokens = [float(np.mean(np.concatenate(track) >= np.float32(tau))) for tau in found]
        assert all(share < 0.7 * area for share, area in zip(tokens, AREAS, strict=True))

    def test_at_least_one_token(self) -> None:
        assert thresholds_for([np.array([0.25, 0.5], np.float32)], [side_by_side(2)], (0.01,)) == [0.5]

    def test_ties_are_one_threshold(self) -> None:
        """A constant mask knows one threshold, which keeps everything."""
        assert thresholds_for([np.full(50, 0.25, np.float32)], [side_by_side(50)], FEW_AREAS) == [0.25]


class TestFrontier:
    def test_a_mask_for_all_ranks(self) -> None:
        scorer = Known()
        (points,) = of(scorer, masks(ORDER), scorer.truth, 0.1, 0.2, 0.9)
        assert [point.ranks for point in points] == [(0, 1)] * 3
        assert [point.area for point in points] == pytest.approx([0.1, 0.2, 0.9])
        assert [point.threshold for point in points] == pytest.approx([0.95, 0.85, 0.15])
        # token 2 is enough for the first rank; both ranks need it
        assert [point.kept for point in points] == [(1.0, 0.0), (1.0, 1.0), (1.0, 1.0)]
        assert [point.removed for point in points] == [(0.0, 0.0)] * 3
        assert all(point.chance == pytest.approx((1 / 3, 1 / 3)) for point in points)

    def test_area_is_of_nucleotides(self) -> None:
        """One token of ten, but 11 nt of 20."""
        scorer = Known(long=11)
        points = of(scorer, masks(ORDER), scorer.truth, 0.5, 0.6)
        assert [point.area for point in points[0]] == pytest.approx([11 / 20, 12 / 20])

    def test_a_mask_a_rank(self) -> None:
        """Each track is scored by its own rank alone."""
        scorer = Known()
        first, second = of(scorer, masks(FIRST, SECOND), scorer.truth, 0.1, 0.2)
        assert [point.ranks for point in first] == [(0,)] * 2
        assert [point.ranks for point in second] == [(1,)] * 2
        assert [point.kept for point in first] == [(1.0,), (1.0,)]
        assert [point.removed for point in second] == [(0.0,), (0.0,)]
        assert [point.kept for point in second] == [(0.0,), (1.0,)]

    def test_which_masks_hold(self) -> None:
        """Of what the whole is called, right or wrong; at every rank where one mask is for all. A rank that is never
        right, where nothing can be kept, does not count.
        """
        scorer = Known()
        one = thresholds_for([m[:, 0] for m in masks(ORDER)], scorer.spans(), (0.1, 0.2, 0.9))
        assert frontier(scorer, masks(ORDER), scorer.truth, [one])[1][0].all(axis=1).tolist() == [False, True, True]  # type: ignore[arg-type]
        wrong = np.where(scorer.truth == 1, 2, scorer.truth)
        assert frontier(scorer, masks(ORDER), wrong, [one])[1][0].all(axis=1).tolist() == [False, True, True]  # type: ignore[arg-type]
        never = scorer.truth.copy()
        never[:, 1] = 9
        assert frontier(scorer, masks(ORDER), never, [one])[1][0].all(axis=1).tolist() == [True] * 3  # type: ignore[arg-type]
        second = frontier(scorer, masks(FIRST, SECOND), scorer.truth, [one, one])[1]  # type: ignore[arg-type]
        assert [of.all(axis=1).tolist() for of in second] == [[True] * 3, [False, True, True]]
        blind = Known(blind=(0,))
        held = frontier(blind, masks(ORDER), blind.truth, [one])[1][0]  # type: ignore[arg-type]
        assert held[1].tolist() == [False] + [True] * 11, "called the same whatever is shown: the rest keeps it"

    def test_shares_are_relative_to_the_full_sequence(self) -> None:
        """A third of the records is never right: what the mask keeps of the others counts."""
        scorer = Known(blind=(0, 1, 2, 3))
        (points,) = of(scorer, masks(ORDER), scorer.truth, 0.2)
        assert points[0].kept == pytest.approx((1.0, 1.0))
        assert points[0].removed == (0.0, 0.0)
        assert points[0].chance == pytest.approx((0.5, 0.5))

    def test_unknown_references_are_left_out(self) -> None:
        scorer = Known(blind=(0, 1))
        reference = scorer.truth.copy()
        reference[:2, 0] = -1
        (points,) = of(scorer, masks(ORDER), reference, 0.2)
        assert points[0].kept == pytest.approx((1.0, 1.0))
        assert points[0].chance[0] == pytest.approx(0.4)  # 4 of 10
        assert points[0].chance[1] == pytest.approx((1 / 3) / (10 / 12))

    def test_tokens_across_an_edge_are_read_on_neither_side(self) -> None:
        """Tokens of 2 nt that begin at each one: the mask of one of them hides its two neighbours on both sides."""
        scorer = Known()
        starts = np.arange(TOKENS)
        scorer.spans = lambda: [np.stack([starts, starts + 2], axis=1)] * 12  # type: ignore[method-assign]
        read: list[list[float]] = []
        plain = scorer.logits

        def logits(masks: list[NDArray[np.float32]] | None = None) -> NDArray[np.int64]:
            read.extend([] if masks is None else [masks[0].tolist()])
            return plain(masks)

        scorer.logits = logits  # type: ignore[method-assign]
        (points,), _ = frontier(scorer, masks((4, 0, 1, 2, 3, 5, 6, 7, 8, 9)), scorer.truth, [[0.95]])  # type: ignore[arg-type]
        assert points[0].area == pytest.approx(2 / 11)
        assert [np.flatnonzero(side).tolist() for side in read] == [[4], [0, 1, 2, 6, 7, 8, 9]]

    @pytest.mark.parametrize("why", ["no reference", "never right"])
    def test_a_rank_with_nothing_to_keep(self, why: str) -> None:
        """It neither counts for nor against a mask, and decides no trade."""
        scorer = Known()
        reference = scorer.truth.copy()
        reference[:, 1] = -1 if why == "no reference" else 9
        (points,) = of(scorer, masks(ORDER), reference, 0.1, 0.2)
        for point in points:
            assert (point.kept, point.removed) == ((1.0, 1.0), (0.0, 1.0))
            assert math.isnan(point.chance[1])
        assert [Wanted(0.9).grade(point) for point in points] == [2, 2]
        assert Wanted(0.9).choose(points) is points[0]
        assert points[0].trade == pytest.approx(1 - 0.5 - 0.1)

    def test_the_worst_order_keeps_nothing(self) -> None:
        scorer = Known()
        (points,) = of(scorer, masks(WORST), scorer.truth, 0.5)
        assert points[0].kept == (0.0, 0.0)
        assert points[0].removed == (1.0, 1.0)
        assert points[0].trade == pytest.approx(-1.5)


def point(area: float = 0.2, kept: float = 0.99, removed: float = 0.1, chance: float = 0.3, ranks: int = 1) -> Point:
    return Point(0.5, area, tuple(range(ranks)), (kept,) * ranks, (removed,) * ranks, (chance,) * ranks)


class TestWanted:
    WANTED = Wanted(0.97)

    @pytest.mark.parametrize(
        ("change", "grade"),
        [
            ({}, 2),
            ({"kept": 0.97}, 2),
            ({"kept": 0.96}, 0),
            ({"removed": 0.319}, 2),  # chance and .02 more
            ({"removed": 0.33}, 1),
            ({"removed": 0.349}, 1),  # .05 more
            ({"removed": 0.36}, 0),
            ({"area": 0.355}, 2),  # thresholds meet an area only nearly
            ({"area": 0.4}, 1),
            ({"area": 0.505}, 1),
            ({"area": 0.52}, 0),
            ({"removed": 1.0, "chance": float("nan")}, 2),
            ({"removed": 0.519, "chance": 0.9}, 2),  # one class in nine of ten: half of them is chance enough
            ({"removed": 0.549, "chance": 0.9}, 1),
            ({"removed": 0.56, "chance": 0.9}, 0),
        ],
    )
    def test_grades(self, change: dict[str, float], grade: int) -> None:
        assert self.WANTED.grade(point(**change)) == grade

    def test_every_rank_counts(self) -> None:
        good = point(ranks=3)
        assert self.WANTED.grade(good) == 2
        assert self.WANTED.grade(replace(good, kept=(0.99, 0.99, 0.9))) == 0
        assert self.WANTED.grade(replace(good, removed=(0.1, 0.34, 0.1))) == 1
        assert self.WANTED.grade(replace(good, removed=(0.9, 0.1, 0.1))) == 0

    def test_the_smallest_area_that_meets_both(self) -> None:
        points = [point(0.1, kept=0.9), point(0.2, removed=0.5), point(0.3), point(0.4, kept=1.0, removed=0.0)]
        assert self.WANTED.choose(points) is points[2]
        assert self.WANTED.choose(points[::-1]) is points[2]

    def test_a_third_that_leaves_little_is_better_than_less_that_leaves_more(self) -> None:
        points = [point(0.2, removed=0.34), point(0.3, removed=0.31), point(0.35, removed=0.1), point(0.5, removed=0.0)]
        assert self.WANTED.choose(points) is points[1]
        assert self.WANTED.choose([points[0], points[3]]) is points[0]  # half of a sequence is too much for that

    def test_else_the_best_trade_up_to_half(self) -> None:
        points = [point(0.1, 0.5, 0.5), point(0.2, 0.8, 0.5), point(0.3, 0.85, 0.5), point(0.7, 1.0, 0.0)]
        assert [p.trade for p in points] == pytest.approx([-0.1, 0.1, 0.05, 0.3])
        assert self.WANTED.choose(points) is points[1]

    def test_where_all_are_large_the_smallest(self) -> None:
        """As with a constant mask, whose only threshold keeps everything."""
        points = [point(1.0), point(0.8, kept=0.1)]
        assert self.WANTED.choose(points) is points[1]

    def test_more_tracks_that_meet_it_are_better(self) -> None:
        small_but_bad = [point(0.05, kept=0.9), point(0.05)]
        assert self.WANTED.better([point(0.4), point(0.4)], small_but_bad)
        assert not self.WANTED.better(small_but_bad, [point(0.4), point(0.4)])
        loose, strict = [point(0.2), point(0.2, removed=0.34)], [point(0.2), point(0.3, removed=0.31)]
        assert self.WANTED.better(strict, loose)
        assert not self.WANTED.better(loose, strict)

    def test_then_the_smaller_area_where_all_meet_it(self) -> None:
        smaller, larger = [point(0.1), point(0.3)], [point(0.2), point(0.3, kept=1.0, removed=0.0)]
        assert self.WANTED.better(smaller, larger)
        assert not self.WANTED.better(larger, smaller)

    def test_then_the_trade(self) -> None:
        """On a grid of areas most checkpoints have the same one."""
        one, other = [point(0.2, kept=0.98)], [point(0.2004, kept=1.0, removed=0.0)]
        assert self.WANTED.better(other, one)
        assert not self.WANTED.better(one, other)
        worse, better = [point(0.2, kept=0.5), point(0.3)], [point(0.3, kept=0.8), point(0.3)]
        assert self.WANTED.better(better, worse)
        assert not self.WANTED.better(worse, better)

    def test_nothing_is_better_than_itself(self) -> None:
        for points in ([point()], [point(kept=0.1)], [point(chance=float("nan")), point(0.9)]):
            assert not self.WANTED.better(points, points)


def test_a_point_survives_json() -> None:
    for kept in (point(ranks=3), point(chance=float("nan"))):
        found = Point.of(json.loads(json.dumps(asdict(kept))))
        assert repr(found) == repr(kept), "tuples and nan included"


@pytest.mark.parametrize("tracks", [1, 2])
def test_from_masks_to_the_threshold(tracks: int) -> None:
    """The whole way: of the thresholds of both tracks the smallest that keeps what is needed."""
    scorer = Known()
    given = masks(*(FIRST, SECOND)[:tracks])
    found = [Wanted(0.97).choose(points) for points in of(scorer, given, scorer.truth, *FEW_AREAS)]
    assert [p.area for p in found] == pytest.approx([0.2] if tracks == 1 else [0.1, 0.2])


def test_a_rank_of_one_class_asks_for_nothing() -> None:
    """It is right whatever is hidden: a mask for all ranks would never be good enough."""
    scorer = Known()
    scorer.model = SimpleNamespace(ranks=SimpleNamespace(sizes=(1, 4)))
    (point,) = of(scorer, masks(SECOND), np.stack([np.zeros(12, np.int64), scorer.truth[:, 1]], axis=1), 0.2)[0]
    assert (point.kept[0], point.removed[0]) == (1, 1)
    assert math.isnan(point.chance[0])
    assert Wanted(0.98).grade(point)
