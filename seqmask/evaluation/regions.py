"""Named regions of a reference: from a BED file, or the variable regions of 16S; and carried over to sequences."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from seqmask.errors import InputError
from seqmask.evaluation.annotations import ANY
from seqmask.evaluation.intervals import BedInterval, read_bed
from seqmask.sequences.records import Record

ECOLI = "ecoli-16s"
# Variable regions of 16S rRNA in E. coli numbering, 1-based and closed (Chakravorty et al. 2007)
VARIABLE = {
    "V1": (69, 99),
    "V2": (137, 242),
    "V3": (433, 497),
    "V4": (576, 682),
    "V5": (822, 879),
    "V6": (986, 1043),
    "V7": (1117, 1173),
    "V8": (1243, 1294),
    "V9": (1435, 1465),
}
# Primer 515F (Parada et al. 2016), which begins at position 515 of E. coli's numbering
PRIMER, PRIMER_AT = re.compile("GTG[CT]CAGC[AC]GCCGCGGTAA"), 515


def regions_of(where: str, reference: Record) -> list[BedInterval]:
    """Regions on a reference: `ecoli-16s`, or those of a BED file whose column 1 is the reference's name.

    InputError where the reference is no 16S gene in E. coli's numbering, or where the file has none on it.
    """
    if where == ECOLI:
        shift = ecoli_shift(reference)
        return [
            BedInterval(reference.name, start - 1 + shift, end + shift, name, 0)
            for name, (start, end) in VARIABLE.items()
        ]
    intervals = read_bed(where)
    if any(item.name == ANY for items in intervals.by_chrom.values() for item in items):
        raise InputError(where, f"a region called {ANY!r}, as all of them together are", remedy="give it another name")
    found = intervals.of(reference)
    if not found:
        raise InputError(
            where,
            f"no interval on {reference.name!r}",
            expected=f"the reference's name in column 1; found {', '.join(list(intervals.by_chrom)[:3])}",
        )
    return found


def ecoli_shift(reference: Record) -> int:
    """What is added to a 1-based E. coli position less one to get the nucleotide of this 16S gene of E. coli.

    0 for a whole gene; found by primer 515F. InputError where that is not found, or not near its place, or where the
    gene ends before V9: another gene, another strand or another numbering.
    """
    found = PRIMER.search(reference.sequence.upper().replace("U", "T"))
    shift = found.start() - (PRIMER_AT - 1) if found else 0
    # Genes that begin late lack the first of their nucleotides; an earlier begin would be another numbering
    if found is None or not 1 - VARIABLE["V1"][0] <= shift <= 0 or len(reference.sequence) < VARIABLE["V9"][1] + shift:
        raise InputError(
            reference.path,
            f"{reference.name} is no whole 16S gene in E. coli's numbering",
            expected=f"primer 515F at nucleotide {PRIMER_AT} or a little before",
            remedy="take E. coli's 16S as the reference, or give the regions as a BED file",
            line=reference.line or None,
        )
    return shift


def carried_over(regions: Iterable[BedInterval], positions: NDArray[np.int32]) -> list[BedInterval]:
    """Regions of a reference on a sequence that is aligned to it: from the first to the last nt that stands in each.

    positions (L,): reference position of each nt of the sequence, -1 = none. Regions without any nt are left out.
    """
    found = []
    for item in regions:
        inside = np.flatnonzero((positions >= item.start) & (positions < item.end))
        if inside.size:
            found.append(BedInterval(item.chrom, int(inside[0]), int(inside[-1]) + 1, item.name, item.line))
    return found
