"""One evaluation: what the classifier says under the Explainer's masks and under everything that they must beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.evaluation import metrics
from seqmask.evaluation.controls import REFERENCES, SAME_AREA, MaskSet, top_fractions
from seqmask.evaluation.faithfulness import ERASER_FRACTIONS, aopc, comprehensiveness, sufficiency
from seqmask.evaluation.scoring import Scorer, TokenMasks
from seqmask.labels import Rank, Ranks
from seqmask.sequences.spans import lengths

FRACTIONS = (0.05, 0.1, 0.2, 0.4)  # of each sequence, for the kept / removed table
MASK = "seqmask"


@dataclass(slots=True)
class Study:
    """n sequences held for scoring. masks: (N_i, G) float32 keep probabilities, G = 1 or one a rank.

    reference (n, R): the classes that count as right, -1 left out; the true ones, or the classifier's own predictions.
    sequences: as in the records; tau: threshold of the hard masks.
    """

    scorer: Scorer
    masks: list[NDArray[np.float32]]
    reference: NDArray[np.int64]
    sequences: list[str]
    tau: float
    seed: int

    @property
    def ranks(self) -> Ranks:
        """Ranks of the classifier."""
        return self.scorer.model.ranks

    def run(self) -> dict[str, Any]:
        """Everything, as JSON-ready dicts: see docs/evaluation.md."""
        full = self.scorer.logits()
        tracks = self.masks[0].shape[1]
        result: dict[str, Any] = {"sequences": len(self.masks), "threshold": self.tau, "ranks": {}}
        spans = self.scorer.spans()
        for track in range(tracks):
            soft = [mask[:, track] for mask in self.masks]
            held = MaskSet(soft, [mask >= np.float32(self.tau) for mask in soft], spans, self.sequences)
            ranks = range(len(self.ranks.ranks)) if tracks == 1 else [track]
            rows = self._rows(held)
            fractions = self._fractions(held)
            for r in ranks:
                rank = self.ranks.ranks[r]
                result["ranks"][rank.name] = self._rank(r, rank, full, rows, fractions)
            shape = mask_shape(held)
            if tracks == 1:
                result["mask"] = shape
            else:
                result["ranks"][self.ranks.ranks[track].name]["mask"] = shape
        return result

    def _rows(self, held: MaskSet) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Logits (n, C) with the mask and with its inverse, for the Explainer and every control."""
        hard: TokenMasks = [kept.astype(np.float32) for kept in held.kept]
        masks: dict[str, TokenMasks] = {MASK: hard, f"{MASK} (soft)": list(held.soft)}
        for number, (name, control) in enumerate({**SAME_AREA, **REFERENCES}.items()):
            if name == "other_sequence" and len(held.soft) < 2:
                continue
            label = f"{name} (soft)" if name == "constant" else name
            masks[label] = control(np.random.default_rng([self.seed, number]), held)
        return {
            name: (self.scorer.logits(mask), self.scorer.logits([np.float32(1) - part for part in mask]))
            for name, mask in masks.items()
        }

    def _fractions(self, held: MaskSet) -> dict[str, dict[float, tuple[NDArray[np.float32], NDArray[np.float32]]]]:
        """Logits (n, C) when the top share of each sequence is kept and when it is removed: Explainer, random order."""
        found: dict[str, dict[float, tuple[NDArray[np.float32], NDArray[np.float32]]]] = {}
        wanted = sorted({*FRACTIONS, *ERASER_FRACTIONS})
        for name in (MASK, "random"):
            rng = np.random.default_rng([self.seed, 101])
            nested = []
            for soft, spans in zip(held.soft, held.spans, strict=True):
                scores = soft if name == MASK else rng.random(len(soft)).astype(np.float32)
                nested.append(top_fractions(scores, lengths(spans), wanted, rng))
            found[name] = {}
            for i, fraction in enumerate(wanted):
                kept: TokenMasks = [part[i].astype(np.float32) for part in nested]
                removed: TokenMasks = [np.float32(1) - part for part in kept]
                found[name][fraction] = (self.scorer.logits(kept), self.scorer.logits(removed))
        return found

    def _rank(
        self,
        r: int,
        rank: Rank,
        full: NDArray[np.float32],
        rows: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]],
        fractions: dict[str, dict[float, tuple[NDArray[np.float32], NDArray[np.float32]]]],
    ) -> dict[str, Any]:
        columns = self.ranks.slices[r]
        reference = self.reference[:, r]
        own = full[:, columns]
        result: dict[str, Any] = {
            "classes": len(rank.classes),
            "scored": int((reference >= 0).sum()),
            "majority_rate": metrics.majority_rate(reference),
            "full": self._score(own, own, reference),
            "rows": {
                name: {
                    "masked": self._score(kept[:, columns], own, reference),
                    "inverse": self._score(removed[:, columns], own, reference),
                }
                for name, (kept, removed) in rows.items()
            },
        }
        controls = {name: result["rows"][name]["masked"]["accuracy"] for name in SAME_AREA if name in result["rows"]}
        best = max(controls, key=lambda name: controls[name])
        gap = result["rows"][MASK]["masked"]["accuracy"] - controls[best]
        result["best_control"] = {"name": best, "accuracy": controls[best], "gap": gap}
        result["fractions"] = {
            name: {
                f"{fraction:g}": {
                    "kept": metrics.accuracy(of[fraction][0][:, columns].argmax(axis=1), reference),
                    "removed": metrics.accuracy(of[fraction][1][:, columns].argmax(axis=1), reference),
                }
                for fraction in FRACTIONS
            }
            for name, of in fractions.items()
        }
        result["eraser"] = {name: eraser(own, of, columns) for name, of in fractions.items()}
        return result

    def _score(
        self, logits: NDArray[np.float32], full: NDArray[np.float32], reference: NDArray[np.int64]
    ) -> dict[str, Any]:
        """Accuracy with its 95 % bootstrap interval, balanced accuracy, agreement with the full prediction and KL."""
        classes = logits.argmax(axis=1)
        low, high = metrics.bootstrap_interval(metrics.correct(classes, reference), self.seed)
        return {
            "accuracy": metrics.accuracy(classes, reference),
            "interval": [low, high],
            "balanced_accuracy": metrics.balanced_accuracy(classes, reference),
            "agreement": metrics.agreement(classes, full.argmax(axis=1)),
            "kl": float(metrics.kl_divergence(full, logits).mean()),
            "entropy": float(metrics.normalised_entropy(logits).mean()),
        }


def eraser(
    full: NDArray[np.float32], of: dict[float, tuple[NDArray[np.float32], NDArray[np.float32]]], columns: slice
) -> dict[str, float]:
    """AOPC of comprehensiveness and sufficiency (DeYoung et al. 2020) of the predicted class's probability."""
    classes = full.argmax(axis=1)
    rows = np.arange(len(full))

    def probability(logits: NDArray[np.float32]) -> NDArray[np.float64]:
        chosen: NDArray[np.float64] = metrics.softmax(logits)[rows, classes]
        return chosen

    only = np.stack([probability(of[fraction][0][:, columns]) for fraction in ERASER_FRACTIONS], axis=1)
    removed = np.stack([probability(of[fraction][1][:, columns]) for fraction in ERASER_FRACTIONS], axis=1)
    whole = probability(full)
    return {
        "comprehensiveness": float(aopc(comprehensiveness(whole, removed)).mean()),
        "sufficiency": float(aopc(sufficiency(whole, only)).mean()),
    }


def mask_shape(held: MaskSet) -> dict[str, Any]:
    """Size and shape of the masks: area of the hard and the soft one, binarity, variation, segments."""
    pairs = list(zip(held.kept, held.spans, strict=True))
    segments = [metrics.segment_lengths(kept, spans) for kept, spans in pairs]
    lengths_nt = np.concatenate(segments)
    soft = list(zip(held.soft, held.spans, strict=True))

    def of(values: Sequence[float]) -> dict[str, float]:
        found = metrics.summary(np.array(values))
        return {"mean": found.mean, "median": found.median, "p5": found.p5, "p95": found.p95}

    return {
        "area": of([metrics.area(kept.astype(np.float32), spans) for kept, spans in pairs]),
        "soft_area": of([metrics.area(mask, spans) for mask, spans in soft]),
        "binarity": float(np.mean([metrics.binarity(mask, spans) for mask, spans in soft])),
        "variation": float(np.mean([metrics.variation(mask, spans) for mask, spans in soft])),
        "segments": float(np.mean([len(part) for part in segments])),
        "median_segment_nt": float(np.median(lengths_nt)) if len(lengths_nt) else float("nan"),
    }


def red_flags(result: dict[str, Any]) -> list[str]:
    """What speaks against believing these masks, one sentence each; empty when nothing does.

    The rules and their limits are explained in docs/evaluation.md.
    """
    flags = []
    for name, rank in result["ranks"].items():
        rows = rank["rows"]
        mask, soft, constant = rows[MASK], rows[f"{MASK} (soft)"], rows["constant (soft)"]
        if rank["best_control"]["gap"] <= 0:
            control = rank["best_control"]["name"]
            flags.append(f"{name}: the control `{control}` of the same area keeps as much accuracy as the mask")
        if constant["masked"]["accuracy"] >= soft["masked"]["accuracy"]:
            flags.append(f"{name}: a constant mask keeps as much as the soft mask: soft figures say nothing here")
        if mask["masked"]["interval"][0] > rank["full"]["interval"][1]:
            flags.append(f"{name}: masked accuracy is above full accuracy: the mask may carry the label")
        gone = mask["inverse"]["accuracy"] - rows["random"]["inverse"]["accuracy"]
        if gone >= 0:
            flags.append(f"{name}: without the mask's tokens as much is left as without random ones: not necessary")
    return flags
