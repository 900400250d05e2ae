"""`seqmask train-explainer`: a frozen classifier and sequences to a model directory that `seqmask mask` reads."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqmask.commands.held_out import corpora
from seqmask.commands.inputs import (
    check_output,
    check_precision,
    check_taxonomy,
    crop_law,
    digests,
    dump_of,
    finished,
    one_of,
    thin,
)
from seqmask.commands.panels import training_panels
from seqmask.commands.train_classifier import fingerprint
from seqmask.config import ExplainerOptions, to_json
from seqmask.errors import InputError, SeqmaskError, UsageError
from seqmask.evaluation.frontier import ALLOWED, AREAS, SAME_AREA, Point, Wanted
from seqmask.evaluation.scoring import Scorer
from seqmask.evaluation.validation import Validation
from seqmask.inference.device import autocast, describe, options_of
from seqmask.inference.engine import Engine
from seqmask.models.bundled import resolve
from seqmask.models.checkpoint import (
    CLASSIFIER_FILES,
    ClassifierModel,
    Model,
    load_classifier,
    load_model,
    round_to_half,
    save_explainer,
    weights_sha256,
)
from seqmask.models.explainer import CENTRE, Explainer
from seqmask.models.operators import OPERATORS
from seqmask.models.selftest import check_operator
from seqmask.models.storage import write_json
from seqmask.progress import Report
from seqmask.results.curves import draw
from seqmask.sequences.records import Record
from seqmask.sequences.tokenizer import Tokenizer
from seqmask.sequences.tokens import KmerTokenizer
from seqmask.training.ahead import workers_for
from seqmask.training.dataset import batches
from seqmask.training.effects import EffectsThenMasks
from seqmask.training.fit import Checkpoints, Schedule, fit
from seqmask.training.objectives import FORMS, KINDS, TARGETS, ExplainerObjective, Terms
from seqmask.training.processes import first_ones, in_each_process, is_main
from seqmask.version import version

REPORT = "classifier-report.json"
NEW = {"frames": 1, "operator": "", "target_area": 0.2, "min_agreement": 0.97}  # where none of them is given
CHECKPOINT = "explainer-checkpoint.safetensors"  # the classifier may be in the same directory, with one of its own


@in_each_process
def train_explainer(options: ExplainerOptions, report: Report, say: Callable[[str], None]) -> dict[str, Any]:
    """Train, write the model directory, return the report (threshold, frontier on `val`); nothing if done before."""
    data = checked(options)
    device, precision = first_ones(options_of(options.compute))
    options = replace(options, compute=replace(options.compute, precision=precision))  # what "auto" was is stored
    options, model, begun = beginning(options)
    if options.frames > model.tokenizer.stride:
        raise UsageError(f"--frames {options.frames}: expected at most {model.tokenizer.stride}, the tokens' stride")
    wanted = fingerprint(options, data) | {"classifier_sha256": model.sha256}
    wanted["began_with"] = begun.sha256 if begun else None
    if finished(options, "explainer.json", "explainer-report.json", [CHECKPOINT], wanted):
        say(f"{options.output}: finished already, with the same options")
        return {}
    law = crop_law(options.min_crop, model.tokenizer.max_length(model.network.max_tokens))
    model.network.to(device)
    operator = options.operator or model.network.operator
    check = check_operator(model.network, operator, soft=options.soft, force=options.force_operator)
    say(f"device {describe(device, precision)}, seed {options.seed}, operator {operator}: {check.summary}")
    torch.manual_seed(options.seed)
    before = weights_sha256(model.network)

    steps = options.steps
    train, val, truth = corpora(options, model, say)
    say((f"{len(train)} training sequences, " if steps else "") + f"{len(val)} validation sequences")
    tracks = len(model.ranks.ranks) if options.mask_per_rank else 1
    explainer = begun.explainer if begun else Explainer.like(model.network, options.layers, tracks, options.target_area)
    explainer.to(device)
    explainer.need.zero_()  # fitted at the end; the effects that are learned first know nothing of it
    objective = objective_of(options, explainer, model, operator, device)
    validation = validation_of(options, model, operator, device, val, truth, say)

    def validate(step: int) -> None:
        if not is_main():
            return
        for point in validation(explainer, step):
            say(f"step {step}: {described(point, model.ranks.names)}")

    checkpoints = Checkpoints(
        options.output / CHECKPOINT,
        options.checkpoint_minutes,
        options.resume,
        wanted,
        validation,
    )
    checkpoints.begin()
    if parts := two_parts(steps, options.effects_share):
        say(parts)
    if steps and not checkpoints.waiting:
        validate(0)  # the start is a candidate: training has to beat it
    history = fit(
        EffectsThenMasks(objective, options.effects_share, options.effect_tokens),
        partial(
            batches,
            train,
            model.tokenizer,
            law,
            model.network.max_tokens,
            options.batch_tokens,
            options.seed,
            workers=workers_for(device),
        ),
        Schedule(steps, options.learning_rate, options.weight_decay),
        name="explainer",
        size=lambda batch: len(batch.ids),
        autocast=autocast(precision, device),
        checkpoints=checkpoints,
        report=report,
        validate=validate,
        validate_every=max(steps // max(options.validations, 1), 1),
    )
    if weights_sha256(model.network) != before:
        raise SeqmaskError("the frozen classifier's weights changed during training: this is a bug, please report it")
    if not is_main():
        return {}
    provenance = {"seqmask_version": version(), "options": to_json(options), "data_sha256": data}
    if begun:
        provenance["began_with"] = {"explainer_sha256": begun.sha256, "settings": begun.settings}
    return finish(explainer, model, operator, validation, options, provenance, history, say)


def checked(options: ExplainerOptions) -> dict[str, str]:
    """Digests of the files by name; an error for options that can not be meant, or not be met, before any work."""
    one_of("--target", options.target, TARGETS)
    one_of("--form", options.form, FORMS)
    one_of("--necessity-kind", options.necessity_kind, KINDS)
    one_of("--operator", options.operator, ("", *OPERATORS))
    if options.target == "true" and options.labels is None:
        raise UsageError("--target true needs --labels")
    check_taxonomy(options.taxonomy, options.labels)
    labels = [options.labels] if options.labels else []
    data = digests([*map(Path, options.sequences), *labels, *dump_of(options.taxonomy)])
    check_output(options.output, options.force, options.resume)
    check_precision(options.compute.precision)
    return data


def beginning(options: ExplainerOptions) -> tuple[ExplainerOptions, ClassifierModel, Model | None]:
    """The options completed, the classifier, and the model whose Explainer training begins with where one is named."""
    begun = load_model(resolve(options.explainer)) if options.explainer else None
    if begun is None:
        if options.classifier is None:
            raise UsageError("expected --classifier, or --explainer with a model to begin with")
        if not options.steps:
            raise UsageError(
                "--steps 0 needs --explainer: it trains nothing, and chooses thresholds of one that is there"
            )
        return replace(options, **completed(options, NEW)), load_classifier(options.classifier), None
    model = begun.classifier if options.classifier is None else load_classifier(options.classifier)
    if model.sha256 != begun.classifier.sha256:
        raise UsageError(
            f"--explainer {options.explainer} is for classifier {begun.classifier.sha256[:12]}, not for that of "
            f"--classifier {options.classifier}, {model.sha256[:12]}; leave out --classifier"
        )
    if options.layers:
        raise UsageError("--layers is for a new Explainer: that of --explainer has its own")
    shared = begun.explainer.tracks < len(model.ranks.ranks)
    if options.mask_per_rank and shared:
        raise UsageError(f"--explainer {options.explainer} has one mask for all ranks: leave out --mask-per-rank")
    own = NEW | begun.settings.get("options", {}) | {"frames": begun.frames, "operator": begun.operator}
    options = replace(options, **completed(options, own), mask_per_rank=not shared)
    return replace(options, classifier=options.classifier or begun.path), model, begun


def completed(options: ExplainerOptions, own: dict[str, Any]) -> dict[str, Any]:
    """The options of `NEW` as they are given, or else as those of another Explainer are."""
    return {name: getattr(options, name) or own[name] for name in NEW}


def objective_of(
    options: ExplainerOptions, explainer: Explainer, model: ClassifierModel, operator: str, device: torch.device
) -> ExplainerObjective:
    """What drawn masks are trained for."""
    return ExplainerObjective(
        explainer,
        model.network,
        operator,
        options.target,
        Terms(
            form=options.form,
            kind=options.necessity_kind,
            necessity=options.necessity_weight,
            area=options.area_weight,
            variation=options.variation_weight,
            bounds=options.bounds_weight,
            area_budget=options.target_area,
            sufficiency_bound=options.sufficiency_bound,
            necessity_bound=options.necessity_bound,
        ),
        options.soft,
        options.seed,
        device,
        options.named_share,
        token_lengths(model.tokenizer, device),
    )


def validation_of(
    options: ExplainerOptions,
    model: ClassifierModel,
    operator: str,
    device: torch.device,
    val: Sequence[Record],
    truth: NDArray[np.int64] | None,
    say: Callable[[str], None],
) -> Validation:
    """What chooses among Explainers. truth (n, R): true classes of the records; the classifier's own count without."""
    scorer = Scorer.of(val, model, Engine(device), operator, frames=options.frames)
    if not scorer.prepared:
        raise InputError(
            options.sequences[0],
            "no validation sequence that can be read",
            expected="some with a token's length of bases",
        )
    own = scorer.classes(scorer.logits())
    reference = own if truth is None else truth[scorer.rows]
    unlabelled: NDArray[np.bool_] = np.all(reference < 0, axis=0)
    if unlabelled.any():
        names = ", ".join(model.ranks.names[rank] for rank in np.flatnonzero(unlabelled))
        say(f"{names}: the labels of the validation sequences name no class; the classifier's own count as right there")
    return Validation(scorer, np.where(unlabelled, own, reference), Wanted(options.min_agreement))


def token_lengths(tokenizer: Tokenizer, device: torch.device) -> Tensor | None:
    """Nucleotides of each id (V,) float32; None where tokens are all as long."""
    return None if isinstance(tokenizer, KmerTokenizer) else torch.from_numpy(tokenizer.token_nt).float().to(device)


def two_parts(steps: int, share: float) -> str:
    """What the steps are for, where they are not all for the same."""
    fitted = min(math.ceil(share * steps), steps)
    if not 0 < fitted < steps:
        return ""
    return (
        f"steps 1 to {fitted} fit measured effects of single tokens, the rest draw masks; the loss is another one there"
    )


def verdict(
    step: int | None, points: Sequence[Point], wanted: Wanted, target_area: float, names: Sequence[str]
) -> Iterator[str]:
    """What the stored Explainer should be known for: the step that won, and what its masks do not meet."""
    if step == 0:
        yield (
            "the best of the candidates is the start: training gained nothing over it; "
            "more --steps or a higher --learning-rate may"
        )
    elif step is not None:
        yield f"the best of the candidates is that of step {step}"
    for point in points:
        which = f"mask of {named(point, names)}: "
        if not wanted.grade(point):
            capped = any(chance > wanted.most_chance for chance in point.chance)
            most = f" (counted as at most {wanted.most_chance:g})" if capped else ""
            yield (
                f"{which}no area up to a half keeps {wanted.kept:g} of the accuracy and leaves no more than naming the "
                f"most frequent class would give{most}; stored is the best trade of the two"
            )
        elif wanted.grade(point) == 1:
            (above, most_area), (more, _) = ALLOWED
            yield (
                f"{which}no area up to {most_area:g} keeps {wanted.kept:g} of the accuracy and leaves at most "
                f"{above:g} more than naming the most frequent class would; stored is the smallest that leaves at most "
                f"{more:g} more"
            )
        elif point.area > target_area + SAME_AREA:
            yield (
                f"{which}area {point.area:.2f} is above --target-area {target_area:g}: "
                "smaller ones keep too little or leave too much"
            )


def named(point: Point, names: Sequence[str]) -> str:
    """The ranks of a track."""
    return ", ".join(names[rank] for rank in point.ranks)


def described(point: Point, names: Sequence[str]) -> str:
    """One line on one threshold of one track."""
    ranks = zip(point.ranks, point.kept, point.removed, point.chance, strict=True)
    told = ", ".join(f"{names[r]} {kept:.3f} | {removed:.3f} ({chance:.3f})" for r, kept, removed, chance in ranks)
    return f"area {point.area:.3f} at threshold {point.threshold:.3f}; kept | removed (majority) of full: {told}"


def finish(
    explainer: Explainer,
    model: ClassifierModel,
    operator: str,
    validation: Validation,
    options: ExplainerOptions,
    provenance: dict[str, Any],
    history: list[dict[str, float]],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Store the best Explainer seen, its masks centred so that the chosen threshold of every track is .5.

    provenance: how it was made, for `settings`.
    """
    validated = list(validation.log)
    if validation.weights is not None:  # none where an older checkpoint was resumed after its last step
        explainer.load_state_dict(validation.weights)
    round_to_half(explainer)  # what is measured is what is stored; centring shifts the bias alone
    chosen = validation.fit_need(explainer, options.steps, AREAS)
    explainer.centre([point.threshold for point in chosen])
    round_to_half(explainer)
    chosen = validation.centred(explainer, options.steps)
    for point in chosen:
        say(f"stored, the area chosen among more of them: {described(point, model.ranks.names)}")
    fewer = {number: validation.in_frames(number, explainer, options.steps) for number in range(1, options.frames)}
    for number, points in fewer.items():
        for point in points:
            say(f"--frames {number}: {described(point, model.ranks.names)}")
    for need, point in zip(explainer.need.tolist(), chosen, strict=True):
        if need:
            which = named(point, model.ranks.names)
            say(f"mask of {which}: larger the surer the rest is of the class, need {need:.2f}")
    for line in verdict(validation.step, chosen, validation.wanted, options.target_area, model.ranks.names):
        say(line)
    settings = provenance | {"validation": [asdict(point) for point in chosen]}
    copy_classifier(options.classifier or options.output, options.output)
    thresholds = {number: [point.threshold for point in points] for number, points in fewer.items()}
    digest = save_explainer(options.output, explainer, model, CENTRE, operator, settings, options.frames, thresholds)
    result = {
        "explainer_sha256": digest,
        "threshold": CENTRE,
        "need": explainer.need.tolist(),
        "validation": validation.log,
        "fewer_frames": {str(number): [asdict(point) for point in points] for number, points in fewer.items()},
    }
    write_json(options.output / "explainer-report.json", result)
    curves, plot = options.output / "explainer-history.json", options.output / "explainer-training.svg"
    if history:
        write_json(curves, thin(history))
        plot.write_text(draw(training_panels(history, validated, model.ranks.names), "step"), encoding="utf-8")
    else:  # those of another run do not belong here
        curves.unlink(missing_ok=True)
        plot.unlink(missing_ok=True)
    (options.output / CHECKPOINT).unlink(missing_ok=True)
    return {**result, "chosen": [asdict(point) for point in chosen]}


def copy_classifier(classifier: Path, output: Path) -> None:
    """Put a classifier and its report into a model directory, which may be the same one, or be given one."""
    names = {name: name for name in CLASSIFIER_FILES}
    report = next((name for name in ("report.json", REPORT) if (classifier / name).exists()), None)
    for source, target in {**names, **({report: REPORT} if report else {})}.items():
        if (classifier / source).resolve() != (output / target).resolve():
            shutil.copyfile(classifier / source, output / target)
