"""What is plotted of a training."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from seqmask.results.curves import Panel


def training_panels(
    history: Sequence[dict[str, float]], validated: Sequence[dict[str, Any]], names: Sequence[str]
) -> list[Panel]:
    """What is plotted of a training: terms of the loss, the mask, and what hard masks kept and left on `val`."""
    rows = smoothed(history)
    shape = ("mean_mask", "spread")
    terms = [name for name in dict.fromkeys(itertools.chain(*rows)) if name not in ("step", *shape)]

    def line(of: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
        return {name: [(row["step"], row[name]) for row in rows if name in row] for name in of}

    panels = [Panel("terms of the loss (mean of the steps around)", line(terms))]
    panels.append(Panel("mask: mean, and standard deviation within sequences", line(shape if rows else ())))
    kept: dict[str, list[tuple[float, float]]] = {}
    for entry in validated:
        for point in entry["chosen"]:
            for i, rank in enumerate(point["ranks"]):
                for what in ("kept", "removed"):
                    kept.setdefault(f"{names[rank]} {what}", []).append((entry["step"], point[what][i]))
            track = "area" if len(point["ranks"]) == len(names) else f"area {names[point['ranks'][0]]}"
            kept.setdefault(track, []).append((entry["step"], point["area"]))
    return [*panels, Panel("val: accuracy of kept and removed part, of full; area kept", kept)]


def smoothed(history: Sequence[dict[str, float]], points: int = 100) -> list[dict[str, float]]:
    """Means of the logged rows over at most `points` stretches of like length; a term counts where it is logged."""
    parts = np.array_split(np.arange(len(history)), min(points, len(history))) if history else []
    stretches = [[history[i] for i in part] for part in parts]
    return [
        {key: float(np.mean([row[key] for row in rows if key in row])) for key in dict.fromkeys(itertools.chain(*rows))}
        for rows in stretches
    ]
