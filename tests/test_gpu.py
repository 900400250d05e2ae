"""On a GPU: what the CPU says, within rounding; out of memory it goes on; training and evaluation run."""

from __future__ import annotations

import gc
import importlib.util
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from seqmask.cli.app import app
from seqmask.commands import mask
from seqmask.inference import recordings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
READS, LABELS = EXAMPLES / "reads.fasta.gz", EXAMPLES / "reads.tsv"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stderr


def masked(model: str | Path, prefix: Path, device: str, *more: str, reads: Path = READS) -> np.ndarray:
    """Importance of every token, of 500 reads if not said otherwise."""
    run("mask", reads, "-m", model, "-x", device, "-o", prefix, "--check", "--full-precision", *more)
    with h5py.File(f"{prefix}.h5") as file:
        return file["tokens/importance"][:]  # type: ignore[no-any-return]


@pytest.mark.parametrize("model", ["genomes", "ssu"])
def test_masks_are_those_of_the_cpu(model: str, tmp_path: Path) -> None:
    cpu, gpu = (masked(model, tmp_path / device, device) for device in ("cpu", "cuda"))
    differences = np.abs(gpu - cpu)
    assert differences.max() < 0.02  # where a token is near the edge of the first mask
    assert (differences > 2e-3).mean() < 1e-3
    rows = [(tmp_path / f"{device}.tsv").read_text().splitlines() for device in ("cpu", "cuda")]
    assert len(rows[0]) == len(rows[1]) == 501
    head = rows[0][0].split("\t")
    columns = [i for i, name in enumerate(head) if name in ("superkingdom", "phylum", "genus") or "verdict" in name]
    told = [[[row.split("\t")[i] for i in columns] for row in of] for of in rows]
    assert np.mean([a == b for a, b in zip(*told, strict=True)]) > 0.98


def test_bf16_is_close(tmp_path: Path) -> None:
    """The bars of the row `bf16` of benchmarks/bench.py, on a GPU. The threshold is .5."""
    fp32 = masked("genomes", tmp_path / "fp32", "cuda")
    bf16 = masked("genomes", tmp_path / "bf16", "cuda", "--precision", "bf16")
    assert np.abs(fp32 - bf16).mean() < 0.005
    assert ((fp32 >= 0.5) != (bf16 >= 0.5)).mean() < 0.01


@pytest.mark.parametrize("model", ["genomes", "ssu"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_recorded_batches_say_the_same(
    model: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sequences of one length in many batches, most of them recorded, and shorter ones that pad some; `--check` stacks
    two passes.
    """
    letters = np.random.default_rng(5).choice(list("ACGT"), (96, 600))
    reads = tmp_path / "long.fasta"
    reads.write_text("".join(f">s{i}\n{''.join(row[: 600 - 6 * (i > 70) * i])}\n" for i, row in enumerate(letters)))
    monkeypatch.setattr(mask, "token_budget", lambda *_: 1600)
    made, record = [], recordings.Recorder.__call__
    monkeypatch.setattr(recordings.Recorder, "__call__", lambda self, *a: (record(self, *a), made.append(a))[0])
    dropped, drop = [], recordings.Recordings.drop
    monkeypatch.setattr(recordings.Recordings, "drop", lambda self: (dropped.append(self), drop(self))[1])
    recorded = masked(model, tmp_path / "recorded", "cuda", "--precision", precision, reads=reads)
    assert {type(step).__name__ for step, _ in made} == {"Classify", "Explain", "Check"}
    assert not dropped, "a recording failed or was wrong"
    monkeypatch.setattr(mask, "Recordings", lambda: None)
    launched = masked(model, tmp_path / "launched", "cuda", "--precision", precision, reads=reads)
    if precision == "fp32":
        np.testing.assert_allclose(recorded, launched, atol=1e-5)
    assert np.abs(recorded - launched).mean() < 0.005


def test_out_of_memory_goes_on(tmp_path: Path, tiny_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    total = torch.cuda.get_device_properties(0).total_memory
    expected = masked(tiny_model, tmp_path / "much", "cuda")
    assert "out of GPU memory" not in caplog.text
    gc.collect()
    torch.cuda.empty_cache()
    limit = torch.cuda.memory_reserved() + 96 * 2**20  # what earlier tests hold, workspaces of cuBLAS above all, stays
    torch.cuda.set_per_process_memory_fraction(limit / total)
    try:
        found = masked(tiny_model, tmp_path / "little", "cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "out of GPU memory" in caplog.text
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_training_and_evaluating(tmp_path: Path) -> None:
    classifier, model, report = tmp_path / "classifier", tmp_path / "model", tmp_path / "report.json"
    common = (READS, "--labels", LABELS, "-x", "cuda")
    run(
        "train-classifier", *common, "-o", classifier, "--size", "tiny", "--steps", 20, "--bag-epochs", 2,
        "--min-per-class", 2, "--phases", 3, "--canonical",
    )  # fmt: skip
    more = (
        "--classifier", classifier, "--steps", 4, "--batch-tokens", 1024, "--validations", 1, "--frames", 2,
        "--mask-per-rank", "--effects-share", "0.5",
    )  # fmt: skip
    run("train-explainer", *common, "-o", model, *more, "--validation-limit", 8)
    rivals = "occlusion,occlusion-odds,rollout,random"
    if importlib.util.find_spec("captum"):
        rivals += ",saliency,gradxinput,ig,ig-odds-20"
    run("evaluate", *common, "-m", model, "--limit", 6, "--rivals", rivals, "--sample", 2, "--json", report)
    found = json.loads(report.read_text())
    assert found["device"] == "cuda"
    assert set(rivals.split(",")) <= set(found["rivals"]["methods"])
