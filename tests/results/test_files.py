"""Targets: checked early, whole or absent, devices left alone."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from xopen import xopen

from seqmask.errors import InputError, SeqmaskError, UsageError
from seqmask.results.files import Sink, Target, check_targets, is_straight


def put(path: str | Path, data: bytes = b"data\n") -> None:
    with Target(path) as target:
        sink = target.open()
        sink.write(data)
        sink.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_name_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "x.bed"
    with Target(path) as target:
        sink = target.open()
        sink.write(b"data\n")
        sink.close()
        assert names(tmp_path) == [f".x.bed.tmp.{os.getpid()}"]
    assert names(tmp_path) == ["x.bed"]
    assert path.read_bytes() == b"data\n"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [None, b"old"])
def test_after_an_exception_all_is_as_before(tmp_path: Path, error: type[BaseException], before: bytes | None) -> None:
    path = tmp_path / "x.bed"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(error), Target(path) as target:  # noqa: PT012
        sink = target.open()
        sink.write(b"half")
        sink.close()
        raise error
    assert names(tmp_path) == ([] if before is None else ["x.bed"])
    assert before is None or path.read_bytes() == before


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz", ".zst"])
def test_compressed_by_suffix(tmp_path: Path, suffix: str) -> None:
    path, data = tmp_path / f"x.fasta{suffix}", b">r\nACGT\n" * 1000
    put(path, data)
    with xopen(path, "rb", threads=0) as handle:
        assert handle.read() == data
    if suffix:
        assert path.stat().st_size < len(data) / 10
    opened: dict[str, Callable[[bytes], bytes]] = {
        ".gz": gzip.decompress,
        ".bz2": bz2.decompress,
        ".xz": lzma.decompress,
    }
    if suffix in opened:
        assert opened[suffix](path.read_bytes()) == data


def test_gzip_gives_the_same_bytes_for_any_name_and_time(tmp_path: Path) -> None:
    put(tmp_path / "a.gz")
    put(tmp_path / "b.gz")
    first = (tmp_path / "a.gz").read_bytes()
    assert first == (tmp_path / "b.gz").read_bytes()
    assert first[4:8] == bytes(4)


def test_devices_survive() -> None:
    put(os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    check_targets([os.devnull, os.devnull], force=False)


def test_a_fifo_is_written_straight(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    check_targets([fifo], force=False)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
    reader.start()
    put(fifo)
    reader.join()
    assert read == [b"data\n"]
    assert names(tmp_path) == ["fifo"]


def test_a_descriptor_is_written_straight_and_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        check_targets([f"/dev/fd/{descriptor}"], force=False)
        put(f"/dev/fd/{descriptor}")
        os.write(descriptor, b"after\n")
    finally:
        os.close(descriptor)
    assert path.read_bytes() == b"before\ndata\nafter\n"
    with pytest.raises(InputError, match="no such open file descriptor"):
        check_targets([f"/dev/fd/{descriptor}"], force=False)


def test_what_is_written_into_a_pipe_is_there_at_once() -> None:
    """`| head` and `| less` wait for it."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    sink = Sink(Target(f"/dev/fd/{write}"))
    sink.write(b">a\nACGT\n")
    assert os.read(read, 99) == b">a\nACGT\n"
    sink.close()
    os.close(write)
    os.close(read)


def test_a_reader_that_goes_is_seen_before_the_next_write(tmp_path: Path) -> None:
    read, write = os.pipe()
    sink = Sink(Target(f"/dev/fd/{write}"))
    sink.write(b">a\nACGT\n")
    sink.check_reader()
    os.close(read)
    with pytest.raises(BrokenPipeError):
        sink.check_reader()
    with contextlib.suppress(BrokenPipeError):
        sink.close()
    os.close(write)
    for path in (os.devnull, tmp_path / "file"):
        other = Sink(Target(path))
        other.check_reader()
        other.close()


@pytest.mark.parametrize("path", ["-", "/dev/stdout", "/dev/fd/1"])
def test_stdout(path: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    put(path)
    put(path)
    assert capfdbinary.readouterr().out == b"data\ndata\n"


def test_nothing_is_lost_where_a_write_takes_only_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """With PYTHONUNBUFFERED=1, sys.stdout.buffer is a raw file: a partial write is no error there."""
    taken: list[bytes] = []

    class Raw(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            taken.append(bytes(data[:3]))
            return len(taken[-1])

    class Stdout:
        buffer = Raw()

        def flush(self) -> None:
            pass

    monkeypatch.setattr("seqmask.results.files.sys.stdout", Stdout())
    put("-", b"0123456789\n")
    assert b"".join(taken) == b"0123456789\n"


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "real").write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "there" / "real")
    put(link)
    assert link.is_symlink()
    assert (tmp_path / "there" / "real").read_bytes() == b"data\n"
    nothing = tmp_path / "null"
    nothing.symlink_to(os.devnull)
    assert is_straight(nothing)


def test_refusals_come_before_the_work(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"old")
    with pytest.raises(UsageError, match="old exists already; give --force to overwrite it"):
        check_targets([new, None, old], force=False)
    check_targets([new, None, old], force=True)
    with pytest.raises(InputError, match=r"the directory .*no/where does not exist"):
        check_targets([tmp_path / "no/where/x"], force=True)
    with pytest.raises(InputError, match="does not exist"):
        check_targets([old / "x"], force=True)
    for folder in (str(tmp_path), f"{tmp_path}/new/"):
        with pytest.raises(UsageError, match="is a directory"):
            check_targets([folder], force=True)
    with pytest.raises(UsageError, match="empty name"):
        check_targets([""], force=True)
    with pytest.raises(UsageError, match="named -f, as if it were an option"):
        check_targets([Path("-f")], force=True)
    check_targets(["-"], force=True)
    assert names(tmp_path) == ["old"]


def test_an_input_is_never_an_output(tmp_path: Path) -> None:
    """Under no name of its: as it is, through a link, hard or not, and by another path."""
    read = tmp_path / "read"
    read.write_bytes(b"precious")
    (tmp_path / "soft").symlink_to(read)
    (tmp_path / "hard").hardlink_to(read)
    for path in (read, tmp_path / "soft", tmp_path / "hard", f"{tmp_path}/../{tmp_path.name}/read"):
        for force in (False, True):
            with pytest.raises(UsageError, match="is an input of this run and would be lost"):
                check_targets([tmp_path / "new", path], force, inputs=["-", None, tmp_path / "no", read])
    check_targets([tmp_path / "new"], False, inputs=[read])
    check_targets([os.devnull], False, inputs=[os.devnull])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_is_not_writable(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="not writable"):
        check_targets([tmp_path / "x"], force=False)


def test_one_target_for_one_output(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "x")
    for one, other in (
        (tmp_path / "x", f"{tmp_path}/sub/../x"),
        (tmp_path / "x", link),
        ("-", "-"),
        ("-", "/dev/stdout"),
        ("/dev/fd/1", "/dev/stdout"),
    ):
        with pytest.raises(UsageError, match="two outputs cannot share one target"):
            check_targets([one, other], force=True)


@pytest.mark.parametrize("path", ["-", os.devnull, "/dev/fd/2", "/dev/stdout"])
def test_what_needs_a_seekable_file_gets_one(path: str) -> None:
    with pytest.raises(UsageError, match="HDF5 needs a seekable file"):
        check_targets([path], force=True, seekable=[path])


def test_a_reader_that_has_gone_is_a_broken_pipe(tmp_path: Path) -> None:
    with subprocess.Popen(["true"], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.wait()
        target = Target(f"/dev/fd/{process.stdin.fileno()}")
        sink = target.open()
        with pytest.raises(BrokenPipeError):  # noqa: PT012
            sink.write(b"x" * 1_000_000)
            sink.close()
        with contextlib.suppress(BrokenPipeError):
            sink.close()


def test_an_output_that_another_run_writes_is_left_alone(tmp_path: Path) -> None:
    target = Target(tmp_path / "a.tsv", resumable=True)
    first = target.open()
    first.write(b"one\n")
    with pytest.raises(SeqmaskError, match="another run is writing the same outputs"):
        Target(tmp_path / "a.tsv", resumable=True).open()
    first.close()
    assert target.working.read_bytes() == b"one\n"
    Target(tmp_path / "a.tsv", resumable=True).open().close()
    assert target.working.read_bytes() == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_told_with_the_name_of_the_output() -> None:
    sink = Target("/dev/full").open()
    with pytest.raises(OSError, match="No space left") as error:
        sink.write(b"x" * 100_000)
    assert error.value.filename == "/dev/full"
    with contextlib.suppress(OSError):
        sink.close()
