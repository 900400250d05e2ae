"""A label table of taxids, from training to what is written and scored."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

Run = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
SMALL = ROOT / "examples" / "small"
SEQUENCES, TAXIDS, TAXDUMP = SMALL / "small.fasta.gz", SMALL / "taxids.tsv", SMALL / "taxdump"
QUICK = ("--batch-tokens", 1024, "--min-crop", 60, "-t", 1, "-x", "cpu")
OF_DOMAINS = {"Archaea": 2157, "Bacteria": 2, "Eukaryota": 2759}


@pytest.fixture(scope="module")
def model(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained for seconds on sequences whose table has taxids for ranks."""
    directory = tmp_path_factory.mktemp("taxids")
    common = (SEQUENCES, "-l", TAXIDS, "--taxonomy", TAXDUMP)
    size = ("--ranks", "domain,genus", "--size", "tiny", "--max-tokens", 64, "--bag-epochs", 1, "--steps", 2)
    done = run("train-classifier", *common, "-o", directory / "classifier", *size, *QUICK)
    assert done.code == 0, done.err
    more = ("--classifier", directory / "classifier", "--steps", 1, "--validations", 1, "--validation-limit", 20)
    done = run("train-explainer", *common, "-o", directory / "model", *more, *QUICK)
    assert done.code == 0, done.err
    return directory / "model"


def test_classes_keep_their_taxids(run: Run, model: Path, tmp_path: Path) -> None:
    domain, genus = json.loads((model / "labels.json").read_text())["ranks"]
    assert dict(zip(domain["classes"], domain["taxids"], strict=True)) == OF_DOMAINS
    assert len(genus["classes"]) == 23
    assert min(genus["taxids"]) > 0
    done = run("mask", ROOT / "examples" / "16s" / "ecoli.fasta", "-m", model, "--hdf5", tmp_path / "x.h5")
    assert done.code == 0, done.err
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["predictions/domain/taxid"][:].tolist() == domain["taxids"]
        assert file["predictions/genus/taxid"][:].tolist() == genus["taxids"]


def test_evaluate_names_taxids(run: Run, model: Path, tmp_path: Path) -> None:
    """The same report, but for the file of labels, as with a table of ranks."""
    found = []
    for name, labels in (("ranks", (SMALL / "small.tsv",)), ("taxids", (TAXIDS, "--taxonomy", TAXDUMP))):
        path = tmp_path / f"{name}.json"
        given = ("--split", "test_species", "--limit", 6, "--sample", 2, "-m", model, "--json", path, "--seed", 1)
        done = run("evaluate", SEQUENCES, "-l", *labels, *given, "-t", 1, "-x", "cpu", "--resample-by", "none")
        assert done.code == 0, done.err
        found.append({key: value for key, value in json.loads(path.read_text()).items() if key != "data_sha256"})
    assert found[0] == found[1]


def test_what_it_asks_for(run: Run, model: Path, tmp_path: Path) -> None:
    done = run("evaluate", SEQUENCES, "-m", model, "--taxonomy", TAXDUMP)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "--taxonomy needs --labels" in done.err
    done = run("train-classifier", SEQUENCES, "-l", TAXIDS, "-o", tmp_path / "x", *QUICK)
    assert done.code == 1
    assert "no column 'superkingdom'; expected one of taxid; with --taxonomy DIR, an NCBI taxdump" in done.err


def test_another_taxdump_is_not_gone_on_with(run: Run, tmp_path: Path) -> None:
    """A taxon of another name would be a class in another column. The same files elsewhere are other options, too."""
    own, out = shutil.copytree(TAXDUMP, tmp_path / "taxdump"), tmp_path / "classifier"
    given = ("-l", TAXIDS, "--taxonomy", own, "--ranks", "domain", "--size", "tiny", "--bag-epochs", 0, "--steps", 1)
    assert run("train-classifier", SEQUENCES, *given, "-o", out, *QUICK).code == 0
    assert "finished already" in run("train-classifier", SEQUENCES, *given, "-o", out, *QUICK, "--resume").err
    names = own / "names.dmp"
    names.write_text(names.read_text().replace("|\tArchaea\t|", "|\tZarchaea\t|"))
    done = run("train-classifier", SEQUENCES, *given, "-o", out, *QUICK, "--resume")
    assert (done.code, "holds a finished training with another data_sha256" in done.err) == (2, True)


def test_taxids_of_a_model_that_was_trained_without(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    stored = json.loads((copy / "labels.json").read_text())
    bare = {"ranks": [{**rank, "taxids": [-1] * len(rank["taxids"])} for rank in stored["ranks"]]}
    (copy / "labels.json").write_text(json.dumps(bare))
    words = [ROOT / "recipes" / "taxids.py", copy, "-l", TAXIDS, "--taxonomy", TAXDUMP]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    assert "genus: 23 of 23 classes have a taxid\n" in done.stdout
    assert json.loads((copy / "labels.json").read_text()) == stored
    other = tmp_path / "other.tsv"
    other.write_text("id\ttaxid\tsplit\na\t2237\ttrain\n")
    words[3] = other
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        "other.tsv: names 1 of the model's 3 classes at domain; expected the table that it was trained on"
        in done.stderr
    )
    assert json.loads((copy / "labels.json").read_text()) == stored
