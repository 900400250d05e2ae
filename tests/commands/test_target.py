"""`mask --target`: a mask for the class that is named, whatever is predicted."""

from __future__ import annotations

import csv
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from seqmask.models.checkpoint import load_classifier, save_explainer
from seqmask.models.explainer import Explainer

Run = Callable[..., Any]
RANKS = ("superkingdom", "phylum", "genus")


@pytest.fixture(scope="module")
def per_rank(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the same classifier with a mask for each rank."""
    directory = tmp_path_factory.mktemp("model") / "per-rank"
    directory.mkdir()
    for path in tiny_model.iterdir():
        (directory / path.name).write_bytes(path.read_bytes())
    classifier = load_classifier(directory)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        explainer = Explainer.like(classifier.network, layers=1, tracks=3)
        explainer.head.weight.normal_(std=0.2)
    save_explainer(directory, explainer, classifier, 0.5, "blend", {})
    return directory


def importance(path: Path) -> dict[str, Any]:
    """The columns of an HDF5 file that a target may and may not change."""
    with h5py.File(path) as file:
        return {
            "mask": file["tokens/importance"][:],
            "offsets": file["records/token_offset"][:],
            **{rank: file[f"predictions/{rank}/class"][:] for rank in RANKS},
            **{f"{rank}_names": file[f"predictions/{rank}/classes"].asstr()[:] for rank in RANKS},
            "target": file.attrs.get("target"),
        }


def test_the_predicted_class_by_name_changes_nothing(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Records that are predicted to be of one genus, and its name: the same bytes in every text, the same numbers."""
    assert run("mask", "-q", few, "-m", tiny_model, "--hdf5", tmp_path / "all.h5").code == 0
    found = importance(tmp_path / "all.h5")
    genus = np.bincount(found["genus"]).argmax()
    rows = np.flatnonzero(found["genus"] == genus)
    assert len(rows) > 1
    records = few.read_bytes().split(b">")[1:]
    (tmp_path / "one.fasta").write_bytes(b"".join(b">" + records[row] for row in rows))
    common = ("mask", "-q", tmp_path / "one.fasta", "-m", tiny_model, "--check", "--full-precision")
    name = f"genus={found['genus_names'][genus]}"
    assert run(*common, "-o", tmp_path / "x").code == 0
    assert run(*common, "-o", tmp_path / "y", "--target", name).code == 0
    for kind in ("fasta", "bed", "tsv"):
        assert (tmp_path / f"x.{kind}").read_bytes() == (tmp_path / f"y.{kind}").read_bytes() != b""
    plain, named = importance(tmp_path / "x.h5"), importance(tmp_path / "y.h5")
    assert plain["mask"].tobytes() == named["mask"].tobytes()
    assert (plain["target"], json.loads(named["target"])) == (None, {"genus": found["genus_names"][genus]})


def test_another_class_changes_the_masks_alone(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    common = ("mask", few, "-m", tiny_model, "--check")
    assert run(*common, "-o", tmp_path / "x").code == 0
    done = run(*common, "-o", tmp_path / "y", "--target", "phylum=Candidatus Omnitrophota")
    assert done.code == 0
    assert "masks explain phylum Candidatus Omnitrophota, whatever is predicted" in done.err.splitlines()
    plain, named = importance(tmp_path / "x.h5"), importance(tmp_path / "y.h5")
    for rank in RANKS:
        np.testing.assert_array_equal(plain[rank], named[rank])
    wanted = plain["phylum_names"].tolist().index("Candidatus Omnitrophota")
    masks = (np.split(found["mask"], found["offsets"][1:-1]) for found in (plain, named))
    differ = [bool((a != b).any()) for a, b in zip(*masks, strict=True)]
    assert differ == (plain["phylum"] != wanted).tolist()
    assert True in differ
    # A shared mask is named after the rank that was
    told = {line.split("\t")[3] for line in (tmp_path / "y.bed").read_text().splitlines()}
    assert told == {"phylum:Candidatus_Omnitrophota"}
    # and the verdict of that rank is about the class that was
    rows = list(csv.DictReader((tmp_path / "y.tsv").read_text().splitlines(), delimiter="\t"))
    for row in rows:
        for rank, explained in (("phylum", "Candidatus Omnitrophota"), ("genus", row["genus"])):
            kept, rest = (row[f"{rank}_{which}"] == explained for which in ("masked", "inverse"))
            assert row[f"{rank}_verdict"] == ("not_sufficient" if not kept else "not_necessary" if rest else "holds")
    table = tomllib.loads((tmp_path / "y.config.toml").read_text())["mask"]
    assert table["target"] == ["phylum=Candidatus Omnitrophota"]
    shown = json.loads(run("info", tmp_path / "y.h5", "--json").text)
    assert shown["target"] == {"phylum": "Candidatus Omnitrophota"}


def test_with_a_mask_for_each_rank_the_others_stay(run: Run, few: Path, per_rank: Path, tmp_path: Path) -> None:
    """FASTA and the summaries show the rank that is named."""
    report = tmp_path / "report.json"
    common = ("mask", "-q", few, "-m", per_rank, "--full-precision")
    assert run(*common, "-o", tmp_path / "x").code == 0
    assert run(*common, "-o", tmp_path / "y", "--target", "domain=Viruses", "--json-report", report).code == 0
    assert json.loads(report.read_text())["parameters"]["target"] == ["domain=Viruses"]
    plain, named = importance(tmp_path / "x.h5"), importance(tmp_path / "y.h5")
    assert (plain["mask"] != named["mask"]).any(axis=0).tolist() == [True, False, False]
    bed = [line.split("\t") for line in (tmp_path / "y.bed").read_text().splitlines()]
    kept = dict.fromkeys(re.findall(r"^>(\S+)", few.read_text(), re.MULTILINE), 0)
    for chrom, start, end, name, *_ in bed:
        if name == "superkingdom:Viruses":
            kept[chrom] += int(end) - int(start)
    upper = {
        part.split()[0]: sum(map(str.isupper, part.partition("\n")[2]))
        for part in (tmp_path / "y.fasta").read_text().split(">")[1:]
    }
    assert upper == kept
    assert len(set(kept.values())) > 1


def test_several_ranks_and_a_file(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Once a rank, here or in a file, where one class needs no list; a resumed run must have the same."""
    both = ("--target", "phylum=Bacillota", "--target", "genus=Bacillus")
    one = run("mask", few, "-q", "-m", tiny_model, "--bed", "-", *both)
    (tmp_path / "run.toml").write_text('[mask]\ntarget = ["genus=Bacillus", "phylum=Bacillota"]\n')
    other = run("mask", few, "-q", "-m", tiny_model, "--bed", "-", "--config", tmp_path / "run.toml")
    assert one.out == other.out != b""
    assert {line.split("\t")[3] for line in one.text.splitlines()} == {"genus:Bacillus"}
    (tmp_path / "run.toml").write_text('[mask]\ntarget = "genus=Bacillus"\n')
    alone = run("mask", few, "-q", "-m", tiny_model, "--bed", "-", "--config", tmp_path / "run.toml")
    assert alone.out == run("mask", few, "-q", "-m", tiny_model, "--bed", "-", "--target", "genus=Bacillus").out
    assert alone.out != one.out


def test_shards_keep_it(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        common = ("mask", "-q", few, "-m", tiny_model, "--shard", f"{number}/2", "--hdf5", tmp_path / f"{number}.h5")
        assert run(*common, "--target", "genus=Vibrio").code == 0
    assert run("merge", tmp_path / "1.h5", tmp_path / "2.h5", "-o", tmp_path / "both.h5").code == 0
    assert json.loads(importance(tmp_path / "both.h5")["target"]) == {"genus": "Vibrio"}
    assert run(*common, "--target", "genus=Bacillus", "--force").code == 0
    done = run("merge", tmp_path / "1.h5", tmp_path / "2.h5", "-o", tmp_path / "no.h5")
    assert (done.code, '2.h5: target {"genus": "Bacillus"}; expected {"genus": "Vibrio"}' in done.err) == (1, True)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("genus",), "--target genus: expected RANK=CLASS, such as superkingdom=Archaea"),
        (("=Bacillus",), "--target =Bacillus: expected RANK=CLASS, such as superkingdom=Archaea"),
        (("genus=",), "--target genus=: expected RANK=CLASS, such as superkingdom=Archaea"),
        (("Genus=Bacillus",), "--target Genus=Bacillus: no rank 'Genus'; did you mean 'genus'?"),
        (("x=Bacillus",), "--target x=Bacillus: no rank 'x'; there are superkingdom, phylum, genus"),
        (("genus=bacilus",), "--target genus=bacilus: no genus 'bacilus' in this model; did you mean 'Bacillus'?"),
        (("genus=Bacillota",), "--target genus=Bacillota: no genus 'Bacillota' in this model; it is a phylum"),
        (("genus=Homo",), "--target genus=Homo: no genus 'Homo' in this model"),
        (("domain=Viruses", "superkingdom=Viruses"), "--target superkingdom=Viruses: a rank is named twice"),
    ],
)
def test_what_is_no_class(
    run: Run, few: Path, tiny_model: Path, tmp_path: Path, texts: tuple[str, ...], message: str
) -> None:
    done = run("mask", "-q", few, "-m", tiny_model, "-o", tmp_path / "x", *(w for t in texts for w in ("--target", t)))
    assert (done.code, done.out, done.err) == (2, b"", f"seqmask: error: {message}\n")
    assert list(tmp_path.iterdir()) == []
