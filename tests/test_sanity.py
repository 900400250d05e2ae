"""`benchmarks/sanity.py`: what is shuffled, and that masks of a shuffled classifier are others."""

from __future__ import annotations

import gzip
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from seqmask.commands.train_explainer import train_explainer
from seqmask.config import ExplainerOptions
from seqmask.models.checkpoint import load_classifier

ROOT = Path(__file__).resolve().parent.parent


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sanity", ROOT / "benchmarks" / "sanity.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sanity"] = module
    spec.loader.exec_module(module)
    return module


sanity = load()


@pytest.mark.parametrize("kind", ["heads", "all"])
def test_shuffled_weights_are_the_same_values_elsewhere(tiny_model: Path, kind: str) -> None:
    network, before = load_classifier(tiny_model).network, load_classifier(tiny_model).network.state_dict()
    sanity.shuffle(network, kind, 1)
    moved = set()
    for name, weight in network.state_dict().items():
        torch.testing.assert_close(weight.flatten().sort().values, before[name].flatten().sort().values)
        if not torch.equal(weight, before[name]):
            moved.add(name.split(".")[0])
    assert moved == {"heads": {"head"}, "all": {"head", "encoder"}}[kind]


def test_masks_follow_the_classifier(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sequences = tmp_path / "reads.fasta"
    records = gzip.decompress((ROOT / "examples" / "reads.fasta.gz").read_bytes()).split(b">")[1:41]
    sequences.write_bytes(b"".join(b">" + record for record in records))
    options = ExplainerOptions(
        classifier=tiny_model, sequences=[sequences], output=tmp_path / "model", steps=1, validations=1
    )
    train_explainer(options, lambda progress: None, lambda line: None)
    sanity.main([str(tmp_path / "model"), str(sequences), "--steps", "1", "--count", "8"])
    title, *rows = capsys.readouterr().out.splitlines()
    assert title.startswith("Spearman")
    found = {row.split()[0]: float(row.split()[1]) for row in rows}
    assert list(found) == ["same", "heads", "all"]
    assert found["same"] > 0.9
    assert abs(found["heads"]) < 0.5
    assert abs(found["all"]) < 0.5
