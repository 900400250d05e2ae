"""Named intervals on sequences from BED files: a known truth, or annotations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqmask.errors import InputError
from seqmask.sequences.records import Record
from seqmask.sequences.source import check_readable, open_source

Bools = NDArray[np.bool_]

_SKIPPED = ("#", "track ", "track\t", "browser ")  # what may stand between the intervals of a BED file


@dataclass(frozen=True, slots=True)
class BedInterval:
    """Nucleotides [start, end) of a sequence, 0-based half-open; name: BED column 4, '' without. line: 1-based."""

    chrom: str
    start: int
    end: int
    name: str
    line: int


@dataclass(frozen=True, slots=True)
class Intervals:
    """The intervals of one file by sequence, in the order of the file."""

    path: str
    by_chrom: dict[str, list[BedInterval]]

    def of(self, record: Record) -> list[BedInterval]:
        """The intervals on a record, none where the file does not name it. InputError for one beyond its end."""
        found = self.by_chrom.get(record.name, [])
        for item in found:
            if item.end > len(record.sequence):
                raise InputError(
                    self.path,
                    f"{item.chrom}:{item.start}-{item.end} ends beyond the sequence",
                    expected=f"at most {len(record.sequence)}",
                    remedy="were the sequences cut, or is the file 1-based or of other sequences?",
                    line=item.line,
                )
        return found

    def unknown(self, names: Iterable[str]) -> int:
        """Number of the file's sequences that are not among `names`."""
        return len(self.by_chrom.keys() - set(names))


def read_bed(path: str) -> Intervals:
    """The intervals of a BED file with 3 to 12 columns, plain or compressed (by content), '-' is stdin.

    Comments, blank, `track` and `browser` lines are skipped. InputError at the first line that is no interval, and for
    a file without any.
    """
    check_readable(path)
    by_chrom: dict[str, list[BedInterval]] = {}
    for item in _lines(path):
        by_chrom.setdefault(item.chrom, []).append(item)
    if not by_chrom:
        raise InputError(path, "no intervals", expected="a BED file")
    return Intervals(path, by_chrom)


def track_of(intervals: Iterable[BedInterval], length: int) -> Bools:
    """Nucleotides (length,) bool that any of the intervals covers."""
    track = np.zeros(length, dtype=np.bool_)
    for item in intervals:
        track[item.start : item.end] = True
    return track


def _lines(path: str) -> Iterator[BedInterval]:
    with ExitStack() as stack:
        for number, raw in enumerate(open_source(path, stack), start=1):
            text = raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
            if text.strip() and not text.startswith(_SKIPPED):
                yield _interval(path, number, text)


def _interval(path: str, number: int, text: str) -> BedInterval:
    fields = text.split("\t") if "\t" in text else text.split()
    if not 3 <= len(fields) <= 12:
        raise InputError(
            path, f"{len(fields)} columns in {text[:60]!r}", expected="a BED line of 3 to 12 columns", line=number
        )
    chrom, start, end = fields[:3]
    if not (start.isdecimal() and end.isdecimal()) or int(start) > int(end) or not chrom:
        raise InputError(
            path,
            f"{' '.join(fields[:3])[:60]!r}",
            expected="a name, start and end with 0 <= start <= end (0-based, half-open)",
            line=number,
        )
    return BedInterval(chrom, int(start), int(end), fields[3].strip() if len(fields) > 3 else "", number)
