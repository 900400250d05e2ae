"""Shards that are merged and runs that are killed give, bit by bit, what one undisturbed run gives."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from seqmask.commands.resuming import INDIFFERENT, decisive
from seqmask.config import MaskOptions
from seqmask.inference import explain

Run = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
KINDS = ("fasta", "bed", "tsv", "h5")
POOL, FIRST = 64, 16  # windows that are computed together, at first fewer: the few reads of a test are many pools


@pytest.fixture(autouse=True)
def small_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "POOL_WINDOWS", POOL)
    monkeypatch.setattr(explain, "FIRST_WINDOWS", FIRST)


@pytest.fixture(scope="module")
def some(fasta: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 of the reads, and records without a mask."""
    path = tmp_path_factory.mktemp("some") / "some.fasta"
    records = [b">" + record for record in fasta.split(b">")[1:161]]
    path.write_bytes(b"".join([*records[:70], b">none\n\n>short\nACG\n", *records[70:]]))
    return path


@pytest.fixture(scope="module")
def whole(some: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """One undisturbed run: the prefix of its outputs."""
    prefix = tmp_path_factory.mktemp("whole") / "x"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explain, "POOL_WINDOWS", POOL)
        patch.setattr(explain, "FIRST_WINDOWS", FIRST)
        done = run("mask", "-q", some, "-m", tiny_model, "-x", "cpu", "-t", 1, "-o", prefix, "--check")
    assert done.code == 0, done.err
    return prefix


def same(one: Path, other: Path) -> None:
    """Texts byte by byte, HDF5 dataset by dataset."""
    for kind in KINDS[:3]:
        assert Path(f"{one}.{kind}").read_bytes() == Path(f"{other}.{kind}").read_bytes() != b"", kind
    with h5py.File(f"{one}.h5") as a, h5py.File(f"{other}.h5") as b:
        found: list[str] = []
        a.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        assert len(found) > 20
        for name in found:
            assert a[name].dtype == b[name].dtype, name
            np.testing.assert_array_equal(a[name][()], b[name][()], err_msg=name)


def test_merged_shards(run: Run, some: Path, tiny_model: Path, whole: Path, tmp_path: Path) -> None:
    common = (some, "-m", tiny_model, "-x", "cpu", "-t", 1, "--check")
    records = []
    for i in (2, 3, 1):
        done = run("mask", *common, "-o", tmp_path / f"s{i}", "--shard", f"{i}/3")
        assert done.code == 0, done.err
        records += [int(number) for number in re.findall(r"records (\d+) to (\d+) of 162", done.err)[0]]
    assert sorted(records) == sorted([0, *2 * sorted(set(records) - {0, 162}), 162])
    assert len(set(records)) == 4, "no shard is empty"
    for kind in KINDS:
        shards = [tmp_path / f"s{i}.{kind}" for i in (3, 1, 2)]
        done = run("merge", "-q", *shards, "-o", tmp_path / f"merged.{kind}")
        assert (done.code, done.err) == (0, "")
    same(tmp_path / "merged", whole)
    done = run("merge", *(tmp_path / f"s{i}.tsv" for i in (1, 2, 3)), "-o", "-")
    assert (done.code, done.out) == (0, Path(f"{whole}.tsv").read_bytes())
    assert done.err == "3 tsv shards, 162 records\n"
    for arguments, message in (
        (
            (tmp_path / "s1.bed", tmp_path / "s3.bed"),
            r"s1\.bed: shards of 3, but number 2 is missing; name all of them",
        ),
        ((tmp_path / "s1.h5", f"{whole}.h5"), r"x\.h5: the whole output of a run; expected an output of"),
    ):
        done = run("merge", "-q", *arguments, "-o", tmp_path / "no")
        assert done.code == 1
        assert re.fullmatch(f"seqmask: error: [^\n]*{message}[^\n]*\n", done.err), done.err
    assert not (tmp_path / "no").exists()
    done = run("merge", "-q", tmp_path / "s1.h5", tmp_path / "s2.h5", tmp_path / "s3.h5", "-o", "-")
    assert (done.code, done.out) == (2, b"")


def test_shards_of_the_smallest_masks(run: Run, some: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Pools are smaller there, for the plan of the shards as well; what is merged says what the masks are."""
    common = ("mask", "-q", some, "-m", tiny_model, "-x", "cpu", "-t", 1, "--smallest")
    assert run(*common, "-o", tmp_path / "whole").code == 0
    shards = [tmp_path / f"s{i}" for i in (1, 2)]
    for i, shard in enumerate(shards, 1):
        assert run(*common, "-o", shard, "--shard", f"{i}/2").code == 0
    for kind in KINDS:
        done = run("merge", "-q", *(f"{shard}.{kind}" for shard in shards), "-o", tmp_path / f"merged.{kind}")
        assert (done.code, done.err) == (0, "")
    same(tmp_path / "merged", tmp_path / "whole")
    with h5py.File(tmp_path / "merged.h5") as merged:
        assert merged.attrs["smallest"]


def test_a_finished_shard_that_is_asked_for_again(run: Run, some: Path, tiny_model: Path, tmp_path: Path) -> None:
    command = ("mask", "-m", tiny_model, "-x", "cpu", "-t", 1, "-o", tmp_path / "x")
    shard = ("--shard", "1/2", "--resume")
    assert run(*command, some, *shard).code == 0
    files = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()}
    for force in ((), ("--force",)):
        done = run(*command, some, *shard, *force)
        assert done.code == 0, done.err
        assert "its outputs are there, whole, of the same input and options: nothing to do" in done.err
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()} == files

    def refused(*arguments: object) -> bool:
        done = run(*command, *arguments)
        assert not done.code or "nothing to do" not in done.err
        return done.code == 2 and "x.fasta exists already; give --force to overwrite it" in done.err

    more = tmp_path.parent / "more.fasta"
    more.write_bytes(some.read_bytes() + b">another\nACGTACGTACGT\n")
    assert refused(more, *shard)  # another input
    assert refused(some, "--shard", "2/2", "--resume")
    assert refused(some, *shard, "--check")  # other options
    assert refused(some, *shard[:2])  # without --resume
    assert refused(some, "--resume")  # no shard: nothing says what a whole output is of
    with open(tmp_path / "x.bed", "ab") as bed:
        bed.write(b"\n")
    assert refused(some, *shard)  # changed since
    done = run(*command, some, *shard, "--force")
    assert (done.code, done.out) == (0, b"")
    assert (tmp_path / "x.bed").read_bytes() == files[tmp_path / "x.bed"][1]


KILLED = """
import os, signal, sys
from seqmask.inference import explain
from seqmask.results import bed
from seqmask.cli.app import main

explain.POOL_WINDOWS, explain.FIRST_WINDOWS = map(int, sys.argv.pop(1).split(','))
left = int(sys.argv.pop(1))
write = bed.write

def killed(*arguments):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)  # the FASTA of this batch is written, the BED is not
    write(*arguments)

bed.write = killed
main()
"""


def test_killed_and_resumed(run: Run, some: Path, tiny_model: Path, whole: Path, tmp_path: Path) -> None:
    """kill -9 in the middle of a batch; what is resumed is cut to whole records, and ends the same."""
    arguments = [some, "-m", tiny_model, "-x", "cpu", "-t", 1, "-o", tmp_path / "x", "--check"]
    texts = [str(argument) for argument in [*arguments, "--checkpoint-minutes", 0]]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, f"{POOL},{FIRST}", "3", "mask", *texts],
        cwd=ROOT,
        capture_output=True,
        env=os.environ,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    names = {path.name for path in tmp_path.iterdir()}
    assert all(name.startswith(".x.") for name in names), "nothing looks complete"

    refused = run("mask", "-q", *arguments)
    assert refused.code == 2
    assert re.search(r"a stopped run has left (\d+) records for these outputs; give --resume", refused.err)
    other = run("mask", "-q", *arguments, "--overlap", 7, "--resume")
    assert other.code == 2
    assert "--resume: the stopped run had overlap 192, this one has 7; give the same options" in other.err
    assert {path.name for path in tmp_path.iterdir()} == names, "nothing is lost"

    (tmp_path / "changed.fasta").write_bytes(some.read_bytes().replace(b"A", b"C", 1))
    changed = run("mask", "-q", tmp_path / "changed.fasta", *arguments[1:], "--resume")
    assert changed.code == 1
    assert re.search(r"changed\.fasta: not the \d+ records that the stopped run began with; give the same", changed.err)
    (tmp_path / "changed.fasta").unlink()

    done = run("mask", *arguments, "--resume")
    assert done.code == 0, done.err
    after = int(re.findall(r"going on after (\d+) records", done.err)[0])
    assert 0 < after < 162
    assert f"{162 - after} records" in done.err
    same(tmp_path / "x", whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*(f"x.{kind}" for kind in KINDS), "x.config.toml"]
    )


WHOLE = """
import os, sys
from seqmask.cli.app import main
from seqmask.inference import explain
from seqmask.results import writer

explain.POOL_WINDOWS, explain.FIRST_WINDOWS = map(int, sys.argv.pop(1).split(','))
writer.Target.commit = lambda self: os._exit(9)
main()
"""


def test_killed_when_the_files_only_want_their_names(
    run: Run, some: Path, tiny_model: Path, whole: Path, tmp_path: Path
) -> None:
    """They get them from the same run alone: not of other reads, fewer or more, nor with other options."""
    arguments = ("-m", tiny_model, "-x", "cpu", "-t", 1, "-o", tmp_path / "x", "--check", "--checkpoint-minutes", 0)
    texts = [str(argument) for argument in ("mask", some, *arguments)]
    killed = subprocess.run([sys.executable, "-c", WHOLE, f"{POOL},{FIRST}", *texts], cwd=ROOT, capture_output=True)
    assert killed.returncode == 9, killed.stderr
    names = {path.name for path in tmp_path.iterdir()}
    assert all(name.startswith(".x.") for name in names)

    for name, text in (("less", some.read_bytes()[:-900]), ("more", some.read_bytes() + b">more\nACGTACGTA\n")):
        (tmp_path / name).write_bytes(text)
    for reads, more, code, message in (
        (some, ("--threshold", 0.9), 2, r"--resume: the stopped run had threshold 0\.\d+, this one has 0\.9; give"),
        (tmp_path / "less", (), 1, r"less: not the 162 records that the stopped run began with; give the same files"),
        (some, ("--bed", "-"), 2, "--resume needs every output to be a file, and - is none"),
        (tmp_path / "more", (), 1, r"more, line \d+: a record 'more' more than the stopped run had.*; give the same"),
    ):
        refused = run("mask", "-q", reads, *arguments, *more, "--resume")
        assert refused.code == code
        assert re.search(message, refused.err), refused.err
    (tmp_path / "less").unlink()
    (tmp_path / "more").unlink()
    assert {path.name for path in tmp_path.iterdir()} == names

    done = run("mask", some, *arguments, "--resume")
    assert (done.code, done.out) == (0, b"")
    assert "the stopped run had come to its end: its outputs have their names now" in done.err
    same(tmp_path / "x", whole)
    assert {path.name for path in tmp_path.iterdir()} == {*(f"x.{kind}" for kind in KINDS), "x.config.toml"}


def test_what_cannot_be_resumed_or_sharded(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    for arguments, message in (
        ((few, "--resume"), "--resume needs every output to be a file, and - is none"),
        (("-", "--shard", "1/2"), "--shard reads its input twice"),
        ((few, "--shard", "3/2"), "--shard 3/2: expected I/N with I from 1 to N"),
    ):
        done = run("mask", "-q", "-m", tiny_model, *arguments, stdin=b">a\nACGTACGT\n")
        assert (done.code, done.out) == (2, b"")
        assert message in done.err


def test_options_that_decide_nothing_are_options() -> None:
    assert {field.name for field in fields(MaskOptions)} >= INDIFFERENT
    run = decisive({"threshold": 0.5, "command": ["x"]}, MaskOptions(overlap=7, force=True), 2)
    assert (run["threshold"], run["overlap"], run["frames"]) == (0.5, 7, 2)
    assert not {"command", "force", "reads"} & run.keys()
