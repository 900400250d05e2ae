"""Ways to hide a token side by side: each with a classifier trained to expect it, all else alike.

    python benchmarks/operators.py SEQS -l LABELS [--judge ssu] [--operators gate,blend,scale] [-o runs/operators]

For each operator: a classifier, its Explainer and their `evaluate` report on `--split`, from the same sequences with
the same seed and number of steps, then the same for a planted task (benchmarks/planted.py). Prints for each rank:
accuracy in full; with hard masks, their inverse, and the best control of the same area; under a constant soft mask of
the mask's mean (an operator that still reads faint embeddings loses nothing there); the area; the judge's accuracy in
full and on hard masks, which owes nothing to the operator; and the planted task's AUPRC by token and nucleotide. The
judge is a model directory or the name of a model that ships. An operator that the self-test refuses is said to be.
What is finished in -o is not done again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planted import Settings, compare, prepare

from seqmask.commands.evaluate import evaluate
from seqmask.commands.train_classifier import train_classifier
from seqmask.commands.train_explainer import train_explainer
from seqmask.config import ClassifierOptions, Compute, EvaluateOptions, ExplainerOptions
from seqmask.errors import SeqmaskError, StoppedError
from seqmask.evaluation.rivals.compare import OWN
from seqmask.models.storage import write_json

HEADER = ("operator", "rank", "full", "masked", "inverse", "control", "constant", "area", "judge", "judge masked")


def main(argv: Sequence[str] | None = None) -> None:
    """Train, score and print a line for each operator and rank."""
    args = options(argv)
    print(" ".join(f"{name:>12}" for name in HEADER), flush=True)
    planted = []
    for operator in args.operators.split(","):
        directory = args.output / operator
        try:
            for rank, of in report(operator, directory, args)["ranks"].items():
                print(" ".join(f"{cell:>12}" for cell in (operator, rank, *cells(of))), flush=True)
            planted.append(f"{operator:>12} {truth(operator, directory / args.task, args)}")
        except StoppedError:
            raise
        except SeqmaskError as error:
            print(f"{operator:>12} {error}", flush=True)
    print(f"\nplanted task {args.task}, AUPRC token / nt\n" + "\n".join(planted))


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sequences", type=Path)
    parser.add_argument("-l", "--labels", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/operators"))
    parser.add_argument("--operators", default="gate,blend,scale")
    parser.add_argument("--judge", default="ssu")
    parser.add_argument("--split", default="test_species")
    parser.add_argument("--limit", type=int, default=150, help="sequences that are scored; 0 = all")
    parser.add_argument("--size", default="mini")
    parser.add_argument("--bag-epochs", type=float, default=10)
    parser.add_argument("--steps", type=int, default=400, help="training batches of a classifier")
    parser.add_argument("--explainer-steps", type=int, default=40)
    parser.add_argument("--task", default="several", help="planted task")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(argv)


def report(operator: str, directory: Path, args: argparse.Namespace) -> dict[str, Any]:
    """What `evaluate` finds of a classifier and Explainer trained with this operator."""
    compute = Compute(precision="fp32", threads=args.threads)
    common: dict[str, Any] = {"seed": args.seed, "compute": compute, "force": True}
    data: dict[str, Any] = {"sequences": [args.sequences], "labels": args.labels}
    classifier, model, path = (directory / name for name in ("classifier", "model", "report.json"))
    if not (classifier / "report.json").exists():
        settings = ClassifierOptions(
            **common,
            **data,
            output=classifier,
            operator=operator,
            size=args.size,
            canonical=True,
            whole_share=0.5,
            max_tokens=320,
            min_per_class=4,
            bag_epochs=args.bag_epochs,
            steps=args.steps,
            learning_rate=4e-4,
        )
        train_classifier(settings, lambda progress: None, lambda line: None)
    if not (model / "explainer-report.json").exists():
        explainer = ExplainerOptions(
            **common,
            **data,
            output=model,
            classifier=classifier,
            mask_per_rank=True,
            target_area=0.25,
            learning_rate=3e-4,
            effect_tokens=10,
            steps=args.explainer_steps,
            batch_tokens=4096,
            validations=1,
            validation_limit=150,
        )
        train_explainer(explainer, lambda progress: None, lambda line: None)
    if not path.exists():
        scoring = EvaluateOptions(
            **common,
            sequences=[str(args.sequences)],
            labels=args.labels,
            model=str(model),
            judge=args.judge,
            split=args.split,
            limit=args.limit,
            sample=10,
            json=path,
        )
        evaluate(scoring, lambda line: None)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def cells(of: dict[str, Any]) -> list[str]:
    """One rank of a report as text, in the order of HEADER."""
    own, judge = of["rows"]["seqmask"], of["judge"]["judge"]
    values = (
        of["full"]["accuracy"],
        own["masked"]["accuracy"],
        own["inverse"]["accuracy"],
        of["best_control"]["accuracy"],
        of["rows"]["constant (soft)"]["masked"]["accuracy"],
        of["mask"]["area"]["mean"],
        judge["full"]["mean"],
        judge["masked"]["mean"],
    )
    return [f"{value:.3f}" for value in values]


def truth(operator: str, directory: Path, args: argparse.Namespace) -> str:
    """AUPRC of the masks of a planted task, its classifier trained with this operator."""
    path = directory / "planted.json"
    if not path.exists():
        result = prepare(args.task, directory, args.seed, args.threads, False, Settings({}, {"operator": operator}, {}))
        write_json(path, {**result, "methods": compare(directory, "", 100, args.seed)})
    found = json.loads(path.read_text())
    of = found["methods"][OWN.name]["all"]["deciding"]
    token, nt = (of[level]["auprc"]["mean"] for level in ("token", "nt"))
    return f"{token:.3f} / {nt:.3f}, accuracy of the classifier {min(found['accuracy'].values()):.3f}"


if __name__ == "__main__":
    main()
