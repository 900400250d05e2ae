"""The profile along a reference as a table and as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.errors import UsageError, install
from seqmask.results.text import cell, encode

COLUMNS = (
    *("rank", "start", "end", "base", "regions", "sequences"),
    *("importance", "importance_low", "importance_high", "kept", "kept_low", "kept_high"),
)
FORMATS = (".png", ".svg", ".pdf")
SMOOTH = 15  # nt of the running mean that is drawn over the single positions

Region = tuple[str, int, int]
"""Name, start and end (0-based, half-open) on the reference."""


def table(
    sequence: str, names: Sequence[str], sequences: NDArray[np.int64], values: Any, regions: list[Region]
) -> bytes:
    """One line a rank and position of the reference: COLUMNS, a cell empty where no sequence stands.

    names: of the G masks. sequences (L,). values (6, G, L): the last six columns. regions: what the fifth one names.
    """
    inside = [[name for name, start, end in regions if start <= at < end] for at in range(len(sequence))]
    lines = ["\t".join(COLUMNS)]
    for track, rank in enumerate(names):
        for at, base in enumerate(sequence):
            figures = ("" if np.isnan(value) else f"{value:.4f}" for value in values[:, track, at])
            first = (cell(rank), str(at), str(at + 1), base, ",".join(map(cell, inside[at])), str(sequences[at]))
            lines.append("\t".join((*first, *figures)))
    return encode("\n".join([*lines, ""]))


def check_figure(path: Path) -> None:
    """Raise UsageError where a figure cannot be drawn: another format, or no matplotlib."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: expected a name that ends in one of {', '.join(FORMATS)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError(f"a figure needs matplotlib; {install('plot')}") from error


def figure(
    target: Path,
    kind: str,
    title: str,
    names: Sequence[str],
    sequences: NDArray[np.int64],
    values: Any,
    regions: Sequence[Region],
) -> None:
    """Draw importance and kept share of each mask along the reference, regions shaded; arguments as for `table`.

    target: the file; kind: its format, png, svg or pdf. Lines are running means over SMOOTH nt, bands their intervals.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(11, 1 + 2 * len(names)), layout="constrained")
    FigureCanvasAgg(drawn)
    axes = drawn.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    at = np.arange(len(sequences)) + 0.5
    for track, (axis, name) in enumerate(zip(axes, names, strict=True)):
        for i, (first, label) in enumerate(((0, "importance"), (3, "kept"))):
            mean, low, high = (smoothed(values[first + k, track]) for k in range(3))
            axis.fill_between(at, low, high, color=f"C{i}", alpha=0.25, linewidth=0)
            axis.plot(at, mean, color=f"C{i}", linewidth=1, label=label)
        for region, start, end in regions:
            axis.axvspan(start, end, color="0.9", zorder=0, linewidth=0)
            if track == 0:
                axis.annotate(
                    region, ((start + end) / 2, 1.02), xycoords=("data", "axes fraction"), ha="center", size=8
                )
        axis.set_ylabel(name)
        axis.set_ylim(bottom=0)
        axis.margins(x=0)
    axes[0].legend(loc="upper right", frameon=False, ncols=2, fontsize=8)
    axes[-1].set_xlabel("position in the reference (nt, from 0)")
    drawn.suptitle(title, fontsize=10)
    drawn.savefig(target, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)


def smoothed(values: NDArray[np.float64], width: int = SMOOTH) -> NDArray[np.float64]:
    """Running mean (L,) over `width` nt, an odd number; NaN values are left out, NaN where there is no other."""
    known = ~np.isnan(values)
    ones = np.ones(width)
    total = np.convolve(np.where(known, values, 0), ones, mode="same")
    count = np.convolve(known.astype(np.float64), ones, mode="same")
    mean: NDArray[np.float64] = np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0.5)
    mean[~known] = np.nan
    return mean
