"""`benchmarks/amplicons.py` and `baseline_kmer.py --test`: amplicons of real genes, and both scored by one rule."""

from __future__ import annotations

import gzip
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from Bio.Seq import reverse_complement

from seqmask.labels.tables import read_labels
from seqmask.sequences.alignment import Reference
from seqmask.sequences.records import read

ROOT = Path(__file__).resolve().parent.parent
GENES = ROOT / "examples" / "16s"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


amplicons, baseline = load("amplicons"), load("baseline_kmer")


@pytest.fixture(scope="module")
def reference() -> Reference:
    (gene,) = read([GENES / "ecoli.fasta"])
    return Reference(gene)


def test_amplicons_of_ecoli(reference: Reference) -> None:
    text = reference.sequence
    expected = {"v4": text[514:764], "v3-v4": text[340:790]}
    for sequence in (text, reverse_complement(text)):
        assert {of.name: found for of, found in amplicons.amplicons(sequence, reference)} == expected
    assert expected["v4"].startswith("GTGCCAGCAGCCGCGGTAA")  # 515F, GTGYCAGCMGCCGCGGTAA
    assert expected["v3-v4"].startswith("CCTACGGGAGGCAGCAG")  # 341F, CCTACGGGNGGCWGCAG


def test_genes_that_do_not_reach_so_far(reference: Reference) -> None:
    text = reference.sequence
    assert [of.name for of, _ in amplicons.amplicons(text[400:], reference)] == ["v4"]
    assert [of.name for of, _ in amplicons.amplicons(text[:790], reference)] == ["v4", "v3-v4"]
    assert [of.name for of, _ in amplicons.amplicons(text[:763], reference)] == []
    assert list(amplicons.amplicons("ACGT" * 100, reference)) == []


def label(path: Path, names: list[str]) -> Path:
    """Every second one held out."""
    rows = [f"{name}\t{'AB'[i % 4 // 2]}\t{('train', 'test_species')[i % 2]}" for i, name in enumerate(names)]
    path.write_text("\n".join(["id\tdomain\tsplit", *rows, ""]))
    return path


def test_cut_writes_sequences_and_their_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = list(read([GENES / "genes.fasta.gz"]))
    labels = label(tmp_path / "labels.tsv", [record.name for record in records])
    amplicons.main(["cut", str(GENES / "genes.fasta.gz"), "--labels", str(labels), "-o", str(tmp_path / "out")])
    held_out = {record.name for record in records[1::2]}
    for name, length in (("v4", 250), ("v3-v4", 450)):
        found = list(read([tmp_path / "out" / f"{name}.fasta.gz"]))
        assert {record.name for record in found} <= held_out
        assert len(found) >= 8
        assert {len(record.sequence) for record in found} == {length}
        table = read_labels(tmp_path / "out" / f"{name}.tsv")
        assert table.ids == [record.name for record in found]
        assert set(table.columns["split"]) == {"test_species"}
        assert f"{name}: {len(found)} of 10 sequences" in capsys.readouterr().out or name != "v4"
    starts = [record.sequence[:19] for record in read([tmp_path / "out" / "v4.fasta.gz"])]
    assert sum(start[:3] == "GTG" and start[-8:] == "CGCGGTAA" for start in starts) >= 7


def test_cut_of_an_empty_split(tmp_path: Path) -> None:
    labels = label(tmp_path / "labels.tsv", [record.name for record in read([GENES / "genes.fasta.gz"])])
    command = ["cut", str(GENES / "genes.fasta.gz"), "--labels", str(labels), "-o", str(tmp_path), "--split", "none"]
    with pytest.raises(SystemExit, match="no sequence of split 'none' holds v4"):
        amplicons.main(command)


# Scoring


@pytest.fixture
def world(tmp_path: Path) -> dict[str, Path]:
    """Genes of two superkingdoms that differ in composition, a class too rare to be known, and amplicon files."""
    rng = np.random.default_rng(0)
    fasta, rows, parts = [], [], []
    for i in range(60):
        domain = "Bacteria" if i % 2 else "Archaea"
        genus = "rare" if i in (8, 9) else "unseen" if i == 58 else "Vibrio" if i % 2 else "Bacillus"
        split = "train" if i < 40 else "val" if i < 48 else "test_species"
        sequence = "".join(rng.choice(list("ACGT"), 500, p=[0.4, 0.1, 0.1, 0.4] if i % 2 else [0.1, 0.4, 0.4, 0.1]))
        fasta.append(f">s{i}\n{sequence}\n")
        rows.append(f"s{i}\t{domain}\tPseudomonadota\t{genus}\t{split}")
        if split == "test_species":
            parts.append(f">s{i}\n{sequence[100:350]}\n")
    paths = {"fasta": tmp_path / "s.fasta", "labels": tmp_path / "s.tsv", "amplicons": tmp_path / "amp"}
    paths["fasta"].write_text("".join(fasta))
    paths["labels"].write_text("\n".join(["id\tsuperkingdom\tphylum\tgenus\tsplit", *rows, ""]))
    paths["amplicons"].mkdir()
    for name in ("v4", "v3-v4"):
        with gzip.open(paths["amplicons"] / f"{name}.fasta.gz", "wt") as file:
            file.write("".join(parts))
    return paths


def test_the_baseline_scores_other_sequences_as_they_are(world: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "baseline.json"
    command = [world["fasta"], "--labels", world["labels"], "--k", "3", "--ranks", "superkingdom,genus"]
    command += ["--min-per-class", "4", "--crop", "100", "--epochs", "10", "--rate", "0.05", "--json", out]
    baseline.main([*map(str, command), "--test", str(world["amplicons"] / "v4.fasta.gz")])
    scores = {(s["rank"], s["split"]): s for s in json.loads(out.read_text())["scores"]}
    assert {split for _, split in scores} == {"val", "test_species", "v4"}
    assert scores["superkingdom", "v4"]["accuracy"] == 1
    genus = scores["genus", "v4"]
    assert (genus["labelled"], genus["known"], genus["classes"]) == (12, 11, 2)  # one of a genus that is no class
    assert genus["accuracy"] == pytest.approx(genus["accuracy_known"] * 11 / 12)
    # 250 nt, not crops of 100: composition is told apart better
    assert scores["superkingdom", "v4"]["accuracy"] >= scores["superkingdom", "test_species"]["accuracy"]


def test_classifier_and_baseline_side_by_side(
    world: dict[str, Path], tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score = {"rank": "genus", "accuracy": 0.5, "accuracy_known": 0.6, "balanced": 0.4, "balanced_known": 0.45}
    counts = {"known": 11, "labelled": 12}
    reports = []
    for crop, split in ((250, "v4"), (450, "v4"), (450, "v3-v4"), (None, "test_species")):
        path = tmp_path / f"{crop}-{split}.json"
        found = score | counts | {"crop": crop, "split": split, "accuracy_known": 0.1 + (crop or 0) / 1000}
        path.write_text(json.dumps({"settings": {"k": 6}, "scores": [found]}))
        reports.append(str(path))
    out = tmp_path / "table.json"
    command = ["score", world["fasta"], "--labels", world["labels"], "--amplicons", world["amplicons"]]
    command += ["--classifier", tiny_model, "--device", "cpu", "--json", out]
    amplicons.main([*map(str, command), "--baseline", *reports])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][:5] == ["region", "nt", "rank", "labelled", "majority"]
    rows = {(line[0], line[2]): line for line in lines[1:]}
    assert set(rows) == {(a, r) for a in ("v4", "v3-v4", "whole") for r in ("superkingdom", "phylum", "genus")}
    # The tiny model knows both genera but not `unseen`: the same 11 as the baseline
    assert rows["v4", "genus"][3] == "12"
    assert rows["v4", "genus"][5] == rows["v4", "genus"][9] == "11"
    assert [rows[name, "genus"][10] for name in ("v4", "v3-v4", "whole")] == ["0.350", "0.550", "0.100"]
    assert rows["v4", "phylum"][9:] == ["-"] * 4
    data = json.loads(out.read_text())
    own = data["regions"]["v4"]["ranks"]["genus"]["classifier"]
    assert rows["v4", "genus"][6] == f"{own['accuracy']:.3f}"
    assert own["accuracy_all"] == pytest.approx(own["accuracy"] * 11 / 12)
