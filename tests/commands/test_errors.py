"""What goes wrong is one line on stderr that says what and where, an exit code, and nothing left behind."""

from __future__ import annotations

import gzip
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from seqmask.commands.inputs import listed
from seqmask.errors import UsageError

Run = Callable[..., Any]


def check(done: Any, code: int, pattern: str) -> None:
    """One line in quiet mode, no data on stdout."""
    assert re.fullmatch(r"seqmask: error: [^\n]+\n", done.err), done.err
    assert re.search(pattern, done.err), done.err
    assert (done.code, done.out) == (code, b"")


INPUTS: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, r"in: no such file"),
    "text": (b"hello\nworld\n", r"in, line 1: 'hello'; expected '>' \(FASTA\) or '@' \(FASTQ\)"),
    "binary": (bytes(range(1, 200)), r"in, line 1: "),
    "protein": (b">ok\nACGTACGTACGT\n>prot\nMKVLAAGIVGLPNVGKSTLFN\n", r"in, line 3: '.' in record 'prot'.*protein"),
    "joined": (b">a\nACGT>b desc\nACGT\n", r"in, line 1: '>' in record 'a' \(letter 5\).*a line end is missing before"),
    "long name": (b">%b\nACGTJ\n" % (b"n" * 10_000), r"'J' in record 'n{60}'\.\.\. \(10,000 letters\) \("),
    "letters": (b">r\nACGTACGTXX\n", r"in, line 1: 'X' in record 'r'"),
    "genbank": (b">r\n1 acgtacgt\n", r"in, line 1: '1' in record 'r'.*numbers stand in it"),
    "sam": (b"@RG\tID:1\n", r"in: a SAM file.*samtools fasta"),
    "truncated": (gzip.compress(b">r\n" + bytes(b"ACGT"[i * i % 4] for i in range(9999)))[:-20], r"in: .*truncated"),
    "fastq": (b"@r\nACGTACGT\n+\nIII\n", r"in, line \d: .*qualit"),
    "bed": (b"chr1\t10\t20\n", r"in, line 1: 'chr1\\t10\\t20'; expected '>'"),
    "bam": (gzip.compress(b"BAM\x01", mtime=0), r"in: a BAM file.*samtools fasta"),
}


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("where", ["stdout", "files"])
def test_bad_input(run: Run, tiny_model: Path, tmp_path: Path, kind: str, where: str) -> None:
    data, pattern = INPUTS[kind]
    if data is not None:
        (tmp_path / "in").write_bytes(data)
    outputs = () if where == "stdout" else ("-o", tmp_path / "x")
    check(run("mask", "-q", tmp_path / "in", "-m", tiny_model, *outputs), 1, pattern)
    assert [path.name for path in tmp_path.iterdir()] == ["in"][: data is not None]


def test_bad_input_on_stdin(run: Run, tiny_model: Path) -> None:
    check(run("mask", "-q", "-", "-m", tiny_model, stdin=b"hello"), 1, r"error: -, line 1: 'hello'")
    check(run("mask", "-q", "-", "-", "-m", tiny_model, stdin=b">r\nACGT\n"), 2, "standard input is named twice")
    check(run("mask", "-q", "-", "/dev/stdin", "-m", tiny_model, stdin=b""), 2, "standard input is named twice")
    done = run("mask", "-q", "-", "--infile-list", "-", "-m", tiny_model, stdin=b"x.fasta\n")
    check(done, 2, "standard input is named twice, and can be read once")


def test_a_list_on_a_closed_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UsageError, match="--infile-list -: standard input is closed"):
        listed("-")


def test_a_directory_as_input(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    check(run("mask", "-q", tmp_path, "-m", tiny_model), 1, "is a directory; expected a FASTA or FASTQ file")


def test_a_missing_second_file_is_met_before_any_work(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    check(run("mask", "-q", few, tmp_path / "none", "-m", tiny_model), 1, "none: no such file")


def test_unknown_model(run: Run, few: Path) -> None:
    check(run("mask", "-q", few, "-m", "nowhere/none"), 2, "unknown model 'nowhere/none'.*shipped: ")
    check(run("mask", "-q", few, "-m", "Genome"), 2, "unknown model 'Genome'.*; did you mean 'genomes'")


def test_a_model_here_has_a_name(run: Run, few: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_model)
    assert f"; model {tiny_model.name}, tau" in run("mask", few, "-m", ".", "--bed", "-").err


def test_before_the_model_is_loaded(run: Run, few: Path, tmp_path: Path) -> None:
    """What is wrong with the input or the shard is said at once: here there is no model at all."""
    for arguments, code, message in (
        ((tmp_path / "none",), 1, "none: no such file"),
        ((few, "--shard", "3/2"), 2, "--shard 3/2: expected I/N"),
        (("-", "--shard", "1/2"), 2, "--shard reads its input twice"),
    ):
        check(run("mask", "-q", *arguments, "-m", tmp_path), code, message)


@pytest.mark.parametrize(
    ("command", "source", "options"),
    [
        ("mask", "x.fasta", ("-o", "{tmp}/x")),
        ("mask", "x.fasta", ("--bed", "{tmp}/x.fasta")),
        ("mask", "x.tsv", ("--infile-list", "{tmp}/x.fasta", "--tsv", "{tmp}/x.tsv")),
        ("mask", "x.tsv", ("--infile-list", "{tmp}/x.fasta", "--tsv", "{tmp}/x.fasta")),
        ("merge", "x.tsv", ("{tmp}/x.fasta", "-o", "{tmp}/x.fasta")),
        ("convert", "x.h5", ("--tokens", "{tmp}/x.h5")),
        ("convert", "x.h5", ("--logo", "{tmp}/x.fasta", "-s", "{tmp}/x.fasta")),
        ("evaluate", "x.fasta", ("--json", "{tmp}/x.fasta")),
        ("evaluate", "x.fasta", ("--json", "{tmp}/x.tsv", "--labels", "{tmp}/x.tsv")),
        ("profile", "x.fasta", ("--reference", "{tmp}/x.h5", "--tsv", "{tmp}/x.h5")),
        ("simulate", None, ("--background", "{tmp}/x.fasta", "-o", "{tmp}/x")),
    ],
)
def test_an_input_is_not_overwritten(
    run: Run, few: Path, tmp_path: Path, command: str, source: str | None, options: tuple[str, ...]
) -> None:
    """--force replaces what an earlier run has written, never what this one reads."""
    for name in ("x.fasta", "x.tsv", "x.h5"):
        shutil.copy(few, tmp_path / name)
    sources = () if source is None else (tmp_path / source,)
    given = [text.format(tmp=tmp_path) for text in options]
    check(run(command, *sources, *given, "--force", "-q"), 2, "x\\.[a-z0-9]+ is an input of this run and would be lost")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        name: few.read_bytes() for name in ("x.fasta", "x.tsv", "x.h5")
    }


def test_a_model_that_is_not_one(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    """An empty directory; a classifier without Explainer; weights that do not fit."""
    (tmp_path / "empty").mkdir()
    check(run("mask", "-q", few, "-m", tmp_path / "empty"), 1, "empty/explainer.json: no such file")
    copy = shutil.copytree(tiny_model, tmp_path / "copy")
    shutil.copyfile(copy / "classifier.safetensors", copy / "explainer.safetensors")
    check(run("mask", "-q", few, "-m", copy), 1, "explainer.safetensors: weights do not fit")
    (copy / "explainer.json").unlink()
    check(run("mask", "-q", few, "-m", copy), 1, "no Explainer here; make one with 'seqmask train-explainer'")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "meta"])
def test_unknown_device(run: Run, few: Path, tiny_model: Path, device: str) -> None:
    check(
        run("mask", "-q", few, "-m", tiny_model, "-x", device), 2, f"--device {device}: no such device; expected auto"
    )


@pytest.mark.parametrize("command", ["mask", "evaluate"])
def test_cuda_without_cuda(
    run: Run, few: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check(run(command, "-q", few, "-m", tiny_model, "--device", "cuda"), 1, "--device cuda: no such CUDA device")


def test_unknown_precision(run: Run, few: Path, tiny_model: Path) -> None:
    check(run("mask", "-q", few, "-m", tiny_model, "--precision", "half"), 2, "--precision half: expected fp32, bf16")


@pytest.mark.parametrize(
    ("outputs", "code", "pattern"),
    [
        (("--hdf5", "-"), 2, "HDF5 needs a seekable file"),
        (("--bed", "-", "--tsv", "-"), 2, "two outputs cannot share one target"),
        (("--bed", "{tmp}/x", "--tsv", "{tmp}/../{name}/x"), 2, "two outputs cannot share one target"),
        (("--bed", "{tmp}"), 2, "is a directory"),
        (("-o", "{tmp}/none/x"), 1, "the directory .*none does not exist; create it first"),
    ],
)
def test_outputs_that_cannot_be(
    run: Run, few: Path, tiny_model: Path, tmp_path: Path, outputs: tuple[str, ...], code: int, pattern: str
) -> None:
    named = [text.format(tmp=tmp_path, name=tmp_path.name) for text in outputs]
    check(run("mask", "-q", few, "-m", tiny_model, *named), code, pattern)
    assert list(tmp_path.iterdir()) == []


LABELS = "id\tsuperkingdom\tphylum\tgenus\tsplit\n"


@pytest.fixture
def two(tmp_path: Path) -> Path:
    path = tmp_path / "two.fasta"
    path.write_text(">a\nACGTACGTACGTAAATTT\n>b\nACGTACGGACGTAAATTT\n")
    return path


@pytest.mark.parametrize(
    ("table", "options", "code", "pattern"),
    [
        ("id\tclade\na\tx\nb\tx\n", (), 1, "table.tsv: no column 'superkingdom'; expected one of clade"),
        ("id\tphylum\na\tx\nb\tx\n", (), 1, "none of the classes that the model knows; expected names such as"),
        (LABELS + "a\tBacteria\tx\ty\ttest\n", (), 1, "table.tsv: no label for 1 sequence: 'b'; add"),
        (
            LABELS + "c\tBacteria\tx\ty\ttest\n",
            (),
            1,
            "table.tsv: no label for 2 sequences: 'a', 'b'; expected names as in the table, such as 'c'; add",
        ),
        (
            "id\tsuperkingdom\tphylum\tgenus\na\tBacteria\tx\ty\nb\tBacteria\tx\ty\n",
            ("--split", "val"),
            1,
            "table.tsv: no column `split`, so no sequences of split 'val'; add the column, or leave out --split",
        ),
        (
            LABELS + "a\tBacteria\tx\ty\ttest\nb\tBacteria\tx\t\tval\n",
            ("--split", "tset"),
            1,
            "split 'tset'.*test, val",
        ),
        (LABELS + "a\t\tx\ty\ttest\nb\t\tx\ty\tval\n", (), 1, "none of the classes that the model knows"),
        ("a\tb\n", (), 1, "no id column"),
        (None, (), 1, "table.tsv: no such file"),
    ],
    ids=["rank", "classes", "id", "ids", "no split", "split", "empty", "header", "missing"],
)
def test_label_tables_that_do_not_fit(
    run: Run,
    two: Path,
    tiny_model: Path,
    tmp_path: Path,
    table: str | None,
    options: tuple[str, ...],
    code: int,
    pattern: str,
) -> None:
    if table is not None:
        (tmp_path / "table.tsv").write_text(table)
    done = run(
        "evaluate", "-q", two, "-m", tiny_model, "-l", tmp_path / "table.tsv", "--json", tmp_path / "x.json", *options
    )
    check(done, code, pattern)
    assert not (tmp_path / "x.json").exists()


def test_evaluate_refuses(run: Run, two: Path, tiny_model: Path, tmp_path: Path) -> None:
    check(run("evaluate", "-q", two, "-m", tiny_model, "--split", "test"), 2, "--split needs --labels")
    check(run("evaluate", "-q", two, "-m", tiny_model, "--resample-by", "x"), 2, "--resample-by needs --labels")
    (tmp_path / "x.json").write_text("precious")
    check(run("evaluate", "-q", two, "-m", tiny_model, "--json", tmp_path / "x.json"), 2, "exists already.*--force")
    assert (tmp_path / "x.json").read_text() == "precious"
    (tmp_path / "none").write_bytes(b"")
    check(run("evaluate", "-q", tmp_path / "none", "-m", tiny_model), 1, "no sequences; expected at least one record")
    (tmp_path / "short").write_bytes(b">a\nACG\n>b\nNNNNNNNNN\n")
    check(run("evaluate", "-q", tmp_path / "short", "-m", tiny_model), 1, "no sequence that can be read")


def test_evaluate_refuses_to_resample_by_what_is_not_there(
    run: Run, two: Path, tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "table.tsv").write_text(LABELS + "a\tx\ty\tz\t\nb\tx\ty\tz\t\n")
    done = run("evaluate", "-q", two, "-m", tiny_model, "-l", tmp_path / "table.tsv", "--resample-by", "clade")
    check(done, 1, "table.tsv: no column 'clade'; expected one of .*genus")


def test_labels_that_the_model_does_not_know(run: Run, two: Path, tiny_model: Path, tmp_path: Path) -> None:
    """No sequence can be scored: tables of nan without a red flag would be worse than an error."""
    (tmp_path / "table.tsv").write_text(LABELS + "a\tx\ty\tz\t\nb\tx\ty\tz\t\n")
    done = run("evaluate", "-q", two, "-m", tiny_model, "-l", tmp_path / "table.tsv")
    check(done, 1, "table.tsv: .*none of the classes")


@pytest.mark.parametrize(
    "arguments",
    [
        ("mask", "--nonsense"),
        ("mask", "--threshold", "1.5"),
        ("mask", "-b", "-1"),
        ("evaluate",),
        ("nonsense",),
        ("train-classifier", "x.fasta"),
    ],
)
def test_usage_errors_are_2(run: Run, arguments: tuple[str, ...]) -> None:
    done = run(*arguments, stdin=b"")
    assert (done.code, done.out) == (2, b"")
    assert "Traceback" not in done.err


def test_a_full_disk_is_one_line(
    run: Run, few: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seqmask.results import table

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "x.tsv"))

    monkeypatch.setattr(table, "write", full)
    check(run("mask", "-q", few, "-m", tiny_model, "-o", tmp_path / "x"), 1, r"x\.tsv: No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_what_the_command_line_cannot_mean(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    """And nothing is written."""
    reads = tmp_path / "reads.fasta"
    shutil.copy(few, reads)
    before = reads.read_bytes()
    for options, pattern in (
        (("-o", f"{tmp_path}/"), r"is no prefix of file names"),
        (("-o", ""), r"'' is no prefix of file names"),
        (("--tsv", tmp_path / "a.tsv", "--log-file", reads), r"reads\.fasta is an input or output of this run"),
        (("--tsv", tmp_path / "a.tsv", "--log-file", tmp_path / "a.tsv"), r"a\.tsv is an input or output of this run"),
        (("-o", tmp_path / "a", "--log-file", tmp_path / "a.config.toml"), r"a\.config\.toml is an input or output"),
        (("-o", "", *(x for k in ("fasta", "bed", "tsv", "hdf5") for x in (f"--{k}", tmp_path / k))), r"is no prefix"),
        (("--tsv", tmp_path / "a.tsv", "-t", 10**5), r"--threads"),
        (("--tsv", tmp_path / "a.tsv", "--seed", 2**63), r"--seed"),
    ):
        check(run("mask", "-q", reads, "-m", tiny_model, *options), 2, pattern)
        assert [path.name for path in tmp_path.iterdir()] == ["reads.fasta"], options
        assert reads.read_bytes() == before


def test_the_log_is_no_file_of_the_list(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    reads, listing, table = tmp_path / "reads.fasta", tmp_path / "list.txt", tmp_path / "a.tsv"
    shutil.copy(few, reads)
    listing.write_text(f"{reads}\n")
    done = run("mask", "-q", "--infile-list", listing, "-m", tiny_model, "--tsv", table, "--log-file", reads)
    check(done, 2, r"reads\.fasta is an input or output of this run")
    assert reads.read_bytes() == few.read_bytes()
    assert not table.exists()


def test_the_config_is_no_output(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    """It would be replaced by it; but a run may be repeated by the options that it has left."""
    config = tmp_path / "c.toml"
    config.write_text("[mask]\noverlap = 60\n")
    done = run("mask", "-q", few, "-m", tiny_model, "--config", config, "--tsv", config, "--force")
    check(done, 2, r"--config: .*c\.toml is an input or output of this run, too")
    assert config.read_text() == "[mask]\noverlap = 60\n"
    for again in ((), ("--config", tmp_path / "x.config.toml", "--force")):
        assert run("mask", "-q", few, "-m", tiny_model, "-o", tmp_path / "x", *again).code == 0


def test_names_need_not_be_utf8(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/x\xe9.tsv")
    assert run("mask", "-q", few, "-m", tiny_model, "--tsv", name).code == 0
    assert [os.fsencode(path.name) for path in tmp_path.iterdir()] == [b"x\xe9.tsv"]
