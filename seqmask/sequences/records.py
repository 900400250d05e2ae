"""FASTA and FASTQ files to `Record`s: plain or compressed, decided by content; every failure is one `InputError`.

Parsed here, line by line, because an error must name its line and come after the good records before it, whatever the
locale, and because blank lines and empty records are no errors. Compressed bytes are xopen's.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, cast

from xopen import xopen

from seqmask.errors import InputError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    _Bytes: TypeAlias = "io.BufferedReader[_Source]"

STDIN = "-"
NUCLEOTIDES = "ACGTUNRYSWKMBDHV"  # IUPAC, both cases
GAPS = "-.*"

_ALLOWED = (NUCLEOTIDES + NUCLEOTIDES.lower() + GAPS).encode()
_PROTEIN = frozenset(b"EFILPQZefilpqz")
_MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zst"}
_MAGIC_LENGTH = max(map(len, _MAGIC))
_BOM = b"\xef\xbb\xbf"
_BUFFER = 1 << 17
# What people feed by mistake, by its first bytes, and what turns it into FASTA.
_FOREIGN = {
    b"BAM\x01": ("a BAM file", "convert it with 'samtools fasta'"),
    b"CRAM": ("a CRAM file", "convert it with 'samtools fasta'"),
    b"PK\x03\x04": ("a zip archive", "unpack it first"),
    b"\x89HDF": ("an HDF5 file", "give the sequences it was made from"),
    b"LOCUS": ("a GenBank file", "convert it to FASTA first"),
    b"ID   ": ("an EMBL file", "convert it to FASTA first"),
    b"@HD\t": ("a SAM file", "convert it with 'samtools fasta'"),
    b"@SQ\t": ("a SAM file", "convert it with 'samtools fasta'"),
}


@dataclass(frozen=True, slots=True)
class Record:
    """One sequence as it stands in its file.

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


def read(paths: Sequence[str | Path]) -> Iterator[Record]:
    """Yield the records of several files, in order. Whether every file is there is checked before the first is read."""
    names = [str(path) for path in paths]
    if names.count(STDIN) > 1:
        raise InputError(STDIN, "standard input is named twice", remedy="name it once")
    for name in names:
        _check_readable(name)
    return _read_all(names)


def check_nucleotides(record: Record) -> None:
    """Raise an `InputError` if the sequence holds anything but IUPAC nucleotides and the gaps '-', '.', '*'."""
    strange = record.sequence.encode().translate(None, _ALLOWED)
    if not strange:
        return
    letter = strange.decode(errors="replace")[0]
    remedy = "replace such letters by N"
    if not _PROTEIN.isdisjoint(strange):
        remedy = "it looks like protein: give the nucleotide sequence"
    raise InputError(
        record.path,
        f"{letter!r} in record {record.name!r} (letter {record.sequence.find(letter) + 1})",
        expected="nucleotides (A C G T U N and the other IUPAC codes)",
        remedy=remedy,
        line=record.line or None,
    )


def _check_readable(path: str) -> None:
    if path == STDIN:
        return
    try:
        if os.path.isdir(path):
            raise InputError(path, "is a directory", expected="a FASTA or FASTQ file", remedy="name the files in it")
        os.stat(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not os.access(path, os.R_OK):
        raise InputError(path, "permission denied", remedy="check its permissions")


def _unreadable(path: str, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(path, "no such file", remedy="check the path")
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return InputError(path, f"cannot be read: {reason[:1].lower()}{reason[1:]}")


def _read_all(paths: Sequence[str]) -> Iterator[Record]:
    for path in paths:
        with ExitStack() as stack:
            yield from _parse(path, _open(path, stack))


def _parse(path: str, stream: _Bytes) -> Iterator[Record]:
    """Skip blank lines, then let the first character choose between FASTA and FASTQ."""
    line = 1
    while (block := stream.peek()) and not block.lstrip():
        line += stream.read(len(block)).count(b"\n")
    line += stream.read(len(block) - len(block.lstrip())).count(b"\n")
    if stream.peek().startswith(_BOM):
        stream.read(len(_BOM))
    head = stream.peek()
    foreign = next((known for magic, known in _FOREIGN.items() if head.startswith(magic)), None)
    if foreign is not None:
        raise InputError(path, foreign[0], expected="FASTA or FASTQ", remedy=foreign[1])
    if head[:1] in (b">", b"#", b";"):
        return _fasta(path, stream, line)
    if head[:1] == b"@":
        return _fastq(path, stream, line)
    if head:
        raise _not_a_header(path, stream.read(40).splitlines()[0], line, "'>' (FASTA) or '@' (FASTQ)")
    return iter(())


def _fasta(path: str, stream: _Bytes, line: int) -> Iterator[Record]:
    """Records of a FASTA stream; lines that start with '#' or ';' are comments."""
    header: bytes | None = None
    start, parts = line, []  # type: int, list[bytes]
    for number, text in enumerate(stream, start=line):
        first = text[:1]
        if first == b">":
            if header is not None:
                yield _record(path, header, b"".join(parts), None, start)
            header, start, parts = text[1:].rstrip(), number, []
        elif first in (b"#", b";"):
            continue
        elif text := text.strip():
            if header is None:
                raise _not_a_header(path, text, number, "'>'")
            parts.append(text)
    if header is None:
        raise InputError(path, "comments only, no sequence", expected="FASTA or FASTQ")
    yield _record(path, header, b"".join(parts), None, start)


def _fastq(path: str, stream: _Bytes, line: int) -> Iterator[Record]:
    """Records of a FASTQ stream, four lines each; blank lines between records and at the end are passed over."""
    while header := stream.readline():
        if not header.strip():
            line += 1
            continue
        if header[:1] != b"@":
            raise _not_a_header(path, header.strip(), line, "'@', and four lines a record")
        sequence, plus, qualities = (stream.readline() for _ in range(3))
        if plus and plus[:1] != b"+":
            raise _not_a_header(path, plus.strip(), line + 2, "'+', and four lines a record")
        record = _record(path, header[1:].rstrip(), sequence.strip(), qualities.strip(), line)
        bases, scores = len(record.sequence), len(record.qualities or "")
        if bases != scores or not plus:
            at_end = not qualities.endswith(b"\n")
            raise InputError(
                path,
                f"{bases} bases but {scores} qualities in record {record.name!r}",
                expected="one quality a base",
                remedy="the file ends within this record: copy or download it again" if at_end else "",
                line=line,
            )
        yield record
        line += 4


def _record(path: str, header: bytes, sequence: bytes, qualities: bytes | None, line: int) -> Record:
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
    name = words[0].decode()
    if not (sequence.isascii() and (qualities is None or qualities.isascii())):
        raise InputError(path, f"bytes that are not text in record {name!r}", remedy="is the file damaged?", line=line)
    return Record(name, description, sequence.decode(), None if qualities is None else qualities.decode(), line, path)


def _not_a_header(path: str, text: bytes, line: int, expected: str) -> InputError:
    shown = text[:30].decode("ascii", errors="backslashreplace")
    found = f"{shown!r}" if shown.isprintable() and text.isascii() else f"binary data ({text[:8]!r})"
    return InputError(path, found, expected=expected, remedy="is it a sequence file?", line=line)


class _Source(io.RawIOBase):
    """A byte stream, preceded by bytes that were already taken from it, whose failures are `InputError`s."""

    def __init__(self, path: str, stream: BinaryIO, head: bytes = b"") -> None:
        self._path, self._head = path, head
        self._read = getattr(stream, "read1", stream.read)  # read1: what is there, without waiting for a full buffer

    def readable(self) -> bool:
        return True

    def readinto(self, target: WriteableBuffer) -> int:
        view = memoryview(target)
        try:
            taken = self._head[: len(view)] or self._read(len(view))
        except InputError:
            raise
        except EOFError as error:
            raise InputError(
                self._path,
                "file is truncated",
                expected="a complete compressed file",
                remedy="copy or download it again",
            ) from error
        except Exception as error:  # every decompressor has error types of its own
            raise InputError(self._path, f"cannot be read: {error}", remedy="is the file damaged?") from error
        self._head = self._head[len(taken) :]
        view[: len(taken)] = taken
        return len(taken)


def _open(path: str, stack: ExitStack) -> _Bytes:
    """Decompressed bytes of a file or of stdin; what is opened here is closed by the stack."""
    raw: BinaryIO
    if path == STDIN:
        if sys.stdin is None:
            raise InputError(path, "standard input is closed", remedy="name a file")
        raw = sys.stdin.buffer
    else:
        try:
            raw = stack.enter_context(io.FileIO(path))
        except OSError as error:
            raise _unreadable(path, error) from error
    source, head = _Source(path, raw), b""
    while len(head) < _MAGIC_LENGTH and (more := source.read(_MAGIC_LENGTH - len(head))):  # a pipe may trickle
        head += more
    stream = io.BufferedReader(_Source(path, raw, head), _BUFFER)
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            # threads=0: no helper process, so errors are raised here and a closed generator leaves nothing behind
            opened = stack.enter_context(xopen(cast(BinaryIO, stream), "rb", threads=0, format=kind))
            return io.BufferedReader(_Source(path, opened), _BUFFER)
    return stream
