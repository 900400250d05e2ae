"""FASTA and FASTQ files to `Record`s; every failure is one `InputError`, and the good records before it come first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from seqmask.errors import InputError, UsageError, brief
from seqmask.sequences.parse import parse
from seqmask.sequences.source import STDIN, STDIN_NAMES, check_readable, open_source

NUCLEOTIDES = "ACGTUNRYSWKMBDHV"  # IUPAC, both cases
GAPS = "-.*"
LONGEST = (1 << 31) - 1  # nt of a record: positions are int32, in files as well
CHECKED = 1 << 20  # nucleotides that are looked at together, and wait in memory for it

_ALLOWED = (NUCLEOTIDES + NUCLEOTIDES.lower() + GAPS).encode()
_PROTEIN = frozenset(b"EFILPQZefilpqz")


@dataclass(slots=True)  # not frozen: that triples the time it takes to make one, and reading with it
class Record:
    """One sequence as it stands in its file. Nothing changes a record once it is read.

    name: the header's first word. description: the whole header after '>' or '@', name included.
    sequence: as in the file (case, IUPAC codes and U kept). qualities: FASTQ string or None.
    line: 1-based line of the record's header in its (decompressed) file; path: the file it came from ('-' is stdin).
    """

    name: str
    description: str
    sequence: str
    qualities: str | None = None
    line: int = 0
    path: str = STDIN


def read(paths: Sequence[str | Path], watch: Callable[[BinaryIO], None] = lambda raw: None) -> Iterator[Record]:
    """Yield the records of several files, in order. Whether every file is there is checked before the first is read.

    watch: see `source.open_source`.
    """
    names = [str(path) for path in paths]
    check_inputs(names)
    return _read_all(names, watch)


def check_inputs(names: Sequence[str]) -> None:
    """Raise an `InputError` where a file is not there or may not be read, UsageError for standard input twice."""
    if sum(name in STDIN_NAMES for name in names) > 1:
        raise UsageError("standard input is named twice, and can be read once")
    for name in names:
        check_readable(name)


def check_nucleotides(record: Record) -> None:
    """Raise an `InputError` if the sequence is longer than LONGEST, or holds anything but IUPAC nucleotides and gaps,
    '-', '.' or '*'.
    """
    if len(record.sequence) > LONGEST:
        raise InputError(
            record.path,
            f"record {brief(record.name)} has {len(record.sequence)} letters",
            expected=f"at most {LONGEST} nt, 2^31 - 1",
            remedy="cut it into pieces",
            line=record.line or None,
        )
    strange = record.sequence.encode().translate(None, _ALLOWED)
    if not strange:
        return
    letter = strange.decode(errors="replace")[0]
    remedy = "replace such letters by N"
    if letter == ">":
        remedy = "a line end is missing before it: were files joined of which one has none at its end?"
    elif letter in "@+":
        remedy = "FASTQ in a FASTA file? give each format a file of its own"
    elif letter.isdigit():
        remedy = "numbers stand in it, as in GenBank files: convert it to plain FASTA"
    elif not _PROTEIN.isdisjoint(strange):
        remedy = "it looks like protein: give the nucleotide sequence"
    raise InputError(
        record.path,
        f"{letter!r} in record {brief(record.name)} (letter {record.sequence.find(letter) + 1})",
        expected="nucleotides (A C G T U N and the other IUPAC codes)",
        remedy=remedy,
        line=record.line or None,
    )


def checked(records: Iterable[Record], most: int = 1024) -> Iterator[Record]:
    """The records, several at a time; an InputError at the first that is not nucleotides, or that cannot be read.

    most: records that are looked at together; of long ones fewer, about CHECKED nucleotides if they are like the last.
    """
    source, count, ended = iter(records), 1, False
    while not ended:
        block: list[Record] = []
        try:
            block.extend(islice(source, count))
        finally:  # where reading fails, a record before that may be bad, too: it is the first to be told
            letters = "".join([record.sequence for record in block])
            if len(letters) > LONGEST or letters.encode().translate(None, _ALLOWED):
                for record in block:
                    check_nucleotides(record)
        yield from block
        ended = len(block) < count
        count = min(max(CHECKED * count // (len(letters) + 1), 1), 2 * count, most)


def _read_all(paths: Sequence[str], watch: Callable[[BinaryIO], None]) -> Iterator[Record]:
    new = object.__new__  # and six assignments: a third less than a call of the class
    for path in paths:
        with ExitStack() as stack:
            for rows in parse(path, open_source(path, stack, watch)):
                for name, description, sequence, qualities, line in rows:
                    record = new(Record)
                    record.name = name
                    record.description = description
                    record.sequence = sequence
                    record.qualities = qualities
                    record.line = line
                    record.path = path
                    yield record
