"""Ranks and their classes. Ranks are data: no rank name is special in the code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.errors import InputError, SeqmaskError, UsageError

UNKNOWN = -1
LONGEST_TAXID = 16  # digits: no taxid has half of them, and 64 bits hold more

# NCBI renamed superkingdom to domain in March 2025: at the boundaries either name stands for the other.
ALIASES = {"superkingdom": "domain", "domain": "superkingdom"}


@dataclass(frozen=True, slots=True)
class Rank:
    """One rank: its name, its class names in column order, and their NCBI taxids (-1 unknown; may be empty).

    parents: for each class the columns of the next coarser rank under which the training labels have it, none where
    they do not say. Empty for the first rank, and where nobody has looked.
    """

    name: str
    classes: tuple[str, ...]
    taxids: tuple[int, ...] = ()
    parents: tuple[tuple[int, ...], ...] = ()
    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", {name: i for i, name in enumerate(self.classes)})

    def encode(self, name: str) -> int:
        """Column of a class name within this rank, -1 if it is empty or not a class."""
        return self._index.get(name, UNKNOWN)


@dataclass(frozen=True, slots=True)
class Ranks:
    """Ordered ranks, coarse to fine; their classes stand side by side in C = sum(sizes) columns."""

    ranks: tuple[Rank, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each rank (R,)."""
        return tuple(rank.name for rank in self.ranks)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Classes of each rank (R,)."""
        return tuple(len(rank.classes) for rank in self.ranks)

    @property
    def slices(self) -> tuple[slice, ...]:
        """Columns of each rank in a (C,) row of logits."""
        stops = np.cumsum(self.sizes).tolist()
        return tuple(slice(stop - size, stop) for stop, size in zip(stops, self.sizes, strict=True))

    def encode(self, row: dict[str, str]) -> NDArray[np.int64]:
        """Class index of each rank (R,) int64; -1 for an empty, absent or unseen name."""
        return np.array([rank.encode(row.get(rank.name, "")) for rank in self.ranks], dtype=np.int64)

    def index(self, name: str) -> int:
        """Position of a rank by its name or its alias."""
        for candidate in (name, ALIASES.get(name, name)):
            if candidate in self.names:
                return self.names.index(candidate)
        raise UsageError(f"no rank {name!r}; there are {', '.join(self.names)}")

    @property
    def related(self) -> bool:
        """Whether it is known which classes stand under which."""
        return any(rank.parents for rank in self.ranks)

    def to_json(self) -> dict[str, Any]:
        """The form in which a model directory keeps its ranks."""
        return {
            "ranks": [
                {"name": rank.name, "classes": list(rank.classes), "taxids": list(rank.taxids)}
                | ({"parents": [list(columns) for columns in rank.parents]} if rank.parents else {})
                for rank in self.ranks
            ]
        }

    @classmethod
    def from_json(cls, data: Any, path: str | Path = "ranks") -> Ranks:
        """Inverse of `to_json`; `path` is the file it was read from, for the error."""
        try:
            ranks = tuple(
                Rank(
                    str(rank["name"]),
                    tuple(map(str, rank["classes"])),
                    tuple(map(int, rank.get("taxids", ()))),
                    tuple(tuple(map(int, columns)) for columns in rank.get("parents", ())),
                )
                for rank in data["ranks"]
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                path, "ranks that cannot be understood", expected="a list 'ranks' of name, classes, taxids"
            ) from error
        names = [rank.name for rank in ranks]
        if not ranks or len(set(names)) < len(names):
            raise InputError(path, f"ranks {names}", expected="at least one rank, each named once")
        for rank in ranks:
            if not rank.classes or len(set(rank.classes)) < len(rank.classes):
                raise InputError(path, f"no class, or a class twice, in rank {rank.name!r}")
            if rank.taxids and len(rank.taxids) != len(rank.classes):
                raise InputError(path, f"{len(rank.taxids)} taxids for {len(rank.classes)} classes of {rank.name!r}")
        for rank, above in zip(ranks, (Rank("", ()), *ranks), strict=False):
            known = range(len(above.classes))
            fits = all(column in known for columns in rank.parents for column in columns)
            if rank.parents and (len(rank.parents) != len(rank.classes) or not fits):
                raise InputError(path, f"parents of {rank.name!r} that are no classes of the rank above it")
        return cls(ranks)


def fit_ranks(rows: Iterable[Mapping[str, str]], names: Sequence[str], min_per_class: int) -> Ranks:
    """Ranks whose classes are the taxa of the training rows, sorted.

    A taxon with fewer than `min_per_class` rows is no class: its rows are unknown at this rank and teach the others.
    Its taxid is the one that rows of it have in RANK_taxid; -1 where none has, or where several taxa share the name.
    The parents of a class are those of the next coarser rank's classes that it shares a row with.
    """
    rows = list(rows)
    counts: list[Counter[str]] = [Counter() for _ in names]
    for row in rows:
        for count, name in zip(counts, names, strict=True):
            count[row.get(name, "")] += 1
    ranks: list[Rank] = []
    for count, name in zip(counts, names, strict=True):
        classes = tuple(sorted(taxon for taxon, n in count.items() if taxon and n >= min_per_class))
        if not classes:
            raise SeqmaskError(f"rank {name!r}: no taxon has {min_per_class} training sequences or more")
        parents = _parents(rows, name, classes, ranks[-1]) if ranks else ()
        ranks.append(Rank(name, classes, _taxids(rows, name, classes), parents))
    return Ranks(tuple(ranks))


def lineages_of(targets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct lineages (N, R) among targets (n, R), -1 = unknown, in order, and how many targets are of each (N,);
    without one that is all unknown.
    """
    found, counts = np.unique(targets, axis=0, return_counts=True)
    known = (found != UNKNOWN).any(axis=1)
    return found[known], counts[known]


def nested_share(targets: NDArray[np.int64]) -> float:
    """Of targets (n, R), the share that stand under the class above that most of their own class stand under: 1 for a
    taxonomy. The least over neighbouring ranks; rows that are unknown at one of them do not count.
    """
    shares = [1.0]
    for above, own in zip(targets.T, targets.T[1:], strict=False):
        known = (above != UNKNOWN) & (own != UNKNOWN)
        if known.any():
            pairs, counts = np.unique(np.stack([own[known], above[known]]), axis=1, return_counts=True)
            most = np.zeros(pairs[0].max() + 1, dtype=np.int64)
            np.maximum.at(most, pairs[0], counts)
            shares.append(float(most.sum() / counts.sum()))
    return min(shares)


def taxids_of(rank: str) -> str:
    """The column that holds the NCBI taxids of a rank's taxa."""
    return f"{rank}_taxid"


def taxid_in(text: str) -> int:
    """The NCBI taxid in a cell: 562 or, as pandas writes it beside empty cells, 562.0; -1 for anything else, and for 0,
    which stands for no taxon.
    """
    whole = text.removesuffix(".0")
    number = int(whole) if whole.isascii() and whole.isdecimal() and len(whole) < LONGEST_TAXID else UNKNOWN
    return number or UNKNOWN


def _taxids(rows: Sequence[Mapping[str, str]], name: str, classes: Sequence[str]) -> tuple[int, ...]:
    """The NCBI taxid of each class."""
    found: dict[str, set[int]] = {taxon: set() for taxon in classes}
    for taxon, text in {(row.get(name, ""), row.get(taxids_of(name), "")) for row in rows}:
        if taxon in found and (taxid := taxid_in(text)) != UNKNOWN:
            found[taxon].add(taxid)
    return tuple(found[taxon].pop() if len(found[taxon]) == 1 else UNKNOWN for taxon in classes)


def _parents(
    rows: Sequence[Mapping[str, str]], name: str, classes: Sequence[str], above: Rank
) -> tuple[tuple[int, ...], ...]:
    """For each class of rank `name` the columns of the classes of the rank above that stand in a row with it."""
    found: dict[str, set[int]] = {taxon: set() for taxon in classes}
    for taxon, column in {(row.get(name, ""), above.encode(row.get(above.name, ""))) for row in rows}:
        if taxon in found and column != UNKNOWN:
            found[taxon].add(column)
    return tuple(tuple(sorted(found[taxon])) for taxon in classes)
