"""What chooses among Explainers during a training: hard-mask frontiers on held-out sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqmask.evaluation.frontier import AREAS, FEW_AREAS, SAME_AREA, Point, Wanted, frontier, thresholds_for
from seqmask.evaluation.scoring import Scorer
from seqmask.models.explainer import CENTRE, Explainer, unbounded

GAIN = 0.02  # in trade, which `need` has to bring where it brings nothing else


@dataclass(slots=True)
class Validation:
    """Hard-mask frontiers on `val` before and during training; keeps the best Explainer, over a stop, too."""

    scorer: Scorer
    reference: NDArray[np.int64]
    wanted: Wanted
    best: list[Point] | None = None
    weights: dict[str, Tensor] | None = None
    step: int | None = None  # at which the best one was seen; 0 is the start
    log: list[dict[str, Any]] = field(default_factory=list)
    masks: list[NDArray[np.float32]] = field(default_factory=list)  # those that were measured last

    def __call__(self, explainer: Explainer, step: int) -> list[Point]:
        """Score the Explainer as it is, a point a track; remember it when it is better than all before."""
        chosen = self.measure(explainer, step, FEW_AREAS)
        if self.best is None or self.wanted.better(chosen, self.best):
            self.best, self.step = chosen, step
            self.weights = {name: value.detach().cpu().clone() for name, value in explainer.state_dict().items()}
        return chosen

    def stored(self) -> tuple[dict[str, Tensor], Any]:
        """For a checkpoint: the best weights, their points, and the frontiers so far."""
        points = None if self.best is None else [asdict(point) for point in self.best]
        return self.weights or {}, {"best": points, "step": self.step, "log": self.log}

    def restore(self, tensors: dict[str, Tensor], data: Any) -> None:
        """Take up what `stored` gave."""
        self.weights, self.log, self.step = tensors or None, data["log"], data.get("step")
        self.best = data["best"] and [Point.of(values) for values in data["best"]]

    def measure(self, explainer: Explainer, step: int, areas: Sequence[float]) -> list[Point]:
        """The chosen point of each track, of those at about these areas."""
        points, _ = self._points(explainer, areas)
        return self._logged(step, [self.wanted.choose(of) for of in points], points)

    def fit_need(self, explainer: Explainer, step: int, areas: Sequence[float]) -> list[Point]:
        """`measure` without `need`, and with one that is fitted; of each track what is better stays, if by enough.

        What a record needs is the highest of the thresholds at which its mask holds, as a logit. `need` is the slope of
        that by how far ahead the record's class is, `usual` the mean of the latter (see `Explainer`).
        """
        explainer.need.zero_()
        explainer.usual.zero_()
        points, holds = self._points(explainer, areas)
        masks, ahead = self.masks, self.scorer.ahead(explainer).astype(np.float64)
        for track, of_track in enumerate(points):
            levels = needed([point.threshold for point in of_track], holds[track])
            explainer.need[track] = slope(-levels, ahead[:, track])
            explainer.usual[track] = ahead[:, track].mean()
        for fitted in (explainer.need, explainer.usual):
            fitted.copy_(fitted.half())  # as they are stored
        if explainer.need.any():
            again, _ = self._points(explainer, areas)
            gains = [self._gains(*map(self.wanted.choose, of)) for of in zip(again, points, strict=True)]
            explainer.need *= torch.tensor(gains, device=explainer.need.device)
            self.masks = [np.where(gains, one, other) for one, other in zip(self.masks, masks, strict=True)]
            points = [new if gain else old for gain, new, old in zip(gains, again, points, strict=True)]
        return self._logged(step, [self.wanted.choose(of) for of in points], points)

    def _gains(self, one: Point, other: Point) -> bool:
        """Whether a chosen point is better than another one by more than luck would have it."""
        enough = (
            self.wanted.grade(one) > self.wanted.grade(other)
            or one.area <= other.area - SAME_AREA
            or one.trade >= other.trade + GAIN
        )
        return enough and self.wanted.better([one], [other])

    def _points(
        self, explainer: Explainer, areas: Sequence[float]
    ) -> tuple[list[list[Point]], list[NDArray[np.bool_]]]:
        """The frontier at thresholds of about these areas, of masks that are kept as those that were measured last."""
        explainer.eval()
        self.masks = self.scorer.masks(explainer)
        tracks = [[mask[:, track] for mask in self.masks] for track in range(explainer.tracks)]
        spans = self.scorer.spans()
        thresholds = [thresholds_for(of, spans, areas) for of in tracks]
        return frontier(self.scorer, self.masks, self.reference, thresholds)

    def centred(self, explainer: Explainer, step: int) -> list[Point]:
        """The points at CENTRE, of the Explainer that `measure` saw last, now that its masks were centred.

        A shift of the logits leaves tokens in their order, so only these points are measured; the others get the
        thresholds at which they keep as many tokens as before.
        """
        masks = self.scorer.masks(explainer)
        at_centre, _ = frontier(self.scorer, masks, self.reference, [[CENTRE]] * explainer.tracks)
        points = []
        for track, known in enumerate(self.log[-1]["frontier"]):
            before, now = (np.concatenate([mask[:, track] for mask in of]) for of in (self.masks, masks))
            ordered = np.sort(now)[::-1]
            moved = [float(ordered[np.count_nonzero(before >= np.float32(of["threshold"])) - 1]) for of in known]
            chosen = known.index(self.log[-1]["chosen"][track])
            of_track = [replace(Point.of(of), threshold=tau) for of, tau in zip(known, moved, strict=True)]
            of_track[chosen] = at_centre[track][0]
            points.append(of_track)
        return self._logged(step, [of[0] for of in at_centre], points)

    def in_frames(self, frames: int, explainer: Explainer, step: int) -> list[Point]:
        """The chosen point of each track where the same records are read in so many frames; it is not logged."""
        old = self.scorer
        records = [item.record for item in old.prepared]
        scorer = Scorer.of(records, old.model, old.engine, old.operator, old.overlap, frames)
        return Validation(scorer, self.reference, self.wanted).measure(explainer, step, AREAS)

    def _logged(self, step: int, chosen: list[Point], points: list[list[Point]]) -> list[Point]:
        """The chosen points, once they are in the log."""
        self.log.append(
            {
                "step": step,
                "chosen": [asdict(point) for point in chosen],
                "frontier": [[asdict(point) for point in of_track] for of_track in points],
            }
        )
        return chosen


def needed(thresholds: Sequence[float], holds: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The logit (n,), before it was bounded, of the highest of the falling thresholds at which a record's mask holds
    (thresholds, n); where none does, of the lowest.
    """
    first = np.where(holds.any(axis=0), holds.argmax(axis=0), len(thresholds) - 1)
    return unbounded(np.array(thresholds))[first]


def slope(values: NDArray[np.float64], by: NDArray[np.float64]) -> float:
    """Least squares: by how much values (n,) rise for 1 of `by` (n,); 0 where they fall, or all `by` are alike."""
    spread = float(by.var())
    return max(float(np.mean((values - values.mean()) * (by - by.mean()))) / spread, 0.0) if spread > 1e-6 else 0.0
