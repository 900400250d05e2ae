"""Training commands under a launcher: two processes, one output directory, everything said once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from seqmask.models.checkpoint import load_model

ROOT = Path(__file__).resolve().parents[2]


def test_train_explainer_in_two_processes(few: Path, tiny_model: Path, tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    options = ["--steps", "2", "--validations", "1", "--min-crop", "60", "--batch-tokens", "512", "-x", "cpu"]
    output = tmp_path / "model"
    done = subprocess.run(
        [
            *launcher,
            "-m",
            "seqmask",
            "train-explainer",
            str(few),
            "--classifier",
            str(tiny_model),
            "-o",
            str(output),
            *options,
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    for line in ("11 training sequences", "step 0:", "step 2:", "stored, the area", "explainer 2/2"):
        assert done.stderr.count(line) == 1, done.stderr
    assert load_model(output).classifier.sha256 == load_model(tiny_model).classifier.sha256
    assert not list(output.glob("*checkpoint*"))
