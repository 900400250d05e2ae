"""Output targets: checked before any work, written beside the target, renamed only when whole."""

from __future__ import annotations

import bz2
import contextlib
import errno
import fcntl
import gzip
import lzma
import os
import re
import select
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, cast

from xopen import xopen

from seqmask.errors import InputError, SeqmaskError, UsageError
from seqmask.results.accelerated import crc32

STDOUT = "-"
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_BLOCK = 1 << 16  # bytes that are decompressed at a time: of a torn file the block with the end is lost
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")


class Writable(Protocol):
    """What the text writers write to: a `Sink`, or any binary file."""

    def write(self, data: bytes, /) -> object:
        """Take all of `data`."""


def check_targets(
    paths: Iterable[str | Path | None],
    force: bool,
    *,
    seekable: Iterable[str | Path | None] = (),
    inputs: Iterable[str | Path | None] = (),
) -> None:
    """Refuse outputs that cannot be written as asked; call it before any work begins.

    paths: every output, None where it is not asked for. seekable: those among them that cannot go to a pipe or device.
    inputs: every file that is read; none of them is ever replaced, under any spelling and whatever `force` says.
    Raises UsageError (is an input, exists without `force`, named twice, a directory, a pipe where a file is needed) or
    InputError (the directory is missing or not writable).
    """
    seen: dict[str, str] = {}
    read = [str(path) for path in inputs if path is not None and not is_straight(path)]
    for path in (str(path) for path in paths if path is not None):
        if any(same_file(path, other) for other in read):
            raise UsageError(f"{path} is an input of this run and would be lost; give the output another name")
        _check_target(path, force)
        key = _identity(path)
        if key in seen and key != os.devnull:
            which = "stdout (-)" if is_stdout(path) else " and ".join(dict.fromkeys((seen[key], path)))
            raise UsageError(f"two outputs cannot share one target: {which}")
        seen[key] = path
    for path in (str(path) for path in seekable if path is not None):
        if is_straight(path):
            raise UsageError(f"HDF5 needs a seekable file, and {path} is none; give it a file name")


def same_file(one: str | Path, other: str | Path) -> bool:
    """Whether two paths lead to the same file, which is there, under any spelling."""
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):  # one of them is not there
        return False


def _check_target(path: str, force: bool) -> None:
    if not path:
        raise UsageError("an output has an empty name")
    descriptor = _descriptor(path)
    if descriptor is not None:
        _check_descriptor(path, descriptor)
        return
    refuse_option(path)
    if os.path.isdir(path) or path.endswith("/"):
        raise UsageError(f"{path} is a directory; give the output a file name")
    if is_straight(path):
        return
    if os.path.exists(path) and not force:
        raise UsageError(f"{path} exists already; give --force to overwrite it")
    parent = Path(os.path.realpath(path)).parent
    if not parent.is_dir():
        raise InputError(path, f"the directory {parent} does not exist", remedy="create it first")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(path, f"the directory {parent} is not writable")


def refuse_option(path: str) -> None:
    """UsageError for the name of an output that looks like an option: with `--bed -f` the name is missing."""
    if path.startswith("-"):
        raise UsageError(f"an output is named {path}, as if it were an option; give it a name of its own")


def _check_descriptor(path: str, descriptor: int) -> None:
    try:
        if descriptor == 1 and sys.stdout is None:  # closed by `>&-`; what was opened since may have its number
            raise OSError
        os.fstat(descriptor)
    except OSError as error:
        raise InputError(path, "no such open file descriptor") from error


def is_straight(path: str | Path) -> bool:
    """Whether the target is written as it is, without a temporary name: stdout, /dev/fd/N, a device, FIFO or socket."""
    if _descriptor(str(path)) is not None:
        return True
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def is_stdout(path: str | Path | None) -> bool:
    """Whether a path stands for standard output: `-`, /dev/stdout, /dev/fd/1."""
    return path is not None and _descriptor(str(path)) == 1


def _descriptor(path: str) -> int | None:
    """The file descriptor that a path stands for, None if it stands for none."""
    if path == STDOUT:
        return 1
    found = _DESCRIPTOR.fullmatch(path)
    return int(found[1]) if found else _STANDARD.get(path)


def _identity(path: str) -> str:
    """One key for all spellings of one target, so that `-` and /dev/stdout, or a link and its file, are the same."""
    descriptor = _descriptor(path)
    return os.path.realpath(path) if descriptor is None else f"/dev/fd/{descriptor}"


class Target:
    """One output on its way: `working` is written, then `commit` gives it its name or `discard` removes it.

    A regular file is written to `.NAME.tmp.PID` beside it, so that an interrupted run leaves nothing under the name, or
    to `.NAME.partial` where a later process must find it (`resumable`). A link is followed: the file it points to is
    replaced. Stdout, devices, FIFOs and /dev/fd/N are written straight, and commit and discard leave them alone. As a
    context manager it commits, or discards if an exception passes.
    """

    def __init__(self, path: str | Path, *, resumable: bool = False) -> None:
        self.path = str(path)
        self.straight = is_straight(path)
        self.final = Path(os.path.realpath(path))
        name = f".{self.final.name}.partial" if resumable else f".{self.final.name}.tmp.{os.getpid()}"
        self.working = Path(self.path) if self.straight else self.final.with_name(name)

    def open(self, kept: int = 0) -> Sink:
        """Open for bytes, compressed as the name's suffix says (.gz, .bz2, .xz, .zst). Raises OSError.

        kept: so many bytes, before compression, of what is in the working file stay; writing goes on after them.
        """
        return Sink(self, kept)

    def commit(self) -> None:
        """Give the finished, closed file its name; what had the name before is replaced in one step."""
        if not self.straight:
            os.replace(self.working, self.final)

    def discard(self) -> None:
        """Remove what was written so far; the target stays as it was before."""
        if not self.straight:
            self.working.unlink(missing_ok=True)

    def __enter__(self) -> Target:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()


def hold(file: BinaryIO, path: str | Path) -> None:
    """Lock an open file until it is closed; SeqmaskError if another run has it. A file system may have no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise SeqmaskError(f"another run is writing the same outputs (it holds {path})") from error


class Sink:
    """The open end of a `Target`: `write` bytes, then `close`. Closing stdout only flushes it.

    Where Ctrl-C or SIGTERM is the reason to close, a pipe or device gets no more: a reader that waits would hold it up.
    written: bytes so far, before compression, those included that were kept of an earlier run.
    """

    def __init__(self, target: Target, kept: int = 0) -> None:
        self.written, self._plain, self._crc, self._path = kept, not _format(target.path), 0, target.path
        self._straight: BinaryIO | None = None
        with contextlib.ExitStack() as layers:
            if kept:
                self._handle, self._crc = _go_on(target, kept, layers)
            else:
                raw = _open_raw(target, layers)
                self._straight = raw if target.straight else None
                self._handle = _compressor(raw, target.path, layers)
            self._layers = layers.pop_all()

    def write(self, data: bytes) -> None:
        """Write all of `data`. Raises BrokenPipeError when the reader has gone, OSError when the disk is full."""
        self.written += len(data)
        self._crc = crc32(data, self._crc)
        rest = memoryview(data)
        with self._named():
            while rest:  # with PYTHONUNBUFFERED, stdout is a raw file, which may take only a part and says nothing
                rest = rest[self._handle.write(rest) :]
            if self._straight is not None and self._plain:  # who reads a pipe waits for it
                self._handle.flush()

    def check_reader(self) -> None:
        """Raise BrokenPipeError where this is a pipe whose reader has gone, though there is nothing to write yet."""
        if self._straight is None:
            return
        look = select.poll()
        try:
            look.register(self._straight.fileno(), 0)
        except (OSError, ValueError):  # no descriptor below it
            return
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in look.poll(0)):
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    @property
    def digest(self) -> str:
        """CRC-32 of the bytes so far, before compression: tells a file that was changed or cut, as in gzip."""
        return _hex(self._crc)

    def flush(self) -> None:
        """Hand what was written to the system, so that it outlives this process; a compressor is left in peace."""
        if self._plain:
            with self._named():
                self._handle.flush()

    def close(self) -> None:
        """Finish the compressed stream, flush, close. May be called again."""
        if self._straight is not None and isinstance(sys.exc_info()[1], KeyboardInterrupt):
            with contextlib.suppress(OSError, ValueError):  # closed already, or no descriptor below it
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._straight.fileno())
        with self._named():
            self._layers.close()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """An error of a full disk knows no file; here it gets the output's name."""
        try:
            yield
        except OSError as error:
            if error.filename is None and not isinstance(error, BrokenPipeError):
                error.filename = self._path
            raise


def prefixes(target: Target, sizes: Iterable[int]) -> dict[int, str]:
    """Digests (as `Sink.digest`) of the first n bytes of what a killed process left, for each of n that is there."""
    wanted, found = sorted(set(sizes)), {}
    crc = done = 0
    for block in (b"", *_blocks(target)):
        begin = 0
        while wanted and wanted[0] <= done + len(block):
            end = wanted[0] - done
            crc = crc32(block[begin:end], crc)
            found[wanted.pop(0)], begin = _hex(crc), end
        crc = crc32(block[begin:], crc)
        done += len(block)
    return found


def _hex(crc: int) -> str:
    return f"{crc:08x}"


def _blocks(target: Target) -> Iterator[bytes]:
    """What a working file holds, decompressed, as far as it can be read."""
    form = _format(target.path)
    # Each decompressor has error types of its own for a file that ends too early
    with (
        contextlib.suppress(Exception),
        xopen(target.working, "rb", format=form, threads=0) if form else target.working.open("rb") as file,
    ):
        while block := file.read(_BLOCK):
            yield block


def _go_on(target: Target, kept: int, layers: contextlib.ExitStack) -> tuple[BinaryIO, int]:
    """Open a working file behind its first `kept` bytes; a compressed one is compressed anew, to the same bytes.

    Also the CRC-32 of those bytes.
    """
    plain = not _format(target.path)
    anew = target.working.with_name(target.working.name + ".anew")
    raw = cast(BinaryIO, layers.enter_context(target.working.open("r+b") if plain else anew.open("wb")))
    hold(raw, target.working)
    handle = _compressor(raw, target.path, layers)
    left, crc = kept, 0
    for block in _blocks(target):
        part = block[:left]
        left -= len(part)
        crc = crc32(part, crc)
        if not plain:
            handle.write(part)
        if not left:
            break
    if left:
        raise OSError(f"{target.working} has become shorter")
    if plain:
        handle.truncate(kept)
        handle.seek(kept)
    else:
        os.replace(anew, target.working)
    return handle, crc


def _open_raw(target: Target, layers: contextlib.ExitStack) -> BinaryIO:
    descriptor = _descriptor(target.path)
    if descriptor == 1:
        layers.callback(sys.stdout.buffer.flush)
        return sys.stdout.buffer
    if descriptor is not None:
        # A copy of the descriptor keeps its position and append mode; opening /dev/fd/N anew would truncate a file
        return layers.enter_context(os.fdopen(os.dup(descriptor), "wb"))
    if target.straight:
        return layers.enter_context(open(target.working, "wb"))
    file = layers.enter_context(target.working.open("ab"))  # nothing of another run's is cut before it is held
    hold(file, target.working)
    file.truncate(0)
    return file


def _format(path: str) -> str:
    """gz, bz2, xz, zst as the suffix says, or nothing."""
    suffix = Path(path).suffix[1:]
    return suffix if suffix in ("gz", "bz2", "xz", "zst") else ""


def _compressor(raw: BinaryIO, path: str, layers: contextlib.ExitStack) -> BinaryIO:
    """A layer over `raw` that compresses as the suffix says; gzip without name and time gives the same bytes always."""
    match _format(path):
        case "gz":
            handle: object = layers.enter_context(gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0))
        case "bz2":
            handle = layers.enter_context(bz2.BZ2File(raw, "wb"))
        case "xz":
            handle = layers.enter_context(lzma.LZMAFile(raw, "wb"))  # noqa: SIM115
        case "zst":
            handle = layers.enter_context(xopen(raw, "wb", format="zst", threads=0))
        case _:
            handle = raw
    return cast(BinaryIO, handle)
