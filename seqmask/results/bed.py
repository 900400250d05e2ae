"""BED9 of the kept runs: which stretches the classification rests on, and how much."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from seqmask.labels.ranks import Rank
from seqmask.results.annotated import Annotated, Runs
from seqmask.results.files import Writable
from seqmask.results.predictions import UNCLASSIFIED, UNSURE
from seqmask.results.text import Table, bed_name, encode, integers, table_of, woven

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
SCORES: Final = table_of(f"\t{score}\t." for score in range(SCORE_MAX + 1))
ITEM_RGB: Final = table_of(f"{COLOURS[score * len(COLOURS) // (SCORE_MAX + 1)]}\n" for score in range(SCORE_MAX + 1))


def write(sink: Writable, batch: Annotated) -> None:
    """Write one line a maximal run of kept nucleotides, records in input order, lines of a record sorted by start.

    A shared mask is named after the batch's one rank; where each rank has its own mask there are lines of every rank,
    and of equal starts the coarser rank comes first. Raises OSError.
    """
    found = [batch.runs(track) for track in range(len(batch.tracks))]
    if len(found) == 1:
        columns = _columns(batch, found[0], np.full(len(found[0].records), batch.rank))
    else:
        ranks = np.repeat(np.arange(len(found)), [len(runs.records) for runs in found])
        records = np.concatenate([runs.records for runs in found])
        spans = np.concatenate([runs.spans for runs in found])
        # Stable: lines of equal starts stay in the order of the ranks
        order = np.lexsort((spans[:, 0], records))
        means = np.concatenate([runs.means for runs in found])
        columns = _columns(batch, Runs(records[order], spans[order], means[order]), ranks[order])
    sink.write(encode(woven(columns)))


def _columns(batch: Annotated, runs: Runs, ranks: NDArray[np.int64]) -> list[list[str]]:
    """The pieces of the lines, column by column. ranks (m,): that of each run."""
    chroms = table_of(record.name for record in batch.explanations.records)
    scores = np.clip(np.rint(runs.means * SCORE_MAX), 0, SCORE_MAX).astype(np.int64)
    names, places = _names(batch)
    starts, ends = integers(runs.spans[:, 0], "\t", "\t"), integers(runs.spans[:, 1], after="\t")
    return [
        chroms[runs.records].tolist(),
        starts,
        ends,
        names[places[runs.records, ranks]].tolist(),
        SCORES[scores].tolist(),
        starts,
        ends,
        ITEM_RGB[scores].tolist(),
    ]


def _names(batch: Annotated) -> tuple[Table, NDArray[np.int64]]:
    """`rank:taxon` of all classes of all ranks, and which of them (n, R) names the runs of each record and rank."""
    names: list[Table] = []
    begin = 0
    # A class that was asked for is named whatever its confidence
    unsure = (batch.named == UNSURE) & (batch.explained == batch.predicted.classes)
    places = np.where(unsure, UNSURE, batch.explained)
    for column, rank in enumerate(batch.ranks.ranks):
        of_rank = _taxa(rank)
        places[:, column] = begin + places[:, column] % len(of_rank)  # unknown and UNSURE count from the end
        begin += len(of_rank)
        names.append(of_rank)
    return np.concatenate(names), places


@cache
def _taxa(rank: Rank) -> Table:
    """`rank:taxon` of every class, of UNSURE and, empty, of unknown."""
    return table_of((*(bed_name(f"{rank.name}:{name}") for name in (*rank.classes, UNCLASSIFIED)), ""))
