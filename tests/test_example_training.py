"""`examples/train.sh`, from labelled sequences to an evaluation, as a user runs it. The slowest test: minutes."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

ROOT = Path(__file__).resolve().parent.parent
RANKS = ("superkingdom", "phylum", "genus")


def test_train_script(tmp_path: Path) -> None:
    """One test and not five: each would have to train anew, and parallel workers share nothing."""
    out = tmp_path / "out"
    script = ["bash", str(ROOT / "examples" / "train.sh"), str(out)]
    environment = {**os.environ, "SEQMASK": f"{sys.executable} -m seqmask"}
    done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("==")] == [
        *("1/4", "2/4", "3/4", "4/4"),
        "done:",
    ]

    scores = json.loads((out / "classifier" / "report.json").read_text())["splits"]["test_species"]
    assert scores["superkingdom"]["accuracy"] >= 0.9
    assert scores["phylum"]["accuracy"] >= 0.6

    with h5py.File(out / "masks.h5") as file:
        assert file.attrs["complete"]
        assert file.attrs["n_records"] == file["records/id"].shape[0] == 1028
        assert json.loads(file.attrs["ranks"]) == list(RANKS)
    for suffix in ("fasta", "bed", "tsv"):
        assert (out / f"masks.{suffix}").stat().st_size > 0

    with (out / "masks.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for rank in RANKS:  # the example shows masks that say something: half of them and more hold, by and large
        assert sum(row[f"{rank}_verdict"] == "holds" for row in rows) > 0.3 * len(rows), rank

    report = json.loads((out / "evaluation.json").read_text())
    assert tuple(report["ranks"]) == RANKS
    assert report["sequences"] == 92
    every_key_is_documented(report)
    model_card(out, tmp_path / "card.md")


def every_key_is_documented(report: dict[str, Any]) -> None:
    """docs/evaluation.md names every key of the JSON that is no rank and no file name."""
    document = (ROOT / "docs" / "evaluation.md").read_text()
    own = {*RANKS, *report["data_sha256"]}
    assert {key for key in keys(report) if f"`{key}`" not in document} - own == set()


def keys(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield key
            yield from keys(value)


def model_card(out: Path, target: Path) -> None:
    """The card can be made from what the commands have really written."""
    script = [sys.executable, str(ROOT / "benchmarks" / "model_card.py"), str(out / "model")]
    more = [str(out / "evaluation.json"), "--recipe", str(ROOT / "recipes" / "genomes.md"), "-o", str(target)]
    subprocess.run([*script, *more], check=True, capture_output=True)
    text = target.read_text()
    assert (out / "model" / "README.md").read_text() == text
    assert "seqmask train-classifier small.fasta.gz --labels small.tsv" in text
    assert str(out) not in text
