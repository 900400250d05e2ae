"""Do the masks come from the classifier's weights? The randomisation test of Adebayo et al. 2018.

    python benchmarks/sanity.py MODEL SEQS... [--labels TSV] [--steps 200] [--count 50] [--output DIR] [--seed 1]

Shuffles the weights of the model's classifier (within every tensor: of the heads only, then of everything), trains an
Explainer for each of these classifiers with the settings of the model's own, and prints Spearman's correlation of its
masks with the model's masks over the nucleotides of --count sequences, mean and 95 % interval. Masks that show what the
classifier computes have little in common with those of a shuffled one. The row `same` is the yardstick: an Explainer
trained in the same way, with another seed, for the classifier as it is. SEQS and --labels are those that the model was
trained with; masks are compared on sequences of split `val` (without one, on the last of SEQS).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from seqmask.commands.inputs import read_labelled
from seqmask.commands.train_explainer import train_explainer
from seqmask.config import Compute, ExplainerOptions
from seqmask.evaluation.consistency import Reading, correlations
from seqmask.evaluation.resampling import estimate
from seqmask.evaluation.scoring import Scorer
from seqmask.inference.engine import Engine
from seqmask.models.bundled import resolve
from seqmask.models.checkpoint import Model, load_model, save_classifier
from seqmask.models.classifier import Classifier
from seqmask.sequences.records import Record

KINDS = ("same", "heads", "all")


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    args = options(argv)
    path = resolve(args.model)
    model = load_model(path)
    labelled = read_labelled(args.sequences, args.labels, model.classifier.ranks.names)
    records = (labelled.splits.get("val") or labelled.splits["train"])[-args.count :]
    by = labelled.resampling(records, labelled.resampled_by(), args.seed)
    own = Reading.of(read_with(model, records), model.explainer)
    print("Spearman of nucleotide importances with those of the model, mean over sequences (95 % interval)", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for kind in KINDS:
            trained = retrain(path, kind, args.output or Path(scratch), args)
            theirs = Reading.of(read_with(trained, records), trained.explainer)
            for track in range(model.explainer.tracks):
                values = correlations(own.tracks(track), theirs.tracks(track), len(records), lambda *both: both)
                of = estimate(values, by)
                name = f" {model.classifier.ranks.names[track]}" if model.explainer.tracks > 1 else ""
                print(
                    f"{kind + name:<20} {of['mean']:+.3f} ({of['interval'][0]:+.3f} to {of['interval'][1]:+.3f})",
                    flush=True,
                )


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("sequences", type=Path, nargs="+", metavar="SEQS")
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--steps", type=int, default=200, help="training steps of each Explainer")
    parser.add_argument("--count", type=int, default=50, help="sequences whose masks are compared")
    parser.add_argument("--output", type=Path, help="keep what is trained here")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(argv)


def read_with(model: Model, records: Sequence[Record]) -> Scorer:
    return Scorer.of(records, model.classifier, Engine(), model.operator, 0, model.frames)


def retrain(path: Path, kind: str, scratch: Path, args: argparse.Namespace) -> Model:
    """An Explainer for the classifier of a model directory with shuffled weights, trained as the model's own was."""
    model = load_model(path)
    if kind != "same":
        shuffle(model.classifier.network, kind, args.seed)
    classifier = scratch / kind / "classifier"
    save_classifier(
        classifier, model.classifier.network, model.classifier.tokenizer, model.classifier.ranks, {"shuffled": kind}
    )
    settings = replace(
        stored_options(model.settings.get("options", {})),
        classifier=classifier,
        explainer="",  # a new one, also where the model's own began with another
        sequences=args.sequences,
        labels=args.labels,
        output=scratch / kind / "model",
        operator=model.operator,
        force_operator=True,  # a shuffled classifier need not respond to masks as a trained one does
        mask_per_rank=model.explainer.tracks > 1,
        frames=model.frames,
        steps=args.steps,
        validations=1,
        validation_limit=50,  # for a threshold that is not compared
        resume=False,
        force=True,
        seed=args.seed + 1,
        compute=Compute(),
    )
    train_explainer(settings, lambda progress: None, lambda line: None)
    return load_model(settings.output)


def stored_options(stored: dict[str, Any]) -> ExplainerOptions:
    """The options that a model directory keeps; those of another version that are no longer there are left out."""
    known = {field.name for field in fields(ExplainerOptions)}
    return ExplainerOptions(**{name: value for name, value in stored.items() if name in known})


@torch.no_grad()
def shuffle(network: Classifier, kind: str, seed: int) -> None:
    """Permute the weights within each tensor, of the heads or of everything: the same values, and nothing learned."""
    generator = torch.Generator().manual_seed(seed)
    parts: Iterable[torch.Tensor] = (network.head if kind == "heads" else network).parameters()
    for weight in parts:
        order = torch.randperm(weight.numel(), generator=generator)
        weight.copy_(weight.flatten()[order].view_as(weight))


if __name__ == "__main__":
    main()
