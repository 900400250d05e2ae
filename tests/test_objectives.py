"""`benchmarks/objectives.py` and `benchmarks/operators.py` run, and print what was measured."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from seqmask.errors import SeqmaskError

ROOT = Path(__file__).resolve().parent.parent
SMALL = ROOT / "examples" / "small"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_every_objective_has_a_line(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(tiny_model), str(SMALL / "small.fasta.gz"), "-l", str(SMALL / "small.tsv"), "--limit", "12"]
    arguments += ["--validation-limit", "12"]
    arguments += ["--steps", "1", "--batch-tokens", "512", "--variants", "budget", "weighted, soft"]
    load("objectives").main([*arguments, "--work", str(tmp_path), "--json", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())
    assert list(found) == ["start", "budget", "weighted, soft"]
    rows = capsys.readouterr().out.splitlines()[2:]
    for (name, values), row in zip(found.items(), rows, strict=True):
        assert row.startswith(name)
        assert f"{values['separation']:.3f}" in row
        # Of every known rank kept and removed at the four shares; the separation is the mean of their differences
        differences = [kept - removed for kept, removed in values["top"]]
        assert sum(differences) / 4 == pytest.approx(values["separation"], abs=1e-6)


def test_operators_print_the_report(tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    operators = load("operators")
    monkeypatch.setattr(sys, "path", sys.path[1:])
    stored = json.loads((ROOT / "docs" / "models" / "ssu" / "test_species.json").read_text())
    for name in ("gate", "blend"):  # what is finished is not done again
        for part in ("classifier", "model", "several"):
            (tmp_path / name / part).mkdir(parents=True)
        (tmp_path / name / "classifier" / "report.json").write_text("{}")
        (tmp_path / name / "model" / "explainer-report.json").write_text("{}")
        (tmp_path / name / "report.json").write_text(json.dumps(stored))
        level = {"auprc": {"mean": 0.9876}}
        methods = {"seqmask": {"all": {"deciding": {"token": level, "nt": level}}}}
        planted = {"accuracy": {"phylum": 0.99}, "methods": methods}
        (tmp_path / name / "several" / "planted.json").write_text(json.dumps(planted))

    def refused(*args: Any) -> None:
        raise SeqmaskError("operator scale hides nothing")

    monkeypatch.setattr(operators, "train_classifier", refused)
    operators.main(["reads.fasta", "-l", "labels.tsv", "-o", str(tmp_path), "--operators", "gate,blend,scale"])
    header, *rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    genus = stored["ranks"]["genus"]
    shown = dict(zip((*operators.HEADER[:-1], "judge_masked"), rows[2], strict=True))
    assert header[:4] == ["operator", "rank", "full", "masked"]
    assert shown["operator"] == "gate"
    assert shown["rank"] == "genus"
    assert float(shown["inverse"]) == pytest.approx(genus["rows"]["seqmask"]["inverse"]["accuracy"], abs=6e-4)
    assert float(shown["control"]) == pytest.approx(genus["best_control"]["accuracy"], abs=6e-4)
    assert float(shown["judge_masked"]) == pytest.approx(genus["judge"]["judge"]["masked"]["mean"], abs=6e-4)
    assert rows[6] == ["scale", "operator", "scale", "hides", "nothing"]
    assert rows[-2:] == [
        [name, "0.988", "/", "0.988,", "accuracy", "of", "the", "classifier", "0.990"] for name in ("gate", "blend")
    ]
