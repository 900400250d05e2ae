"""Stopped runs go on where they were: to the same bytes and datasets as a run that was never stopped."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from seqmask.errors import SeqmaskError, UsageError
from seqmask.labels.ranks import Ranks
from seqmask.results import writer
from seqmask.results.journal import Checkpoint, Journal, ended, stopped
from seqmask.results.recovery import Recovery
from seqmask.results.report import Counts
from seqmask.results.writer import Outputs, Paths, Style
from seqmask.sequences.digest import chained
from seqmask.sequences.explanations import Explanation

AtRandom = Callable[..., list[Explanation]]
RUN = {"threshold": 0.5}
OPEN = {"": open, ".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def paths_in(directory: Path, suffix: str = "") -> Paths:
    directory.mkdir(exist_ok=True)
    return Paths(*(f"{directory}/x.{kind}{suffix}" for kind in ("fasta", "bed", "tsv")), f"{directory}/x.h5")


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BATCH_RECORDS", 3)


class Run:
    """Runs over the same records, into one directory or another."""

    def __init__(self, items: list[Explanation], ranks: Ranks, metadata: dict[str, Any], tmp_path: Path) -> None:
        self.items, self.ranks, self.metadata, self.tmp_path = items, ranks, metadata, tmp_path

    def outputs(self, paths: Paths, **options: Any) -> Outputs:
        recovery = Recovery(options.pop("run", RUN), options.pop("resume", False), options.pop("seconds", 0.0))
        return Outputs(
            paths, self.ranks, Style(0.5), metadata=self.metadata, recovery=options.pop("recovery", recovery), **options
        )

    def stop(self, paths: Paths, at: int, **options: Any) -> None:
        """Stop after so many records: the last of them may be in no file yet."""
        with pytest.raises(KeyboardInterrupt), self.outputs(paths, **options) as outputs:  # noqa: PT012
            for item in self.items[outputs.resumed.records : at]:
                outputs.write(item)
            raise KeyboardInterrupt

    def finish(self, paths: Paths, **options: Any) -> Outputs:
        with self.outputs(paths, **options) as outputs:
            for item in self.items[outputs.resumed.records :]:
                outputs.write(item)
        return outputs


@pytest.fixture
def run(at_random: AtRandom, ranks: Ranks, metadata: dict[str, Any], tmp_path: Path) -> Run:
    return Run(at_random(5, 30), ranks, metadata, tmp_path)


def same(one: Paths, other: Paths) -> None:
    for kind, path in one.given().items():
        if kind != "hdf5":
            assert Path(path).read_bytes() == Path(other.given()[kind]).read_bytes() != b"", kind
    with h5py.File(one.hdf5) as a, h5py.File(other.hdf5) as b:
        found: list[str] = []
        a.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        assert len(found) > 10
        for name in found:
            assert a[name].dtype == b[name].dtype, name
            np.testing.assert_array_equal(a[name][()], b[name][()], err_msg=name)
        assert a.attrs["complete"]
        assert b.attrs["complete"]


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz", ".zst"])
def test_stopped_twice(run: Run, suffix: str) -> None:
    whole, again = paths_in(run.tmp_path / "whole", suffix), paths_in(run.tmp_path / "again", suffix)
    uninterrupted = run.finish(whole, recovery=None)
    run.stop(again, 14)
    assert stopped(again.given()["fasta"]) == 12
    assert all(name.startswith(".x.") for name in names(run.tmp_path / "again"))
    run.stop(again, 25, resume=True)
    # Compressors hold back what they have not put into a block, so a few records may be lost
    assert stopped(again.given()["fasta"]) in (range(3, 25) if suffix else (24,))
    counts = run.finish(again, resume=True).counts
    assert counts == uninterrupted.counts
    assert counts.records == len(run.items)
    same(whole, again)
    assert names(run.tmp_path / "again") == names(run.tmp_path / "whole")


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("seed", range(4))
def test_torn_files(run: Run, suffix: str, seed: int) -> None:
    """Files that end anywhere, HDF5 parts that are missing, a journal whose last line is half there."""
    rng = random.Random(seed)
    whole, again = paths_in(run.tmp_path / "whole", suffix), paths_in(run.tmp_path / "again", suffix)
    run.finish(whole, recovery=None)
    run.stop(again, 29)
    directory = run.tmp_path / "again"
    for path in directory.iterdir():
        if path.name.endswith((f"bed{suffix}.partial", ".journal", f"fasta{suffix}.partial")) and rng.random() < 0.7:
            os.truncate(path, rng.randrange(path.stat().st_size))
    parts = sorted(directory.glob(".x.h5.partial.*"), key=lambda path: int(path.name.rpartition(".")[2]))
    assert len(parts) == 10, "nine of three records each, and an empty one"
    for path in parts[rng.randrange(1, 10) :]:
        path.unlink()
    run.finish(again, resume=True)
    same(whole, again)
    assert names(directory) == names(run.tmp_path / "whole")


@pytest.mark.parametrize("at", [3, 12, 25])
def test_files_of_the_right_length_that_are_not_what_was_written(run: Run, at: int) -> None:
    """After a power cut, or by another run's hand: the digest is of the bytes that are there."""
    whole, again = paths_in(run.tmp_path / "whole"), paths_in(run.tmp_path / "again")
    run.finish(whole, recovery=None)
    run.stop(again, 29)
    working = run.tmp_path / "again" / ".x.fasta.partial"
    text = bytearray(working.read_bytes())
    text[text.index(f">read{at} ".encode()) + 1] ^= 1
    working.write_bytes(text)
    assert run.finish(again, resume=True).resumed.records == at // 3 * 3
    same(whole, again)


def test_without_a_checkpoint_nothing_stays(run: Run) -> None:
    run.stop(paths_in(run.tmp_path / "x"), 20, seconds=1000.0)
    assert names(run.tmp_path / "x") == []


def test_nothing_to_go_on_from_is_a_start(run: Run) -> None:
    paths = paths_in(run.tmp_path / "x")
    assert run.finish(paths, resume=True).counts.records == 30
    with pytest.raises(UsageError, match="exists already"):
        run.finish(paths, resume=True)


def test_what_is_left_is_not_lost_by_accident(run: Run) -> None:
    """Neither by another start, nor by one with other options, nor by two at once."""
    paths = paths_in(run.tmp_path / "x")
    run.stop(paths, 20)
    before = names(run.tmp_path / "x")
    with pytest.raises(UsageError, match=r"has left 18 records.*--resume to go on.*--force to start over"):
        run.finish(paths)
    with pytest.raises(UsageError, match=r"threshold 0\.5, this one has 0\.4"):
        run.finish(paths, resume=True, run={"threshold": 0.4})
    with run.outputs(paths, resume=True), pytest.raises(SeqmaskError, match="another run is writing"):
        run.finish(paths, resume=True)
    # That run ended well, with what there was: make it a stopped one again
    for path in paths.given().values():
        Path(path).unlink()
    run.stop(paths, 20)
    assert names(run.tmp_path / "x") == before
    assert run.finish(paths, force=True).resumed.records == 0
    assert names(run.tmp_path / "x") == ["x.bed", "x.fasta", "x.h5", "x.tsv"]


def test_two_runs_with_one_hdf5_file(run: Run) -> None:
    """Their first outputs, and so their journals, are two; what is left of the one is not the other's to delete."""
    one = paths_in(run.tmp_path / "x")
    other = replace(one, fasta=None, bed=f"{run.tmp_path}/x/other.bed", tsv=None)
    with run.outputs(one) as outputs:
        for item in run.items:
            outputs.write(item)
        with pytest.raises(UsageError, match="a stopped run has left"):
            run.finish(other)
        with pytest.raises(SeqmaskError, match=r"another run is writing the same outputs.*x\.h5\.partial"):
            run.finish(other, force=True)
    for path in one.given().values():
        Path(path).unlink()
    run.stop(one, 20)
    before = names(run.tmp_path / "x")
    with pytest.raises(UsageError, match=r"a stopped run has left 18 records.*--resume to go on"):
        run.finish(other)
    with pytest.raises(UsageError, match="with other outputs, too, has left 18 records for one of these"):
        run.finish(other, resume=True)
    assert names(run.tmp_path / "x") == before
    assert run.finish(one, resume=True).resumed.records == 18


@pytest.mark.parametrize("at", [1, 3])
def test_a_part_that_cannot_be_made_leaves_nothing(run: Run, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """At the start, where nothing stays, and at a checkpoint, of which the parts before do. It names the output."""
    paths, left = paths_in(run.tmp_path / "x"), [at]
    create = writer.Hdf5Writer._create

    def failing(self: Any, metadata: Any) -> None:
        left[0] -= 1
        if not left[0]:
            raise OSError(27, "File too large")
        create(self, metadata)

    monkeypatch.setattr(writer.Hdf5Writer, "_create", failing)
    with pytest.raises(OSError, match="File too large") as error:
        run.finish(paths)
    assert error.value.filename == paths.hdf5
    parts = [name for name in names(run.tmp_path / "x") if "h5" in name]
    assert parts == ([] if at == 1 else [".x.h5.partial", ".x.h5.partial.1", ".x.h5.partial.2"])
    assert names(run.tmp_path / "x") or at == 1


def test_pipes_cannot_go_on(run: Run) -> None:
    with pytest.raises(UsageError, match="--resume needs every output to be a file, and - is none"):
        Paths(fasta="-", bed=str(run.tmp_path / "x.bed")).check(False, resume=True)


@pytest.mark.parametrize("named", range(5))
def test_stopped_while_files_get_their_names(run: Run, named: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, or those that are left, get them from the next run."""
    whole, again = paths_in(run.tmp_path / "whole"), paths_in(run.tmp_path / "again")
    run.finish(whole, recovery=None)
    left = [named]

    def killed(self: Any) -> None:
        if not left[0]:
            os._exit(9)
        left[0] -= 1
        os.replace(self.working, self.final)

    monkeypatch.setattr(writer.Target, "commit", killed)
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            run.finish(again)
        os._exit(0 if named == 4 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == (0 if named == 4 else 9)
    monkeypatch.undo()
    found = ended(again.given()["fasta"])
    assert (found is not None) is (named < 4)
    if found is not None:
        digest = ""
        for item in run.items:
            digest = chained(digest, item.record)
        assert found == Checkpoint(30, digest)
        with pytest.raises(UsageError, match=r"the stopped run had threshold 0\.5, this one has 0\.4"):
            Recovery({"threshold": 0.4}).complete(again.given())
        Recovery(RUN).complete(again.given())
    assert ended(again.given()["fasta"]) is None
    same(whole, again)
    assert names(run.tmp_path / "again") == names(run.tmp_path / "whole"), "nor is a part left"


def test_the_journal_forgets_half_a_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.start({"a": 1})
    journal.close()
    with (tmp_path / "j").open("ab") as file:
        file.write(b'{"records": 3, "dig')
    journal = Journal(tmp_path / "j")
    assert (journal.run(), journal.checkpoints(), journal.moves()) == ({"a": 1}, [], [])
    journal.close()
    (tmp_path / "j").write_text("something else\n")
    journal = Journal(tmp_path / "j")
    assert journal.run() is None
    journal.remove()
    assert names(tmp_path) == []


def test_a_digest_can_be_taken_up_again(run: Run) -> None:
    records = [item.record for item in run.items]
    digests = [""]
    for record in records:
        digests.append(chained(digests[-1], record))
    assert len(set(digests)) == 31
    assert chained(digests[7], records[7]) == digests[8]
    assert chained(digests[7], replace(records[7], sequence=records[7].sequence + "A")) != digests[8]
    assert chained(digests[7], replace(records[7], description="y")) != digests[8]


def test_counts_survive_as_json(run: Run) -> None:
    counts = run.finish(paths_in(run.tmp_path / "x"), recovery=None).counts
    assert Counts.from_json(counts.to_json()) == counts
    assert Counts.from_json({}) == Counts()
    assert sum(counts.classes["genus"].values()) == counts.statuses["ok"]
    assert counts.kept <= counts.covered <= counts.nucleotides == sum(len(i.record.sequence) for i in run.items)


def test_a_text_of_a_stopped_run_is_not_written_over_by_a_run_of_other_outputs(run: Run) -> None:
    """The journal is beside the stopped run's first output, not beside the text that both write."""
    one = replace(paths_in(run.tmp_path / "x"), hdf5=None)
    other = replace(one, fasta=None, tsv=None)
    run.stop(one, 20)
    before = names(run.tmp_path / "x")
    with pytest.raises(UsageError, match="a stopped run has left 18 records"):
        run.finish(other)
    with pytest.raises(UsageError, match="with other outputs, too, has left 18 records for one of these"):
        run.finish(other, resume=True)
    assert names(run.tmp_path / "x") == before
    assert run.finish(one, resume=True).resumed.records == 18
