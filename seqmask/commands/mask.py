"""`seqmask mask`: records in, annotated FASTA, BED, TSV and HDF5 out."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seqmask.config import Compute, MaskOptions
from seqmask.inference.device import describe, options_of, token_budget
from seqmask.inference.engine import Engine
from seqmask.inference.explain import explain_pool, pooled
from seqmask.inference.stages import Stages
from seqmask.models.bundled import resolve
from seqmask.models.checkpoint import Model, load_model
from seqmask.results.writer import Outputs, Paths, Style
from seqmask.sequences.explanations import Explanations, Status
from seqmask.sequences.pool import Pool
from seqmask.sequences.records import checked, read
from seqmask.version import version


@dataclass(slots=True)
class Tally:
    """What went by. nucleotides: of all records; verdicts: certificates of the finest rank, with --check only."""

    statuses: Counter[Status] = field(default_factory=Counter)
    nucleotides: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    began: float = field(default_factory=time.monotonic)

    @property
    def records(self) -> int:
        """Records so far."""
        return sum(self.statuses.values())

    def add(self, explanations: Explanations) -> None:
        """Count these records."""
        counts = np.bincount(explanations.status).tolist()
        self.statuses.update({Status(status): count for status, count in enumerate(counts) if count})
        self.nucleotides += sum(len(record.sequence) for record in explanations.records)

    @property
    def summary(self) -> str:
        """One line."""
        seconds = max(time.monotonic() - self.began, 1e-9)
        counts = ", ".join(f"{status.name} {count}" for status, count in sorted(self.statuses.items()))
        return (
            f"{self.records} records ({counts or 'no records'}), {self.nucleotides} nt in {seconds:.1f} s: "
            f"{self.records / seconds:.0f} records/s"
        )


def mask(options: MaskOptions, say: Callable[[str], None], report: Callable[[Tally], None]) -> Tally:
    """Mask every record. Raises before any work what the options, the model or the targets make impossible."""
    paths = Paths(options.fasta, options.bed, options.tsv, options.hdf5)
    paths.check(options.force)
    directory = resolve(options.model)
    model, engine = load(directory, options.compute)
    tau = model.threshold if options.threshold is None else options.threshold
    style = Style(
        tau=tau,
        token_tracks=model.explainer.tracks,
        hard_mask=options.hard_mask,
        check=options.check,
        full_precision=options.full_precision,
        min_confidence=options.min_confidence,
    )
    where = f"{describe(engine.device)}, {engine.precision}"
    say(f"{where}, {engine.budget} tokens a batch; model {directory.name}, tau {tau:.3f}")
    tally = Tally()
    with Outputs(
        paths, model.classifier.ranks, style, metadata=metadata(model, engine, tau, options.seed), force=options.force
    ) as outputs:

        def compute(pool: Pool) -> Explanations:
            return explain_pool(pool, model, engine, options.check, tau)

        def write(explanations: Explanations) -> None:
            outputs.write_all(explanations)
            tally.add(explanations)
            report(tally)

        numbered = enumerate(checked(read(options.reads)))
        stages = Stages(pooled(numbered, model.classifier, options.overlap, options.frames or model.frames), compute)
        engine.pulse = stages.pulse
        stages.run(write)
    say(tally.summary)
    for line in remarks(outputs, model.classifier.ranks.names, options.min_confidence):
        say(line)
    return tally


def remarks(outputs: Outputs, ranks: Sequence[str], min_confidence: float) -> Iterator[str]:
    """What else is to be said of the predictions, if anything."""
    if outputs.unclassified.any():
        counts = ", ".join(f"{name} {n}" for name, n in zip(ranks, outputs.unclassified.tolist(), strict=True))
        yield f"unclassified, confidence below {min_confidence:g}: {counts}"
    if outputs.inconsistent:
        yield f"{outputs.inconsistent} records with classes that never stand together in the training labels"


def load(directory: Any, compute: Compute) -> tuple[Model, Engine]:
    """A model on its device, and the engine that runs it."""
    device, precision = options_of(compute)
    model = load_model(directory)
    model.classifier.network.to(device)
    model.explainer.to(device)
    return model, Engine(device, precision, token_budget(device, model.classifier.network.config), compute.batch_size)


def metadata(model: Model, engine: Engine, tau: float, seed: int) -> dict[str, Any]:
    """What the HDF5 file says of its making."""
    return {
        "tool": "seqmask",
        "tool_version": version(),
        "command": sys.argv,
        "classifier_sha256": model.classifier.sha256,
        "explainer_sha256": model.sha256,
        "tokenizer_sha256": model.classifier.tokenizer.sha256,
        "operator": model.operator,
        "threshold": tau,
        "device": str(engine.device),
        "dtype": engine.precision,
        "seed": seed,
    }
