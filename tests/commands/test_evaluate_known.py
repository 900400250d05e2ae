"""`seqmask evaluate --truth` and `--annotations`: figures that hang together, and errors that name the line."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Run = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
QUICK = ("-q", "--limit", 12, "--sample", 2)


def documented(heading: str) -> set[str]:
    """Keys in the first table after a line of docs/evaluation.md."""
    text = (ROOT / "docs" / "evaluation.md").read_text()
    table = re.search(r"\n\| key .*?\n\n", text[text.index(f"\n{heading}") :], re.S)
    assert table is not None
    cells = [line.split("|")[1] for line in table[0].strip().splitlines()[2:]]
    return {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}


@pytest.fixture(scope="module")
def planted(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix of 60 sequences of two nested ranks, named as the tiny model's."""
    prefix = tmp_path_factory.mktemp("planted") / "x"
    options = ("--task", "nested", "--classes", 4, "--groups", 2, "-n", 60)
    assert run("simulate", "-q", *options, "-o", prefix).code == 0
    return prefix


@pytest.fixture(scope="module")
def truth(run: Run, planted: Path, tiny_model: Path) -> tuple[str, dict[str, Any]]:
    """What one evaluation against the model's own predictions printed, and the key `truth` of its JSON."""
    path = planted.with_suffix(".json")
    done = run(
        "evaluate", f"{planted}.fasta", "-m", tiny_model, *QUICK, "--truth", f"{planted}.truth.bed", "--json", path
    )
    assert (done.code, done.err) == (0, "")
    return done.text, json.loads(path.read_text())["truth"]


def test_truth_has_the_documented_keys(truth: tuple[str, dict[str, Any]]) -> None:
    _, found = truth
    assert set(found) == documented("The truth:")
    # of phylum all is the truth, and of genus nothing
    assert set(found["ranks"]) == {"superkingdom"}
    figures = documented("Its figures stand under")
    for part in (found["all"], *found["ranks"].values()):
        assert set(part) == {"every", "deciding"}
        for of in part.values():
            assert set(of) == {"sequences", "token", "nt"}
            assert set(of["token"]) == set(of["nt"]) == figures


def test_truth_counts_and_prevalence(truth: tuple[str, dict[str, Any]], planted: Path) -> None:
    _, found = truth
    lines = [line.split("\t") for line in Path(f"{planted}.truth.bed").read_text().splitlines()]
    assert found["intervals"] == len(lines)
    assert found["chroms"] == len({line[0] for line in lines})
    assert (found["unknown_chroms"], found["with_truth"] <= 12) == (0, True)
    every = found["all"]["every"]
    assert found["all"]["deciding"]["sequences"] <= every["sequences"] == found["with_truth"]
    assert found["ranks"]["superkingdom"]["every"]["nt"]["prevalence"]["mean"] < every["nt"]["prevalence"]["mean"]
    assert 0.05 < every["nt"]["prevalence"]["mean"] < 0.5


def test_truth_table_has_the_figures(truth: tuple[str, dict[str, Any]]) -> None:
    text, found = truth
    assert "planted truth" in text
    assert "…" not in text
    for level in ("token", "nt"):
        of = found["all"]["every"][level]
        assert f"{of['auprc']['mean']:.3f} ({of['auprc']['interval'][0]:.3f}-" in text
        assert f"{of['decoy_hit_rate']['mean']:.3f}" in text


@pytest.fixture(scope="module")
def annotated(run: Run, reads: Path, tiny_model: Path, tmp_path_factory: Any) -> tuple[str, dict[str, Any], Path]:
    """The first thirds of 20 reads are of one kind, a whole read and a foreign sequence of another."""
    directory = tmp_path_factory.mktemp("annotated")
    lengths: dict[str, int] = {}
    for record in gzip.decompress(reads.read_bytes()).decode().split(">")[1:21]:
        header, *lines = record.splitlines()
        lengths[header.split()[0]] = len("".join(lines))
    bed = [f"{name}\t0\t{length // 3}\tCDS:first\t0\t+" for name, length in lengths.items()]
    name, length = next(iter(lengths.items()))
    bed += [f"{name}\t0\t{length}\twhole", "absent\t0\t5\twhole"]
    path = directory / "a.bed.gz"
    path.write_bytes(gzip.compress("\n".join(bed).encode() + b"\n", mtime=0))
    report = directory / "x.json"
    done = run(
        "evaluate", reads, "-m", tiny_model, "--limit", 20, "--sample", 2, "--annotations", path, "--json", report
    )
    assert done.code == 0, done.err
    assert "22 intervals on 21 sequences: 20 to score, 1 not among the sequences" in done.err
    return done.text, json.loads(report.read_text())["annotations"], directory


def test_annotations_have_the_documented_keys(annotated: tuple[str, dict[str, Any], Path]) -> None:
    text, found, _ = annotated
    assert set(found) == documented("The annotations:")
    assert (found["sequences"], found["unknown_chroms"], found["not_scored_chroms"]) == (20, 1, 0)
    kinds = found["tracks"]["all"]
    assert set(kinds) == {"CDS", "CDS:first", "whole", "any"}
    assert kinds["whole"] == {"sequences": 0, "whole": 1}
    assert kinds["CDS"] == kinds["CDS:first"]
    assert (kinds["any"]["sequences"], kinds["any"]["whole"]) == (19, 1)  # one lies in `whole` and has no rest
    assert set(kinds["CDS"]) == documented("Its figures, a kind:")
    assert f"{kinds['CDS']['ratio']['mean']:.2f} (" in text
    assert "1 kinds on fewer than 5 sequences are in the JSON only" in text


def test_annotation_means_are_those_of_mask(
    run: Run, reads: Path, tiny_model: Path, annotated: tuple[str, dict[str, Any], Path]
) -> None:
    """Mean m inside and outside, recomputed from the HDF5 file that `mask` writes."""
    import h5py

    _, found, directory = annotated
    assert run("mask", "-q", reads, "-m", tiny_model, "--hdf5", directory / "x.h5", "--full-precision").code == 0
    inside, outside = [], []
    with h5py.File(directory / "x.h5") as file:
        offsets = file["records/token_offset"][:21]
        for i in range(20):
            rows = slice(offsets[i], offsets[i + 1])
            start, end, m = (file[f"tokens/{name}"][rows] for name in ("start", "end", "importance"))
            length = file["records/length"][i]
            sums, count = np.zeros(length), np.zeros(length)
            for s, e, value in zip(start, end, m.ravel(), strict=True):
                sums[s:e] += value
                count[s:e] += 1
            inside.append((sums / count)[: length // 3])
            outside.append((sums / count)[length // 3 :])
    of = found["tracks"]["all"]["CDS"]
    assert of["inside"]["mean"] == pytest.approx(np.concatenate(inside).mean(), abs=1e-4)
    assert of["outside"]["mean"] == pytest.approx(np.concatenate(outside).mean(), abs=1e-4)


@pytest.mark.parametrize("option", ["--truth", "--annotations"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sim_000000\t5\t2\tdecoy\n", r"x\.bed, line 1: 'sim_000000 5 2'; expected .*0 <= start <= end"),
        ("# x\nsim_000000\t0\t9999\tdecoy\n", r"x\.bed, line 2: sim_000000:0-9999 ends beyond the sequence; expected"),
        (
            "other\t0\t3\tdecoy\n",
            r"x\.bed: none of its 1 sequences is among those to score; expected names such as",
        ),
        ("", r"x\.bed: no intervals"),
    ],
)
def test_a_broken_file_is_one_line(
    run: Run, planted: Path, tiny_model: Path, tmp_path: Path, option: str, text: str, message: str
) -> None:
    path = tmp_path / "x.bed"
    path.write_text(text)
    done = run("evaluate", "-q", f"{planted}.fasta", "-m", tiny_model, option, path)
    assert (done.code, done.out) == (1, b"")
    assert re.fullmatch(rf"seqmask: error: .*{message}.*\n", done.err)


@pytest.mark.parametrize("option", ["--truth", "--annotations"])
def test_intervals_on_sequences_without_a_token_end_no_evaluation(
    run: Run, few: Path, tiny_model: Path, tmp_path: Path, option: str
) -> None:
    (tmp_path / "mixed.fasta").write_bytes(few.read_bytes() + b">short\nAC\n")
    (tmp_path / "short.bed").write_text("short\t0\t2\tsuperkingdom\n")
    path = tmp_path / "r.json"
    options = ("-m", tiny_model, "-q", "--sample", 2, option, tmp_path / "short.bed", "--json", path)
    done = run("evaluate", tmp_path / "mixed.fasta", *options)
    assert done.code == 0, done.err
    assert json.loads(path.read_text())[option.removeprefix("--")] is None


def test_json_on_stdout_stands_alone(run: Run, few: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("seqmask.cli.tables.print_report", shown.append)
    for path in ("-", "/dev/fd/1"):
        assert run("evaluate", few, "-m", tiny_model, *QUICK, "--json", path).code == 0
    assert not shown
