"""`seqmask evaluate`: whether these masks can be believed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.commands.inputs import (
    Labelled,
    check_taxonomy,
    dump_of,
    of_no_class,
    of_split,
    read_labelled,
    sampled,
    sha256_by_name,
)
from seqmask.commands.known import read_known, score_known
from seqmask.commands.mask import check_smallest, frames_of, load
from seqmask.config import EvaluateOptions
from seqmask.errors import InputError, UsageError
from seqmask.evaluation.flags import red_flags
from seqmask.evaluation.leakage import Judge, check_judge
from seqmask.evaluation.resampling import Resampling
from seqmask.evaluation.rivals.compare import Comparison
from seqmask.evaluation.rivals.names import Rival, parse
from seqmask.evaluation.scoring import Scorer
from seqmask.evaluation.study import Study
from seqmask.inference.device import describe
from seqmask.inference.smallest import SHARES
from seqmask.labels.ranks import Ranks
from seqmask.models.bundled import resolve
from seqmask.models.checkpoint import ClassifierModel, Model, load_classifier, load_model
from seqmask.models.storage import finite
from seqmask.progress import Report, Watch, unheard
from seqmask.results.files import Target, check_targets
from seqmask.results.text import encode
from seqmask.version import version


def evaluate(options: EvaluateOptions, say: Callable[[str], None], report: Report = unheard) -> dict[str, Any]:
    """Score the model's masks on labelled sequences (or on the classifier's own predictions); returns the report.

    say: told what was found; report: how far each part is.
    """
    check_options(options)
    rivals = parse(options.rivals)
    directory = resolve(options.model)
    model, engine = load(directory, options.compute, options.frames)
    watch = Watch(report)
    engine.pulse = watch.done
    judge = load_judge(options.judge, model) if options.judge is not None else None
    other = load_other(options.other, model) if options.other is not None else None
    ranks = model.classifier.ranks
    labelled = read_labelled(options.sequences, options.labels, ranks.names, any_rank=True, taxonomy=options.taxonomy)
    column = labelled.resampled_by(options.resample_by)
    records = of_split(labelled, options.split, options.sequences)
    everyone = [record.name for found in labelled.splits.values() for record in found]
    truth, annotations = (
        read_known(path, records, everyone, options.limit, options.seed, say)
        for path in (options.truth, options.annotations)
    )
    records = sampled(records, options.limit, options.seed)

    frames = frames_of(options.frames, model, say)
    tau = model.threshold if options.threshold is None else options.threshold
    smallest = tau if options.smallest else None
    scorer = Scorer.of(records, model.classifier, engine, model.operator, options.overlap, frames, smallest)
    if not scorer.prepared:
        raise InputError(", ".join(options.sequences), "no sequence that can be read", expected="nucleotides")
    held = [item.record for item in scorer.prepared]
    where = f"{describe(engine.device, engine.precision)}; model {directory.name}"
    say(f"{where}; {len(held)} of {len(records)} sequences")
    passes = (3 if options.labels is None else 2) + options.smallest * len(SHARES) * model.explainer.tracks
    watch.part(f"masks of {len(held)} sequences", passes * scorer.windows)
    reference = reference_of(options.labels, labelled, scorer, ranks)
    for why in of_no_class(labelled, ranks, reference):
        say(why)
    by = labelled.resampling(held, column, options.seed)
    study = Study(
        scorer,
        model.explainer,
        scorer.masks(model.explainer),
        reference,
        tau,
        by,
        labelled=options.labels is not None,
        sample=options.sample,
        judge=None if judge is None else Judge(Scorer.of(held, judge, engine, overlap=options.overlap, frames=frames)),
        other=None if other is None else other.explainer,
        watch=watch,
    )
    result = {
        **models_of(directory.name, model, judge, other),
        **asked_of(options),
        "left_out": len(records) - len(held),
        "frames": frames,
        "device": str(engine.device),
        "precision": engine.precision,
        **drawn_by(by, column, say),
        **study.run(),
        "rivals": run_rivals(rivals, scorer, model, reference, options.rivals_limit, by, say, watch)
        if rivals
        else None,
        **score_known(
            truth,
            annotations,
            scorer,
            model,
            labelled,
            tau,
            partial(labelled.resampling, column=column, seed=options.seed),
        ),
    }
    result["red_flags"] = red_flags(result)
    if options.json is not None:
        write_report(options.json, result)
    return result


def check_options(options: EvaluateOptions) -> None:
    """Raise UsageError or InputError for what cannot be, before any work."""
    check_taxonomy(options.taxonomy, options.labels)
    if options.json is not None:
        check_targets(
            [options.json],
            options.force,
            inputs=[*options.sequences, options.labels, options.truth, options.annotations, *dump_of(options.taxonomy)],
        )
    check_smallest(options.smallest, options.threshold)
    if options.split is not None and options.labels is None:
        raise UsageError("--split needs --labels: the split is a column of the label table")
    if options.resample_by is not None and options.labels is None:
        raise UsageError("--resample-by needs --labels: it is a column of the label table")


def reference_of(labels: Path | None, labelled: Labelled, scorer: Scorer, ranks: Ranks) -> NDArray[np.int64]:
    """The classes (n, R) that everything is scored against, -1 unknown: the true ones, or without labels the predicted.

    Raises InputError where the labels name no class of the model.
    """
    if labels is None:
        return scorer.classes(scorer.logits())
    reference = labelled.encode([item.record for item in scorer.prepared], ranks)
    if (reference < 0).all():
        raise InputError(
            labels,
            "none of the classes that the model knows",
            expected=f"names such as {', '.join(rank.classes[0] for rank in ranks.ranks)}",
        )
    return reference


def models_of(name: str, model: Model, judge: ClassifierModel | None, other: Model | None) -> dict[str, Any]:
    """How the report begins: what made it, and which models it is about."""
    return {
        "tool": "seqmask",
        "seqmask_version": version(),
        "report": "evaluate",
        "model": name,
        "classifier_sha256": model.classifier.sha256,
        "explainer_sha256": model.sha256,
        "operator": model.operator,
        "judge_sha256": None if judge is None else judge.sha256,
        "other_sha256": None if other is None else other.sha256,
    }


def asked_of(options: EvaluateOptions) -> dict[str, Any]:
    """What was asked for, and of which files."""
    return {
        "against": "the classifier's own predictions" if options.labels is None else "true labels",
        "split": options.split,
        "data_sha256": sha256_by_name(paths_of(options)),
        "limit": options.limit,
        "overlap": options.overlap,
        "seed": options.seed,
        "smallest": options.smallest,
    }


def drawn_by(by: Resampling, column: str | None, say: Callable[[str], None]) -> dict[str, Any]:
    """What is drawn together for intervals, said and for the report: one large cluster would make them all."""
    if by.clusters is None:
        return {"resample_by": None, "clusters": None}
    sizes = np.bincount(by.clusters)
    say(
        f"intervals: sequences of one {column} are drawn together ({len(sizes)} among these, the largest of"
        f" {sizes.max()} sequences)"
    )
    return {"resample_by": column, "clusters": len(sizes)}


def run_rivals(
    rivals: Sequence[Rival],
    scorer: Scorer,
    model: Model,
    reference: NDArray[np.int64],
    limit: int,
    by: Resampling,
    say: Callable[[str], None],
    watch: Watch,
) -> dict[str, Any]:
    """The Explainer beside other methods, on a random sample of the sequences if there are more than the limit."""
    rows = np.arange(len(reference))
    if 0 < limit < len(rows):
        rows = np.sort(np.random.default_rng([by.seed, 501]).choice(rows, limit, replace=False))
    chosen = scorer.subset(rows.tolist())
    return Comparison(chosen, model.explainer, reference[rows], by.of(rows), watch).run(rivals, say)


def load_judge(name: str, model: Model) -> ClassifierModel:
    """An independent classifier on the model's device; InputError unless it can judge this one."""
    path = resolve(name)
    judge = load_classifier(path)
    check_judge(judge, model.classifier, path)
    judge.network.to(model.classifier.network.head.weight.device)
    return judge


def load_other(name: str, model: Model) -> Model:
    """Another Explainer on the model's device; InputError where it explains another classifier or is the same one."""
    path = resolve(name)
    other = load_model(path)
    if other.classifier.sha256 != model.classifier.sha256:
        raise InputError(
            path,
            f"an Explainer of classifier {other.classifier.sha256[:12]}",
            expected=f"one of classifier {model.classifier.sha256[:12]}",
            remedy="train it for the same classifier with another seed",
        )
    if other.sha256 == model.sha256:
        raise InputError(path, "the same Explainer", remedy="give one that was trained with another seed")
    if other.explainer.tracks > model.explainer.tracks:
        raise InputError(
            path,
            "an Explainer with a mask for each rank",
            expected="one with a mask for all ranks, as the model has",
            remedy="train it without --mask-per-rank",
        )
    other.explainer.to(model.classifier.network.head.weight.device)
    return other


def write_report(path: Path, report: dict[str, Any]) -> None:
    """As JSON: to a file whole or not at all, to stdout (-), a pipe or a device as it is. NaN is null."""
    with Target(path) as target, contextlib.closing(target.open()) as sink:
        sink.write(encode(json.dumps(finite(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n"))


def paths_of(options: EvaluateOptions) -> list[Path]:
    """Input files that have a digest (stdin has none)."""
    named = [Path(path) for path in options.sequences if path != "-"]
    tables = [path for path in (options.labels, options.truth, options.annotations) if path is not None]
    tables += dump_of(options.taxonomy)
    return [path for path in [*named, *tables] if path.is_file()]
