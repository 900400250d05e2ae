"""Other attribution methods beside the Explainer: same classifier, same sequences, same scoring, cost beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from seqmask.evaluation import orders
from seqmask.evaluation.probe import order_as_mask, probe
from seqmask.evaluation.resampling import Resampling, estimate_over_columns
from seqmask.evaluation.rivals.gradients import gradient_step
from seqmask.evaluation.rivals.names import Rival
from seqmask.evaluation.rivals.perturb import (
    class_logits,
    class_odds,
    class_probabilities,
    lime,
    occlusion,
    record_values,
    shap,
)
from seqmask.evaluation.rivals.rollout import rollout_step
from seqmask.evaluation.scoring import Scorer
from seqmask.evaluation.smallest import PASSES, smallest_areas, smallest_report
from seqmask.inference.batches import Step
from seqmask.inference.engine import Item
from seqmask.inference.explain import window_masks
from seqmask.models.explainer import Explainer
from seqmask.progress import Watch

OWN, RANDOM = Rival("seqmask", "seqmask", 0), Rival("random", "random", 0)

Scores = list[NDArray[np.float32]]
"""(N, G) of each record, windows end to end, higher = more important; G = 1 for all ranks, or R: one a rank."""


@dataclass(slots=True)
class Comparison:
    """n records held by `scorer`; reference (n, R): the classes that count as right, -1 left out.

    What is explained is the class that the classifier predicts for the whole record, at each rank. logits (n, C): of
    whole records, null (n, C): with every token hidden. watch: told what comes next; the engine tells it how much was
    read. parts: of each method and kind of
    scores judged so far, each sequence's part (n, R) of its separation.
    """

    scorer: Scorer
    explainer: Explainer
    reference: NDArray[np.int64]
    by: Resampling
    logits: NDArray[np.float32] = field(init=False)
    null: NDArray[np.float32] = field(init=False)
    watch: Watch = field(default_factory=Watch)
    parts: dict[tuple[str, str], NDArray[np.float64]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.watch.part(f"rivals on {len(self.scorer.prepared)} sequences", 2 * self.scorer.windows)
        self.logits = self.scorer.logits()
        self.null = self.scorer.logits([np.zeros(length, np.float32) for length in self.scorer.lengths])

    def run(self, rivals: Sequence[Rival], say: Callable[[str], None]) -> dict[str, Any]:
        """The Explainer, the rivals and a random order, as JSON-ready dicts: see docs/evaluation.md."""
        methods = {}
        ranks = len(self.scorer.model.ranks.ranks)
        for rival in (OWN, *(rival for rival in rivals if rival.kind != RANDOM.kind), RANDOM):
            scores, cost = self.timed(rival)
            say(f"{rival.name}: {cost['milliseconds']:.1f} ms a sequence")
            tracks = scores[0].shape[1]
            kept = orders.passes() * (1 if tracks == 1 else 1 + ranks)
            kept += PASSES * (1 if tracks == 1 else 1 + ranks)
            self.watch.part(f"what {rival.name} keeps", kept * self.scorer.windows)
            own_rank = self.judge(rival.name, "per_rank", scores) if tracks > 1 else None
            for_all = self.judge(rival.name, "shared", [shared(part) for part in scores])
            methods[rival.name] = {**cost, "shared": for_all, "per_rank": own_rank}
        return {"sequences": len(self.scorer.prepared), "methods": methods}

    def timed(self, rival: Rival) -> tuple[Scores, dict[str, float]]:
        """Scores, and what they cost a sequence beyond the prediction that they explain.

        The first sequence is explained once beforehand: what a library loads and compiles is no cost of a method.
        """
        everything = range(len(self.scorer.prepared))
        both = [self.scorer.subset(rows) for rows in (everything[:1], everything)]
        self.watch.part(rival.name, sum(windows_of(rival, scorer) for scorer in both))
        self.scores(rival, everything[:1])
        with counted(self.scorer.model.network, self.explainer) as passes:
            began = time.perf_counter()
            scores = self.scores(rival, everything)
            seconds = time.perf_counter() - began
        forwards = sum(passes) / sum(self.scorer.lengths)
        return scores, {"forwards": forwards, "milliseconds": 1000 * seconds / len(scores)}

    def scores(self, rival: Rival, rows: range) -> Scores:
        """Scores of some of the held records; the random numbers of a record depend on its ordinal and the seed."""
        scorer = self.scorer.subset(rows)
        classes = scorer.classes(self.logits[rows.start : rows.stop])
        network = scorer.model.network
        match rival.kind:
            case "seqmask":
                masks = window_masks(scorer.prepared, self.explainer, scorer.engine, classes)
                return [np.concatenate(of_record) for of_record in masks]
            case "rollout":
                return by_step(scorer, rollout_step(network), classes)
            case "saliency" | "gradxinput" | "ig" | "ig-odds":
                return by_step(scorer, gradient_step(network, rival.kind, rival.count), classes)
        found = (self._of_record(rival, scorer, i, classes[i]) for i in range(len(rows)))
        return [scores.astype(np.float32) for scores in found]

    def _of_record(self, rival: Rival, scorer: Scorer, row: int, classes: NDArray[np.int64]) -> NDArray[np.float64]:
        tokens = scorer.lengths[row]
        rng = np.random.default_rng([self.by.seed, scorer.prepared[row].index])
        seed = int(rng.integers(2**31))
        match rival.kind:
            case "random":
                return rng.random((tokens, 1))
            case "occlusion":
                return occlusion(scorer, row, classes, class_logits)
            case "occlusion-odds":
                return occlusion(scorer, row, classes, class_odds)
            case "lime":
                values = record_values(scorer, row, classes, class_probabilities)
                return lime(values, tokens, len(classes), rival.count, seed)
            case "shap":
                return shap(record_values(scorer, row, classes), scorer.spans()[row][:, 0], rival.count, seed)
        raise ValueError(f"no such method: {rival.kind}")

    def judge(self, name: str, kind: str, scores: Scores) -> dict[str, Any]:
        """What the order of scores (N, G) keeps, removes and tells; with G = R each rank is scored under its own."""
        known, spans = self.scorer.model.ranks, self.scorer.spans()
        sequences = [item.record.sequence for item in self.scorer.prepared]
        by_track, told_by, smallest = [], [], []
        for track in range(scores[0].shape[1]):
            order, rng = [part[:, track] for part in scores], np.random.default_rng([self.by.seed, 101])
            by_track.append(orders.at_fractions(self.scorer, order, rng))
            told_by.append(order_as_mask(order, spans, sequences, rng))
            own_ranks = range(len(known.ranks)) if scores[0].shape[1] == 1 else [track]
            smallest.append(smallest_areas(self.scorer, order, own_ranks, rng))
        areas = np.concatenate(smallest, axis=1)
        found = [by_track[r % len(by_track)] for r in range(len(known.ranks))]
        part = self.parts[name, kind] = orders.separations(found, known.slices, self.reference)
        own = self.parts.get((OWN.name, kind), self.parts.get((OWN.name, "shared")))
        return {
            "separation": estimate_over_columns(part, self.by),
            "gap": None if name == OWN.name or own is None else estimate_over_columns(own - part, self.by),
            "ranks": {
                rank.name: {
                    "fractions": orders.accuracies(of, columns, self.reference[:, r], self.by),
                    "eraser": orders.eraser(self.logits[:, columns], of, columns, self.by, self.null[:, columns]),
                    "smallest": smallest_report(areas[:, r], self.by),
                    "probe": probe(told_by[r % len(told_by)], self.reference[:, r], self.by),
                }
                for r, (rank, columns, of) in enumerate(zip(known.ranks, known.slices, found, strict=True))
            },
        }


def windows_of(rival: Rival, scorer: Scorer) -> int:
    """Windows that the engine reads for the scores of all held records; of shap at most so many."""
    match rival.kind:
        case "random":
            return 0
        case "occlusion" | "occlusion-odds":
            return sum(scorer.lengths) + scorer.windows
        case "lime" | "shap":
            return rival.count * scorer.windows
    return scorer.windows


def by_step(scorer: Scorer, step: Step, classes: NDArray[np.int64]) -> Scores:
    """Scores (N, G) from an engine step that explains windows; classes (n, R) to explain.

    A record's logits are the mean of its windows', weighted by tokens, and so are the scores.
    """
    items = [
        Item(window.tokens.ids, fixed=explained)
        for prepared, explained in zip(scorer.prepared, classes, strict=True)
        for window in prepared.windows
    ]
    outputs = iter(scorer.engine.run(step, items))
    found = []
    for prepared, total in zip(scorer.prepared, scorer.lengths, strict=True):
        parts = [next(outputs).token for _ in prepared.windows]
        found.append(np.concatenate([part * np.float32(len(part) / total) for part in parts if part is not None]))
    return found


def shared(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """One score for all ranks (N, 1) from scores (N, G): the mean of the ranks' scores, standardised in the sequence.

    Mean 0 and variance 1 each: ranks have units of their own, and none may drown the others. Scores that are all the
    same count as 0. A single score stays as it is.
    """
    if scores.shape[1] == 1:
        return scores
    spread = scores.std(axis=0)
    centred = (scores - scores.mean(axis=0)) / np.where(spread > 0, spread, 1)
    mean: NDArray[np.float32] = centred.mean(axis=1, keepdims=True).astype(np.float32)
    return mean


@contextmanager
def counted(*networks: nn.Module) -> Iterator[list[float]]:
    """Within the block the list grows by the tokens of every pass, padding left out: a forward 1, a backward 2 a token.

    A pass that records gradients is followed by its backward. Copies of a network made within the block count, too.
    """
    passes: list[float] = []

    def count(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        ids, attention = arguments[:2]
        tokens = ids.numel() if attention is None else float(attention.sum())
        passes.append(tokens * (3 if torch.is_grad_enabled() else 1))

    handles = [network.register_forward_pre_hook(count) for network in networks]
    try:
        yield passes
    finally:
        for handle in handles:
            handle.remove()
