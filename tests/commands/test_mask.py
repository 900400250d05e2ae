"""`seqmask mask`: whatever goes in, every record comes out, in order, the same in all four outputs."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from xopen import xopen

from seqmask.cli import app as cli
from seqmask.commands import mask as command
from seqmask.evaluation.metrics import softmax
from seqmask.evaluation.scoring import Scorer, on_tokens
from seqmask.inference import explain
from seqmask.inference.batches import CPU_TOKENS
from seqmask.inference.engine import Engine
from seqmask.models import bundled
from seqmask.models.checkpoint import load_model
from seqmask.sequences.records import read
from seqmask.sequences.spans import under

Run = Callable[..., Any]
Sequences = Callable[[bytes], dict[str, str]]
ROOT = Path(__file__).resolve().parents[2]
RANKS = ("superkingdom", "phylum", "genus")
COLUMNS = ["id", "length", "n_tokens", "status", "kept_fraction", "mean_importance"]
SUFFIXES = ("bed", "fasta", "h5", "tsv")
WRITTEN = ("bed", "config.toml", "fasta", "h5", "tsv")  # what -o writes


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def ids(fasta: bytes) -> list[str]:
    return [line[1:].split()[0].decode() for line in fasta.splitlines() if line.startswith(b">")]


# What comes out


def test_fasta_goes_to_stdout(run: Run, few: Path, tiny_model: Path, sequences: Sequences) -> None:
    done = run("mask", few, "-m", tiny_model)
    assert done.code == 0
    given, found = few.read_bytes(), done.out
    assert ids(found) == ids(given)
    before, after = sequences(given), sequences(found)
    assert {name: text.upper() for name, text in after.items()} == before
    assert all(text.upper() != text != text.lower() for text in after.values()), "each has kept and other parts"
    headers = [line for line in found.decode().splitlines() if line.startswith(">")]
    for old, new in zip(re.findall(r"^>.*", given.decode(), re.M), headers, strict=True):
        assert re.fullmatch(
            re.escape(old)
            + r" seqmask=kept:[01]\.\d{3} superkingdom=\S+\([01]\.\d\d\) phylum=\S+\(\S+\) genus=\S+\(\S+\)",
            new,
        )
    assert max(map(len, found.splitlines())) > 60
    assert all(len(line) <= 60 for line in found.splitlines() if not line.startswith(b">"))


def test_the_first_line_on_stderr_says_what_runs_where(run: Run, few: Path, tiny_model: Path) -> None:
    threshold = load_model(tiny_model).threshold
    first, last = run("mask", few, "-m", tiny_model, "-x", "cpu").err.splitlines()
    assert re.fullmatch(
        rf"cpu \(\d+ threads\), fp32, {CPU_TOKENS} tokens a batch; model tiny, tau {threshold:.3f}", first
    )
    assert re.match(r"12 records \(ok 12\), \d+ nt in ", last)


def test_one_of_the_others_on_stdout(run: Run, few: Path, tiny_model: Path) -> None:
    bed = run("mask", few, "-m", tiny_model, "--bed", "-").text
    lines = [line.split("\t") for line in bed.splitlines()]
    assert {len(line) for line in lines} == {9}
    assert list(dict.fromkeys(line[0] for line in lines)) == ids(few.read_bytes())
    tsv = run("mask", few, "-m", tiny_model, "--tsv", "-").text
    assert [row["id"] for row in rows(tsv)] == ids(few.read_bytes())
    assert tsv.splitlines()[0].split("\t") == [
        *COLUMNS,
        *(f"{rank}{end}" for rank in RANKS for end in ("", "_confidence")),
    ]


def test_prefix_writes_all_four(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    done = run("mask", few, "-m", tiny_model, "-o", tmp_path / "x.y")
    assert (done.code, done.out) == (0, b"")
    assert names(tmp_path) == [f"x.y.{suffix}" for suffix in WRITTEN]
    for option, suffix in (("--fasta", "fasta"), ("--bed", "bed"), ("--tsv", "tsv")):
        assert run("mask", few, "-m", tiny_model, option, "-").out == (tmp_path / f"x.y.{suffix}").read_bytes()


def test_a_named_output_beside_the_prefix(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    done = run("mask", few, "-m", tiny_model, "-o", tmp_path / "x", "--tsv", "-")
    assert [row["id"] for row in rows(done.text)] == ids(few.read_bytes())
    assert names(tmp_path) == ["x.bed", "x.config.toml", "x.fasta", "x.h5"]


def test_outputs_are_compressed_by_name(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    assert run("mask", few, "-m", tiny_model, "--fasta", tmp_path / "x.fa.gz", "--tsv", tmp_path / "x.tsv.xz").code == 0
    plain = run("mask", few, "-m", tiny_model)
    assert gzip.decompress((tmp_path / "x.fa.gz").read_bytes()) == plain.out
    assert len(lzma.decompress((tmp_path / "x.tsv.xz").read_bytes()).splitlines()) == 13


def test_quiet_is_silent(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    done = run("mask", "-q", few, "-m", tiny_model, "-o", tmp_path / "x")
    assert (done.code, done.out, done.err) == (0, b"", "")


def test_the_same_bytes_again(
    run: Run, few: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    for prefix in ("a", "b"):
        run("mask", few, "-m", tiny_model, "-o", tmp_path / prefix, "--check")
    for suffix in SUFFIXES:
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


@pytest.mark.parametrize("size", [1, 3])
def test_the_batch_size_does_not_matter(run: Run, few: Path, tiny_model: Path, tmp_path: Path, size: int) -> None:
    found = []
    for options in ((), ("-b", size)):
        path = tmp_path / f"{len(found)}.h5"
        assert run("mask", few, "-m", tiny_model, "--hdf5", path, "--full-precision", *options).code == 0
        with h5py.File(path) as file:
            found.append((file["tokens/importance"][:], file["predictions/genus/class"][:]))
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-5)
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_main_is_the_command(
    few: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The entry point; and HDF5 keeps the command line."""
    argv = ["seqmask", "mask", str(few), "-m", str(tiny_model), "--hdf5", str(tmp_path / "x.h5"), "--seed", "7"]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    assert capfd.readouterr().out == ""
    with h5py.File(tmp_path / "x.h5") as file:
        assert json.loads(file.attrs["command"]) == argv
        assert (file.attrs["seed"], file.attrs["device"], file.attrs["dtype"]) == (7, "cpu", "fp32")


def test_the_attributes_name_the_model(masked: Path, tiny_model: Path) -> None:
    model = load_model(tiny_model)
    with h5py.File(f"{masked}.h5") as file:
        assert file.attrs["classifier_sha256"] == model.classifier.sha256
        assert file.attrs["explainer_sha256"] == model.sha256
        assert file.attrs["tokenizer_sha256"] == model.classifier.tokenizer.sha256
        assert file.attrs["threshold"] == model.threshold
        assert file.attrs["operator"] == "blend"
        assert json.loads(file.attrs["ranks"]) == list(RANKS)
        assert file.attrs["complete"]


# The four outputs say the same


def test_every_read_has_its_row_in_order(masked: Path, fasta: bytes) -> None:
    given = ids(fasta)
    assert len(given) == 500
    assert ids(Path(f"{masked}.fasta").read_bytes()) == given
    assert [row["id"] for row in rows(Path(f"{masked}.tsv").read_text())] == given
    with h5py.File(f"{masked}.h5") as file:
        assert [name.decode() for name in file["records/id"][:]] == given
        assert file["records/index"][:].tolist() == list(range(500))
        assert file.attrs["n_records"] == 500


def test_bed_and_fasta_follow_from_hdf5(masked: Path, fasta: bytes, sequences: Sequences) -> None:
    """What tokens of at least tau cover, and the mean importance of each nucleotide: worked out again, slowly."""
    bed: dict[str, list[tuple[int, int, int]]] = {}
    for line in Path(f"{masked}.bed").read_text().splitlines():
        chrom, start, end, _, score, *_ = line.split("\t")
        bed.setdefault(chrom, []).append((int(start), int(end), int(score)))
    out = sequences(Path(f"{masked}.fasta").read_bytes())
    with h5py.File(f"{masked}.h5") as file:
        tau, offset = float(file.attrs["threshold"]), file["records/token_offset"][:]
        starts, ends, m = (file[f"tokens/{name}"][:] for name in ("start", "end", "importance"))
    overlapping = 0
    for i, (name, sequence) in enumerate(sequences(fasta).items()):
        total, count, kept = np.zeros((3, len(sequence)))
        for t in range(offset[i], offset[i + 1]):
            total[starts[t] : ends[t]] += m[t]
            count[starts[t] : ends[t]] += 1
            kept[starts[t] : ends[t]] += m[t] >= np.float32(tau)
        assert count.min() >= 1
        overlapping += count.max() > 1
        track = total / count
        upper = np.array([letter.isupper() for letter in out[name]])
        np.testing.assert_array_equal(upper, kept > 0)
        painted = np.zeros(len(sequence), dtype=bool)
        for start, end, score in bed.get(name, []):
            assert not painted[max(start - 1, 0) : end].any(), "runs are sorted, maximal and apart"
            painted[start:end] = True
            assert abs(score - 1000 * track[start:end].mean()) <= 0.51
        np.testing.assert_array_equal(painted, upper)
    assert overlapping > 200, "many of the reads are longer than a window"


def test_tsv_follows_from_hdf5(masked: Path) -> None:
    table = rows(Path(f"{masked}.tsv").read_text())
    with h5py.File(f"{masked}.h5") as file:
        assert [int(row["length"]) for row in table] == file["records/length"][:].tolist()
        assert [int(row["n_tokens"]) for row in table] == np.diff(file["records/token_offset"][:]).tolist()
        assert {row["status"] for row in table} == {"ok"}
        for column in ("kept_fraction", "mean_importance"):
            np.testing.assert_allclose([float(row[column]) for row in table], file[f"records/{column}"][:], atol=5.1e-5)
        for rank in RANKS:
            group = file[f"predictions/{rank}"]
            classes = np.array([name.decode() for name in group["classes"][:]])
            whole, kept, rest = (group[f"{which}class"][:] for which in ("", "masked_", "inverse_"))
            assert [row[rank] for row in table] == classes[whole].tolist()
            assert [row[f"{rank}_masked"] for row in table] == classes[kept].tolist()
            assert [row[f"{rank}_inverse"] for row in table] == classes[rest].tolist()
            verdict = np.where(kept != whole, "not_sufficient", np.where(rest == whole, "not_necessary", "holds"))
            assert [row[f"{rank}_verdict"] for row in table] == verdict.tolist()
            np.testing.assert_allclose(
                [float(row[f"{rank}_confidence"]) for row in table], group["confidence"][:], atol=5.1e-5
            )
    assert len({row["genus"] for row in table}) == 5
    assert {" " in row["genus"] for row in table} == {True, False}, "a class name keeps its space"


def test_check_is_counted_on_stderr(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    """One line, the counts of each rank, those of TSV and FASTA."""
    done = run("mask", few, "-m", tiny_model, "--check", "--tsv", tmp_path / "x.tsv", "--fasta", "-")
    table = rows((tmp_path / "x.tsv").read_text())
    (line,) = (line for line in done.err.splitlines() if line.startswith("check: "))
    told = []
    for rank in RANKS:
        found = [row[f"{rank}_verdict"] for row in table]
        assert re.findall(rf" {rank}_verdict=(\w+)", done.text) == found
        counts = (f"{name} {found.count(name)}" for name in ("holds", "not_sufficient", "not_necessary"))
        told.append(f"{rank} {', '.join(counts)}")
    assert line == f"check: {'; '.join(told)}"
    assert len({row["superkingdom_verdict"] for row in table}) > 1


@pytest.mark.parametrize("frames", [1, 3])
def test_check_is_of_what_the_bed_says(run: Run, few: Path, tmp_path: Path, frames: int) -> None:
    """Read again by the BED alone: tokens wholly in a rank's runs give `masked`, those wholly outside `inverse`."""
    run("mask", few, "-m", "genomes", "-o", tmp_path / "x", "--check", "--frames", frames, "--full-precision")
    model = load_model(bundled.resolve("genomes"))
    records, order = list(read([few])), ids(few.read_bytes())
    scorer = Scorer.of(records, model.classifier, Engine(), model.operator, overlap=192, frames=frames)
    lines = [line.split("\t") for line in (tmp_path / "x.bed").read_text().splitlines()]
    with h5py.File(tmp_path / "x.h5") as file:
        for rank, columns in zip(RANKS, model.classifier.ranks.slices, strict=True):
            tracks = [np.zeros(len(record.sequence), dtype=np.bool_) for record in records]
            for name, start, end, label, *_ in lines:
                if label.startswith(f"{rank}:"):
                    tracks[order.index(name)][int(start) : int(end)] = True
            assert all(track.any() and not track.all() for track in tracks)
            for side, masks in zip(("masked", "inverse"), on_tokens(tracks, scorer.spans()), strict=True):
                logits = scorer.logits(masks)[:, columns]
                assert file[f"predictions/{rank}/{side}_class"][:].tolist() == logits.argmax(axis=1).tolist()
                confidence = softmax(logits).max(axis=1)
                np.testing.assert_allclose(file[f"predictions/{rank}/{side}_confidence"], confidence, atol=1e-4)


def test_the_smallest_masks_hold(run: Run, few: Path, tmp_path: Path) -> None:
    """All files tell the same smaller masks, whose verdicts say that they hold; what can not hold is as it was."""
    common = ("mask", few, "-m", "genomes", "--frames", 1, "-o")
    run(*common, tmp_path / "plain", "--check")
    done = run(*common, tmp_path / "least", "--smallest")
    assert "check: superkingdom holds" in done.err
    plain, least = (rows((tmp_path / f"{name}.tsv").read_text()) for name in ("plain", "least"))
    for before, now in zip(plain, least, strict=True):
        for rank in RANKS:
            assert now[rank] == before[rank]
            if now[f"{rank}_verdict"] != "holds":
                assert now[f"{rank}_verdict"] == before[f"{rank}_verdict"], "no mask of half or less was found"
    shares = [[float(row["kept_fraction"]) for row in of] for of in (plain, least)]
    assert np.mean(shares[1]) < 0.7 * np.mean(shares[0])
    with h5py.File(tmp_path / "plain.h5") as one, h5py.File(tmp_path / "least.h5") as other:
        assert "smallest" not in one.attrs
        assert other.attrs["smallest"]
        kept = other["tokens/importance"][:, -1] >= other.attrs["threshold"]
        spans = np.stack([other["tokens/start"][:], other["tokens/end"][:]], axis=1)
        offsets = other["records/token_offset"][:]
    written: Counter[str] = Counter()
    for line in (tmp_path / "least.bed").read_text().splitlines():
        name, start, stop, label, *_ = line.split("\t")
        written[name] += (int(stop) - int(start)) * label.startswith("genus:")
    for row, begin, end, share in zip(least, offsets[:-1], offsets[1:], shares[1], strict=True):
        found = under(kept[begin:end], spans[begin:end], int(row["length"]))
        assert found.mean() == pytest.approx(share, abs=1e-4)
        assert written[row["id"]] == found.sum()


def test_smallest_and_a_threshold_exclude_each_other(run: Run, few: Path, tmp_path: Path) -> None:
    for name in ("mask", "evaluate"):
        done = run(name, "-q", few, "--smallest", "--threshold", 0.4)
        assert (done.code, done.out) == (2, b"")
        assert done.err.startswith("seqmask: error: --threshold and --smallest: ")


def test_check_is_only_where_it_was_asked_for(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    done = run("mask", few, "-m", tiny_model, "-o", tmp_path / "x")
    assert "check:" not in done.err
    assert "verdict" not in (tmp_path / "x.fasta").read_text()
    with h5py.File(tmp_path / "x.h5") as file:
        assert set(file["predictions/genus"]) == {"classes", "taxid", "class", "confidence"}
        assert file["predictions/superkingdom/taxid"][:].tolist() == [2157, 2, 2759, 10239]
    assert "verdict" not in (tmp_path / "x.tsv").read_text()


def test_threshold(run: Run, few: Path, tiny_model: Path, sequences: Sequences) -> None:
    for tau, wanted in ((0, str.upper), (1, str.lower)):
        done = run("mask", few, "-m", tiny_model, "--threshold", tau)
        assert sequences(done.out) == {name: wanted(text) for name, text in sequences(few.read_bytes()).items()}
    assert run("mask", few, "-m", tiny_model, "--threshold", 1, "--bed", "-").out == b""


def test_hard_mask(run: Run, few: Path, tiny_model: Path, sequences: Sequences) -> None:
    soft = sequences(run("mask", few, "-m", tiny_model).out)
    hard = sequences(run("mask", few, "-m", tiny_model, "--hard-mask").out)
    assert hard == {name: re.sub("[a-z]", "N", text) for name, text in soft.items()}


def test_importance_is_rounded_unless_asked(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    for name, options in (("rounded", ()), ("full", ("--full-precision",))):
        run("mask", few, "-m", tiny_model, "--hdf5", tmp_path / name, *options)
    with h5py.File(tmp_path / "rounded") as one, h5py.File(tmp_path / "full") as other:
        rounded, full = one["tokens/importance"][:], other["tokens/importance"][:]
        tau = one.attrs["threshold"]
    assert (rounded * 1024 == np.rint(rounded * 1024)).all()
    off = np.abs(rounded - full)
    assert 0 < off[np.abs(full - tau) > 1 / 2048].max() <= 1 / 2048 + 1e-7
    assert ((rounded >= tau) == (full >= np.float32(tau))).all()


# What goes in


def compressed(data: bytes, kind: str, path: Path) -> Path:
    with xopen(path, "wb", format=kind, threads=0) as stream:
        stream.write(data)
    return path


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst"])
def test_compressed_input_by_content(run: Run, few: Path, tiny_model: Path, tmp_path: Path, kind: str) -> None:
    """The name says nothing; from a file and from stdin."""
    path = compressed(few.read_bytes(), kind, tmp_path / "reads.txt")
    plain = run("mask", few, "-m", tiny_model).out
    assert run("mask", path, "-m", tiny_model).out == plain
    assert run("mask", "-", "-m", tiny_model, stdin=path.read_bytes()).out == plain


def test_stdin(run: Run, few: Path, tiny_model: Path) -> None:
    plain = run("mask", few, "-m", tiny_model).out
    assert run("mask", "-", "-m", tiny_model, stdin=few.read_bytes()).out == plain
    assert run("mask", "-m", tiny_model, stdin=few.read_bytes()).out == plain, "a pipe needs no '-'"


def test_fastq(run: Run, few: Path, tiny_model: Path, tmp_path: Path, sequences: Sequences) -> None:
    headers = [line[1:] for line in few.read_text().splitlines() if line.startswith(">")]
    texts = sequences(few.read_bytes()).values()
    path = tmp_path / "reads.fastq"
    path.write_text("".join(f"@{h}\n{s}\n+\n{'I' * len(s)}\n" for h, s in zip(headers, texts, strict=True)))
    assert run("mask", path, "-m", tiny_model).out == run("mask", few, "-m", tiny_model).out


def test_several_files_are_one_input(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    records = [b">" + record for record in few.read_bytes().split(b">")[1:]]
    parts = [b"".join(records[:5]), b"", b"".join(records[5:6]), b"".join(records[6:])]
    paths = [tmp_path / f"{i}" for i in range(4)]
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(part)
    paths[3].write_bytes(bz2.compress(parts[3]))
    done = run("mask", paths[0], paths[1], "-", paths[3], "-m", tiny_model, "--tsv", "-", stdin=parts[2])
    assert done.out == run("mask", few, "-m", tiny_model, "--tsv", "-").out


ODD = b">e\n>s short\nACGT\n>n\nNNNNNNNNNN\n>u\nACGUacgunnACGRYACGTTTG\n>w\r\nAC GT\r\n"


def test_odd_records_have_their_rows(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    given = few.read_bytes() + ODD + few.read_bytes()
    (tmp_path / "odd").write_bytes(given.replace(b"AC GT", b"ACGT"))
    done = run("mask", tmp_path / "odd", "-m", tiny_model, "-o", tmp_path / "x", "--check")
    assert done.code == 0
    status = ["ok"] * 12 + ["empty", "too_short", "no_bases", "ok", "too_short"] + ["ok"] * 12
    table = rows((tmp_path / "x.tsv").read_text())
    assert [row["status"] for row in table] == status
    assert [row["id"] for row in table[12:17]] == ["e", "s", "n", "u", "w"]
    for row in table:
        empty = [
            row[key] == "" for key in ("kept_fraction", "genus", "genus_confidence", "genus_masked", "genus_verdict")
        ]
        assert set(empty) == {row["status"] != "ok"}
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["records/status"][:].tolist() == [["ok", "empty", "too_short", "no_bases"].index(s) for s in status]
        assert file["records/index"][:].tolist() == list(range(29))
        assert np.isnan(file["records/kept_fraction"][:]).tolist() == [s != "ok" for s in status]
    text = (tmp_path / "x.fasta").read_text()
    assert (
        ">e seqmask=status:empty\n>s short seqmask=status:too_short\nacgt\n>n seqmask=status:no_bases\nnnnnnnnnnn\n"
        in text
    )
    assert "ok 25, empty 1, too_short 2, no_bases 1" in done.err


@pytest.mark.parametrize("data", [b"", b"\n\n", gzip.compress(b"", mtime=0)])
def test_no_records_is_no_error(run: Run, tiny_model: Path, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "none").write_bytes(data)
    done = run("mask", tmp_path / "none", "-m", tiny_model, "-o", tmp_path / "x", "--check")
    assert (done.code, done.out) == (0, b"")
    assert names(tmp_path) == ["none", *(f"x.{suffix}" for suffix in WRITTEN)]
    assert (tmp_path / "x.fasta").read_bytes() == (tmp_path / "x.bed").read_bytes() == b""
    header, *others = (tmp_path / "x.tsv").read_text().splitlines()
    assert header.split("\t")[: len(COLUMNS)] == COLUMNS
    assert others == []
    with h5py.File(tmp_path / "x.h5") as file:
        assert file.attrs["complete"]
        assert file.attrs["n_records"] == file.attrs["n_tokens"] == 0
        assert file["records/token_offset"][:].tolist() == [0]
        assert file["predictions/genus/masked_class"].shape == (0,)
    done = run("mask", "-m", tiny_model, stdin=data)
    assert (done.code, done.out) == (0, b"")


def test_a_contig_in_its_own_order(run: Run, few: Path, tiny_model: Path, sequences: Sequences) -> None:
    """A long record among short ones: nothing is cut off, nothing overtakes it."""
    contig = "".join(np.random.default_rng(0).choice(list("ACGT"), 20_011))
    given = few.read_bytes() + f">contig\n{contig}\n".encode() + few.read_bytes().replace(b">", b">second_")
    done = run("mask", "-", "-m", tiny_model, stdin=given)
    assert ids(done.out) == ids(given)
    assert sequences(done.out)["contig"].upper() == contig
    assert re.search("[ACGT]", sequences(done.out)["contig"][-400:])


# Models and devices


def test_the_model_that_ships_is_the_default(
    run: Run, few: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "genomes").symlink_to(tiny_model)
    monkeypatch.setattr(bundled, "DIRECTORY", tmp_path)
    done = run("mask", few)
    assert done.out == run("mask", few, "-m", tiny_model).out
    assert "model genomes" in done.err


def test_cpu_never_touches_cuda(run: Run, few: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(*_: object, **__: object) -> None:
        raise AssertionError("CUDA was touched")

    plain = run("mask", few, "-m", tiny_model, "-x", "cpu", "--check").out
    for name in ("is_available", "device_count", "_lazy_init", "get_device_properties"):
        monkeypatch.setattr(torch.cuda, name, touched)
    done = run("mask", few, "-m", tiny_model, "-x", "cpu", "--check")
    assert (done.code, done.out) == (0, plain)


# What must not be lost


def test_existing_outputs_are_safe(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("precious")
    before = (tmp_path / "x.tsv").stat()
    done = run("mask", "-q", few, "-m", tiny_model, "-o", tmp_path / "x")
    assert (done.code, done.out) == (2, b"")
    assert done.err == f"seqmask: error: {tmp_path / 'x.tsv'} exists already; give --force to overwrite it\n"
    assert names(tmp_path) == ["x.tsv"]
    assert (tmp_path / "x.tsv").read_text() == "precious"
    assert (tmp_path / "x.tsv").stat().st_mtime_ns == before.st_mtime_ns
    assert run("mask", "-q", few, "-m", tiny_model, "-o", tmp_path / "x", "--force").code == 0
    assert names(tmp_path) == [f"x.{suffix}" for suffix in WRITTEN]
    assert len(rows((tmp_path / "x.tsv").read_text())) == 12


def test_an_error_half_way_leaves_no_file(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(few.read_bytes() + b">bad\nMKVLQE\n")
    (tmp_path / "x.bed").write_text("old")
    done = run("mask", "-q", tmp_path / "in", "-m", tiny_model, "-o", tmp_path / "x", "--force")
    assert done.code == 1
    assert names(tmp_path) == ["in", "x.bed"]
    assert (tmp_path / "x.bed").read_text() == "old"


def test_ctrl_c(run: Run, few: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command.Outputs, "write_all", interrupted)
    done = run("mask", "-q", few, "-m", tiny_model, "-o", tmp_path / "x")
    assert (done.code, done.out, done.err.strip()) == (130, b"", "seqmask: error: interrupted")
    assert names(tmp_path) == []


@pytest.mark.parametrize("pool", [1, 5, 4096])
def test_a_name_that_comes_twice_is_told(
    run: Run, few: Path, tiny_model: Path, pool: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mates of a pair share a name: every record keeps its row, and the run says that names do not tell them apart."""
    monkeypatch.setattr(explain, "POOL_WINDOWS", pool)
    done = run("mask", few, few, "-m", tiny_model, "--tsv", "-")
    assert done.code == 0
    given = ids(few.read_bytes())
    assert [row["id"] for row in rows(done.text)] == given * 2
    assert done.err.count("names come more than once") == 1
    assert f"as {given[0]!r} does" in done.err
    assert "more than once" not in run("mask", few, "-m", tiny_model, "--tsv", "-").err


@pytest.mark.parametrize("command", ["mask", "evaluate", "profile"])
def test_fewer_frames_have_a_threshold_of_their_own(
    command: str, run: Run, few: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """The model reads three frames; of one frame it says a threshold that every token reaches."""
    copy = shutil.copytree(tiny_model, tmp_path / "copy")
    about = json.loads((copy / "explainer.json").read_text())
    (copy / "explainer.json").write_text(json.dumps(about | {"frames": 3, "fewer_frames": {"1": [0.001]}}))
    genes = ROOT / "examples" / "16s"
    asked: dict[str, tuple[Any, ...]] = {
        "mask": (few, "--tsv", "-"),
        "evaluate": (few, "--limit", 4, "--sample", 1, "--json", "-"),
        "profile": (genes / "genes.fasta.gz", "-r", genes / "ecoli.fasta", "--limit", 2, "--tsv", "-"),
    }

    def kept(*more: Any) -> float:
        done = run(command, *asked[command], "-m", copy, "-x", "cpu", "-t", 1, *more)
        assert done.code == 0, done.err
        if command == "evaluate":
            return float(json.loads(done.out)["mask"]["area"]["mean"])
        header, *lines = (line.split("\t") for line in done.text.splitlines())
        column = header.index("kept_fraction" if command == "mask" else "kept")
        shares = [float(line[column]) for line in lines if line[column] not in ("", "nan", "NA")]
        return sum(shares) / len(shares)

    assert kept("--frames", 1) > 0.99
    if command == "mask":
        told = run(command, *asked[command], "-m", copy, "-x", "cpu", "-t", 1, "--frames", 6).err
        assert "--frames 6: the threshold was chosen for 3; of more frames more is kept" in told
    assert kept("--frames", 1, "--threshold", 0.9999) < 0.9
    assert kept() < 0.9
    assert kept("--frames", 2) < 0.9
