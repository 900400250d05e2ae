"""`seqmask train-classifier`: labelled sequences to a classifier directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqmask.commands.inputs import (
    Labelled,
    check_output,
    check_precision,
    crop_law,
    digests,
    dump_of,
    finished,
    one_of,
    read_labelled,
    thin,
    training_records,
)
from seqmask.config import ClassifierOptions, to_json
from seqmask.errors import UsageError
from seqmask.evaluation.scoring import Scorer, classifier_report
from seqmask.inference.device import autocast, describe, options_of
from seqmask.inference.engine import Engine
from seqmask.labels.ranks import ALIASES, Ranks, fit_ranks, nested_share
from seqmask.models.checkpoint import ClassifierModel, round_to_half, save_classifier
from seqmask.models.classifier import Classifier
from seqmask.models.encoders import SIZES, configuration
from seqmask.models.operators import OPERATORS
from seqmask.models.storage import write_json
from seqmask.progress import Report
from seqmask.results.table import COLUMNS
from seqmask.sequences.bpe import BpeTokenizer
from seqmask.sequences.tokenizer import KINDS, Tokenizer
from seqmask.sequences.tokens import KmerTokenizer
from seqmask.training.ahead import workers_for
from seqmask.training.bag import Bag, BagObjective, bag_batches, start_as_bag
from seqmask.training.calibration import log_shares, temperatures
from seqmask.training.dataset import Corpus, CropLaw, batches
from seqmask.training.fit import Checkpoints, Schedule, fit
from seqmask.training.lineages import alone_cross_entropy, join, too_little
from seqmask.training.objectives import ClassifierObjective
from seqmask.training.processes import first_ones, in_each_process, is_main
from seqmask.version import version

Say = Callable[[str], None]

NESTED = 0.95  # share of the labels that a taxonomy puts under one class each; the rest are homonyms and mistakes
TAKEN = {*COLUMNS, "split", "inconsistent"}  # names that label tables and outputs use for something else
CHECKPOINTS = ("bag.safetensors", "checkpoint.safetensors")  # in the order of the training's parts
CALIBRATION_LIMIT = 4000  # sequences of `val` that temperatures are fitted on


@in_each_process
def train_classifier(options: ClassifierOptions, report: Report, say: Say) -> dict[str, Any]:
    """Train, write the directory, and return the report that is in report.json; nothing if done before."""
    by_kmers = options.tokenizer == "kmer"
    crossing = options.k if by_kmers and options.crossing and options.k == options.stride > 1 else 0
    check_options(options, by_kmers, crossing)
    check_precision(options.compute.precision)
    tokenizer: Tokenizer = KmerTokenizer(options.k, options.stride)
    if by_kmers:
        crop_law(options.min_crop, tokenizer.max_length(options.max_tokens))  # refused before anything is written
    data = digests([*map(Path, options.sequences), options.labels, *dump_of(options.taxonomy)])
    check_output(options.output, options.force, options.resume)
    wanted = fingerprint(options, data)
    if finished(options, "classifier.json", "report.json", CHECKPOINTS, wanted):
        say(f"{options.output}: finished already, with the same options")
        return {}
    device, precision = first_ones(options_of(options.compute))
    options = replace(options, compute=replace(options.compute, precision=precision))  # what "auto" was is stored
    say(f"device {describe(device, precision)}, seed {options.seed}")
    torch.manual_seed(options.seed)

    shortest = tokenizer.shortest if by_kmers else BpeTokenizer.shortest
    labelled = read_labelled(options.sequences, options.labels, options.ranks, shortest, taxonomy=options.taxonomy)
    train = training_records(labelled, str(options.labels))
    for remark in labelled.remarks:
        say(remark)
    if not by_kmers:
        # In random order: it reads no more than it needs, and files are often sorted by taxon
        order = np.random.default_rng([options.seed, 17]).permutation(len(train))
        tokenizer = BpeTokenizer.learn((train[i].sequence for i in order), options.vocabulary)
        say(f"{tokenizer.summary}: windows of about {tokenizer.max_length(options.max_tokens)} nt")
    law = replace(
        crop_law(options.min_crop, tokenizer.max_length(options.max_tokens)),
        mutated=options.mutated,
        whole=options.whole_share,
    )
    ranks = fit_ranks(labelled.rows(train), options.ranks, options.min_per_class)
    corpus = Corpus.of([record.sequence for record in train], labelled.encode(train, ranks))
    if set(labelled.splits) == {"train"}:
        why = (
            "names no other split than train"
            if labelled.table and labelled.table.has_splits
            else "has no column `split`"
        )
        say(f"{options.labels} {why}: all labelled sequences are trained on and nothing is held out to be scored")
    elif "val" not in labelled.splits:
        there = ", ".join(sorted(labelled.splits))
        say(f"no sequences of split `val` (there are {there}): confidences are not scaled by it, nor ranks joined")
    for line in under_several(ranks):
        say(line)
    for only in (rank for rank in ranks.ranks if len(rank.classes) == 1):
        say(f"{only.name}: one class ({only.classes[0]}), so there is nothing to tell apart")
    say(f"{len(train)} training sequences; classes: " + ", ".join(f"{r.name} {len(r.classes)}" for r in ranks.ranks))

    config = configuration(
        options.size,
        tokenizer.vocabulary_size,
        options.max_tokens,
        crossing,
        options.phases,
        options.pooler,
        options.canonical,
    )
    network = Classifier(config, ranks.sizes, options.operator).to(device)
    of_bag, checkpoints = (
        Checkpoints(options.output / name, options.checkpoint_minutes, options.resume, wanted) for name in CHECKPOINTS
    )
    for stored in (checkpoints, of_bag):
        stored.begin()
    if options.bag_epochs > 0 and not checkpoints.waiting:
        train_bag(network, corpus, tokenizer, law, options, device, of_bag, report)
    history = fit(
        ClassifierObjective(network, options.masked_share, options.seed, device, options.label_smoothing),
        partial(
            batches,
            corpus,
            tokenizer,
            law,
            options.max_tokens,
            options.batch_tokens,
            options.seed,
            workers=workers_for(device),
        ),
        Schedule(options.steps, options.learning_rate, options.weight_decay),
        name="classifier",
        size=lambda batch: len(batch.ids),
        autocast=autocast(precision, device),
        checkpoints=checkpoints,
        report=report,
    )

    if not is_main():
        return {}
    result = finish(Trained(network, tokenizer, ranks, labelled, corpus.targets), options, data, history, say)
    for stored in (checkpoints, of_bag):
        stored.remove()
    return result


def under_several(ranks: Ranks) -> Iterator[str]:
    """A line on each rank that has classes under several of the rank above."""
    for above, rank in pairwise(ranks.ranks):
        found = [name for name, parents in zip(rank.classes, rank.parents, strict=False) if len(parents) > 1]
        if found:
            shown = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
            yield (
                f"{rank.name}: {len(found)} of {len(rank.classes)} classes stand under several of {above.name} "
                f"({shown}): homonyms, names for nothing known, or typing errors"
            )


@dataclass(frozen=True, slots=True)
class Trained:
    """A network with what it was trained on: targets (n, R) of the training sequences, -1 = unknown."""

    network: Classifier
    tokenizer: Tokenizer
    ranks: Ranks
    labelled: Labelled
    targets: NDArray[np.int64]

    def held_out(self, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Logits (m, C) and true classes (m, R) of at most CALIBRATION_LIMIT sequences of split `val`."""
        records = self.labelled.splits.get("val", [])
        if len(records) > CALIBRATION_LIMIT:
            chosen = np.random.default_rng(seed).choice(len(records), CALIBRATION_LIMIT, replace=False)
            records = [records[i] for i in sorted(chosen.tolist())]
        model = ClassifierModel(self.network, self.tokenizer, self.ranks, "", {})
        scorer = Scorer.of(records, model, Engine(self.network.head.weight.device))
        return scorer.logits(), self.labelled.encode([item.record for item in scorer.prepared], self.ranks)


def finish(
    trained: Trained, options: ClassifierOptions, data: dict[str, str], history: list[dict[str, float]], say: Say
) -> dict[str, Any]:
    """Join, calibrate, balance, store and score what was trained: the report. data: digests of the files."""
    network, tokenizer, ranks, labelled = trained.network, trained.tokenizer, trained.ranks, trained.labelled
    round_to_half(network)
    network.eval()
    joined = join_ranks(trained, options.seed, say) if options.lineages else {}
    settled = calibrate(trained, options.seed)
    for rank in options.balanced_ranks:
        ordinal = ranks.names.index(rank)
        network.head.subtract(ordinal, torch.from_numpy(log_shares(trained.targets[:, ordinal])))
    round_to_half(network)
    settings = {
        "seqmask_version": version(),
        "options": to_json(options),
        "data_sha256": data,
        "lineages": joined,
        "temperatures": settled,
    }
    digest = save_classifier(options.output, network, tokenizer, ranks, settings)
    write_json(options.output / "history.json", thin(history))
    if set(labelled.splits) != {"train"}:
        say(f"scoring splits {', '.join(sorted({*labelled.splits} - {'train'}))}")
    model = ClassifierModel(network.eval(), tokenizer, ranks, digest, settings)
    result = splits_report(model, labelled, Engine(network.head.weight.device), options.seed)
    write_json(options.output / "report.json", result)
    return result


def train_bag(
    network: Classifier,
    corpus: Corpus,
    tokenizer: Tokenizer,
    law: CropLaw,
    options: ClassifierOptions,
    device: torch.device,
    checkpoints: Checkpoints,
    report: Report,
) -> None:
    """Train the bag of k-mers and put it into the network."""
    crossing = network.config.get("crossing_kmers", 0)
    bag = Bag(network.config, sum(network.sizes)).to(device)
    size = min(256, max(len(corpus) // 8, 1))
    steps = max(round(options.bag_epochs * len(corpus) / size), 1)
    fit(
        BagObjective(bag, network.sizes, options.label_smoothing),
        bag_batches(corpus, tokenizer, law, size, options.seed, device, 0 if crossing else steps, workers_for(device)),
        Schedule(steps, options.bag_learning_rate, options.weight_decay),
        name="bag of k-mers",
        rates=bag.rate,
        size=lambda batch: len(batch.targets),
        checkpoints=checkpoints,
        report=report,
    )
    start_as_bag(network, bag)


def calibrate(trained: Trained, seed: int) -> dict[str, float]:
    """Temperature of each rank, fitted on split `val` and kept in the heads; empty without such a split."""
    logits, truth = trained.held_out(seed)
    if not len(logits):
        return {}
    found = temperatures(logits, truth, trained.ranks.slices)
    for rank, temperature in enumerate(found.tolist()):  # nothing downstream has to know of it
        trained.network.head.divide(rank, temperature)
    return dict(zip(trained.ranks.names, found.tolist(), strict=True))


def join_ranks(trained: Trained, seed: int, say: Say) -> dict[str, Any]:
    """Give the network heads that know the lineages of the training targets, fitted on split `val`: what was found.

    Nothing happens, and the result is empty, where there is no such split or too little in it to fit this to, one rank,
    ranks that are no lineages, or nothing to gain.
    """
    network, ranks, share = trained.network, trained.ranks, nested_share(trained.targets)
    if share < NESTED:
        say(f"ranks are no lineages ({share:.0%} of the labels stand under one class each): each is told alone")
    if len(ranks.names) == 1 or share < NESTED:
        return {}
    logits, truth = trained.held_out(seed)
    if not len(logits):
        return {}
    if lacking := too_little(truth, trained.targets, ranks.names):
        say(f"ranks are told alone: {lacking}")
        return {}
    joint = join(logits, truth, ranks.sizes, trained.targets)
    if joint.cross_entropy >= alone_cross_entropy(logits, truth, ranks.slices):
        say("ranks are told alone: joined they would be no better on split `val`")
        return {}
    network.head = joint.heads(network.head)
    network.config["lineages"] = len(joint.lineages)
    weights, absent = (dict(zip(ranks.names, of.tolist(), strict=True)) for of in (joint.weights, joint.absent))
    shown = ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items())
    say(f"ranks joined: {len(joint.lineages)} lineages; weights {shown}; training shares {joint.prior:.2f}")
    return {"count": len(joint.lineages), "weights": weights, "absent": absent, "prior": joint.prior}


def check_options(options: ClassifierOptions, by_kmers: bool, crossing: int) -> None:
    """UsageError for what cannot be, before any work. crossing: nt of k-mers that cross between tokens, 0 = none."""
    one_of("--size", options.size, SIZES)
    one_of("--operator", options.operator, OPERATORS)
    one_of("--tokenizer", options.tokenizer, KINDS)
    for rank in options.balanced_ranks:
        one_of("--balanced-ranks", rank, options.ranks)
    if len(set(options.balanced_ranks)) < len(options.balanced_ranks):
        raise UsageError("--balanced-ranks: a rank comes twice")
    if options.phases > 1 and not crossing:
        raise UsageError("--phases is of crossing k-mers: it needs --stride = --kmer > 1, and no --no-crossing")
    if options.canonical and not crossing:
        raise UsageError("--canonical is of crossing k-mers: it needs --stride = --kmer > 1, and no --no-crossing")
    if by_kmers and options.stride > options.k:
        raise UsageError(f"--stride {options.stride}: expected at most --kmer {options.k}, or nucleotides are not read")
    check_ranks(options.ranks)


def check_ranks(names: Sequence[str]) -> None:
    """UsageError for ranks that no file could hold: one twice, under an alias too, or a name with another meaning."""
    for i, name in enumerate(names):
        before = {*names[:i], *(ALIASES[other] for other in names[:i] if other in ALIASES)}
        if name in before:
            raise UsageError(f"--ranks: {name} comes twice (superkingdom and domain are one)")
        if "/" in name or name in TAKEN:
            raise UsageError(f"--ranks {name}: rename the column, outputs have no place for a rank of that name")


def fingerprint(options: Any, data: dict[str, str]) -> dict[str, Any]:
    """What a resumed run must share with the run that wrote the checkpoint. data: digests of the files."""
    free = {"compute", "output", "resume", "force", "checkpoint_minutes"}
    return {key: value for key, value in to_json(options).items() if key not in free} | {"data_sha256": data}


def splits_report(model: ClassifierModel, labelled: Labelled, engine: Engine, seed: int) -> dict[str, Any]:
    """Accuracy of the stored classifier on every split but `train`; seed: of the intervals."""
    column = labelled.resampled_by()
    scored = {
        split: classifier_report(
            records, labelled.rows(records), model, engine, overlap=0, by=labelled.resampling(records, column, seed)
        )
        for split, records in sorted(labelled.splits.items())
        if split != "train"
    }
    return {
        "classifier_sha256": model.sha256,
        "resample_by": column,
        "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
        "splits": scored,
    }
