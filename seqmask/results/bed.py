"""BED9 of the kept runs: which stretches the classification rests on, and how much."""

from __future__ import annotations

from typing import Final

import numpy as np

from seqmask.results.annotated import Annotated, Runs
from seqmask.results.files import Writable
from seqmask.results.predictions import UNCLASSIFIED, UNSURE
from seqmask.results.text import bed_name, encode, integers

SCORE_MAX: Final = 1000
# From light to dark; genome browsers advise eight colours at most. The eight steps of viridis, distinct to all eyes.
COLOURS: Final = (
    "253,231,37",
    "159,218,58",
    "74,194,109",
    "31,161,135",
    "39,127,142",
    "54,92,141",
    "70,51,127",
    "68,1,84",
)
# Columns that follow from the score, with what stands around them
SCORES: Final = tuple(f"\t{score}\t.\t" for score in range(SCORE_MAX + 1))
ITEM_RGB: Final = tuple(f"\t{COLOURS[score * len(COLOURS) // (SCORE_MAX + 1)]}\n" for score in range(SCORE_MAX + 1))


def write(sink: Writable, batch: Annotated) -> None:
    """Write one line a maximal run of kept nucleotides, records in input order, lines of a record sorted by start.

    A shared mask is named after the batch's one rank; where each rank has its own mask there are lines of every rank,
    and of equal starts the coarser rank comes first. Raises OSError.
    """
    tracks = range(len(batch.tracks))
    found = [batch.runs(track) for track in tracks]
    if len(found) == 1:
        lines = _lines(batch, found[0], batch.rank)
    else:
        unsorted = [line for rank in tracks for line in _lines(batch, found[rank], rank)]
        records = np.concatenate([runs.records for runs in found])
        starts = np.concatenate([runs.spans[:, 0] for runs in found])
        # Stable: lines of equal starts stay in the order of the ranks
        lines = [unsorted[i] for i in np.lexsort((starts, records)).tolist()]
    sink.write(encode("".join(lines)))


def _lines(batch: Annotated, runs: Runs, rank: int) -> list[str]:
    of = batch.ranks.ranks[rank]
    taxa = [*(bed_name(f"{of.name}:{name}") for name in (*of.classes, UNCLASSIFIED)), ""]
    explained, own = batch.explained[:, rank], batch.predicted.classes[:, rank]
    # A class that was asked for is named whatever its confidence
    unsure = (batch.named[:, rank] == UNSURE) & (explained == own)
    names = [taxa[k] for k in np.where(unsure, UNSURE, explained).tolist()]
    chroms = [record.name for record in batch.explanations.records]
    scores = np.clip(np.rint(runs.means * SCORE_MAX), 0, SCORE_MAX).astype(np.int64)
    starts, ends = integers(runs.spans[:, 0]), integers(runs.spans[:, 1])
    return [
        f"{chroms[i]}\t{start}\t{end}\t{names[i]}{SCORES[score]}{start}\t{end}{ITEM_RGB[score]}"
        for i, start, end, score in zip(runs.records.tolist(), starts, ends, scores.tolist(), strict=True)
    ]
