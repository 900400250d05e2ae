"""Which motifs a simulation has, and how each task lets motifs decide the class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from numpy.random import Generator

from seqmask.config import SHARED, SimulateOptions
from seqmask.errors import UsageError

NONE = "negative"  # class of the sequences in which no class's motifs are complete
COMPLEMENT = str.maketrans("ACGT", "TGCA")


@dataclass(frozen=True, slots=True)
class Plan:
    """What one sequence will hold. labels: a class a used rank. ordered: the truth in this order along one strand."""

    labels: tuple[str, ...]
    truth: tuple[str, ...] = ()
    lone: tuple[str, ...] = ()
    ordered: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """names: all its class motifs. plan: the content of one sequence that is not a motif-free negative."""

    names: Callable[[SimulateOptions], list[str]]
    plan: Callable[[Generator, SimulateOptions], Plan]


# Tasks. Class c of rank r is called r_c, its motifs r.c or r.c.j


def _plan_one(rng: Generator, options: SimulateOptions) -> Plan:
    """The class has one motif."""
    rank, c = options.ranks[1], rng.integers(options.classes)
    return Plan((f"{rank}_{c}",), (f"{rank}.{c}",))


def _plan_several(rng: Generator, options: SimulateOptions) -> Plan:
    """The class has several motifs, two of them stand in a sequence."""
    rank, c = options.ranks[1], rng.integers(options.classes)
    chosen = rng.choice(options.motifs_per_class, size=2, replace=False)
    return Plan((f"{rank}_{c}",), tuple(f"{rank}.{c}.{j}" for j in chosen))


def _plan_and(rng: Generator, options: SimulateOptions) -> Plan:
    """The class is both motifs of a pair; with either alone it is "negative": one motif tells one half, no more."""
    rank, c = options.ranks[1], rng.integers(options.classes)
    a, b = f"{rank}.{c}.a", f"{rank}.{c}.b"
    content = rng.integers(3)
    if content == 0:
        return Plan((f"{rank}_{c}",), (a, b))
    return Plan((NONE,), lone=(a,) if content == 1 else (b,))


def _plan_order(rng: Generator, options: SimulateOptions) -> Plan:
    """Two classes share a pair of motifs: a before b is the even class, b before a the odd one.

    Before = towards the 5' end of the strand on which the pair stands; all instances stand on one strand. So the
    reverse complement of a sequence has the same class.
    """
    rank, c = options.ranks[1], rng.integers(options.classes)
    pair = (f"{rank}.{c // 2}.a", f"{rank}.{c // 2}.b")
    return Plan((f"{rank}_{c}",), pair if c % 2 == 0 else pair[::-1], ordered=True)


def _plan_nested(rng: Generator, options: SimulateOptions) -> Plan:
    """A coarse motif tells the group; a fine motif, shared by all groups, tells which class of that group."""
    (coarse, fine), children = options.ranks, options.classes // options.groups
    group, child = rng.integers(options.groups), rng.integers(children)
    return Plan((f"{coarse}_{group}", f"{fine}_{group * children + child}"), (f"{coarse}.{group}", f"{fine}.{child}"))


def _one_each(options: SimulateOptions) -> list[str]:
    return [f"{options.ranks[1]}.{c}" for c in range(options.classes)]


def _numbered(options: SimulateOptions) -> list[str]:
    return [f"{name}.{j}" for name in _one_each(options) for j in range(options.motifs_per_class)]


def _pairs(options: SimulateOptions) -> list[str]:
    count = options.classes // 2 if options.task == "order" else options.classes
    return [f"{options.ranks[1]}.{c}.{half}" for c in range(count) for half in "ab"]


def _coarse_and_fine(options: SimulateOptions) -> list[str]:
    coarse, fine = options.ranks
    children = options.classes // options.groups
    return [f"{coarse}.{g}" for g in range(options.groups)] + [f"{fine}.{j}" for j in range(children)]


TASKS = {
    "one": Task(_one_each, _plan_one),
    "several": Task(_numbered, _plan_several),
    "and": Task(_pairs, _plan_and),
    "order": Task(_pairs, _plan_order),
    "decoys": Task(_one_each, _plan_one),
    "nested": Task(_coarse_and_fine, _plan_nested),
}


# Motifs


def draw_motifs(rng: Generator, options: SimulateOptions) -> dict[str, str]:
    """Names to motifs, 5'-3' in A, C, G and T: the task's class motifs, and decoys `decoy.i`, which are shuffled ones.

    GC content is from 30 to 70 %, no letter stands four times in a row, and no two motifs or their reverse complements
    share SHARED letters in a row. UsageError if the options ask for more motifs than that leaves.
    """
    names = TASKS[options.task].names(options)
    motifs: dict[str, str] = {}
    seen: set[str] = set()
    for name in names:
        size = int(rng.integers(options.motif_min, options.motif_max + 1))
        motifs[name] = _draw_motif(rng, "ACGT", size, seen, replace=True)
    for i in range(options.decoy_motifs if options.decoys else 0):
        model = motifs[names[i % len(names)]]
        motifs[f"decoy.{i}"] = _draw_motif(rng, model, len(model), seen, replace=False)
    return motifs


def reverse_complement(sequence: str) -> str:
    """The other strand, 5'-3', of upper-case A, C, G and T."""
    return sequence[::-1].translate(COMPLEMENT)


def _draw_motif(rng: Generator, letters: str, size: int, seen: set[str], *, replace: bool) -> str:
    """The first draw of `size` letters that is fit (see `draw_motifs`); its words on both strands go into `seen`."""
    for _ in range(10_000):
        motif = "".join(rng.choice(list(letters), size, replace=replace))
        gc = (motif.count("G") + motif.count("C")) / size
        if not 0.3 <= gc <= 0.7 or any(letter * 4 in motif for letter in "ACGT"):
            continue
        words, other = _words(motif), _words(reverse_complement(motif))
        if not words & other and not (words | other) & seen:
            seen |= words | other
            return motif
    raise UsageError("there are not that many different motifs; lower --classes or raise --motif-min")


def _words(motif: str) -> set[str]:
    return {motif[i : i + SHARED] for i in range(len(motif) - SHARED + 1)}
