"""The bytes of a file or of standard input, decompressed as their first bytes say; every failure is an `InputError`."""

from __future__ import annotations

import bz2
import io
import lzma
import os
import re
import select
import sys
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, cast

import numpy as np
from xopen import xopen

from seqmask.errors import InputError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    Source: TypeAlias = "io.BufferedReader[_Guarded]"

STDIN = "-"
STDIN_NAMES = frozenset({STDIN, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"})
BLOCK = 1 << 16  # bytes that are read at a time; what is made of them stays in the processor's cache

_MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zst"}
_MAGIC |= {bytes([0x50 + i, 0x2A, 0x4D, 0x18]): "zst" for i in range(16)}  # a skippable frame: pzstd begins with one
_DECOMPRESSORS = {"bz2": bz2.BZ2Decompressor, "xz": lzma.LZMADecompressor}
_MAGIC_LENGTH = max(map(len, _MAGIC))


def check_readable(path: str) -> None:
    """Raise an `InputError` where the path is no file that may be read; nothing is opened."""
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


def open_source(path: str, stack: ExitStack, watch: Callable[[BinaryIO], None] = lambda raw: None) -> Source:
    """Decompressed bytes of a file or of stdin ('-'); what is opened here is closed by the stack.

    A read returns what is there: it waits for a first byte, never for a full buffer. watch: gets a file as it is
    before decompression, to see how far it is read.
    """
    raw: BinaryIO
    if path == STDIN:
        if sys.stdin is None:
            raise InputError(path, "standard input is closed", remedy="name a file")
        # Unbuffered: a thread that waits within the buffer would not let the interpreter close it at exit
        raw = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
    else:
        try:
            raw = stack.enter_context(io.FileIO(path))
            watch(raw)
        except OSError as error:
            raise _unreadable(path, error) from error
    guarded, head = _Guarded(path, raw), b""
    while len(head) < _MAGIC_LENGTH and (more := guarded.read(_MAGIC_LENGTH - len(head))):  # a pipe may trickle
        head += more
    source = io.BufferedReader(_Guarded(path, raw, head), BLOCK)
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            if kind in _DECOMPRESSORS:
                return io.BufferedReader(_Guarded(path, cast(BinaryIO, _Streams(source, _DECOMPRESSORS[kind]))), BLOCK)
            # threads=0: no helper process, so errors are raised here and a closed generator leaves nothing behind
            opened = stack.enter_context(xopen(cast(BinaryIO, source), "rb", threads=0, format=kind))
            return io.BufferedReader(_Guarded(path, opened), BLOCK)
    return source


def _unreadable(path: str, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(path, "no such file", remedy="check the path")
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return InputError(path, f"cannot be read: {reason[:1].lower()}{reason[1:]}")


class _Guarded(io.RawIOBase):
    """A byte stream, preceded by bytes that were already taken from it, whose failures are `InputError`s."""

    def __init__(self, path: str, stream: BinaryIO, head: bytes = b"") -> None:
        self._path, self._stream, self._head = path, stream, head
        self._read = getattr(stream, "read1", stream.read)  # read1: what is there, without waiting for a full buffer

    def readable(self) -> bool:
        """Yes: `io.BufferedReader` asks."""
        return True

    def readinto(self, target: WriteableBuffer) -> int:
        """Fill the target as far as there are bytes; 0 = the end."""
        view = memoryview(target)
        try:
            taken = self._head[: len(view)] or self._read(len(view))
            while taken is None:  # standard input may be set not to wait, by us or by whom we share it with
                select.select([self._stream], [], [])
                taken = self._read(len(view))
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


class _Streams:
    """bz2 or xz, one stream after the other, decompressed.

    Python's own readers take a later stream that is damaged for trailing data, and end there without a word.
    """

    def __init__(self, source: Source, decompressor: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]) -> None:
        self._source, self._new, self._stream, self._rest = source, decompressor, decompressor(), b""

    def read(self, size: int) -> bytes:
        """Up to so many bytes, none at the end. Raises EOFError where a stream ends too early, OSError or LZMAError."""
        while True:
            if self._stream.eof:
                self._rest = (self._stream.unused_data or self._source.read1(BLOCK)).lstrip(b"\0")  # xz may be padded
                while not self._rest and (more := self._source.read1(BLOCK)):
                    self._rest = more.lstrip(b"\0")
                if not self._rest:
                    return b""
                self._stream = self._new()
            elif self._stream.needs_input and not self._rest:
                self._rest = self._source.read1(BLOCK)
                if not self._rest:
                    raise EOFError
            taken, self._rest = self._rest, b""
            if data := self._stream.decompress(taken, size):
                return data


class FastqLines(io.RawIOBase):
    """What dnaio is fed: FASTQ without the blank lines between its records, up to the first byte that is not ASCII.

    dnaio refuses both, the second without a line and before it has yielded the records in front of it.
    line: the first line's number. dropped: for each blank line left out so far, the count of lines passed on before it.
    """

    def __init__(self, path: str, source: Source, line: int) -> None:
        self._path, self._source, self._line = path, source, line
        self._passed, self._fresh = 0, True  # lines passed on; whether the next byte starts a line
        self._error: InputError | None = None
        self.dropped: deque[int] = deque()

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, target: WriteableBuffer) -> int:
        """Fill the target as far as there are bytes; 0 = the end."""
        view, kept = memoryview(target), b""
        while not kept:
            if self._error is not None:
                raise self._error
            block = self._source.read1(len(view))
            if not block:
                return 0
            strange = None if block.isascii() else re.search(rb"[^\x00-\x7f]{1,4}", block)
            kept = self._without_blank_lines(block if strange is None else block[: strange.start()])
            if strange is not None:
                self._error = InputError(
                    self._path,
                    f"bytes that are not ASCII ({strange.group()!r})",
                    expected="FASTQ, which is ASCII text",
                    remedy="is the file damaged, or a header in another language?",
                    line=self._line,
                )
        view[: len(kept)] = kept
        return len(kept)

    def _without_blank_lines(self, block: bytes) -> bytes:
        """Count the lines of a block; leave out those that are blank where a record should start."""
        ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n"))  # a search for '\n\n' is slower
        self._line += len(ends)
        blank = bool((np.diff(ends) == 1).any()) or (b"\r" in block and b"\n\r" in block)
        if not blank and not (self._fresh and block[:1] in (b"\n", b"\r")):
            self._passed += len(ends)
            self._fresh = block.endswith(b"\n")
            return block
        kept = []
        for text in block.splitlines(keepends=True):  # '\r\n' may be cut between two blocks: each half is blank
            if self._fresh and self._passed % 4 == 0 and not text.strip():
                self.dropped.extend([self._passed] * text.count(b"\n"))
                continue
            kept.append(text)
            self._fresh = text.endswith(b"\n")
            self._passed += self._fresh
        return b"".join(kept)
