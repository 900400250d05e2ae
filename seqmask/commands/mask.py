"""`seqmask mask`: records in, annotated FASTA, BED, TSV and HDF5 out."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from seqmask.config import Compute, MaskOptions
from seqmask.inference.device import describe, options_of
from seqmask.inference.engine import Engine
from seqmask.inference.explain import explain
from seqmask.models.bundled import resolve
from seqmask.models.checkpoint import Model, load_model
from seqmask.results.writer import Outputs, Paths, Style
from seqmask.sequences.explanations import Explanation, Status
from seqmask.sequences.records import Record, check_nucleotides, read
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

    def add(self, explanation: Explanation) -> None:
        """Count one record."""
        self.statuses[explanation.status] += 1
        self.nucleotides += len(explanation.record.sequence)

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
    )
    where = f"{describe(engine.device)}, {engine.precision}"
    say(f"{where}, {engine.budget} tokens a batch; model {directory.name}, tau {tau:.3f}")
    tally = Tally()
    with Outputs(
        paths, model.classifier.ranks, style, metadata=metadata(model, engine, tau, options.seed), force=options.force
    ) as outputs:
        records = checked(read(options.reads))
        for explanation in explain(
            records, model, engine, overlap=options.overlap, frames=options.frames, check=options.check, tau=tau
        ):
            outputs.write(explanation)
            tally.add(explanation)
            report(tally)
    say(tally.summary)
    return tally


def load(directory: Any, compute: Compute) -> tuple[Model, Engine]:
    """A model on its device, and the engine that runs it."""
    device, precision = options_of(compute)
    model = load_model(directory)
    model.classifier.network.to(device)
    model.explainer.to(device)
    return model, Engine(device, precision, most=compute.batch_size)


def checked(records: Iterable[Record]) -> Iterator[Record]:
    """The records; an InputError at the first that is not nucleotides."""
    for record in records:
        check_nucleotides(record)
        yield record


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
