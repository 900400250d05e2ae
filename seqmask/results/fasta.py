"""Annotated FASTA: what the classification rests on in upper case, the rest in lower case or as N."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from seqmask.labels.ranks import Rank
from seqmask.results.annotated import Annotated
from seqmask.results.files import Writable
from seqmask.results.predictions import UNCLASSIFIED, VERDICTS, verdicts
from seqmask.results.text import Table, decimal_table, encode, one_word, table_of, units, woven
from seqmask.sequences.explanations import Status

WIDTH: Final = 60
NEWLINE: Final = np.uint8(ord("\n"))


def write(sink: Writable, batch: Annotated, *, hard_mask: bool) -> None:
    """Write the records of a batch: header as in the input plus annotation, sequence wrapped at 60.

    Kept nucleotides are upper case; all others lower case, or N with `hard_mask`. A record without mask keeps nothing,
    and its header says why; one without sequence is its header only. Raises OSError.
    """
    text, starts, ends = _bodies(batch, hard_mask)
    headers = [record.description for record in batch.explanations.records]
    bodies = [text[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    sink.write(encode(woven([">", headers, *_annotations(batch), "\n", bodies])))


def _bodies(batch: Annotated, hard_mask: bool) -> tuple[str, NDArray[np.int64], NDArray[np.int64]]:
    """All sequences, wrapped, end to end; where the lines of each record start and end in that text (n,)."""
    joined = "\n".join([*[record.sequence for record in batch.explanations.records], ""]).encode("ascii")
    upper, kept = np.frombuffer(joined.upper(), dtype=np.uint8), batch.kept
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


def _annotations(batch: Annotated) -> list[list[str]]:
    """` seqmask=kept:0.412 rank=taxon(0.99) ...` of each record, ` seqmask=status:...` of one without mask, in pieces.

    Where masks were checked, ` rank_verdict=holds` after each rank.
    """
    columns = [_KEPT[units(batch.kept_fraction, 3)].tolist()]
    shares = units(batch.predicted.confidence, 2)
    for column, rank in enumerate(batch.ranks.ranks):
        columns += [_taxa(rank)[batch.named[:, column]].tolist(), _SHARES[shares[:, column]].tolist()]
        if batch.masked is not None and batch.inverse is not None:
            seen = batch.masked.classes[:, column], batch.inverse.classes[:, column]
            told = table_of(f" {one_word(rank.name)}_verdict={verdict}" for verdict in VERDICTS)
            columns.append(told[verdicts(batch.explained[:, column], *seen)].tolist())
    for i in np.flatnonzero(batch.explanations.status != Status.ok).tolist():
        for pieces in columns:
            pieces[i] = ""
        columns[0][i] = f" seqmask=status:{Status(batch.explanations.status[i]).name}"
    return columns


_KEPT: Final = table_of(f" seqmask=kept:{kept}" for kept in decimal_table(3))
_SHARES: Final = table_of(f"({share})" for share in decimal_table(2))


@cache
def _taxa(rank: Rank) -> Table:
    """` rank=taxon` of every class; what class -1 reaches, the empty name at the end, is never printed."""
    return table_of(f" {one_word(rank.name)}={one_word(name)}" for name in (*rank.classes, UNCLASSIFIED, ""))
