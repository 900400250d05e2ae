"""Annotated FASTA: what the classification rests on in upper case, the rest in lower case or as N."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from seqmask.labels import Rank
from seqmask.results.annotated import Annotated
from seqmask.results.files import Writable
from seqmask.results.predictions import UNCLASSIFIED, UNSURE, VERDICTS, verdicts
from seqmask.results.text import decimal_table, decimals, encode, one_word, units
from seqmask.sequences.explanations import Status

WIDTH: Final = 60
NEWLINE: Final = np.uint8(ord("\n"))


def write(sink: Writable, batch: Annotated, *, hard_mask: bool) -> None:
    """Write the records of a batch: header as in the input plus annotation, sequence wrapped at 60.

    Kept nucleotides are upper case; all others lower case, or N with `hard_mask`. A record without mask keeps nothing,
    and its header says why; one without sequence is its header only. Raises OSError.
    """
    text, starts, ends = _bodies(batch, hard_mask)
    columns = batch.explanations.records, _annotations(batch), starts.tolist(), ends.tolist()
    records = [
        f">{record.description} {annotation}\n{text[start:end]}"
        for record, annotation, start, end in zip(*columns, strict=True)
    ]
    sink.write(encode("".join(records)))


def _bodies(batch: Annotated, hard_mask: bool) -> tuple[str, NDArray[np.int64], NDArray[np.int64]]:
    """All sequences, wrapped, end to end; where the lines of each record start and end in that text (n,)."""
    joined = "\n".join([*[record.sequence for record in batch.explanations.records], ""]).encode("ascii")
    upper, kept = np.frombuffer(joined.upper(), dtype=np.uint8), batch.kept[batch.shown]
    # The bit that makes a letter lower case is set in gaps anyway
    letters = np.where(kept, upper, np.uint8(ord("N"))) if hard_mask else upper | ((~kept).view(np.uint8) << 5)
    letters[batch.stops] = NEWLINE
    lengths = batch.stops - batch.starts
    breaks = np.maximum(lengths - 1, 0) // WIDTH  # within each record, before more letters
    before = np.cumsum(breaks) - breaks
    ordinal = np.arange(breaks.sum()) - np.repeat(before, breaks)
    text = np.insert(letters, np.repeat(batch.starts, breaks) + (ordinal + 1) * WIDTH, NEWLINE)
    starts = batch.starts + before
    return text.tobytes().decode("ascii"), starts, starts + lengths + breaks + (lengths > 0)


class _Found(dict[int, str]):
    """`rank=taxon(0.99)` of every class and share of one rank that have come up so far: they come again and again."""

    def __init__(self, rank: Rank) -> None:
        # What class -1 reaches, the empty name at the end, is never printed
        self._taxa = [f"{one_word(rank.name)}={one_word(name)}(" for name in (*rank.classes, UNCLASSIFIED, "")]
        self._shares = decimal_table(2)

    def keys_of(self, classes: NDArray[np.int64], shares: NDArray[np.int64]) -> NDArray[np.int64]:
        """Keys (n,) of classes (n,), -1 and -2 as in `predictions`, and shares (n,) in units of 0.01, -1 unknown."""
        return (classes - UNSURE) * len(self._shares) + shares + 1

    def __missing__(self, key: int) -> str:
        taxon, share = divmod(key, len(self._shares))
        text = self[key] = f"{self._taxa[taxon + UNSURE]}{self._shares[share - 1]})"
        return text


_found = cache(_Found)


def _annotations(batch: Annotated) -> list[str]:
    """`seqmask=kept:0.412 rank=taxon(0.99) ...` of each record, `seqmask=status:...` of one without mask.

    Where masks were checked, ` rank_verdict=holds` after each rank.
    """
    columns = [[f"seqmask=kept:{kept}" for kept in decimals(batch.kept_fraction, 3)]]
    shares = units(batch.predicted.confidence, 2)
    for column, rank in enumerate(batch.ranks.ranks):
        found = _found(rank)
        columns.append([found[key] for key in found.keys_of(batch.named[:, column], shares[:, column]).tolist()])
        if batch.masked is not None and batch.inverse is not None:
            seen = batch.masked.classes[:, column], batch.inverse.classes[:, column]
            codes = verdicts(batch.explained[:, column], *seen).tolist()
            columns.append([f"{one_word(rank.name)}_verdict={VERDICTS[code]}" for code in codes])
    annotations = list(map(" ".join, zip(*columns, strict=True)))
    for i in np.flatnonzero(batch.explanations.status != Status.ok).tolist():
        annotations[i] = f"seqmask=status:{Status(batch.explanations.status[i]).name}"
    return annotations
