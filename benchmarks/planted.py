"""Do the masks find what decides? Planted motifs, six tasks, and other attribution methods on the same classifier.

    python benchmarks/planted.py -o planted [--tasks one,nested] [--json planted.json]

For each task: sequences whose explanation is known (`seqmask simulate`), a small classifier, an Explainer, both trained
here by the functions behind the commands, then the masks and the rivals scored against the truth of test sequences on
which the classifier is right and occluding the truth changes its class. Prints AUPRC by token and nucleotide beside the
prevalence, the share of decoys among the top-scored, and who wins. A task takes minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqmask.commands.simulate import simulate
from seqmask.commands.train_classifier import train_classifier
from seqmask.commands.train_explainer import train_explainer
from seqmask.config import TASK_NAMES, ClassifierOptions, Compute, ExplainerOptions, SimulateOptions
from seqmask.errors import UsageError
from seqmask.evaluation.intervals import read_bed
from seqmask.evaluation.known import truth_report, truths_of
from seqmask.evaluation.resampling import Resampling
from seqmask.evaluation.rivals.compare import OWN, Comparison, shared
from seqmask.evaluation.rivals.names import parse
from seqmask.evaluation.scoring import Scorer
from seqmask.evaluation.truth import truth_of
from seqmask.inference.engine import Engine
from seqmask.labels.tables import read_labels
from seqmask.models.checkpoint import load_model
from seqmask.models.storage import write_json
from seqmask.sequences.records import read

RIVALS = "ig-50,saliency,occlusion,lime-1000"
BARS = {"token": 0.90, "nt": 0.80, "decoys": 0.05, "accuracy": 0.95}


@dataclass
class Settings:
    """What is the same in all tasks; a task changes what it needs (TASKS)."""

    simulation: dict[str, Any] = field(default_factory=dict)
    classifier: dict[str, Any] = field(default_factory=dict)
    explainer: dict[str, Any] = field(default_factory=dict)

    def over(self, base: Settings) -> Settings:
        """These settings where there are any, otherwise those of `base`."""
        return Settings(
            base.simulation | self.simulation, base.classifier | self.classifier, base.explainer | self.explainer
        )


# From random weights: a bag of k-mers can tell neither order nor one motif twice from two motifs.
BASE = Settings(
    {"sequences": 12000, "val": 0.04, "test": 0.06, "classes": 4, "groups": 2, "length": 200, "length_spread": 30},
    # min_crop: sequences are read whole, a crop might lose the motif that its label speaks of
    {
        "size": "tiny",
        "max_tokens": 40,
        "min_crop": 240,
        "bag_epochs": 0,
        "learning_rate": 3e-3,
        "steps": 400,
        "batch_tokens": 3072,
    },
    {
        "target_area": 0.3,
        "effect_tokens": 24,
        "steps": 450,
        "batch_tokens": 2048,
        "min_crop": 240,
        "learning_rate": 1e-3,
        "validation_limit": 100,
        "validations": 1,
    },
)
SPARSE = {"target_area": 0.15}  # a little above the share of the sequence that the motifs take
TASKS = {
    "one": Settings({"max_instances": 2}, {}, SPARSE),
    "several": Settings({"max_instances": 2}),
    "and": Settings({"max_instances": 1}, {"steps": 800}, SPARSE),
    "order": Settings(
        {"max_instances": 1, "length": 120, "length_spread": 20},
        {"steps": 600, "max_tokens": 24, "min_crop": 144},
        {"min_crop": 144},
    ),
    "decoys": Settings({"max_instances": 2}, {}, SPARSE),
    "nested": Settings({"max_instances": 2}),
}


def prepare(
    name: str, directory: Path, seed: int, threads: int, reuse: bool, changes: Settings | None = None
) -> dict[str, Any]:
    """Simulate and train one task into a directory; accuracy of the classifier on unseen sequences, and seconds.

    changes: what is other than in the task's own settings.
    """
    settings = (changes or Settings()).over(TASKS[name].over(BASE))
    directory.mkdir(parents=True, exist_ok=True)
    compute = Compute("cpu", "fp32", 0, threads)
    options = SimulateOptions(task=name, seed=seed, output=str(directory / "data"), force=True, **settings.simulation)
    common: dict[str, Any] = {"force": True, "seed": seed, "compute": compute}
    common |= {"sequences": [directory / "data.fasta"], "labels": directory / "data.tsv"}
    began = time.monotonic()
    if not (reuse and (directory / "classifier" / "report.json").exists()):
        simulate(options, lambda line: None)
        train_classifier(
            ClassifierOptions(
                **common, output=directory / "classifier", ranks=options.used_ranks, **settings.classifier
            ),
            lambda progress: None,
            lambda line: print(f"  {line}", flush=True),
        )
    trained = time.monotonic()
    train_explainer(
        ExplainerOptions(
            **common, classifier=directory / "classifier", output=directory / "model", **settings.explainer
        ),
        lambda progress: None,
        lambda line: print(f"  {line}", flush=True),
    )
    report = json.loads((directory / "classifier" / "report.json").read_text())
    ranks = report["splits"]["test_species"]
    return {
        "accuracy": {rank: of["accuracy"] for rank, of in ranks.items()},
        "majority": {rank: of["majority_rate"] for rank, of in ranks.items()},
        "seconds": {"classifier": trained - began, "explainer": time.monotonic() - trained},
    }


def compare(directory: Path, rivals: str, limit: int, seed: int) -> dict[str, Any]:
    """The masks and the rivals against the truth, by method."""
    model = load_model(directory / "model")
    model.classifier.network.requires_grad_(False)
    table, intervals = read_labels(directory / "data.tsv"), read_bed(str(directory / "data.truth.bed"))
    unseen = [record for record in read([directory / "data.fasta"]) if table.split(record.name) == "test_species"]
    names = model.classifier.ranks.names
    planted = [r for r in unseen if truth_of(intervals.of(r), len(r.sequence), names).every.any()]
    scorer = Scorer.of(
        planted[:limit], model.classifier, Engine(torch.device("cpu")), model.operator, frames=model.frames
    )
    rows = [dict(table.row(item.record.name)) for item in scorer.prepared]
    reference = np.stack([model.classifier.ranks.encode(row) for row in rows])
    truths = truths_of(scorer, intervals)
    by = Resampling(seed)
    comparison = Comparison(scorer, model.explainer, reference, by)
    found = {}
    for rival in (OWN, *parse(rivals)):
        scores, cost = comparison.timed(rival)
        own = rival is OWN
        scores = scores if own else [shared(part) for part in scores]
        threshold = model.threshold if own else float("nan")
        found[rival.name] = {**cost, **truth_report(scorer, scores, reference, truths, threshold, by)}
        print(f"  {row(rival.name, found[rival.name])}", flush=True)
    return found


def row(name: str, method: dict[str, Any]) -> str:
    """One line on one method."""
    of = method["all"]["deciding"]
    token, nt = ({key: value["mean"] for key, value in of[level].items()} for level in ("token", "nt"))
    return (
        f"{name:>10}  {of['sequences']:>5}  {token['auprc']:.3f} ({token['prevalence']:.3f})"
        f"  {nt['auprc']:.3f} ({nt['prevalence']:.3f})  {token['decoy_hit_rate']:.3f} / {nt['decoy_hit_rate']:.3f}"
        f"  {method['milliseconds']:>8.1f}"
    )


HEADER = "    method  seqs.  AUPRC token (prev.)  nt (prev.)  decoys token / nt  ms a sequence"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="directory for data and models")
    parser.add_argument("--tasks", default=",".join(TASK_NAMES))
    parser.add_argument("--rivals", default=RIVALS)
    parser.add_argument("--limit", type=int, default=100, help="test sequences that are scored")
    parser.add_argument("--reuse", action="store_true", help="use the classifiers that are there")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    tasks = options.tasks.split(",")
    if unknown := [name for name in tasks if name not in TASK_NAMES]:
        parser.error(f"--tasks {unknown[0]}: expected one of {', '.join(TASK_NAMES)}")
    try:
        parse(options.rivals)  # before minutes of training
    except UsageError as error:
        parser.error(str(error))
    results = {}
    for name in tasks:
        print(f"task {name}", flush=True)
        result = prepare(name, options.output / name, options.seed, options.threads, options.reuse)
        print(f"  {told(result)}\n  {HEADER}", flush=True)
        results[name] = {
            **result,
            "methods": compare(options.output / name, options.rivals, options.limit, options.seed),
        }
        if options.json is not None:
            write_json(options.json, results)
    print("\n".join(summary(results)))


def told(result: dict[str, Any]) -> str:
    """One line on the training."""
    accuracy = ", ".join(
        f"{rank} {value:.3f} (majority {result['majority'][rank]:.3f})" for rank, value in result["accuracy"].items()
    )
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in result["seconds"].items())
    return f"accuracy of the classifier: {accuracy}; {seconds}"


def summary(results: dict[str, Any]) -> list[str]:
    """Who wins each task, the means over tasks, and whether the bars are reached."""
    lines = ["", f"{'task':>8}  {'accuracy':>8}  token: mask, best rival        nt: mask, best rival           decoys"]
    means: dict[str, list[float]] = {"token": [], "nt": [], "decoys": [], "accuracy": []}
    wins = 0
    for name, result in results.items():
        cells, won = [], True
        for level in ("token", "nt"):
            auprc = {m: of["all"]["deciding"][level]["auprc"]["mean"] for m, of in result["methods"].items()}
            own = auprc.pop(OWN.name)
            best = max(auprc, key=lambda method: auprc[method])
            won &= own > auprc[best]
            means[level].append(own)
            cells.append(f"{own:.3f} {'>' if own > auprc[best] else '<='} {auprc[best]:.3f} {best:<12}")
        of_mask = result["methods"][OWN.name]["all"]["deciding"]
        means["decoys"].append(max(of_mask[level]["decoy_hit_rate"]["mean"] for level in ("token", "nt")))
        means["accuracy"].append(min(result["accuracy"].values()))
        wins += won
        lines.append(f"{name:>8}  {means['accuracy'][-1]:>8.3f}  {'   '.join(cells)}   {means['decoys'][-1]:.3f}")
    token, nt = float(np.mean(means["token"])), float(np.mean(means["nt"]))
    lines += [
        f"mean AUPRC of the mask: token {token:.3f} (bar {BARS['token']:.2f}), nt {nt:.3f} (bar {BARS['nt']:.2f})",
        f"above every rival by token and nucleotide: {wins} of {len(results)} tasks",
        f"largest decoy hit rate {max(means['decoys']):.3f} (bar {BARS['decoys']:.2f}),"
        f" least accuracy of a classifier {min(means['accuracy']):.3f} (bar {BARS['accuracy']:.2f})",
    ]
    return lines


if __name__ == "__main__":
    main()
