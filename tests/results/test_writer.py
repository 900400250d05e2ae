"""All outputs together: one run, all or nothing, no torch."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqmask.errors import UsageError
from seqmask.labels.ranks import Ranks
from seqmask.results import bed, fasta, table, writer
from seqmask.results.annotated import annotate
from seqmask.results.reader import read
from seqmask.results.writer import Outputs, Paths, Style
from seqmask.sequences.explanations import Explanation

AtRandom = Callable[..., list[Explanation]]
ROOT = Path(__file__).resolve().parents[2]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_four(tmp_path: Path, at_random: AtRandom, ranks: Ranks, metadata: dict[str, Any]) -> None:
    items = at_random(0, 100, check=True)
    paths = Paths.from_prefix(tmp_path / "x")
    with Outputs(paths, ranks, Style(tau=0.4, check=True, hard_mask=True), metadata=metadata) as outputs:
        for item in items:
            outputs.write(item)
    assert names(tmp_path) == ["x.bed", "x.fasta", "x.h5", "x.tsv"]
    batch = annotate(items, ranks, 0.4)
    text = {name: io.BytesIO() for name in ("bed", "fasta", "tsv")}
    bed.write(text["bed"], batch)
    fasta.write(text["fasta"], batch, hard_mask=True)
    table.write_header(text["tsv"], ranks, check=True)
    table.write(text["tsv"], batch, check=True)
    for name, expected in text.items():
        assert (tmp_path / f"x.{name}").read_bytes() == expected.getvalue()
    with read(tmp_path / "x.h5") as file:
        assert file.n_records == 100


@pytest.mark.parametrize("limit", ["BATCH_RECORDS", "BATCH_NUCLEOTIDES", "BATCH_LOGITS"])
def test_batches_do_not_show(
    tmp_path: Path, at_random: AtRandom, ranks: Ranks, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    items = at_random(1, 90, long=5000)
    for name in ("one", "many"):
        with Outputs(Paths(f"{tmp_path}/{name}.fa", f"{tmp_path}/{name}.bed"), ranks, Style(0.5)) as outputs:
            for item in items:
                outputs.write(item)
        monkeypatch.setattr(writer, limit, 17)
    for suffix in ("fa", "bed"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"many.{suffix}").read_bytes()


def test_no_records(tmp_path: Path, ranks: Ranks, metadata: dict[str, Any]) -> None:
    with Outputs(Paths.from_prefix(tmp_path / "x"), ranks, Style(0.5), metadata=metadata):
        pass
    assert names(tmp_path) == ["x.bed", "x.fasta", "x.h5", "x.tsv"]
    assert (tmp_path / "x.fasta").read_bytes() == b""
    assert (tmp_path / "x.bed").read_bytes() == b""
    assert (tmp_path / "x.tsv").read_text().count("\n") == 1
    read(tmp_path / "x.h5").close()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_all_or_nothing(
    tmp_path: Path, at_random: AtRandom, ranks: Ranks, metadata: dict[str, Any], error: type[BaseException]
) -> None:
    (tmp_path / "x.bed").write_text("old")
    outputs = Outputs(Paths.from_prefix(tmp_path / "x"), ranks, Style(0.5), metadata=metadata, force=True)
    assert len(names(tmp_path)) == 6
    with pytest.raises(error), outputs:  # noqa: PT012
        for item in at_random(2, 10):
            outputs.write(item)
        raise error
    assert names(tmp_path) == ["x.bed"]
    assert (tmp_path / "x.bed").read_text() == "old"


def test_a_failure_at_the_end_leaves_nothing(
    tmp_path: Path, at_random: AtRandom, ranks: Ranks, metadata: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object, last: bool = False) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer.Hdf5Writer, "_flush", full)
    with (
        pytest.raises(OSError, match="No space"),
        Outputs(Paths.from_prefix(tmp_path / "x"), ranks, Style(0.5), metadata=metadata) as outputs,
    ):
        outputs.write(at_random(3, 1)[0])
    assert names(tmp_path) == []


def test_a_failure_at_the_start_leaves_nothing(tmp_path: Path, ranks: Ranks) -> None:
    with pytest.raises(ValueError, match="metadata"):
        Outputs(Paths.from_prefix(tmp_path / "x"), ranks, Style(0.5))
    assert names(tmp_path) == []


def test_refused_before_anything_is_touched(tmp_path: Path, ranks: Ranks) -> None:
    (tmp_path / "x.tsv").write_text("old")
    with pytest.raises(UsageError, match="--force"):
        Outputs(Paths.from_prefix(tmp_path / "x"), ranks, Style(0.5))
    with pytest.raises(UsageError, match="seekable"):
        Paths(hdf5="-").check(force=False)
    with pytest.raises(UsageError, match="share one target"):
        Paths(fasta="-", bed="-").check(force=False)
    assert names(tmp_path) == ["x.tsv"]


RUN = """
import sys, time
import numpy as np
from seqmask.labels.ranks import Rank, Ranks
from seqmask.results import writer
from seqmask.results.hdf5 import METADATA
from seqmask.sequences.explanations import Explanation, Status
from seqmask.sequences.records import Record

assert "torch" not in sys.modules
writer.BATCH_RECORDS = 10
paths = writer.Paths(fasta="-") if sys.argv[1] == "-" else writer.Paths.from_prefix(sys.argv[1])
ranks = Ranks((Rank("genus", ("Vibrio", "Nostoc")),))
one = np.zeros(2, np.float32), np.zeros(1, np.int64), np.array([[0, 600]], np.int32), np.ones((1, 1), np.float32)
with writer.Outputs(paths, ranks, writer.Style(0.5), metadata=dict.fromkeys(METADATA, "")) as outputs:
    print("open", file=sys.stderr, flush=True)
    for i in range(1_000_000):
        outputs.write(Explanation(Record(f"r{i}", f"r{i}", "A" * 600), i, Status.ok, *one))
"""


def start(target: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", RUN, target]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    assert process.stderr is not None
    assert process.stderr.readline() == b"open\n"
    return process


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    with start(str(tmp_path / "x")) as process:
        assert len(names(tmp_path)) == 5
        process.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in process.communicate(timeout=20)[1]
    assert names(tmp_path) == []


def test_a_killed_run_leaves_no_target(tmp_path: Path) -> None:
    with start(str(tmp_path / "x")) as process:
        process.kill()
        process.communicate(timeout=20)
    assert all(name.startswith(".x.") and ".tmp." in name for name in names(tmp_path))


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from seqmask.results import hdf5
hdf5.BUFFER_RECORDS = int(sys.argv[2])
"""


@pytest.mark.parametrize("buffer", [1000, 10_000_000])
def test_a_full_disk_is_one_clear_error(tmp_path: Path, buffer: int) -> None:
    """A limit of the file size stands for it; met while appending, or only when the file is closed."""
    # Names that do not compress reach the limit soon
    script = FULL + RUN.replace("1_000_000", "20_000").replace("r{i}", "{hash((i, 0.5))}")
    script = script.replace("writer.Paths.from_prefix(sys.argv[1])", "writer.Paths(hdf5=sys.argv[1])")
    command = [sys.executable, "-c", script, str(tmp_path / "x"), str(buffer)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("OSError: [Errno 27] File too large: ")
    assert "Exception ignored" not in done.stderr
    assert names(tmp_path) == []


def test_a_closed_pipe_is_a_broken_pipe() -> None:
    with start("-") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b">r0 seqmask=kept:1.000 genus=Vibrio(0.50)")
        process.stdout.close()
        assert process.stderr is not None
        assert b"BrokenPipeError" in process.stderr.read()
