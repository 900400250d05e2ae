"""Red flags: what speaks against believing masks, read off a finished report. Plain rules, no arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

MARGIN = 0.05  # five points of accuracy
POSITION = 0.5  # share of the mask's variance


def red_flags(result: dict[str, Any]) -> list[str]:
    """What speaks against believing these masks, one sentence each; empty when nothing does.

    The rules and their limits are explained in docs/evaluation.md. A rank without a scored sequence has none: the
    report says so itself.
    """
    return [
        f"{name}: {sentence}"
        for name, rank in result["ranks"].items()
        if rank["scored"]
        for sentence in _of_rank(rank, rank.get("mask") or result["mask"])
    ]


def _of_rank(rank: dict[str, Any], shape: dict[str, Any]) -> Iterator[str]:
    rows, best = rank["rows"], rank["best_control"]
    mask, soft, constant = rows["seqmask"], rows["seqmask (soft)"], rows["constant (soft)"]
    if best["gap"] <= 0:
        yield f"the control `{best['name']}` of the same area keeps as much accuracy as the mask"
    if constant["masked"]["accuracy"] >= soft["masked"]["accuracy"]:
        yield "a constant mask keeps as much as the soft mask: soft figures say nothing here"
    if rank["above_full"]["interval"][0] > 0:
        yield "masked accuracy is above full accuracy: the mask may carry the label"
    if mask["inverse"]["accuracy"] >= rows["random"]["inverse"]["accuracy"]:
        yield "without the mask's tokens as much is left as without random ones: not necessary"
    least = rank["smallest"]
    if least["seqmask"]["area"]["mean"] >= least["random"]["area"]["mean"]:
        yield "in a random order no more of the sequence is needed until a mask holds"
    yield from _leakage(rank)
    other = rank["gaps"].get("other_sequence")
    if other is not None and other["interval"][0] <= 0 and shape["position"] > POSITION:
        yield (
            f"relative position alone explains {shape['position']:.0%} of the mask, and another sequence's mask keeps"
            " as much: the mask knows positions only"
        )


def _leakage(rank: dict[str, Any]) -> Iterator[str]:
    probe, judge = rank["probe"], rank["judge"]
    needless = max(probe["majority_rate"], probe["length_accuracy"])
    if probe["accuracy"] > needless + MARGIN and probe["excess"]["interval"][0] > 0:
        yield (
            f"the class can be told from the mask alone, without a nucleotide (probe {probe['accuracy']:.3f}, without"
            f" the mask {needless:.3f}): the mask may carry the label"
        )
    if judge is not None and judge["gap"]["interval"][0] > MARGIN and judge["excess"]["interval"][0] > 0:
        yield (
            f"an independent judge finds less in the masked sequence (accuracy lower by {judge['gap']['mean']:.3f}):"
            " the mask may speak to its own classifier only"
        )
