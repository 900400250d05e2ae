"""Importance inside annotated intervals against the rest of the same sequences. Pure functions; numpy only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.evaluation.intervals import BedInterval, track_of
from seqmask.evaluation.resampling import ENDS, Resampling
from seqmask.sequences.spans import Spans, spread, under

ANY = "any"  # all kinds together

Floats = NDArray[np.float32] | NDArray[np.float64]


@dataclass(slots=True)
class Sums:
    """Sums over the sequences of one kind of annotation, a row each.

    importance (n, 4): summed m inside, nt inside, summed m outside, nt outside. kept (n, 4): kept and all nt inside,
    kept and all outside. rows (n,): which sequences.
    """

    importance: list[list[float]] = field(default_factory=list)
    kept: list[list[float]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)


def score_annotations(
    masks: Sequence[Floats],
    spans: Sequence[Spans],
    intervals: Sequence[Sequence[BedInterval]],
    lengths: Sequence[int],
    threshold: float,
    by: Resampling,
) -> dict[str, Any]:
    """Whether importance gathers inside each kind of annotation, over n annotated sequences; JSON-ready.

    masks: (N_i,) in [0, 1], one a token. spans: (N_i, 2) nt of the tokens, which may overlap. intervals: of each
    sequence; their kinds are the names, of a name such as CDS:COX1 the part before the colon, too, and ANY. lengths: nt
    of each sequence. threshold: tau; nucleotides under tokens with m >= tau are kept.

    For each kind, sequences by sequences that hold it and something else, pooled over nucleotides: `inside` and
    `outside` (mean m), their `ratio`, `kept_inside` and `kept_outside` (share that is kept), `kept_ratio`, each with
    its 95 % bootstrap `interval` over sequences; `sequences`, `nucleotides` inside, and `whole`: sequences that lie
    inside from end to end, which have no rest to compare with and are left out.
    """
    sums: dict[str, Sums] = defaultdict(Sums)
    whole: dict[str, int] = defaultdict(int)
    for i, (mask, places, items, length) in enumerate(zip(masks, spans, intervals, lengths, strict=True)):
        track = spread(mask.astype(np.float32), places, length)
        covered = ~np.isnan(track)
        kept = under(mask >= np.float32(threshold), places, length)
        for kind, of_kind in by_kind(items).items():
            inside = track_of(of_kind, length)
            if inside[covered].all() or not inside.any():
                whole[kind] += bool(inside.any())
                continue
            sums[kind].rows.append(i)
            sums[kind].importance.append(_split(track[covered].astype(np.float64), inside[covered]))
            sums[kind].kept.append(_split(kept[covered].astype(np.float64), inside[covered]))
    return {
        kind: {**figures(sums[kind], by), "whole": whole[kind]} if kind in sums else {"sequences": 0, "whole": count}
        for kind, count in [(kind, whole[kind]) for kind in sorted({*sums, *whole})]
    }


def by_kind(intervals: Sequence[BedInterval]) -> dict[str, list[BedInterval]]:
    """Intervals by name, by the part of it before a colon, and all as ANY; nameless ones are `annotated`."""
    kinds: dict[str, list[BedInterval]] = defaultdict(list)
    for item in intervals:
        name = item.name or "annotated"
        for kind in dict.fromkeys((name.partition(":")[0], name, ANY)):
            kinds[kind].append(item)
    return kinds


def figures(sums: Sums, by: Resampling) -> dict[str, Any]:
    """The figures of one kind with intervals, from the sums of its sequences."""
    importance, kept = np.array(sums.importance), np.array(sums.kept)
    by = by.of(np.array(sums.rows))
    lone = by.too_few(len(importance))
    result: dict[str, Any] = {"sequences": len(importance), "nucleotides": int(importance[:, 1].sum())}
    for names, table in (
        (("inside", "outside", "ratio"), importance),
        (("kept_inside", "kept_outside", "kept_ratio"), kept),
    ):
        values = _ratios(table.sum(axis=0))
        drawn = _ratios(by.drawn(by.pooled(table)))
        for name, value, of_draws in zip(names, values, drawn, strict=True):
            known = of_draws[~np.isnan(of_draws)]
            low, high = np.percentile(known, ENDS) if known.size and not lone else (np.nan, np.nan)
            result[name] = {"mean": float(value), "interval": [float(low), float(high)]}
    return result


def _split(values: NDArray[np.float64], inside: NDArray[np.bool_]) -> list[float]:
    """Sum and number of the values inside and outside."""
    number = int(inside.sum())
    within = float(values[inside].sum())
    return [within, number, float(values.sum()) - within, inside.size - number]


def _ratios(sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Mean inside, mean outside and their ratio, from sums (..., 4); NaN where nothing is divided by."""
    with np.errstate(invalid="ignore", divide="ignore"):
        inside, outside = sums[..., 0] / sums[..., 1], sums[..., 2] / sums[..., 3]
        ratio = np.where(outside > 0, inside / outside, np.nan)
    return inside, outside, ratio
