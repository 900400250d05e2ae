"""The classes of `mask --target`: names to columns, and what to say of a name that is none."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seqmask.errors import UsageError
from seqmask.labels.ranks import ALIASES, UNKNOWN, Ranks


def named_classes(texts: Sequence[str], ranks: Ranks) -> NDArray[np.int64]:
    """Column of the class that RANK=CLASS names at each rank (R,), -1 where none does.

    Raises UsageError for what is not of that form, an unknown rank or class, and a rank that is named twice.
    """
    named = np.full(len(ranks.ranks), UNKNOWN, dtype=np.int64)
    for text in texts:
        rank_name, sign, taxon = (part.strip() for part in text.partition("="))
        if not (rank_name and sign and taxon):
            raise UsageError(f"--target {text}: expected RANK=CLASS, such as {_example(ranks)}")
        known = [*ranks.names, *(ALIASES[name] for name in ranks.names if name in ALIASES)]
        if rank_name not in known:
            near = _closest(rank_name, known) or f"; there are {', '.join(ranks.names)}"
            raise UsageError(f"--target {text}: no rank {rank_name!r}{near}")
        column = ranks.index(rank_name)
        if named[column] != UNKNOWN:
            raise UsageError(f"--target {text}: a rank is named twice")
        named[column] = ranks.ranks[column].encode(taxon)
        if named[column] == UNKNOWN:
            raise UsageError(f"--target {text}: no {rank_name} {taxon!r}{_elsewhere(taxon, column, ranks)}")
    return named


def by_rank(named: NDArray[np.int64], ranks: Ranks) -> dict[str, str]:
    """Names of the named classes (R,) by their rank, coarse to fine."""
    pairs = zip(ranks.ranks, named.tolist(), strict=True)
    return {rank.name: rank.classes[column] for rank, column in pairs if column != UNKNOWN}


def _elsewhere(taxon: str, column: int, ranks: Ranks) -> str:
    """Where a class of that name is, or the one that is spelled most like it."""
    if others := [rank.name for rank in ranks.ranks if taxon in rank.classes]:
        return f" in this model; it is a {others[0]}"
    return " in this model" + _closest(taxon, ranks.ranks[column].classes)


def _closest(name: str, known: Sequence[str]) -> str:
    folded = {candidate.casefold(): candidate for candidate in known}
    near = difflib.get_close_matches(name.casefold(), folded, 1)
    return f"; did you mean {folded[near[0]]!r}?" if near else ""


def _example(ranks: Ranks) -> str:
    first = ranks.ranks[0]
    return shlex.quote(f"{first.name}={first.classes[0]}")
