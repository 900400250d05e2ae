"""What chooses among Explainers during a training: hard-mask frontiers on held-out sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from seqmask.evaluation.frontier import AREAS, FEW_AREAS, Point, Wanted, frontier, thresholds_for
from seqmask.evaluation.scoring import Scorer
from seqmask.models.explainer import CENTRE, Explainer


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
        explainer.eval()
        self.masks = self.scorer.masks(explainer)
        tracks = [[mask[:, track] for mask in self.masks] for track in range(explainer.tracks)]
        spans = self.scorer.spans()
        thresholds = [thresholds_for(of, spans, areas) for of in tracks]
        points = frontier(self.scorer, self.masks, self.reference, thresholds)
        return self._logged(step, [self.wanted.choose(of) for of in points], points)

    def centred(self, explainer: Explainer, step: int) -> list[Point]:
        """The points at CENTRE, of the Explainer that `measure` saw last, now that its masks were centred.

        A shift of the logits leaves tokens in their order, so only these points are measured; the others get the
        thresholds at which they keep as many tokens as before.
        """
        masks = self.scorer.masks(explainer)
        at_centre = frontier(self.scorer, masks, self.reference, [[CENTRE]] * explainer.tracks)
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
