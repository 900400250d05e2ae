"""Draws accuracy kept and removed against the top share, from a report of `seqmask evaluate --rivals --json`.

    python benchmarks/frontier.py docs/models/ssu/rivals.json -o docs/models/ssu/frontier.png

A column a rank. Above: all sequences; the order of the mask and a random one at the top shares, and at its own area the
hard mask and the controls. Top shares are of tokens and an area is of nucleotides: of several frames, where the two are
not the same, neither is drawn. Below: the sequences that the rivals were run on, an order a rank. Solid: only the top
share is shown; dashed: it alone is hidden. A mask that is small, sufficient and necessary lies at the left, its solid
line at the full accuracy and its dashed one at the majority rate. Needs matplotlib (extra `plot`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

CONTROLS = ("random", "shuffled", "shifted", "other_sequence", "complexity", "gc")
# Okabe and Ito's colours, distinct to all eyes, and a brown
OKABE_ITO = ("#000000", "#999999", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#E69F00")
COLOURS = (*OKABE_ITO, "#8C564B")


def main(argv: Sequence[str] | None = None) -> None:
    """Write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="PNG, SVG or PDF")
    args = parser.parse_args(argv)
    report = json.loads(args.report.read_text())
    if not report.get("rivals"):
        parser.error(f"{args.report}: no rivals in it; run seqmask evaluate with --rivals")
    figure(report).savefig(args.output, dpi=110)


def figure(report: Mapping[str, Any]) -> Any:
    """The matplotlib figure of a report."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ranks, rivals = report["ranks"], report["rivals"]
    drawn = Figure(figsize=(4.2 * len(ranks) + 1.6, 7.2), layout="constrained")
    FigureCanvasAgg(drawn)
    above, below = drawn.subplots(2, len(ranks), squeeze=False, sharex=True)
    for axes, (name, rank) in zip(above, ranks.items(), strict=True):
        lines(axes, {of: rank["fractions"][of] for of in ("seqmask", "random")})
        if report["frames"] == 1:
            threshold(axes, rank)
        axes.axhline(rank["full"]["accuracy"], color="#0072B2", linewidth=0.8, label="full")
        axes.axhline(rank["majority_rate"], color="#D55E00", linewidth=0.8, label="majority")
        axes.set_title(f"{name}: {rank['scored']} sequences")
    methods = rivals["methods"]
    for axes, name in zip(below, ranks, strict=True):
        orders = {of: method["per_rank"] or method["shared"] for of, method in methods.items()}  # some know no ranks
        lines(axes, {of: order["ranks"][name]["fractions"] for of, order in orders.items()})
        axes.set_title(f"{name}: rivals, at most {rivals['sequences']} sequences")
        axes.set_xlabel("top share, % of the tokens")
    above[0].set_ylabel("accuracy")
    below[0].set_ylabel("accuracy")
    above[-1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.02, 1))
    below[-1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.02, 1))
    drawn.suptitle(f"{report['model']}, {report['split']}: solid, only that share is shown; dashed, only it is hidden")
    return drawn


def lines(axes: Any, methods: Mapping[str, Any]) -> None:
    """Kept and removed of each method, {share: {kept, removed}} by name, over the share."""
    for (name, shares), colour in zip(methods.items(), cycle(COLOURS)):
        percent = [100 * float(share) for share in shares]
        style = {"color": colour, "linewidth": 2.4 if name == "seqmask" else 1.2}
        axes.plot(percent, [of["kept"] for of in shares.values()], label=name, **style)
        axes.plot(percent, [of["removed"] for of in shares.values()], linestyle="--", **style)
    axes.set_ylim(-0.03, 1.03)


def threshold(axes: Any, rank: Mapping[str, Any]) -> None:
    """At the mask's own area: kept and removed by it and by the controls."""
    area, rows = 100 * rank["mask"]["area"]["mean"], rank["rows"]
    for side, marker in (("masked", "^"), ("inverse", "v")):
        controls = [rows[name][side]["accuracy"] for name in CONTROLS if name in rows]
        axes.plot([area] * len(controls), controls, marker, color="#999999", markersize=5, linestyle="none")
        own = rows["seqmask"][side]["accuracy"]
        axes.plot([area], [own], marker, color="#000000", markersize=9, label=f"{side}, own threshold")


if __name__ == "__main__":
    main()
