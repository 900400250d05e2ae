"""Two processes that share every batch are one process: the same losses, the same weights, the same end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seqmask.training import processes

ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

# Trains a classifier and an Explainer (constrained, a mask for each rank) for a few steps, stops the Explainer's
# training by a signal to the last process, goes on, and prints what it was like. Batches have 5 rows, no multiple of 2.
SCRIPT = '''
import json, os, signal, sys
from pathlib import Path

import numpy as np
import torch

from seqmask.config import ClassifierOptions, Compute
from seqmask.errors import StoppedError
from seqmask.models.checkpoint import load_classifier, weights_sha256
from seqmask.models.explainer import Explainer
from seqmask.training.dataset import TrainingBatch
from seqmask.training.fit import Checkpoints, Schedule, fit
from seqmask.training.objectives import ClassifierObjective, ExplainerObjective, Terms
from seqmask.training.processes import count, in_each_process, is_main

MODEL, FOLDER, STEPS = Path(sys.argv[1]), Path(sys.argv[2]), 8
CPU = torch.device("cpu")


def batch(step):
    rng = np.random.default_rng([3, step])
    rows, width = (1 if step == 2 else 5), 20 + step
    attention = np.arange(width) < rng.integers(10, width + 1, (rows, 1))
    ids = np.where(attention, rng.integers(5, 4000, (rows, width)), 0)
    targets = np.stack([rng.integers(-1, size, rows) for size in (4, 5, 5)], axis=1)
    return TrainingBatch(ids, attention, targets, step)


def batches(first):
    return map(batch, range(first, STEPS))


class Stopping:
    """The objective, and in one step a signal to the last process alone."""

    def __init__(self, objective, at):
        self.objective, self.at, self.trained = objective, at, objective.trained

    def loss(self, batch, progress):
        if batch.step == self.at and (count() == 1 or not is_main()):
            os.kill(os.getpid(), signal.SIGUSR1)
        return self.objective.loss(batch, progress)


def explained(at=-1, **checkpoints):
    torch.manual_seed(1)
    model = load_classifier(MODEL)
    explainer = Explainer.like(model.network, layers=1, tracks=3)
    terms = Terms(form="constrained", sufficiency_bound=0.0, necessity_bound=0.0, bounds=0.1)
    objective = ExplainerObjective(explainer, model.network, "blend", "predicted", terms, False, 1, CPU, 0.5)
    path = Checkpoints(FOLDER / "checkpoint.safetensors", **checkpoints)
    rows = fit(Stopping(objective, at), batches, Schedule(STEPS, 1e-2), checkpoints=path)
    return rows, weights_sha256(explainer)


def main(options, report, say):
    network = load_classifier(MODEL).network.double()  # float32 sums in another order differ by 2e-5 on some CPUs
    told = {"processes": count()}
    told["classifier"] = fit(ClassifierObjective(network, 0.5, 1, CPU), batches, Schedule(STEPS, 1e-2))
    told["explainer"], told["weights"] = explained()
    try:
        explained(at=3)
    except StoppedError as error:
        told["stopped"], told["code"] = str(error), error.exit_code
        told["left"] = sorted(os.listdir(FOLDER))
    told["resumed_rows"], told["resumed_weights"] = explained(resume=True)
    say(json.dumps(told))


in_each_process(main)(ClassifierOptions(compute=Compute(device="cpu")), print, print)
'''


def told(launcher: list[str], model: Path, folder: Path) -> dict[str, Any]:
    """What the script prints, once."""
    folder.mkdir()
    script = folder.with_suffix(".py")
    script.write_text(SCRIPT)
    done = subprocess.run(
        [*launcher, str(script), str(model), str(folder)],
        # MKL's products round alike on every CPU then: without AVX-512 one and two processes parted by 1.4e-5
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MKL_CBWR": "COMPATIBLE"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    data: dict[str, Any] = json.loads(done.stdout)
    return data


@pytest.fixture(scope="module")
def one(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return told([sys.executable], tiny_model, tmp_path_factory.mktemp("processes") / "one")


@pytest.fixture(scope="module")
def two(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return told(TORCHRUN, tiny_model, tmp_path_factory.mktemp("processes") / "two")


def test_there_are_two(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert (one["processes"], two["processes"]) == (1, 2)


@pytest.mark.parametrize("what", ["classifier", "explainer"])
def test_losses_are_those_of_one_process(what: str, one: dict[str, Any], two: dict[str, Any]) -> None:
    alone, together = one[what], two[what]
    assert len(alone) == len(together) == 8
    assert alone[-1]["loss"] != pytest.approx(alone[0]["loss"], rel=1e-2), "weights have moved"
    for expected, found in zip(alone, together, strict=True):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("processes", ["one", "two"])
def test_a_signal_to_one_process_stops_all_and_resume_is_exact(processes: str, request: pytest.FixtureRequest) -> None:
    found = request.getfixturevalue(processes)
    by = "SIGUSR1" if processes == "one" else "a signal to another process"
    assert found["stopped"] == f"training: stopped by {by} after step 4; go on with --resume"
    assert found["code"] == 75
    assert found["left"] == ["checkpoint.safetensors"]
    assert found["resumed_weights"] == found["weights"]
    assert found["resumed_rows"] == found["explainer"]


def test_alone_nothing_is_shared() -> None:
    assert processes.count() == 1
    assert processes.is_main()
    assert processes.first_ones(7) == 7
