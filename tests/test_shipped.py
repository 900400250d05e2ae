"""The models inside the package: whole, described, small, and good for the default of every command."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqmask.config import EvaluateOptions, MaskOptions
from seqmask.models import bundled

ROOT = Path(__file__).resolve().parent.parent
# Each of them is in every copy of the package and of the repository
MOST_BYTES = 20_000_000
# Sequences and labels in examples/ that each model is for
EXAMPLES = {"genomes": ("reads.fasta.gz", "reads.tsv"), "ssu": ("small/small.fasta.gz", "small/small.tsv")}
FILES = {
    "README.md",
    "classifier.safetensors",
    "classifier.json",
    "tokenizer.json",
    "labels.json",
    "explainer.safetensors",
    "explainer.json",
}


@pytest.fixture(params=bundled.names())
def directory(request: pytest.FixtureRequest) -> Path:
    return bundled.resolve(request.param)


def settings(directory: Path) -> list[dict[str, Any]]:
    return [json.loads((directory / f"{name}.json").read_text())["settings"] for name in ("classifier", "explainer")]


def test_genomes_ships() -> None:
    """The default of `mask` and `evaluate`: without it, nothing works at once."""
    assert "genomes" in bundled.names()
    assert MaskOptions().model == EvaluateOptions().model == "genomes"


def test_each_is_small(directory: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in directory.rglob("*") if path.is_file()}
    assert sum(sizes.values()) <= MOST_BYTES, sizes


def test_git_keeps_every_file() -> None:
    """What git ignores is neither in the repository nor in the wheel."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    paths = [str(path) for path in bundled.DIRECTORY.rglob("*") if path.is_file()]
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin"],
        cwd=ROOT,
        input="\n".join(paths),
        capture_output=True,
        text=True,
    )
    assert ignored.stdout == ""


def test_only_what_belongs_to_a_model(directory: Path) -> None:
    found = {path.name for path in directory.iterdir()}
    assert found >= FILES
    assert not [name for name in found if not re.fullmatch(r"[\w.-]+\.(json|md|safetensors)", name)]
    assert not [name for name in found if name.startswith((".", "checkpoint"))]
    assert {path.stat().st_mode & 0o444 for path in directory.iterdir()} == {0o444}, "others can read it"


def test_it_loads_and_its_digests_match(directory: Path) -> None:
    """`load_model` holds classifier and tokenizer against the Explainer's digests; the reports name the same files."""
    from seqmask.models.checkpoint import load_model
    from seqmask.models.storage import file_sha256

    model = load_model(directory)
    stored = json.loads((directory / "explainer.json").read_text())
    assert stored["classifier_sha256"] == model.classifier.sha256 == file_sha256(directory / "classifier.safetensors")
    assert stored["tokenizer_sha256"] == model.classifier.tokenizer.sha256
    assert model.sha256 == file_sha256(directory / "explainer.safetensors")
    assert 0 < model.threshold < 1
    recipe = tomllib.loads((ROOT / "recipes" / f"{directory.name}.toml").read_text())
    assert model.frames == stored["settings"]["options"]["frames"] == recipe["train-explainer"]["frames"] > 1
    for name, digest in (("classifier", model.classifier.sha256), ("explainer", model.sha256)):
        report = directory / f"{name}-report.json"
        if report.exists():
            assert json.loads(report.read_text())[f"{name}_sha256"] == digest


def test_the_operator_passes_its_self_test(directory: Path) -> None:
    from seqmask.models.checkpoint import load_model
    from seqmask.models.selftest import check_operator

    model = load_model(directory)
    check_operator(model.classifier.network, model.operator)


def test_its_card_names_the_data(directory: Path) -> None:
    card = (directory / "README.md").read_text()
    assert len(card) > 1000
    digests = {digest for part in settings(directory) for digest in part["data_sha256"].values()}
    assert digests
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)
    assert [digest for digest in digests if digest not in card] == []
    for name in ("classifier", "explainer"):
        from seqmask.models.storage import file_sha256

        assert file_sha256(directory / f"{name}.safetensors") in card


def test_it_holds_no_paths_of_the_machine_it_was_made_on(directory: Path) -> None:
    texts = {path.name: path.read_text() for path in directory.iterdir() if path.suffix in (".json", ".md")}
    found = {name: re.findall(r"(?:/home/|/root/|/tmp/|/work/|/Users/)[^\"\s]*", text) for name, text in texts.items()}
    assert {name: paths for name, paths in found.items() if paths} == {}


def test_it_masks_the_example_reads(directory: Path, tmp_path: Path) -> None:
    """Every sequence is classified, and masks are neither empty nor everything."""
    from typer.testing import CliRunner

    from seqmask.cli.app import app

    sequences, labels = EXAMPLES[directory.name]
    run: Callable[..., Any] = CliRunner().invoke
    done = run(app, ["mask", "-q", str(ROOT / "examples" / sequences), "-m", directory.name, "--tsv", "-"])
    assert (done.exit_code, done.stderr) == (0, "")
    header, *lines = (line.split("\t") for line in done.stdout.splitlines())
    column = {name: [line[i] for line in lines] for i, name in enumerate(header)}
    count = len(lines)
    assert count >= 500
    assert column["status"] == ["ok"] * count
    kept = [float(value) for value in column["kept_fraction"]]
    assert 0.02 < sum(kept) / count < 0.6
    names, *rows = (line.split("\t") for line in (ROOT / "examples" / labels).read_text().splitlines())
    rank = json.loads((directory / "labels.json").read_text())["ranks"][1]["name"]
    true = [row[names.index(rank)] for row in rows]
    right = sum(a == b for a, b in zip(column[rank], true, strict=True)) / count
    assert right > max(true.count(name) for name in set(true)) / count + 0.05, "better than the most frequent class"


def test_a_named_class_has_a_mask_of_a_usual_size(directory: Path) -> None:
    """What a sequence needs is told for its own class; a class that it is not, named by `--target`, needs no less."""
    import numpy as np

    from seqmask.inference.engine import Engine
    from seqmask.inference.explain import classify_pool, make_pool, mask_pool, predictions
    from seqmask.models.checkpoint import load_model
    from seqmask.sequences.records import read

    model = load_model(directory)
    network, tokenizer = model.classifier.network, model.classifier.tokenizer
    genes = list(read([str(ROOT / "examples" / "16s" / "genes.fasta.gz")]))[:6]
    pool = make_pool(genes, range(len(genes)), tokenizer, network.max_tokens, 0, 1)
    logits = classify_pool(pool, network, Engine())
    slices = model.classifier.ranks.slices
    own = predictions(logits, slices)
    for place in (-2, -3):  # the next likely class, and the one after it
        named = np.stack([logits[:, of].argsort(axis=1)[:, place] for of in slices], axis=1)
        kept, usual = ((mask_pool(pool, model.explainer, Engine(), of) >= 0.5).mean(axis=0) for of in (named, own))
        assert ((kept > 0.5 * usual) & (kept < 2 * usual)).all(), (kept, usual)


# As in NCBI's taxonomy: taxids do not change, and a few that everybody knows tell whether the columns are in order.
TAXIDS = {
    "superkingdom": {"Archaea": 2157, "Bacteria": 2, "Eukaryota": 2759, "Viruses": 10239},
    "phylum": {"Pseudomonadota": 1224, "Bacillota": 1239, "Ascomycota": 4890},
    "genus": {"Escherichia": 561, "Pseudomonas": 286, "Methanobrevibacter": 2172},
}


def test_classes_have_taxids(directory: Path) -> None:
    """All but names that several taxa share, which are a few genera."""
    for rank in json.loads((directory / "labels.json").read_text())["ranks"]:
        found = dict(zip(rank["classes"], rank["taxids"], strict=True))
        known = [taxid for taxid in found.values() if taxid > 0]
        assert len(known) > 0.97 * len(found)
        assert len(set(known)) == len(known)
        assert {name: taxid for name, taxid in TAXIDS[rank["name"]].items() if found.get(name, taxid) != taxid} == {}
        assert TAXIDS[rank["name"]].keys() & found.keys()
