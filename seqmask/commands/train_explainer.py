"""`seqmask train-explainer`: a frozen classifier and sequences to a model directory that `seqmask mask` reads."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqmask.commands.inputs import prepare_output, read_labelled, thin, training_records
from seqmask.commands.train_classifier import fingerprint
from seqmask.config import ExplainerOptions, to_json
from seqmask.errors import SeqmaskError, UsageError
from seqmask.evaluation.frontier import Point, choose, frontier, thresholds_for
from seqmask.evaluation.scoring import Scorer
from seqmask.inference.device import autocast, options_of
from seqmask.inference.engine import Engine
from seqmask.models.checkpoint import (
    CLASSIFIER_FILES,
    ClassifierModel,
    file_sha256,
    load_classifier,
    round_to_half,
    save_explainer,
    weights_sha256,
    write_json,
)
from seqmask.models.explainer import Explainer
from seqmask.models.selftest import check_operator
from seqmask.sequences.records import Record
from seqmask.training.dataset import Corpus, CropLaw, batches
from seqmask.training.fit import Checkpoints, Progress, Schedule, fit
from seqmask.training.objectives import ExplainerObjective, ExplainerWeights
from seqmask.version import version


@dataclass(slots=True)
class Validation:
    """Hard-mask frontiers on `val` before and during training; keeps the best Explainer."""

    scorer: Scorer
    reference: NDArray[np.int64]
    min_kept: float
    best: Point | None = None
    weights: dict[str, Tensor] | None = None
    log: list[dict[str, Any]] | None = None

    def __call__(self, explainer: Explainer, step: int) -> Point:
        """Score the Explainer as it is; remember it when it is better than all before."""
        explainer.eval()
        masks = self.scorer.masks(explainer)
        points = frontier(self.scorer, masks, self.reference, thresholds_for(masks))
        point = choose(points, self.min_kept)
        self.log = [*(self.log or []), {"step": step, "chosen": asdict(point), "frontier": [asdict(p) for p in points]}]
        if self.best is None or choose([point, self.best], self.min_kept) is point:
            self.best = point
            self.weights = {name: value.detach().cpu().clone() for name, value in explainer.state_dict().items()}
        return point


def train_explainer(
    options: ExplainerOptions, report: Callable[[Progress], None], say: Callable[[str], None]
) -> dict[str, Any]:
    """Train, write the model directory, return the report (threshold, frontier on `val`)."""
    if options.target == "true" and options.labels is None:
        raise UsageError("--target true needs --labels")
    prepare_output(options.output, options.force, options.resume)
    device, precision = options_of(options.compute)
    model = load_classifier(options.classifier)
    model.network.to(device)
    operator = options.operator or model.network.operator
    check = check_operator(model.network, operator, soft=options.soft, force=options.force_operator)
    say(f"device {device}, precision {precision}, seed {options.seed}, operator {operator}: {check.summary}")
    torch.manual_seed(options.seed)
    before = weights_sha256(model.network)

    train, val, truth = corpora(options, model)
    say(f"{len(train)} training sequences, {len(val)} validation sequences")
    tracks = len(model.ranks.ranks) if options.mask_per_rank else 1
    explainer = Explainer.like(model.network, options.layers, tracks, options.target_area).to(device)
    law = CropLaw(options.min_crop, model.tokenizer.max_length(model.network.max_tokens))
    objective = ExplainerObjective(
        explainer,
        model.network,
        operator,
        options.target,
        ExplainerWeights(options.entropy_weight, options.area_weight, options.variation_weight, options.bounds_weight),
        options.target_area,
        options.soft,
        options.seed,
        device,
    )
    scorer = Scorer.of(val, model, Engine(device), operator, frames=options.frames)
    own = scorer.classes(scorer.logits())
    validation = Validation(scorer, own if truth is None else truth[scorer.rows], options.min_agreement)

    def validate(step: int) -> None:
        point = validation(explainer, step)
        ranks = ", ".join(
            f"{n} {k:.3f}/{r:.3f}" for n, k, r in zip(model.ranks.names, point.kept, point.removed, strict=True)
        )
        say(f"step {step}: area {point.area:.3f} at threshold {point.threshold:.3f}; kept/removed {ranks}")

    def stream(first: int) -> Any:
        return batches(train, model.tokenizer, law, options.batch_tokens, options.seed, first)

    steps = options.steps
    validate(0)  # the start is a candidate: training has to beat the class activation map
    history = fit(
        objective,
        stream,
        Schedule(steps, options.learning_rate, options.weight_decay),
        name="explainer",
        size=lambda batch: len(batch.ids),
        autocast=autocast(precision, device),
        checkpoints=Checkpoints(
            options.output / "checkpoint.safetensors",
            options.checkpoint_minutes,
            options.resume,
            fingerprint(options),
        ),
        report=report,
        validate=validate,
        validate_every=max(steps // max(options.validations, 1), 1),
    )
    if weights_sha256(model.network) != before:
        raise SeqmaskError("the frozen classifier's weights changed during training: this is a bug, please report it")
    return finish(explainer, model, operator, validation, options, history)


def corpora(options: ExplainerOptions, model: ClassifierModel) -> tuple[Corpus, list[Record], NDArray[np.int64] | None]:
    """Training corpus, validation records, and their true classes (n, R) or None without labels.

    Without labels, or without a `val` split, the last tenth of the sequences (at most the limit) is held out.
    """
    labelled = read_labelled(options.sequences, options.labels, model.ranks.names, model.tokenizer.k)
    rng = np.random.default_rng(options.seed)
    train, val = training_records(labelled, str(options.labels)), list(labelled.splits.get("val", []))
    if not val:
        cut = max(len(train) // 10, 1)
        train, val = train[:-cut], train[-cut:]
    if len(val) > options.validation_limit:
        val = [val[i] for i in sorted(rng.choice(len(val), options.validation_limit, replace=False))]
    known = labelled.table is not None
    targets = labelled.encode(train, model.ranks)
    truth = labelled.encode(val, model.ranks) if known else None
    return Corpus.of([record.sequence for record in train], targets), val, truth


def finish(
    explainer: Explainer,
    model: ClassifierModel,
    operator: str,
    validation: Validation,
    options: ExplainerOptions,
    history: list[dict[str, float]],
) -> dict[str, Any]:
    """Store the best Explainer seen, with the threshold chosen from its stored (half precision) weights."""
    if validation.weights is not None:  # none when a run is resumed after its last step
        explainer.load_state_dict(validation.weights)
    round_to_half(explainer)
    validation.best = None
    point = validation(explainer, options.steps)
    inputs = [*options.sequences, *([options.labels] if options.labels else [])]
    settings = {
        "seqmask_version": version(),
        "options": to_json(options),
        "data_sha256": {path.name: file_sha256(path) for path in inputs},
        "validation": asdict(point),
    }
    for name in (*CLASSIFIER_FILES, "report.json"):
        source, target = options.classifier / name, options.output / name
        if source.exists() and source.resolve() != target.resolve():
            shutil.copyfile(source, options.output / ("classifier-report.json" if name == "report.json" else name))
    digest = save_explainer(options.output, explainer, model, point.threshold, operator, settings, options.frames)
    result = {"explainer_sha256": digest, "threshold": point.threshold, "validation": validation.log}
    write_json(options.output / "explainer-report.json", result)
    write_json(options.output / "explainer-history.json", thin(history))
    (options.output / "checkpoint.safetensors").unlink(missing_ok=True)
    return {**result, "chosen": asdict(point)}
