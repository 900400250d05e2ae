"""`seqmask evaluate`: whether these masks can be believed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from seqmask.commands.inputs import read_labelled
from seqmask.commands.mask import load
from seqmask.config import EvaluateOptions
from seqmask.errors import InputError, UsageError
from seqmask.evaluation.scoring import Scorer
from seqmask.evaluation.study import Study, red_flags
from seqmask.inference.device import describe
from seqmask.models.bundled import resolve
from seqmask.models.checkpoint import file_sha256
from seqmask.results.files import Target, check_targets
from seqmask.results.text import encode
from seqmask.version import version


def evaluate(options: EvaluateOptions, say: Callable[[str], None]) -> dict[str, Any]:
    """Score the model's masks on labelled sequences (or on the classifier's own predictions); returns the report."""
    if options.json is not None:
        check_targets([str(options.json)], options.force)
    if options.split is not None and options.labels is None:
        raise UsageError("--split needs --labels: the split is a column of the label table")
    directory = resolve(options.model)
    model, engine = load(directory, options.compute)
    ranks = model.classifier.ranks
    labelled = read_labelled(options.sequences, options.labels, ranks.names)
    records = [
        record
        for split, of_split in sorted(labelled.splits.items())
        if options.split in (None, split)
        for record in of_split
    ]
    if not records:
        there = ", ".join(sorted(labelled.splits))
        raise InputError(
            ", ".join(options.sequences),
            "no sequences" + (f" of split {options.split!r}" if options.split else ""),
            expected=f"one of {there}" if there else "at least one record",
        )
    if 0 < options.limit < len(records):
        chosen = np.random.default_rng(options.seed).choice(len(records), options.limit, replace=False)
        records = [records[i] for i in sorted(chosen.tolist())]

    frames = options.frames or model.frames
    scorer = Scorer.of(records, model.classifier, engine, model.operator, options.overlap, frames)
    if not scorer.prepared:
        raise InputError(", ".join(options.sequences), "no sequence that can be read", expected="nucleotides")
    held = [item.record for item in scorer.prepared]
    where = f"{describe(engine.device)}, {engine.precision}; model {directory.name}"
    say(f"{where}; {len(held)} of {len(records)} sequences")
    if options.labels is None:
        reference = scorer.classes(scorer.logits())
        against = "the classifier's own predictions"
    else:
        reference = labelled.encode(held, ranks)
        against = "true labels"
        if (reference < 0).all():
            raise InputError(
                options.labels,
                "none of the classes that the model knows",
                expected=f"names such as {', '.join(rank.classes[0] for rank in ranks.ranks)}",
            )
    tau = model.threshold if options.threshold is None else options.threshold
    study = Study(
        scorer, scorer.masks(model.explainer), reference, [record.sequence for record in held], tau, options.seed
    )
    result = {
        "tool": "seqmask",
        "seqmask_version": version(),
        "report": "evaluate",
        "model": directory.name,
        "classifier_sha256": model.classifier.sha256,
        "explainer_sha256": model.sha256,
        "operator": model.operator,
        "against": against,
        "split": options.split,
        "data_sha256": {str(path).rsplit("/", 1)[-1]: file_sha256(path) for path in paths_of(options)},
        "left_out": len(records) - len(held),
        "limit": options.limit,
        "overlap": options.overlap,
        "frames": frames,
        "device": str(engine.device),
        "precision": engine.precision,
        "seed": options.seed,
        **study.run(),
    }
    result["red_flags"] = red_flags(result)
    if options.json is not None:
        write_report(options.json, result)
    return result


def write_report(path: Path, report: dict[str, Any]) -> None:
    """As JSON: to a file whole or not at all, to stdout (-), a pipe or a device as it is."""
    with Target(path) as target, contextlib.closing(target.open()) as sink:
        sink.write(encode(json.dumps(report, indent=1, ensure_ascii=False) + "\n"))


def paths_of(options: EvaluateOptions) -> list[Any]:
    """Input files that have a digest (stdin has none)."""
    named = [Path(path) for path in options.sequences if path != "-"]
    return [path for path in [*named, *([options.labels] if options.labels else [])] if path.is_file()]
