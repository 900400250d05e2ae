"""Sequences whose explanation is known: planted motifs decide the class, and the truth is written down.

A class is told by motifs alone: length, GC content, number of decoys and split are drawn without looking at the class.
No motif, on either strand, occurs anywhere but where it was planted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

import numpy as np
from numpy.random import Generator

from seqmask.config import SimulateOptions
from seqmask.errors import InputError, UsageError
from seqmask.evaluation.backgrounds import SPLITS, Background, default_markov, fit_markov, fragment_background
from seqmask.evaluation.controls import place_blocks
from seqmask.evaluation.tasks import NONE, TASKS, Plan, draw_motifs, reverse_complement
from seqmask.sequences.records import Record

DECOY, LONE = "decoy", "lone"
BLOCK = 4096  # sequences drawn at once


@dataclass(frozen=True, slots=True)
class Interval:
    """One planted motif: nt [start, end) of a record, 0-based half-open.

    role: the ranks whose class it decides, joined by commas; or `decoy` (in all classes alike), or `lone` (one half of
    an AND pair in a sequence of class "negative": neither). strand: `+` if the motif stands as it is listed, `-` if its
    reverse complement does.
    """

    record: str
    start: int
    end: int
    role: str
    motif: str
    strand: str

    @property
    def kind(self) -> str:
        """`truth`, `decoy` or `lone`."""
        return self.role if self.role in (DECOY, LONE) else "truth"


@dataclass(frozen=True, slots=True)
class Simulation:
    """Sequences and everything that is known of them.

    labels: one row a record, `id`, the class of each rank, `split`. truth: the planted motifs, decoys included, by
    record and start. motifs: name to letters, 5'-3' of the strand `+`.
    """

    records: list[Record]
    labels: list[dict[str, str]]
    truth: list[Interval]
    motifs: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Draft:
    """A sequence before it has letters; index is its 0-based ordinal."""

    index: int
    length: int
    labels: dict[str, str]
    planted: list[Interval]


# Simulation


def simulate(options: SimulateOptions, sequences: Sequence[str] = ()) -> Simulation:
    """Records, labels and truth of one task; the same options and sequences give the same simulation.

    sequences: real ones, for the backgrounds `markov` and `fragments`; letters other than A, C, G, T and U are avoided.
    UsageError where they are missing or do not serve.
    """
    # Three independent streams: more sequences or another background leave the motifs as they are.
    motif_rng, plan_rng, base_rng = (np.random.default_rng([options.seed, stream]) for stream in range(3))
    motifs = draw_motifs(motif_rng, options)
    background = _background(options, sequences, plan_rng)
    simulation = Simulation([], [], [], motifs)
    for first in range(0, options.sequences, BLOCK):
        drafts = [_draft(plan_rng, options, motifs, i) for i in range(first, min(first + BLOCK, options.sequences))]
        simulation.records.extend(_compose(base_rng, background, motifs, drafts))
        simulation.labels.extend(draft.labels for draft in drafts)
        simulation.truth.extend(interval for draft in drafts for interval in draft.planted)
    return simulation


# Files


def write_fasta(handle: TextIO, records: Iterable[Record], width: int = 60) -> None:
    """FASTA, wrapped at `width` letters."""
    for record in records:
        lines = [record.sequence[i : i + width] for i in range(0, len(record.sequence), width)]
        handle.write("\n".join([f">{record.description}", *lines]) + "\n")


def write_labels(handle: TextIO, labels: Sequence[dict[str, str]]) -> None:
    """The label table as TSV with a header: id, the ranks, split. At least one row."""
    handle.write("\t".join(labels[0]) + "\n")
    handle.writelines("\t".join(row.values()) + "\n" for row in labels)


def write_truth(handle: TextIO, intervals: Iterable[Interval]) -> None:
    """BED6, 0-based half-open; the name is role:motif, the score 1000 for truth and 0 otherwise."""
    for i in intervals:
        score = 1000 if i.kind == "truth" else 0
        handle.write(f"{i.record}\t{i.start}\t{i.end}\t{i.role}:{i.motif}\t{score}\t{i.strand}\n")


# Parts of a simulation


def _shares(options: SimulateOptions) -> tuple[float, float, float]:
    return (1 - options.val - options.test, options.val, options.test)


def _background(options: SimulateOptions, sequences: Sequence[str], rng: Generator) -> Background:
    if options.background == "default":
        return default_markov(options.order, options.gc_bins)
    if not sequences:
        raise InputError(
            ", ".join(map(str, options.sources)) or "--background",
            "no sequences",
            expected="FASTA or FASTQ that a background can be made of",
        )
    if options.background == "markov":
        return fit_markov(sequences, options.order, options.gc_bins, options.length)
    return fragment_background(sequences, _shares(options), rng)


def _draft(rng: Generator, options: SimulateOptions, motifs: dict[str, str], index: int) -> _Draft:
    if rng.random() < options.negatives:
        plan = Plan((NONE,) * len(options.used_ranks))
    else:
        plan = TASKS[options.task].plan(rng, options)
    name = f"sim_{index:06d}"
    length = options.length + int(rng.integers(-options.length_spread, options.length_spread + 1))
    classes = dict(zip(options.used_ranks, plan.labels, strict=True))
    labels = {"id": name, **classes, "split": str(rng.choice(SPLITS, p=_shares(options)))}
    return _Draft(index, length, labels, _layout(rng, plan, options, motifs, name, length))


def _layout(
    rng: Generator, plan: Plan, options: SimulateOptions, motifs: dict[str, str], record: str, length: int
) -> list[Interval]:
    """Where the motifs of one sequence will stand, sorted by start, no two of them touching."""
    roles = [(_decided(options, name), name) for name in plan.truth] + [(LONE, name) for name in plan.lone]
    items = [item for item in roles for _ in range(_instances(rng, options))]
    decoys = [f"decoy.{i}" for i in rng.integers(options.decoy_motifs, size=options.decoys_each)]
    items += [(DECOY, name) for name in decoys]
    strands = rng.choice(["+", "-"], size=len(items)).tolist()
    laid = [(*items[i], strands[i]) for i in rng.permutation(len(items))]
    if plan.ordered:
        # The pair on one strand, in the plan's order along that strand; decoys stay where they fell.
        strand = strands[0]
        truth = sorted((item for item in laid if item[0] != DECOY), key=lambda item: plan.truth.index(item[1]))
        along = iter(truth if strand == "+" else truth[::-1])
        laid = [(*next(along)[:2], strand) if item[0] != DECOY else item for item in laid]
    sizes = np.array([len(motifs[name]) for _, name, _ in laid], dtype=np.int64)
    starts = place_blocks(sizes, length, rng).tolist()
    ends = (starts + sizes).tolist() if laid else []
    return [Interval(record, s, e, *item) for s, e, item in zip(starts, ends, laid, strict=True)]


def _decided(options: SimulateOptions, motif: str) -> str:
    """The ranks that a motif decides, joined by commas: a motif of the coarse rank decides the fine one, too."""
    rank = motif.partition(".")[0]
    return ",".join(options.used_ranks[options.used_ranks.index(rank) :])


def _instances(rng: Generator, options: SimulateOptions) -> int:
    return int(rng.integers(1, options.max_instances + 1))


def _compose(rng: Generator, background: Background, motifs: dict[str, str], drafts: list[_Draft]) -> list[Record]:
    """Records that hold the planted motifs and no other: a background with one by accident is drawn again."""
    done: dict[int, Record] = {}
    pending = drafts
    for _ in range(1000):
        lengths = np.array([draft.length for draft in pending], dtype=np.int64)
        texts = background.draw(rng, lengths, [draft.labels["split"] for draft in pending])
        for draft, text in zip(pending, texts, strict=True):
            sequence = _plant(text, draft.planted, motifs)
            if _occurrences(sequence, motifs) == {(i.start, i.motif, i.strand) for i in draft.planted}:
                name = draft.labels["id"]
                done[draft.index] = Record(name, name, sequence, line=draft.index + 1)
        pending = [draft for draft in pending if draft.index not in done]
        if not pending:
            return [done[draft.index] for draft in drafts]
    raise UsageError("the background is full of the motifs; raise --motif-min or give another background")


def _plant(background: str, planted: list[Interval], motifs: dict[str, str]) -> str:
    """The background with the motifs written over it; its length stays."""
    for i in planted:
        motif = motifs[i.motif] if i.strand == "+" else reverse_complement(motifs[i.motif])
        background = background[: i.start] + motif + background[i.end :]
    return background


def _occurrences(sequence: str, motifs: dict[str, str]) -> set[tuple[int, str, str]]:
    """(start, motif name, strand) of every place where a motif or its reverse complement stands."""
    found = set()
    for name, motif in motifs.items():
        for strand, word in (("+", motif), ("-", reverse_complement(motif))):
            at = sequence.find(word)
            while at >= 0:
                found.add((at, name, strand))
                at = sequence.find(word, at + 1)
    return found
