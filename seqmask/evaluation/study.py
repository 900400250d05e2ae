"""One evaluation: what the classifier says under the Explainer's masks and under everything that they must beat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.evaluation import metrics, orders, scores
from seqmask.evaluation.calibration import BINS, calibration, removals
from seqmask.evaluation.consistency import consistency
from seqmask.evaluation.controls import REFERENCES, SAME_AREA, MaskSet
from seqmask.evaluation.leakage import VIEWS, Judge, Verdicts
from seqmask.evaluation.orders import AtFractions
from seqmask.evaluation.probe import probe
from seqmask.evaluation.resampling import Resampling
from seqmask.evaluation.scoring import Scorer, TokenMasks, on_tokens
from seqmask.evaluation.shape import mask_shape
from seqmask.evaluation.smallest import PASSES, smallest_areas, smallest_report
from seqmask.labels.ranks import Ranks
from seqmask.models.explainer import Explainer
from seqmask.progress import Watch

MASK, RANDOM = "seqmask", "random"
Logits = NDArray[np.float32]
Both = tuple[Logits, Logits]
"""Logits (n, C) with a mask and with its inverse."""
Pair = tuple[TokenMasks, TokenMasks]
"""A mask on tokens and its inverse."""


@dataclass(slots=True)
class Study:
    """n sequences held for scoring. masks: (N_i, G) float32 keep probabilities, G = 1 or one a rank.

    reference (n, R): the classes that count as right, -1 left out; the true ones (`labelled`), or the classifier's own
    predictions. explainer: what made the masks. tau: threshold of the hard masks. sample: sequences that the costly
    parts read (curves, calibration, consistency), 0 = all. judge: another classifier; other: another Explainer of the
    same classifier. watch: told what comes next; the engine tells it how much was read.
    """

    scorer: Scorer
    explainer: Explainer
    masks: list[NDArray[np.float32]]
    reference: NDArray[np.int64]
    tau: float
    by: Resampling
    labelled: bool = True
    sample: int = 0
    judge: Judge | None = None
    other: Explainer | None = None
    watch: Watch = field(default_factory=Watch)

    @property
    def ranks(self) -> Ranks:
        """Ranks of the classifier."""
        return self.scorer.model.ranks

    def run(self) -> dict[str, Any]:
        """Everything, as JSON-ready dicts: see docs/evaluation.md."""
        n = len(self.masks)
        self.watch.part(f"{n} whole sequences", 2 * self.scorer.windows)
        full = self.scorer.logits()
        null = self.scorer.logits([np.zeros(length, np.float32) for length in self.scorer.lengths])
        few = np.arange(n)
        if 0 < self.sample < n:
            few = np.sort(np.random.default_rng([self.by.seed, 401]).choice(n, self.sample, replace=False))
        result: dict[str, Any] = {"sequences": n, "sampled": len(few), "threshold": self.tau, "ranks": {}}
        readings = 1 + self.scorer.model.tokenizer.stride  # both strands, and the other frames
        each = 2 * readings + (self.other is not None)
        self.watch.part(
            f"consistency of the masks of {len(few)} sequences", each * self.scorer.subset(few.tolist()).windows
        )
        plain = replace(self.scorer, smallest=None)  # of the masks themselves, wherever they are cut
        stable = consistency(
            [self.scorer.prepared[i].record for i in few], plain, self.explainer, self.other, self.by.of(few)
        )
        for (track, held, ranks), of_track in zip(self._tracks(), stable, strict=True):
            found = Track(self, track, held, ranks, full, null, few)
            for r in ranks:
                result["ranks"][self.ranks.ranks[r].name] = found.rank(r)
            del found  # its logits are most of the memory, and the next track has as many
            shape = {**mask_shape(held, self.by), "consistency": of_track}
            # A shared mask is described once; masks of their own stand with their ranks
            (result if len(stable) == 1 else result["ranks"][self.ranks.names[track]])["mask"] = shape
        return result

    def _tracks(self) -> Iterator[tuple[int, MaskSet, range]]:
        """Each track with its soft and hard masks and the ranks that it explains."""
        count, spans, read = self.masks[0].shape[1], self.scorer.spans(), self.scorer.read()
        sequences = [item.record.sequence for item in self.scorer.prepared]
        for track in range(count):
            soft = [mask[:, track] for mask in self.masks]
            held = MaskSet(soft, [mask >= np.float32(self.tau) for mask in soft], spans, sequences, read)
            yield track, held, range(len(self.ranks.ranks)) if count == 1 else range(track, track + 1)


class Track:
    """What the classifier (and the judge) say under one track of the masks; `rank` makes the figures of one rank.

    ranks: those that the track explains; of what is scored on all sequences only their columns are held. full, null
    (n, C): logits of whole sequences and with every token hidden; few (k,): the sequences of costly parts.
    """

    def __init__(
        self,
        study: Study,
        track: int,
        held: MaskSet,
        ranks: range,
        full: Logits,
        null: Logits,
        few: NDArray[np.int64],
    ) -> None:
        self.study, self.held, self.full, self.null, self.few = study, held, full, null, few
        self.ranks = ranks
        self.own = slice(study.ranks.slices[ranks[0]].start, study.ranks.slices[ranks[-1]].stop)
        name = "" if study.masks[0].shape[1] == 1 else f" of {study.ranks.names[track]}"
        masks, windows = self._masks(), study.scorer.windows
        study.watch.part(f"masks{name} and controls of {len(full)} sequences", 2 * (len(masks) - 2) * windows)
        hard = self._both(masks[MASK])
        self.rows = self._rows(masks, hard)
        study.watch.part(f"top shares{name}", 2 * orders.passes(orders.TOP_FRACTIONS) * windows)
        self.fractions = {
            name: {fraction: self._cut(both) for fraction, both in of.items()}
            for name, of in self._in_order(study.scorer, np.arange(len(full)), orders.TOP_FRACTIONS).items()
        }
        sampled = study.scorer.subset(few)
        study.watch.part(
            f"insertion and deletion curves{name} of {len(few)} sequences",
            (2 * orders.passes(orders.CURVE_FRACTIONS) + BINS) * sampled.windows,
        )
        self.curves = self._in_order(sampled, few, orders.CURVE_FRACTIONS)
        rng = np.random.default_rng([study.by.seed, 103])
        self.removals = removals(sampled, [held.soft[i] for i in few], rng)
        study.watch.part(f"smallest masks{name} of {len(few)} sequences", 2 * PASSES * sampled.windows)
        self.smallest = self._smallest(sampled, few, ranks)
        self.verdicts = self._judged(hard)

    def _masks(self) -> dict[str, Pair]:
        """The Explainer's and every control, by name."""
        held, seed = self.held, self.study.by.seed
        masks = {MASK: on_tokens(held.hard, held.spans), f"{MASK} (soft)": _with_inverse(held.soft)}
        for number, (name, control) in enumerate(SAME_AREA.items()):
            if name != "other_sequence" or len(held.soft) > 1:
                masks[name] = on_tokens(control(np.random.default_rng([seed, number]), held), held.spans)
        for number, (name, reference) in enumerate(REFERENCES.items(), len(SAME_AREA)):
            label = f"{name} (soft)" if name == "constant" else name
            masks[label] = _with_inverse(reference(np.random.default_rng([seed, number]), held))
        return masks

    def _rows(self, masks: dict[str, Pair], hard: Both) -> dict[str, Both]:
        """Logits with each mask and with its inverse, the columns of this track; hard: those of the hard mask."""
        known = {MASK: hard, "all_ones": (self.full, self.null), "all_zeros": (self.null, self.full)}
        return {name: self._cut(known.get(name) or self._both(pair)) for name, pair in masks.items()}

    def _both(self, pair: Pair) -> Both:
        mask, inverse = map(self.study.scorer.logits, pair)
        return mask, inverse

    def _cut(self, both: Both) -> Both:
        """Copies of the columns of this track."""
        kept, removed = (logits[:, self.own].copy() for logits in both)
        return kept, removed

    def _in_order(
        self, scorer: Scorer, rows: NDArray[np.int64], fractions: tuple[float, ...]
    ) -> dict[str, AtFractions]:
        """Top fractions kept and removed in the order of the mask and at random; rows: what the scorer holds."""
        found = {}
        for name in (MASK, RANDOM):
            rng = np.random.default_rng([self.study.by.seed, 101])
            at_random = (rng.random(length).astype(np.float32) for length in scorer.lengths)
            order = (self.held.soft[i] for i in rows) if name == MASK else at_random
            found[name] = orders.at_fractions(scorer, order, rng, fractions)
        return found

    def _smallest(self, scorer: Scorer, rows: NDArray[np.int64], ranks: range) -> dict[str, NDArray[np.float64]]:
        """The smallest areas (k, ranks) that hold, in the mask's order and at random; rows: what the scorer holds."""
        rng = np.random.default_rng([self.study.by.seed, 107])
        at_random = [np.zeros(length, dtype=np.float32) for length in scorer.lengths]
        scores = {MASK: [self.held.soft[i] for i in rows], RANDOM: at_random}
        return {name: smallest_areas(scorer, of, ranks, rng) for name, of in scores.items()}

    def _judged(self, both: Both) -> Verdicts | None:
        """What the judge says of the hard masks, if there is one; both: what the classifier says (n, C)."""
        if self.study.judge is None:
            return None
        self.study.watch.part("the judge", len(VIEWS) * self.study.judge.scorer.windows)
        views = {"full": self.full, "masked": both[0], "inverse": both[1]}
        return self.study.judge.report(views, self.held.hard, self.held.spans, self.study.ranks)

    def rank(self, r: int) -> dict[str, Any]:
        """All figures of one rank."""
        study, by = self.study, self.study.by
        columns, reference = study.ranks.slices[r], study.reference[:, r]
        own = self.full[:, columns]
        null, few = self.null[:, columns], self.few
        of_track = slice(columns.start - self.own.start, columns.stop - self.own.start)
        rows = {name: (kept[:, of_track], removed[:, of_track]) for name, (kept, removed) in self.rows.items()}
        return {
            "classes": len(study.ranks.ranks[r].classes),
            "scored": int((reference >= 0).sum()),
            "majority_rate": metrics.majority_rate(reference),
            "full": scores.score(own, own, reference, by),
            "confidence": scores.confidence(own, reference, by) if study.labelled else None,
            "groups": scores.groups(
                {
                    view: of.argmax(axis=1)
                    for view, of in (("full", own), ("masked", rows[MASK][0]), ("inverse", rows[MASK][1]))
                },
                reference,
                study.reference[:, 0],
                study.ranks.ranks[0].classes,
                by,
            ),
            "rows": {
                name: {
                    "masked": scores.score(kept, own, reference, by),
                    "inverse": scores.score(removed, own, reference, by),
                }
                for name, (kept, removed) in rows.items()
            },
            **self._gaps(rows, own, reference),
            "fractions": {name: orders.accuracies(of, of_track, reference, by) for name, of in self.fractions.items()},
            "eraser": {name: orders.eraser(own, of, of_track, by, null) for name, of in self.fractions.items()},
            "auc": {name: orders.auc(own[few], of, columns, null[few], by.of(few)) for name, of in self.curves.items()},
            "smallest": {
                name: smallest_report(areas[:, r - self.ranks.start], by.of(few))
                for name, areas in self.smallest.items()
            },
            "calibration": calibration(self.full[few], self.removals, columns, by.of(few)),
            "probe": probe(self.held, reference, by),
            "judge": None if self.verdicts is None else self.verdicts.rank(r, reference, by),
        }

    def _gaps(self, rows: dict[str, Both], own: Logits, reference: NDArray[np.int64]) -> dict[str, Any]:
        """Masked accuracy of the mask less that of every control, of the best one, and of whole sequences; paired."""
        by, masked = self.study.by, rows[MASK][0]
        gaps = {name: scores.gap(masked, rows[name][0], reference, by) for name in SAME_AREA if name in rows}
        best = None
        if (reference >= 0).any():
            name = min(gaps, key=lambda name: gaps[name]["gap"])
            accuracy = metrics.accuracy(rows[name][0].argmax(axis=1), reference)
            best = {"name": name, "accuracy": accuracy, **gaps[name]}
        return {"best_control": best, "gaps": gaps, "above_full": scores.gap(masked, own, reference, by)}


def _with_inverse(masks: Sequence[NDArray[np.float32]]) -> Pair:
    """Masks m of tokens and 1 - m."""
    return list(masks), [np.float32(1) - mask for mask in masks]
