"""`benchmarks/frames.py`: the accuracies that it prints are those of what `seqmask mask --frames` writes."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from seqmask.cli.app import app
from seqmask.sequences.records import read

ROOT = Path(__file__).resolve().parent.parent


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("frames", ROOT / "benchmarks" / "frames.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["frames"] = module
    spec.loader.exec_module(module)
    return module


frames = load()


def rows_of(text: str) -> dict[str, dict[str, str]]:
    return {next(iter(row.values())): row for row in csv.DictReader(io.StringIO(text), delimiter="\t")}


def test_accuracies_are_those_of_mask(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = gzip.decompress((ROOT / "examples" / "reads.fasta.gz").read_bytes()).decode().split(">")[1:31]
    reads, labels = tmp_path / "reads.fasta", ROOT / "examples" / "reads.tsv"
    reads.write_text("".join(f">{part}" for part in parts))
    truth = rows_of(labels.read_text())
    frames.main([str(tiny_model), str(reads), "--labels", str(labels), "--frames", "1,3", "--threads", "1"])
    title, _, *lines = capsys.readouterr().out.splitlines()
    chosen = list(read([reads]))
    assert "30 sequences:" in title

    readings = {"whole": chosen, "cut": frames.shortened(chosen, 1)}
    assert {len(a.sequence) - len(b.sequence) for a, b in zip(*readings.values(), strict=True)} == {1, 2, 3, 4, 5}
    assert all(a.sequence.endswith(b.sequence) for a, b in zip(*readings.values(), strict=True))
    for line, count in zip(lines, (1, 3), strict=True):
        expected = []
        for name, records in readings.items():
            path = tmp_path / f"{name}.fasta"
            path.write_text("".join(f">{record.name}\n{record.sequence}\n" for record in records))
            table = tmp_path / f"{name}-{count}.tsv"
            words = ["mask", "-q", str(path), "-m", str(tiny_model), "--frames", str(count), "--tsv", str(table)]
            assert CliRunner().invoke(app, words).exit_code == 0
            found = rows_of(table.read_text())
            for rank in ("superkingdom", "phylum", "genus"):
                known = classes_of(tiny_model, rank)
                scored = [row for row in found.values() if truth[row["id"]][rank] in known]
                right = sum(row[rank] == truth[row["id"]][rank] for row in scored)
                expected.append(right / len(scored) if scored else float("nan"))
        given = [float(number) for number in re.findall(r"\d\.\d{3}|nan", line)]
        assert given == pytest.approx(expected, abs=6e-4, nan_ok=True)


def classes_of(model: Path, rank: str) -> set[str]:
    from seqmask.models.checkpoint import load_model

    ranks = load_model(model).classifier.ranks
    return set(ranks.ranks[ranks.names.index(rank)].classes)
