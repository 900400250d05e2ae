"""`seqmask train-classifier`: labelled sequences to a classifier directory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from seqmask.commands.inputs import Labelled, prepare_output, read_labelled, thin, training_records
from seqmask.config import ClassifierOptions, to_json
from seqmask.evaluation.scoring import classifier_report
from seqmask.inference.device import autocast, describe, options_of
from seqmask.inference.engine import Engine
from seqmask.labels import fit_ranks
from seqmask.models.checkpoint import ClassifierModel, file_sha256, round_to_half, save_classifier, write_json
from seqmask.models.classifier import Classifier
from seqmask.models.encoders import configuration
from seqmask.sequences.tokens import KmerTokenizer
from seqmask.training.bag import Bag, BagObjective, bag_batches, start_as_bag
from seqmask.training.dataset import Corpus, CropLaw, batches
from seqmask.training.fit import Checkpoints, Progress, Schedule, fit
from seqmask.training.objectives import ClassifierObjective
from seqmask.version import version

Reporter = Callable[[Progress], None]
Say = Callable[[str], None]


def train_classifier(options: ClassifierOptions, report: Reporter, say: Say) -> dict[str, Any]:
    """Train, write the directory, and return the report that is also written to report.json."""
    prepare_output(options.output, options.force, options.resume)
    device, precision = options_of(options.compute)
    say(f"device {describe(device)}, precision {precision}, seed {options.seed}")
    torch.manual_seed(options.seed)

    tokenizer = KmerTokenizer(options.k, options.stride)
    labelled = read_labelled(options.sequences, options.labels, options.ranks, tokenizer.k)
    train = training_records(labelled, str(options.labels))
    ranks = fit_ranks(labelled.rows(train), options.ranks, options.min_per_class)
    corpus = Corpus.of([record.sequence for record in train], labelled.encode(train, ranks))
    say(f"{len(train)} training sequences; classes: " + ", ".join(f"{r.name} {len(r.classes)}" for r in ranks.ranks))

    config = configuration(options.size, tokenizer.vocabulary_size, options.max_tokens)
    network = Classifier(config, ranks.sizes, options.operator).to(device)
    law = CropLaw(options.min_crop, tokenizer.max_length(options.max_tokens))
    checkpoints = Checkpoints(
        options.output / "checkpoint.safetensors", options.checkpoint_minutes, options.resume, fingerprint(options)
    )
    if options.bag_epochs > 0 and not checkpoints.waiting:
        train_bag(network, corpus, tokenizer, law, options, device, report)
    history = fit(
        ClassifierObjective(network, options.masked_share, options.seed, device),
        lambda first: batches(corpus, tokenizer, law, options.batch_tokens, options.seed, first),
        Schedule(options.steps, options.learning_rate, options.weight_decay),
        name="classifier",
        size=lambda batch: len(batch.ids),
        autocast=autocast(precision, device),
        checkpoints=checkpoints,
        report=report,
    )

    round_to_half(network)
    settings = {
        "seqmask_version": version(),
        "options": to_json(options),
        "data_sha256": {path.name: file_sha256(path) for path in [*options.sequences, options.labels]},
    }
    digest = save_classifier(options.output, network, tokenizer, ranks, settings)
    write_json(options.output / "history.json", thin(history))
    say("scoring val and test splits")
    result = splits_report(
        ClassifierModel(network.eval(), tokenizer, ranks, digest, settings), labelled, Engine(device)
    )
    write_json(options.output / "report.json", result)
    checkpoints.remove()
    return result


def train_bag(
    network: Classifier,
    corpus: Corpus,
    tokenizer: KmerTokenizer,
    law: CropLaw,
    options: ClassifierOptions,
    device: torch.device,
    report: Reporter,
) -> None:
    """Train the bag of k-mers and put it into the network."""
    bag = Bag(tokenizer.vocabulary_size, int(network.config["hidden_size"]), sum(network.sizes)).to(device)
    size = min(256, max(len(corpus) // 8, 1))
    steps = max(round(options.bag_epochs * len(corpus) / size), 1)
    fit(
        BagObjective(bag, network.sizes),
        bag_batches(corpus, tokenizer, law, size, options.seed, device, steps),
        Schedule(steps, options.bag_learning_rate, options.weight_decay),
        name="bag of k-mers",
        size=lambda batch: len(batch.targets),
        report=report,
    )
    start_as_bag(network, bag)


def fingerprint(options: Any) -> dict[str, Any]:
    """The options that a resumed run must share with the run that wrote the checkpoint."""
    free = {"compute", "output", "resume", "force", "checkpoint_minutes"}
    return {key: value for key, value in to_json(options).items() if key not in free}


def splits_report(model: ClassifierModel, labelled: Labelled, engine: Engine) -> dict[str, Any]:
    """Accuracy of the stored classifier on every split but `train`."""
    scored = {
        split: classifier_report(records, labelled.rows(records), model, engine, overlap=0)
        for split, records in sorted(labelled.splits.items())
        if split != "train"
    }
    return {
        "classifier_sha256": model.sha256,
        "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
        "splits": scored,
    }
