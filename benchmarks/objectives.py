"""Forms of the Explainer's objective side by side: same classifier, sequences, seed and number of steps.

    python benchmarks/objectives.py CLASSIFIER SEQS -l LABELS [--split val] [--limit 200] [--steps 200] [--variants ...]

For each variant: accuracy when the top 5, 10, 20 and 40 % of each sequence are kept | removed (mean over ranks), the
separation (mean over areas and ranks of kept minus removed), and area, kept and removed at the threshold chosen on
`val`. `start` is the untrained Explainer, the classifier's class activation map. Classes are the true ones.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqmask.commands.inputs import read_labelled
from seqmask.commands.train_explainer import train_explainer
from seqmask.config import Compute, ExplainerOptions
from seqmask.evaluation.orders import FRACTIONS, accuracies, at_fractions, separations
from seqmask.evaluation.resampling import Resampling, estimate_over_columns
from seqmask.evaluation.scoring import Scorer
from seqmask.inference.device import options_of
from seqmask.inference.engine import Engine
from seqmask.models.checkpoint import ClassifierModel, load_classifier, load_model
from seqmask.models.explainer import Explainer

VARIANTS: dict[str, dict[str, Any]] = {
    "budget": {},
    "budget, entropy": {"necessity_kind": "entropy"},
    "budget, null": {"necessity_kind": "null"},
    "budget, kl": {"target": "kl"},
    "budget, necessity 3": {"necessity_weight": 3.0},
    "constrained": {"form": "constrained", "area_weight": 1.0},
    "weighted": {"form": "weighted", "area_weight": 1.0, "necessity_kind": "entropy"},
    "weighted, soft": {"form": "weighted", "area_weight": 1.0, "necessity_kind": "entropy", "soft": True},
}


def main(argv: Sequence[str] | None = None) -> None:
    """Train and score every variant; print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("classifier", type=Path)
    parser.add_argument("sequences", type=Path)
    parser.add_argument("-l", "--labels", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--validation-limit", type=int, default=150, help="sequences that thresholds are chosen on")
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--learning-rate", type=float, default=ExplainerOptions().learning_rate)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), metavar="NAME", help=", ".join(VARIANTS))
    parser.add_argument("--work", type=Path, default=Path("runs/objectives"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)

    model = load_classifier(args.classifier)
    labelled = read_labelled([args.sequences], args.labels, model.ranks.names, model.tokenizer.shortest)
    records = labelled.splits[args.split]
    chosen = np.random.default_rng(1).choice(len(records), min(args.limit, len(records)), replace=False)
    records = [records[i] for i in sorted(chosen.tolist())]
    compute = Compute(device=args.device, precision="fp32", threads=args.threads)
    scorer = Scorer.of(records, model, Engine(options_of(compute)[0]))
    reference = labelled.encode([item.record for item in scorer.prepared], model.ranks)
    print(f"{len(scorer.prepared)} sequences of {args.split}; kept | removed, mean over {', '.join(model.ranks.names)}")
    names = " ".join(f"{f'top {fraction:.0%}':>11}" for fraction in FRACTIONS)
    print(f"{'':24} {'separation':>10} {names} {'threshold: area, kept | removed':>32} seconds")
    tracks = len(model.ranks.names)
    found = {"start": row(scorer, model, Explainer.like(model.network, 0, tracks), reference, [], 0.0)}
    for name in args.variants:
        options = ExplainerOptions(
            classifier=args.classifier,
            sequences=[args.sequences],
            labels=args.labels,
            effects_share=0.0,  # what is compared is the loss of drawn masks
            output=args.work / name.replace(", ", "-").replace(" ", "-"),
            mask_per_rank=True,
            steps=args.steps,
            batch_tokens=args.batch_tokens,
            learning_rate=args.learning_rate,
            validations=1,
            validation_limit=args.validation_limit,
            force=True,
            compute=compute,
            **VARIANTS[name],
        )
        begin = time.perf_counter()
        report = train_explainer(options, lambda progress: None, lambda line: None)
        seconds = time.perf_counter() - begin
        explainer = load_model(options.output).explainer
        found[name] = row(scorer, model, explainer, reference, report["chosen"], seconds)
    for name, values in found.items():
        print(line(name, values), flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


def row(
    scorer: Scorer,
    model: ClassifierModel,
    explainer: Explainer,
    reference: np.ndarray[Any, np.dtype[np.int64]],
    chosen: list[dict[str, Any]],
    seconds: float,
) -> dict[str, Any]:
    """Separation and accuracies at the top shares of one Explainer, each rank under its own track."""
    masks = scorer.masks(explainer.eval())
    ranks, orders = [], []
    for r, columns in enumerate(model.ranks.slices):
        track = [mask[:, r] for mask in masks]
        of = at_fractions(scorer, track, np.random.default_rng(1), FRACTIONS)
        orders.append(of)
        ranks.append(accuracies(of, columns, reference[:, r], Resampling(1)))
    points = [
        [float(np.nanmean([rank[f"{f:g}"][side] for rank in ranks])) for side in ("kept", "removed")] for f in FRACTIONS
    ]
    apart = estimate_over_columns(separations(orders, model.ranks.slices, reference), Resampling(1))["mean"]
    return {"separation": apart, "top": points, "chosen": chosen, "seconds": seconds, "ranks": ranks}


def line(name: str, values: dict[str, Any]) -> str:
    """One variant as text; kept and removed at the threshold are shares of the full accuracy."""
    top = " ".join(f"{kept:.3f}|{removed:.3f}" for kept, removed in values["top"])
    at = ""
    if values["chosen"]:
        area, kept, removed = (
            np.mean([np.mean(point[key]) for point in values["chosen"]]) for key in ("area", "kept", "removed")
        )
        at = f"{area:.3f}, {kept:.3f} | {removed:.3f}"
    return f"{name:24} {values['separation']:>10.3f} {top} {at:>32} {values['seconds']:>7.0f}"


if __name__ == "__main__":
    main()
