"""`info`, `models`, `convert` and `doctor`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from seqmask.commands import doctor
from seqmask.models.bundled import DIRECTORY, names
from seqmask.models.checkpoint import load_model
from seqmask.models.storage import file_sha256
from seqmask.sequences.records import read

Run = Callable[..., Any]


def test_info_of_a_model(run: Run, tiny_model: Path) -> None:
    found = json.loads(run("info", tiny_model, "--json").text)
    model = load_model(tiny_model)
    assert found["ranks"] == {"superkingdom": 4, "phylum": 5, "genus": 5}
    assert (found["threshold"], found["operator"], found["masks"]) == (model.threshold, "blend", "one")
    assert (found["tokens"], found["window_nt"]) == ("6-mers every 6 nt", 384)
    assert found["sha256"] == {
        "classifier.safetensors": model.classifier.sha256,
        "explainer.safetensors": file_sha256(tiny_model / "explainer.safetensors"),
    }
    text = run("info", tiny_model).text
    assert re.search(r"^ranks +superkingdom 4, phylum 5, genus 5$", text, re.MULTILINE)


def test_info_of_results(run: Run, masked: Path, tiny_model: Path) -> None:
    found = json.loads(run("info", f"{masked}.h5", "--json").text)
    with h5py.File(f"{masked}.h5") as file:
        assert found["tokens"] == file.attrs["n_tokens"]
        assert found["nucleotides"] == file["records/length"][()].sum() == 195412
        assert found["area"] == pytest.approx(file["records/kept_fraction"][()].mean(), abs=1e-6)
    assert (found["records"], found["statuses"]["ok"], found["checked"]) == (500, 500, True)
    assert found["explainer_sha256"] == load_model(tiny_model).sha256
    assert "shard" not in found
    assert "records " in run("info", f"{masked}.h5").text


def test_info_of_something_else(run: Run, few: Path, tmp_path: Path) -> None:
    for what, code, message in (
        (few, 1, "cannot be opened as HDF5; expected a seqmask-hdf5 file"),
        (tmp_path, 1, "no classifier.json; expected a directory that seqmask"),
        (tmp_path / "none", 2, "unknown model"),
    ):
        done = run("info", what)
        assert (done.code, done.out) == (code, b"")
        assert message in done.err


def test_models_are_what_their_directories_say(run: Run) -> None:
    found = json.loads(run("models", "--json").text)
    assert [model["name"] for model in found] == names()
    for model in found:
        directory = DIRECTORY / model["name"]
        report = json.loads((directory / "classifier-report.json").read_text())
        assert model["accuracy"] == {
            split: {rank: row["accuracy"] for rank, row in rows.items()} for split, rows in report["splits"].items()
        }
        labels = json.loads((directory / "labels.json").read_text())["ranks"]
        assert model["ranks"] == {rank["name"]: len(rank["classes"]) for rank in labels}
        assert model["bytes"] == sum(path.stat().st_size for path in directory.iterdir())
        assert {"summary", "data", "licence"} <= model["about"].keys()
    text = run("models").text
    assert all(re.search(rf"^name +{name}$", text, re.MULTILINE) for name in names())


PROBE = """
import sys
from seqmask.cli.app import app
app(["models"], standalone_mode=False)
assert "torch" not in sys.modules
"""


def test_describing_loads_no_torch() -> None:
    assert subprocess.run([sys.executable, "-c", PROBE], capture_output=True).returncode == 0


def test_convert(run: Run, masked: Path, reads: Path, tmp_path: Path) -> None:
    """All formats of one file; what they hold is tested in tests/results/test_convert.py."""
    pytest.importorskip("pybigtools")
    source = f"{masked}.h5"
    outputs = ("--bedgraph", tmp_path / "x.bedgraph.gz", "--bigwig", tmp_path / "x.bw", "--tokens", tmp_path / "x.tsv")
    arrays = ("--logo", tmp_path / "logo.tsv", "--modisco", tmp_path / "m", "--length", 100, "-s", reads)
    done = run("convert", source, *outputs, *arrays, "--record", "read001", "--record", "read007")
    assert done.code == 0, done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["x.bedgraph.gz", "x.bw", "x.tsv", "logo.tsv", "m.ohe.npz", "m.attributions.npz"]
    )
    with h5py.File(source) as file:
        lengths = dict(zip(file["records/id"].asstr()[()], file["records/length"][()].tolist(), strict=True))
    rows = [line.split("\t") for line in (tmp_path / "logo.tsv").read_text().splitlines()[1:]]
    assert [row[0] for row in rows] == ["read001"] * lengths["read001"] + ["read007"] * lengths["read007"]
    hot, score = (np.load(tmp_path / f"m.{part}.npz") for part in ("ohe", "attributions"))
    windows = sum(-(-lengths[name] // 100) for name in ("read001", "read007"))
    assert hot["arr_0"].shape == score["arr_0"].shape == (windows, 4, 100)
    assert hot["ids"].tolist() == score["ids"].tolist()
    done = run("convert", source, "--tokens", "-", "--record", "read007")
    assert done.err.startswith(f"1 records, {len(done.text.splitlines()) - 1} tokens; wrote -")
    assert done.text == "".join(
        line for line in (tmp_path / "x.tsv").read_text().splitlines(keepends=True) if not line.startswith("read001\t")
    )


def test_logomaker_draws_the_logo(run: Run, masked: Path, reads: Path, tmp_path: Path) -> None:
    """As docs/schema.md says: a column of letters for each nucleotide, as high as its importance."""
    logomaker = pytest.importorskip("logomaker")
    pandas = pytest.importorskip("pandas")
    done = run("convert", f"{masked}.h5", "--logo", tmp_path / "logo.tsv", "-s", reads, "--record", "read001")
    assert done.code == 0, done.err
    table = pandas.read_csv(tmp_path / "logo.tsv", sep="\t")
    one = table[table["id"] == "read001"].set_index("position")[list("ACGT")]
    logo = logomaker.Logo(one.loc[100:160], figsize=(10, 2))
    logo.fig.savefig(tmp_path / "logo.png", dpi=50)
    sequence = next(record.sequence.upper() for record in read([str(reads)]) if record.name == "read001")
    heights = {(glyph.p, glyph.c): glyph.ceiling - glyph.floor for glyph in logo.glyph_list if glyph.ceiling > 0}
    assert dict(heights.keys()) == {place: sequence[place] for place in range(100, 161)}
    assert all(height == pytest.approx(one.loc[place, letter]) for (place, letter), height in heights.items())


def test_convert_refuses(run: Run, masked: Path, few: Path, tmp_path: Path) -> None:
    for arguments, code, message in (
        ((), 2, "nothing to write: give --bedgraph"),
        (("--logo", "-"), 2, "--logo and --modisco need --sequences"),
        (("--bigwig", "-"), 2, "bigWig and npz need a seekable file, and - is none"),
        (("--modisco", f"{tmp_path}/.", "-s", few), 2, "is no prefix of file names"),
        (("--modisco", tmp_path / "m", "-s", few, "--log-file", tmp_path / "m.ohe.npz"), 2, "m.ohe.npz is an input or"),
        (("--tokens", tmp_path / "t", "--logo", tmp_path / "x", "-s", few), 1, "no more records; expected"),
        (("--bedgraph", "-", "--rank", "class"), 2, "--rank class: no such rank in"),
        (("--bedgraph", tmp_path / "x", "--record", "nobody"), 1, "no record 'nobody'"),
        (("--logo", tmp_path / "x", "-s", few), 1, "no more records; expected"),
        (("--logo", tmp_path / "x", "--modisco", tmp_path / "m", "-s", "-"), 2, "both read -, which can be read once"),
    ):
        done = run("convert", "-q", f"{masked}.h5", *arguments)
        assert (done.code, done.out) == (code, b""), done.err
        assert message in done.err
        assert list(tmp_path.iterdir()) == []


def test_a_rank_has_another_name(run: Run, masked: Path) -> None:
    one, other = (
        run("convert", "-q", f"{masked}.h5", "--bedgraph", "-", "--rank", of) for of in ("superkingdom", "domain")
    )
    assert one.code == other.code == 0
    assert one.out == other.out


def test_info_of_what_is_not_there(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    for name in ("no.h5", "no.hdf5"):
        done = run("info", tmp_path / name)
        assert (done.code, "no such file" in done.err) == (1, True)
    copy = shutil.copytree(tiny_model, tmp_path / "model")
    (copy / "explainer.safetensors").unlink()
    done = run("info", copy)
    assert (done.code, "no explainer.safetensors" in done.err) == (1, True)
    shutil.copyfile(tiny_model / "explainer.safetensors", copy / "explainer.safetensors")
    (copy / "tokenizer.json").write_text("[]")
    done = run("info", copy)
    assert (done.code, done.err.count("\n"), "JSON files that do not fit" in done.err) == (1, 1, True)


@pytest.mark.parametrize("damage", ["ranks", "offsets"])
def test_a_damaged_file(run: Run, masked: Path, tmp_path: Path, damage: str) -> None:
    copy = shutil.copyfile(f"{masked}.h5", tmp_path / "x.h5")
    with h5py.File(copy, "r+") as file:
        if damage == "ranks":
            file.attrs["ranks"] = "[]"
        else:
            file["records/token_offset"][-1] += 5
    for arguments in (("info", copy), ("convert", copy, "--tokens", "-")):
        done = run(*arguments)
        assert (done.code, done.out, "a damaged seqmask-hdf5 file" in done.err) == (1, b"", True)


def test_a_sound_installation(run: Run) -> None:
    done = run("doctor", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.text)
    assert found["devices"]["cpu"] == "ok"
    assert found["versions"]["torch"] == torch.__version__
    assert re.search(r"^devices +cpu ok", run("doctor").text, re.MULTILINE)


def test_an_installation_that_is_not_sound(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that changes what it reads between two calls; a module that is missing."""
    monkeypatch.setattr(doctor, "TOLERANCE", -1.0)
    done = run("doctor", "--json")
    assert done.code == 1
    assert json.loads(done.text)["devices"]["cpu"].startswith("SeqmaskError: a mask of ones changes the logits by ")

    def broken() -> None:
        raise RuntimeError("no kernel image is available\nfor this device")

    monkeypatch.setattr(doctor, "tiny_model", broken)
    done = run("doctor")
    assert (done.code, "devices   cpu RuntimeError: no kernel image is available\n" in done.text) == (1, True)


def test_the_other_seqmask(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._version("no such distribution") == "not installed"
    assert list(doctor._warnings(lambda name: "not installed")) == []
    (warning,) = doctor._warnings(lambda name: {"seqmask": "1.0.0"}[name])
    assert "the distribution 'seqmask' 1.0.0 is installed as well" in warning
    assert "pip uninstall seqmask, then install seqmask-xai again" in warning


def test_info_of_a_model_whose_files_do_not_fit(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "m")
    (tmp_path / "m" / "classifier.json").write_text("{}")
    done = run("info", tmp_path / "m")
    assert (done.code, "JSON files that do not fit" in done.err, done.err.count("\n")) == (1, True, 1)
