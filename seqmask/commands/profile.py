"""`seqmask profile`: importance along a reference sequence, and inside its regions."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.commands.inputs import of_split, read_labelled, sampled, sha256_by_name
from seqmask.commands.mask import Tally, frames_of, load
from seqmask.config import ProfileOptions
from seqmask.errors import InputError, UsageError
from seqmask.evaluation.annotations import score_annotations
from seqmask.evaluation.intervals import BedInterval
from seqmask.evaluation.profile import Means, Profile
from seqmask.evaluation.regions import carried_over, regions_of
from seqmask.evaluation.resampling import Resampling
from seqmask.inference.device import describe
from seqmask.inference.explain import explain_pool, pooled
from seqmask.models.bundled import resolve
from seqmask.models.checkpoint import Model
from seqmask.models.storage import finite
from seqmask.results import profile as output
from seqmask.results.files import Target, check_targets
from seqmask.results.text import encode
from seqmask.sequences.alignment import Reference
from seqmask.sequences.explanations import Explanation
from seqmask.sequences.records import Record, check_nucleotides, read
from seqmask.sequences.source import STDIN
from seqmask.version import version

MIN_PLACED = 0.5  # of the nt of a sequence, or of the reference if that is shorter, that must be aligned
ALL = "all"  # the name of a mask that all ranks share


@dataclass(slots=True)
class Aligned:
    """What is kept of the sequences that stand on the reference, in their order. clusters: drawn together."""

    masks: list[NDArray[np.float32]] = field(default_factory=list)
    spans: list[NDArray[np.int32]] = field(default_factory=list)
    regions: list[list[BedInterval]] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    clusters: list[int] = field(default_factory=list)
    reverse: int = 0
    identities: list[float] = field(default_factory=list)


def profile(options: ProfileOptions, say: Callable[[str], None], report: Callable[[Tally], None]) -> dict[str, Any]:
    """Align, explain, average; write the table, the figure and the JSON that are asked for; returns the report."""
    if options.plot is not None:
        output.check_figure(options.plot)
    paths = [str(path) for path in (options.tsv, options.plot, options.json) if path is not None]
    inputs = [*options.sequences, options.reference, options.regions, options.labels]
    check_targets(paths, options.force, seekable=[options.plot], inputs=inputs)
    if options.split is not None and options.labels is None:
        raise UsageError("--split needs --labels: the split is a column of the label table")
    if STDIN in options.sequences and str(options.reference) == STDIN:
        raise UsageError("sequences and --reference are both stdin, which can be read once; name one of them")
    record = read_reference(options.reference)
    reference = Reference(record)
    regions = [] if options.regions is None else regions_of(options.regions, record)
    model, engine = load(resolve(options.model), options.compute, options.frames)
    options = replace(options, frames=frames_of(options.frames, model, say))
    labelled = read_labelled(options.sequences, options.labels, ())
    records = sampled(of_split(labelled, options.split, options.sequences), options.limit, options.seed)
    column = labelled.resampled_by()
    clusters = iter(labelled.resampling(records, column, options.seed).numbers(len(records)).tolist())
    tau = model.threshold if options.threshold is None else options.threshold
    say(f"{describe(engine.device, engine.precision)}; model {model.path.name}, tau {tau:.3f}; on {reference.name}")

    sums = Profile(len(reference), model.explainer.tracks, options.seed)
    held, tally = Aligned(), Tally()
    for pool in pooled(enumerate(records), model.classifier, options.overlap, options.frames):
        explanations = explain_pool(pool, model, engine, False, tau)
        for explanation, cluster in zip(explanations, clusters, strict=False):  # a record each, in their order
            add(explanation, cluster, reference, regions, sums, held, tau, options.min_identity)
        tally.add(explanations)
        report(tally)
    if not sums.n:
        raise InputError(
            ", ".join(options.sequences),
            f"none of {len(records)} sequences can be aligned to {reference.name}",
            expected=f"identity {options.min_identity:g} or more to the reference",
        )
    names = list(model.classifier.ranks.names) if model.explainer.tracks > 1 else [ALL]
    result = {
        **described(options, model, reference, tau),
        "sequences": len(records),
        "aligned": sums.n,
        "reverse": held.reverse,
        "identity": {"mean": float(np.mean(held.identities)), "least": min(held.identities)},
        "resample_by": column,
        "regions": inside(held, names, tau, options.seed) if regions else None,
    }
    say(
        f"{sums.n} of {len(records)} sequences aligned ({held.reverse} of the other strand), "
        f"mean identity {result['identity']['mean']:.3f}"
    )
    write(options, reference, names, sums.means(), regions, result)
    return result


def read_reference(path: Path) -> Record:
    """The one sequence of a file; InputError where there is another number."""
    records = list(read([path]))
    if len(records) != 1:
        raise InputError(path, f"{len(records)} sequences", expected="one, the reference")
    check_nucleotides(records[0])
    if not set(records[0].sequence.upper()) & set("ACGTU"):
        raise InputError(path, f"no base in {records[0].name!r}", expected="a sequence to align to")
    return records[0]


def add(
    explanation: Explanation,
    cluster: int,
    reference: Reference,
    regions: list[BedInterval],
    sums: Profile,
    held: Aligned,
    tau: float,
    min_identity: float,
) -> None:
    """Put one sequence on the reference, if it stands there."""
    found = reference.place(explanation.record.sequence) if len(explanation.spans) else None
    if found is None or found.identity < min_identity or found.placed < MIN_PLACED:
        return
    tracks = np.stack([explanation.track(track) for track in range(sums.tracks)])
    kept = np.stack([explanation.kept(tau, track) for track in range(sums.tracks)])
    sums.add(tracks, kept, found.positions, cluster)
    held.masks.append(explanation.mask)
    held.spans.append(explanation.spans)
    held.regions.append(carried_over(regions, found.positions))
    held.lengths.append(len(explanation.record.sequence))
    held.clusters.append(cluster)
    held.reverse += found.reverse
    held.identities.append(found.identity)


def inside(held: Aligned, names: list[str], tau: float, seed: int) -> dict[str, Any]:
    """Importance inside each region, and inside any, against the rest of the same sequences, for each mask."""
    by = Resampling(seed, np.array(held.clusters))
    return {
        name: score_annotations(
            [mask[:, track] for mask in held.masks], held.spans, held.regions, held.lengths, tau, by
        )
        for track, name in enumerate(names)
    }


def described(options: ProfileOptions, model: Model, reference: Reference, tau: float) -> dict[str, Any]:
    """What the report says of its making."""
    named = [Path(path) for path in options.sequences if path != "-"]
    inputs = [*named, options.reference, *([options.labels] if options.labels else []), Path(options.regions or "")]
    return {
        "tool": "seqmask",
        "seqmask_version": version(),
        "report": "profile",
        "model": model.path.name,
        "classifier_sha256": model.classifier.sha256,
        "explainer_sha256": model.sha256,
        "reference": reference.name,
        "reference_length": len(reference),
        "data_sha256": sha256_by_name([path for path in inputs if path.is_file()]),
        "split": options.split,
        "limit": options.limit,
        "overlap": options.overlap,
        "frames": options.frames,
        "min_identity": options.min_identity,
        "threshold": tau,
        "seed": options.seed,
    }


def write(
    options: ProfileOptions,
    reference: Reference,
    names: list[str],
    means: Means,
    intervals: list[BedInterval],
    result: dict[str, Any],
) -> None:
    """All outputs, each whole or not at all."""
    values = np.stack([means.importance, *means.importance_interval, means.kept, *means.kept_interval])
    regions = [(item.name, item.start, item.end) for item in intervals]
    texts = {options.tsv: output.table(reference.sequence, names, means.sequences, values, regions)}
    if options.json is not None:
        texts[options.json] = encode(json.dumps(finite(result), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    for path, text in texts.items():
        with Target(path) as target, contextlib.closing(target.open()) as sink:
            sink.write(text)
    if options.plot is not None:
        title = f"{result['aligned']} sequences along {reference.name}, model {result['model']}"
        with Target(options.plot) as target:
            kind = options.plot.suffix.lower().lstrip(".")
            output.figure(Path(target.working), kind, title, names, means.sequences, values, regions)
