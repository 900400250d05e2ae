"""`benchmarks/planted.py` runs from end to end, and its summary adds up. Whether masks are good is its own matter."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "planted.py"


@pytest.fixture(scope="module")
def planted() -> Any:
    spec = importlib.util.spec_from_file_location("planted", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["planted"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_every_task_has_settings_that_hold(planted: Any) -> None:
    from seqmask.config import TASK_NAMES, ClassifierOptions, ExplainerOptions, SimulateOptions

    assert tuple(planted.TASKS) == TASK_NAMES
    for name, task in planted.TASKS.items():
        settings = task.over(planted.BASE)
        simulation = SimulateOptions(task=name, **settings.simulation)
        classifier, explainer = ClassifierOptions(**settings.classifier), ExplainerOptions(**settings.explainer)
        longest = simulation.length + simulation.length_spread
        assert min(classifier.min_crop, explainer.min_crop) >= longest, "sequences are read whole"
        assert classifier.k + classifier.stride * (classifier.max_tokens - 1) >= longest


def test_from_end_to_end(planted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    quick = planted.Settings(
        {"sequences": 400, "classes": 4, "groups": 2, "length": 200, "length_spread": 30, "val": 0.1, "test": 0.2},
        {"size": "tiny", "max_tokens": 40, "min_crop": 240, "bag_epochs": 2, "steps": 2, "min_per_class": 1},
        {"steps": 1, "validations": 1, "min_crop": 240, "validation_limit": 10},
    )
    monkeypatch.setattr(planted, "BASE", quick)
    monkeypatch.setattr(planted, "TASKS", {"nested": planted.Settings()})
    path = tmp_path / "x.json"
    arguments = ["--tasks", "nested", "--rivals", "occlusion", "--limit", "8", "--threads", "1", "--json", str(path)]
    monkeypatch.setattr("sys.argv", ["planted.py", "-o", str(tmp_path), *arguments])
    planted.main()
    text = capsys.readouterr().out
    found = json.loads(path.read_text())["nested"]
    assert set(found["methods"]) == {"seqmask", "occlusion"}
    assert set(found["accuracy"]) == set(found["methods"]["seqmask"]["ranks"]) | {"phylum"}
    assert "above every rival by token and nucleotide: " in text
    assert f"{found['accuracy']['phylum']:.3f}" in text


def method(token: float, nt: float, decoys: float = 0.0) -> dict[str, Any]:
    def of(auprc: float) -> dict[str, Any]:
        return {"auprc": {"mean": auprc}, "decoy_hit_rate": {"mean": decoys}}

    return {"all": {"deciding": {"token": of(token), "nt": of(nt)}}}


def test_a_task_is_won_at_both_levels_or_not_at_all(planted: Any) -> None:
    results = {
        "won": {"accuracy": {"a": 0.99}, "methods": {"seqmask": method(0.9, 0.8, 0.02), "ig": method(0.8, 0.7)}},
        "lost": {"accuracy": {"a": 0.97}, "methods": {"seqmask": method(0.8, 0.9), "ig": method(0.7, 0.91)}},
        "tie": {"accuracy": {"a": 0.98}, "methods": {"seqmask": method(0.7, 0.7), "ig": method(0.7, 0.6)}},
    }
    text = "\n".join(planted.summary(results))
    assert "token 0.800" in text
    assert "nt 0.800" in text
    assert "1 of 3 tasks" in text
    assert "largest decoy hit rate 0.020" in text
    assert "least accuracy of a classifier 0.970" in text
