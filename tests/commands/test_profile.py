"""`seqmask profile` on real 16S genes; with masks that are planted in one region, and with those of a random model."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from Bio.Seq import reverse_complement

from seqmask.sequences.alignment import Reference
from seqmask.sequences.records import read

Run = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
GENES = ROOT / "examples" / "16s"
ECOLI, SEQUENCES = GENES / "ecoli.fasta", GENES / "genes.fasta.gz"


def rows(text: str) -> list[dict[str, str]]:
    header, *lines = (line.split("\t") for line in text.splitlines())
    return [dict(zip(header, line, strict=True)) for line in lines]


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks of 0.9 on the tokens that begin in V4 of the reference, of 0.1 elsewhere; the tokens are the model's."""
    from seqmask.commands import profile as command

    real = command.explain_pool
    (ecoli,) = read([ECOLI])
    reference = Reference(ecoli)

    def explain_pool(*given: Any) -> Any:
        found = real(*given)
        parts = []
        for one in found:
            placed = reference.place(one.record.sequence)
            assert placed is not None
            inside = (placed.positions >= 575) & (placed.positions < 682)
            parts.append(np.where(inside[one.spans[:, 0]], 0.9, 0.1)[:, None].astype(np.float32))
        return replace(found, mask=np.concatenate(parts))

    monkeypatch.setattr(command, "explain_pool", explain_pool)


def test_planted_importance_is_found(run: Run, tiny_model: Path, tmp_path: Path, planted: None) -> None:
    # Every second gene from the other strand
    texts = gzip.decompress(SEQUENCES.read_bytes()).decode().split(">")[1:]
    parts = [(text.partition("\n")[0], text.partition("\n")[2].replace("\n", "")) for text in texts]
    both = tmp_path / "both.fasta"
    both.write_text("".join(f">{name}\n{reverse_complement(s) if i % 2 else s}\n" for i, (name, s) in enumerate(parts)))
    report = tmp_path / "report.json"
    done = run(
        *("profile", both, "-m", tiny_model, "-r", ECOLI, "--regions", "ecoli-16s", "--threshold", "0.5"),
        *("--json", report, "-x", "cpu"),
    )
    assert done.code == 0, done.err
    table = rows(done.text)
    assert [int(row["start"]) for row in table] == list(range(1542))
    assert {row["rank"] for row in table} == {"all"}
    assert all(row["regions"] == ("V4" if 575 <= i < 682 else row["regions"]) for i, row in enumerate(table))
    kept = np.array([float(row["kept"] or "nan") for row in table])
    importance = np.array([float(row["importance"] or "nan") for row in table])
    assert np.nanmin(kept[585:672]) > 0.8
    assert np.nanmax(np.concatenate([kept[50:565], kept[695:1400]])) < 0.2
    assert np.nanmean(importance[585:672]) > 0.8
    low, high = (np.array([float(row[f"kept_{end}"] or "nan") for row in table]) for end in ("low", "high"))
    known = ~np.isnan(kept)
    assert ((low <= kept) & (kept <= high))[known].all()
    data = json.loads(report.read_text())
    assert (data["sequences"], data["aligned"], data["reverse"]) == (20, 20, 10)
    ratios = {name: found["ratio"]["mean"] for name, found in data["regions"]["all"].items()}
    assert max(ratios, key=lambda name: ratios[name]) == "V4"
    assert ratios["V4"] > 6
    assert ratios["any"] > 1.5
    assert all(ratios[f"V{i}"] < 0.8 for i in (1, 2, 3, 5, 6, 7, 8, 9))
    assert "all in V4: importance" in done.err


def test_all_outputs(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    paths = {name: tmp_path / f"p.{name}" for name in ("tsv", "svg", "json")}
    command = ["profile", SEQUENCES, "-m", tiny_model, "-r", ECOLI, "-x", "cpu", "--tsv", paths["tsv"]]
    command += ["--plot", paths["svg"], "--json", paths["json"]]
    done = run(*command)
    assert (done.code, done.out) == (0, b"")
    table = rows(paths["tsv"].read_text())
    assert len(table) == 1542
    assert max(int(row["sequences"]) for row in table) == 20
    assert json.loads(paths["json"].read_text())["regions"] is None
    assert paths["svg"].read_bytes().startswith(b"<?xml")
    again = run(*command)
    assert again.code == 2
    assert "give --force" in again.err
    first = paths["tsv"].read_bytes()
    assert run(*command, "--force").code == 0
    assert paths["tsv"].read_bytes() == first


def test_a_part_of_them(run: Run, tiny_model: Path) -> None:
    common = ("profile", SEQUENCES, "-m", tiny_model, "-r", ECOLI, "-x", "cpu", "--limit", "5")
    assert "5 of 5 sequences aligned" in run(*common).err
    assert "0 of 5" not in run(*common, "--min-identity", "0.7").err
    strict = run(*common, "--min-identity", "0.99")
    assert (strict.code, strict.out) == (1, b"")
    assert "none of 5 sequences can be aligned to AP009048; expected identity 0.99 or more" in strict.err


def test_reads_that_are_no_16s_are_left_out(run: Run, tiny_model: Path, few: Path) -> None:
    done = run("profile", few, "-m", tiny_model, "-r", ECOLI, "-x", "cpu")
    assert done.code == 1
    assert "none of 12 sequences can be aligned" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["-r", SEQUENCES], 1, "20 sequences; expected one, the reference"),
        (["-r", "nowhere.fasta"], 1, "nowhere.fasta"),
        (["-r", ECOLI, "--plot", "x.jpg"], 2, "expected a name that ends in one of .png, .svg, .pdf"),
        (["-r", ECOLI, "--plot", "-"], 2, "expected a name that ends in"),
        (["-r", ECOLI, "--split", "test"], 2, "--split needs --labels"),
        (["-r", ECOLI, "--regions", "nowhere.bed"], 1, "nowhere.bed"),
        (["-r", ECOLI, "--regions", str(GENES / "variable-regions.bed")], 1, "no interval on 'AP009048'"),
        ([], 2, "--reference"),
    ],
)
def test_bad_input(run: Run, tiny_model: Path, more: list[str], code: int, message: str) -> None:
    done = run("profile", SEQUENCES, "-m", tiny_model, "-x", "cpu", *more)
    assert (done.code, done.out) == (code, b"")
    assert message in " ".join(done.err.replace("│", " ").split())


def test_the_document_names_every_column_and_key(run: Run, tiny_model: Path) -> None:
    from seqmask.results.profile import COLUMNS

    documents = [(ROOT / "docs" / name).read_text() for name in ("profile.md", "evaluation.md")]
    table = documents[0].split("## Table")[1].split("## JSON")[0]
    rows_of = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert tuple(name for row in rows_of for name in re.findall(r"`(\w+)`", row)) == COLUMNS
    done = run(
        *("profile", SEQUENCES, "-m", tiny_model, "-r", ECOLI, "-x", "cpu", "--limit", "3", "--regions", "ecoli-16s"),
        *("--tsv", "/dev/null", "--json", "-"),
    )
    assert done.code == 0, done.err
    report = json.loads(done.text)
    keys = {*report, *report["identity"], *report["regions"]["all"]["V4"]}
    # What every command's options are called is in the reference of the command line
    options = {"overlap", "frames", "min_identity", "threshold", "seed", "split", "limit"}
    assert {key for key in keys - options if not any(f"`{key}`" in text for text in documents)} == set()
