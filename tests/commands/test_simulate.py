"""`seqmask simulate`: files that other tools read, and that the other commands take as they are."""

from __future__ import annotations

import gzip
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqmask.config import TASK_NAMES

Run = Callable[..., Any]
SMALL = ("-n", 120, "--classes", 4, "--groups", 2)


@pytest.mark.parametrize("task", TASK_NAMES)
def test_bedtools_finds_each_motif_where_the_truth_says(
    run: Run, peer: Callable[[str], str], tmp_path: Path, task: str
) -> None:
    prefix = tmp_path / task
    done = run("simulate", "--task", task, *SMALL, "-o", prefix)
    assert (done.code, done.out) == (0, b"")
    told = dict(line.split() for line in done.err.splitlines()[1:])
    bed = f"{prefix}.truth.bed"
    found = subprocess.run(
        [peer("bedtools"), "getfasta", "-s", "-nameOnly", "-fi", f"{prefix}.fasta", "-bed", bed],
        capture_output=True,
        text=True,
        check=True,
    )
    outside = [line for line in found.stderr.splitlines() if "generating" not in line]  # it says so of its index
    assert outside == []
    lines = found.stdout.splitlines()
    assert len(lines) == 2 * len(Path(bed).read_text().splitlines()) > 0
    for header, motif in zip(lines[::2], lines[1::2], strict=True):
        assert told[header[1:-3].split(":")[1]] == motif


def test_table_and_splits(run: Run, peer: Callable[[str], str], tmp_path: Path) -> None:
    run("simulate", "-q", "--task", "nested", *SMALL, "-o", tmp_path / "x")
    header, *rows = [line.split("\t") for line in (tmp_path / "x.tsv").read_text().splitlines()]
    assert header == ["id", "superkingdom", "phylum", "split"]
    names = subprocess.run(
        [peer("seqkit"), "seq", "-n", tmp_path / "x.fasta"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert names == [row[0] for row in rows]
    assert set(Counter(row[3] for row in rows)) == {"train", "val", "test_species"}
    parents = defaultdict(set)
    for row in rows:
        parents[row[2]].add(row[1])
    assert all(len(of) == 1 for of in parents.values())


def test_the_same_seed_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        run("simulate", "-q", *SMALL, "-o", tmp_path / name, "--seed", seed, "--gzip")
    for suffix in (".fasta.gz", ".tsv", ".truth.bed"):
        a, b, c = ((tmp_path / f"{name}{suffix}").read_bytes() for name in "abc")
        assert a == b != c
    assert gzip.decompress((tmp_path / "a.fasta.gz").read_bytes()).startswith(b">sim_000000\n")


@pytest.mark.parametrize("markov", [(), ("--markov",)])
def test_real_backgrounds(run: Run, reads: Path, tmp_path: Path, markov: tuple[str, ...]) -> None:
    done = run("simulate", "-q", *SMALL, "--background", reads, *markov, "-o", tmp_path / "x")
    assert (done.code, done.err) == (0, "")
    real = gzip.decompress(reads.read_bytes()).decode().upper()
    real = "".join(line if not line.startswith(">") else ">" for line in real.splitlines())
    text = (tmp_path / "x.fasta").read_text().split(">")[1:]
    # What lies between motifs: words of 24 nt stand in the reads if, and only if, they were copied
    copied = [any(s[i : i + 24] in real for i in range(len(s) - 24)) for s in ("".join(t.split()[1:]) for t in text)]
    assert sum(copied) == (0 if markov else len(text))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--task", "two"), 2, "--task two: expected one of one, several, and, order, decoys, nested"),
        (("--markov",), 2, "--markov"),
        (("--length", "60"), 2, "--length 60"),
        (("--background", "absent.fa"), 1, "absent.fa: no such file"),
    ],
)
def test_errors(run: Run, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = run("simulate", *arguments, "-o", tmp_path / "x")
    assert done.code == code
    assert message in done.err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.truth.bed").write_text("mine\n")
    done = run("simulate", *SMALL, "-o", tmp_path / "x")
    assert done.code == 2
    assert "x.truth.bed exists already" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["x.truth.bed"]
    assert run("simulate", "-q", *SMALL, "-o", tmp_path / "x", "--force").code == 0
    assert (tmp_path / "x.truth.bed").read_text() != "mine\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-o", "{}/"), "is no prefix of file names"),
        (("-o", ""), "is no prefix of file names"),
        (("-o", "{}/x", "--task", "nested", "--ranks", "x,split"), "split means something else in a label table"),
        (("-o", "{}/x", "--task", "nested", "--ranks", "id,x"), "id means something else in a label table"),
        (("-o", "{}/x", "--task", "nested", "--ranks", "x,Seq_ID"), "Seq_ID means something else in a label table"),
        (("-o", "{}/."), "is no prefix of file names"),
        (("-o", "/dev/null"), "'/dev/null' is no prefix of file names"),
        (("-o", "{}/x", "--log-file", "{}/x.tsv"), "x.tsv is an input or output of this run"),
        (("-o", "{}/x", "--log-file", "{}/x.truth.bed"), "x.truth.bed is an input or output of this run"),
    ],
)
def test_what_would_be_hidden_or_lost(run: Run, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    done = run("simulate", "-n", 20, *(word.format(tmp_path) for word in options))
    assert (done.code, message in done.err) == (2, True), done.err
    assert not list(tmp_path.iterdir())
