"""Annotated FASTA: what the classification rests on in upper case, the rest in lower case or as N."""

from __future__ import annotations

from typing import Final

import numpy as np

from seqmask.results.annotated import Annotated
from seqmask.results.files import Writable
from seqmask.results.predictions import UNCLASSIFIED
from seqmask.results.text import decimals, encode, one_word
from seqmask.sequences.explanations import Status

WIDTH: Final = 60


def write(sink: Writable, batch: Annotated, *, hard_mask: bool) -> None:
    """Write the records of a batch: header as in the input plus annotation, sequence wrapped at 60.

    Kept nucleotides are upper case; all others lower case, or N with `hard_mask`. A record without mask keeps nothing,
    and its header says why; one without sequence is its header only. Raises OSError.
    """
    body = _body(batch, hard_mask)
    lines: list[str] = []
    bounds = zip(
        batch.explanations.records, _annotations(batch), batch.starts.tolist(), batch.stops.tolist(), strict=True
    )
    for record, annotation, start, stop in bounds:
        lines.append(f">{record.description} {annotation}")
        if start < stop:
            last = stop - (stop - start - 1) % WIDTH - 1
            lines += [body[at : at + WIDTH] for at in range(start, last, WIDTH)]
            lines.append(body[last:stop])
    lines.append("")
    sink.write(encode("\n".join(lines)))


def _body(batch: Annotated, hard_mask: bool) -> str:
    """All sequences in the layout of the batch: one letter between two records, which is never printed."""
    joined = "\n".join([*[record.sequence for record in batch.explanations.records], ""]).encode("ascii")
    upper = np.frombuffer(joined.upper(), dtype=np.uint8)
    rest = np.uint8(ord("N")) if hard_mask else np.frombuffer(joined.lower(), dtype=np.uint8)
    return np.where(batch.kept[batch.shown], upper, rest).tobytes().decode("ascii")


def _annotations(batch: Annotated) -> list[str]:
    """`seqmask=kept:0.412 rank=taxon(0.99) ...` of each record, `seqmask=status:...` of one without mask."""
    columns = [[f"seqmask=kept:{kept}" for kept in decimals(batch.kept_fraction, 3)]]
    for column, rank in enumerate(batch.ranks.ranks):
        # What class -1 reaches, the empty name at the end, is never printed
        taxa = [f"{one_word(rank.name)}={one_word(name)}(" for name in (*rank.classes, UNCLASSIFIED, "")]
        classes = batch.named[:, column].tolist()
        shares = decimals(batch.predicted.confidence[:, column], 2)
        columns.append([f"{taxa[i]}{share})" for i, share in zip(classes, shares, strict=True)])
    annotations = list(map(" ".join, zip(*columns, strict=True)))
    for i in np.flatnonzero(batch.explanations.status != Status.ok).tolist():
        annotations[i] = f"seqmask=status:{Status(batch.explanations.status[i]).name}"
    return annotations
