"""FASTA and FASTQ bytes to rows, the fields of a `Record`; the first bad record raises an `InputError`.

FASTQ is dnaio's. FASTA is cut into blocks of whole records here: dnaio takes it line by line in Python, which with a
`Record` made of each is 1.7 times as fast as Biopython, the blocks are 2.7 times as fast (200,000 reads of 150 nt).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, repeat
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, cast

import dnaio
import numpy as np

from seqmask.errors import InputError, brief
from seqmask.sequences.source import BLOCK, FastqLines

if TYPE_CHECKING:
    from seqmask.sequences.source import Source

Row: TypeAlias = tuple[str, str, str, str | None, int]  # name, description, sequence, qualities, line

_COMMENT = (b"#", b";")  # the first letter of a FASTA line that is passed over
_BOM = b"\xef\xbb\xbf"
# What people feed by mistake, by its first bytes, and what turns it into FASTA.
_FOREIGN = {
    b"BAM\x01": ("a BAM file", "convert it with 'samtools fasta'"),
    b"CRAM": ("a CRAM file", "convert it with 'samtools fasta'"),
    b"PK\x03\x04": ("a zip archive", "unpack it first"),
    b"\x89HDF": ("an HDF5 file", "give the sequences it was made from"),
    b"LOCUS": ("a GenBank file", "convert it to FASTA first"),
    b"ID   ": ("an EMBL file", "convert it to FASTA first"),
    **{
        b"@%b\t" % tag: ("a SAM file", "convert it with 'samtools fasta'")
        for tag in (b"HD", b"SQ", b"RG", b"PG", b"CO")
    },
}


def parse(path: str, source: Source) -> Iterator[Iterable[Row]]:
    """Skip blank lines, then let the first character choose between FASTA and FASTQ."""
    line = 1
    while (block := source.peek()) and not block.lstrip():
        line += source.read(len(block)).count(b"\n")
    line += source.read(len(block) - len(block.lstrip())).count(b"\n")
    if source.peek().startswith(_BOM):
        source.read(len(_BOM))
    head = source.peek()
    foreign = next((known for magic, known in _FOREIGN.items() if head.startswith(magic)), None)
    if foreign is not None:
        raise InputError(path, foreign[0], expected="FASTA or FASTQ", remedy=foreign[1])
    if head[:1] == b">" or head[:1] in _COMMENT:
        return _fasta(path, source, line)
    if head[:1] == b"@":
        return iter([_fastq(path, source, line)])
    if head:
        raise _not_a_header(path, source.read(40).splitlines()[0], line, "'>' (FASTA) or '@' (FASTQ)")
    return iter(())


def _fasta(path: str, source: Source, line: int) -> Iterator[Iterable[Row]]:
    """Rows of a FASTA stream, block by block; lines that start with '#' or ';' are comments."""
    while (first := source.peek()[:1]) != b">":
        if not first:
            raise InputError(path, "comments only, no sequence", expected="FASTA or FASTQ")
        text = source.readline().strip()
        if text and first not in _COMMENT:
            raise _not_a_header(path, text, line, "'>'")
        line += 1
    for block in _whole_records(source):
        columns = _two_lines_each(block)
        if columns is None:
            yield _any_lines(path, block, line)
            line += block.count(b"\n")
        else:
            yield zip(*columns, repeat(None), count(line, 2), strict=False)
            line += 2 * len(columns[0])


def _whole_records(source: Source) -> Iterator[bytes]:
    """The bytes of a FASTA stream, cut before a '>' that starts a line."""
    held: list[bytes] = []
    while block := source.read1(BLOCK):
        cut = block.rfind(b">")  # of one byte, then a look at the one before: '\n>' is a hundred times slower to find
        while cut > 0 and block[cut - 1 : cut] != b"\n":
            cut = block.rfind(b">", 0, cut)
        if cut > 0 or (cut == 0 and held and held[-1].endswith(b"\n")):
            yield b"".join([*held, block[:cut]])
            held = []
        held.append(block[max(cut, 0) :])
    yield b"".join(held)


def _two_lines_each(block: bytes) -> tuple[list[str], list[str], list[str]] | None:
    """Names, descriptions and sequences of ASCII records that are a header and one line of letters each, else None.

    So are nearly all short reads. What can be asked of the block as a whole is: a question a line costs too much.
    """
    second = block.find(b"\n", block.find(b"\n") + 1)  # the end of the second line: most files show here what they are
    if block[second + 1 : second + 2] != b">":
        return None
    try:
        lines = block.decode("ascii").split("\n")
    except UnicodeDecodeError:
        return None
    if not lines[-1]:
        lines.pop()
    headers, sequences = "\n".join(lines[::2]) + "\n", lines[1::2]
    if " \n" in headers or any(blank in headers for blank in "\t\v\f\r"):  # all that ends a name
        return None
    letters = "".join(sequences).encode("ascii")
    if not letters or np.frombuffer(letters, dtype=np.uint8).min() < ord("A"):  # as are blanks, '\r', '>', '#' and ';'
        return None
    descriptions = headers[1:-1].split("\n>")
    if not len(descriptions) == len(sequences) == len(lines) / 2:
        return None
    names = [description.partition(" ")[0] for description in descriptions]
    return None if "" in names else (names, descriptions, sequences)


def _any_lines(path: str, block: bytes, line: int) -> Iterator[Row]:
    """Rows of a block of FASTA records of any shape."""
    for text in _texts(block):
        header, end, body = text.partition(b"\n")
        name, description = _header(path, header.rstrip(), line)
        sequence = body.replace(b"\n", b"")
        lines = len(end) + len(body) - len(sequence)
        if b"#" in sequence or b";" in sequence:
            sequence = b"".join(part for part in body.split(b"\n") if part[:1] not in _COMMENT)
        if b"\r" in sequence or b" " in sequence or b"\t" in sequence:
            sequence = b"".join(sequence.split())
        if not sequence.isascii():
            raise InputError(
                path, f"bytes that are not text in record {brief(name)}", remedy="is it damaged?", line=line
            )
        yield name, description, sequence.decode("ascii"), None, line
        line += lines


def _texts(block: bytes) -> Iterator[bytes]:
    """Each record of a block, without its '>'."""
    start, stop = 1, block.find(b">", 1)
    while stop > 0:
        if block[stop - 1 : stop] == b"\n":
            yield block[start:stop]
            start = stop + 1
        stop = block.find(b">", stop + 1)
    yield block[start:]


def _header(path: str, header: bytes, line: int) -> tuple[str, str]:
    """Name and description."""
    if b"\r" in header:
        raise InputError(path, "line ends of a bare CR", remedy="convert with \"tr '\\r' '\\n'\"", line=line)
    try:
        description = header.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            path,
            f"a header that is not UTF-8 ({header[error.start :][:4]!r})",
            expected="UTF-8 text",
            remedy="convert the file, for example with 'iconv -f latin1 -t utf-8'",
            line=line,
        ) from error
    words = header.split(None, 1)  # of bytes: by ASCII white space, as other tools do
    if not words:
        raise InputError(path, "a header without a name", remedy="give the record a name", line=line)
    return words[0].decode(), description


def _not_a_header(path: str, text: bytes, line: int, expected: str) -> InputError:
    shown = text[:30].decode("ascii", errors="backslashreplace")
    readable = text.isascii() and shown.replace("\t", " ").isprintable()  # BED, GFF, SAM: text, with tabs
    found = f"{shown!r}" if readable else f"binary data ({text[:8]!r})"
    return InputError(path, found, expected=expected, remedy="is it a sequence file?", line=line)


def _fastq(path: str, source: Source, line: int) -> Iterator[Row]:
    """Rows of a FASTQ stream. line: of the first header."""
    lines = FastqLines(path, source, line)
    try:
        reader = dnaio.open(cast(BinaryIO, lines), fileformat="fastq")
        for at, record in zip(count(0, 4), reader, strict=False):
            while lines.dropped and lines.dropped[0] <= at:
                lines.dropped.popleft()
                line += 1
            description = record.name.rstrip()
            if not description:
                raise InputError(path, "a header without a name", remedy="give the record a name", line=line + at)
            yield description.split(None, 1)[0], description, record.sequence, record.qualities, line + at
    except dnaio.FastqFormatError as error:
        if error.line is not None:
            line += error.line + sum(at <= error.line for at in lines.dropped)
        found = " ".join(error.message.split())  # dnaio's own words, on one line
        raise InputError(
            path,
            found[:1].lower() + found[1:150],
            expected="FASTQ of four lines a record, one quality a base",
            remedy="copy or download the file again" if found.startswith("Premature end") else "",
            line=None if error.line is None else line,
        ) from error
