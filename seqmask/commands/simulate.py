"""`seqmask simulate`: sequences whose explanation is known, their label table and the truth as BED."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Callable, Iterable

from seqmask.config import SimulateOptions
from seqmask.evaluation.simulate import Simulation, write_fasta, write_labels, write_truth
from seqmask.evaluation.simulate import simulate as draw
from seqmask.results.files import Target, check_targets
from seqmask.results.text import encode
from seqmask.sequences.records import check_nucleotides, read


def simulate(options: SimulateOptions, say: Callable[[str], None]) -> Simulation:
    """Write PREFIX.fasta (.gz), PREFIX.tsv and PREFIX.truth.bed; returns what they hold."""
    paths = options.derived
    check_targets(paths, options.force, inputs=options.sources)
    simulation = draw(options, real_sequences(options))
    texts = [io.StringIO() for _ in paths]
    write_fasta(texts[0], simulation.records)
    write_labels(texts[1], simulation.labels)
    write_truth(texts[2], simulation.truth)
    with contextlib.ExitStack() as stack:  # all three get their names, or none does
        targets = [stack.enter_context(Target(path)) for path in paths]
        for target, text in zip(targets, texts, strict=True):
            with contextlib.closing(target.open()) as sink:
                sink.write(encode(text.getvalue()))
    splits = _counts(row["split"] for row in simulation.labels)
    kinds = _counts(interval.kind for interval in simulation.truth)
    say(f"task {options.task}: {len(simulation.records)} sequences ({splits}), planted: {kinds}; motifs:")
    for name, motif in simulation.motifs.items():
        say(f"  {name} {motif}")
    return simulation


def _counts(names: Iterable[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(Counter(names).items())) or "none"


def real_sequences(options: SimulateOptions) -> list[str]:
    """The sequences of the background's files."""
    sequences = []
    for record in read(options.sources):
        check_nucleotides(record)
        sequences.append(record.sequence)
    return sequences
