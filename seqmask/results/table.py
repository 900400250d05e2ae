"""The TSV: one line a record, in input order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from seqmask.labels.ranks import Ranks
from seqmask.results.annotated import Annotated
from seqmask.results.files import Writable
from seqmask.results.predictions import UNCLASSIFIED, VERDICTS, verdicts
from seqmask.results.text import cell, decimals, encode, integers
from seqmask.sequences.explanations import Status

COLUMNS = ("id", "length", "n_tokens", "status", "kept_fraction", "mean_importance")
DIGITS = 4
_STATUS = {status.value: status.name for status in Status}


def header(ranks: Ranks, *, check: bool) -> tuple[str, ...]:
    """Names of the columns; with `check` also what the masked and the inverse sequence are predicted to be.

    The last one, `inconsistent`, is there where the model knows which classes stand under which.
    """
    suffixes = ("", "_confidence", "_masked", "_inverse", "_verdict") if check else ("", "_confidence")
    of_ranks = tuple(cell(f"{name}{suffix}") for name in ranks.names for suffix in suffixes)
    return COLUMNS + of_ranks + (("inconsistent",) if ranks.related else ())


def write_header(sink: Writable, ranks: Ranks, *, check: bool) -> None:
    """Write the first line. Raises OSError."""
    sink.write(encode("\t".join(header(ranks, check=check)) + "\n"))


def write(sink: Writable, batch: Annotated, *, check: bool) -> None:
    """Write one line a record; a cell is empty where there is nothing to say. Raises OSError."""
    columns = [*_record_columns(batch), *_rank_columns(batch, check), *_inconsistent(batch)]
    lines = [*map("\t".join, zip(*columns, strict=True)), ""]
    sink.write(encode("\n".join(lines)))


def _record_columns(batch: Annotated) -> Iterator[list[str]]:
    yield [record.name for record in batch.explanations.records]
    yield integers(batch.stops - batch.starts)
    yield integers(batch.explanations.token_counts)
    yield [_STATUS[status] for status in batch.explanations.status.tolist()]
    yield decimals(batch.kept_fraction, DIGITS)
    yield decimals(batch.mean_importance, DIGITS)


def _rank_columns(batch: Annotated, check: bool) -> Iterator[list[str]]:
    for i, rank in enumerate(batch.ranks.ranks):
        # The empty name at the end is what class -1 reaches, the one before it UNSURE
        names = [*map(cell, rank.classes), UNCLASSIFIED, ""]
        yield [names[k] for k in batch.named[:, i].tolist()]
        yield decimals(batch.predicted.confidence[:, i], DIGITS)
        if not check:
            continue
        if batch.masked is None or batch.inverse is None:
            yield from ([""] * len(batch.explanations) for _ in range(3))
            continue
        masked, inverse = batch.masked.classes[:, i], batch.inverse.classes[:, i]
        yield [names[k] for k in masked.tolist()]
        yield [names[k] for k in inverse.tolist()]
        yield [VERDICTS[code] for code in verdicts(batch.explained[:, i], masked, inverse).tolist()]


def _inconsistent(batch: Annotated) -> Iterator[list[str]]:
    """Names of the ranks whose class never stands under that of the rank before, with commas between them."""
    if batch.inconsistent is None:
        return
    column = [""] * len(batch.explanations)
    for i in np.flatnonzero(batch.inconsistent.any(axis=1)).tolist():
        names = zip(batch.ranks.names, batch.inconsistent[i].tolist(), strict=True)
        column[i] = ",".join(cell(name) for name, wrong in names if wrong)
    yield column
