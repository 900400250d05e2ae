"""`seqmask evaluate --rivals`: one table for our masks and other methods, and its JSON as documented."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from seqmask.commands.evaluate import evaluate
from seqmask.config import Compute, EvaluateOptions
from seqmask.inference.engine import Engine
from seqmask.models.checkpoint import load_model
from seqmask.progress import Progress, Watch

Run = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
METHODS = ("seqmask", "occlusion", "rollout", "random")


@pytest.fixture(scope="module")
def compared(
    run: Run, few: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, dict[str, Any]]:
    """One evaluation beside methods that need no package: what it printed, and its JSON."""
    path = tmp_path_factory.mktemp("rivals") / "report.json"
    options = ("--rivals", "occlusion,rollout", "--sample", 2, "--json", path)
    done = run("evaluate", few, "-m", tiny_model, *options)
    assert done.code == 0, done.err
    return done, json.loads(path.read_text())


def test_every_part_reads_as_many_windows_as_it_said(
    few: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the time left would be wrong. Partition SHAP may stop before its limit."""
    pytest.importorskip("lime")
    parts: list[tuple[str, int, int]] = []
    begin, engine = Watch.part, Engine(torch.device("cpu"), most=1)

    def part(watch: Watch, name: str, windows: int) -> None:
        parts.append((watch.name, watch.total, watch.read))
        begin(watch, name, windows)

    monkeypatch.setattr(Watch, "part", part)
    monkeypatch.setattr("seqmask.commands.evaluate.load", lambda path, compute, frames: (load_model(path), engine))
    heard: list[Progress] = []
    compute = Compute(device="cpu", threads=1)
    options = EvaluateOptions([str(few)], str(tiny_model), rivals="occlusion-odds,lime-20,rollout", compute=compute)
    evaluate(replace(options, sample=2, limit=5), lambda line: None, heard.append)
    assert len(parts) > 12
    for name, total, read in parts:
        # Tokens of a bin are removed where a record has enough of them; a record whose smallest mask is found is done
        least = 0.8 if "curves" in name else 0.3 if "smallest" in name or "keeps" in name else 1
        assert least * total <= read <= total, (name, total, read)
    assert [name for name, *_ in parts[1:6]] == [
        "masks of 5 sequences",
        "5 whole sequences",
        "consistency of the masks of 2 sequences",
        "masks and controls of 5 sequences",
        "top shares",
    ]
    assert {line.unit for line in heard} == {"windows"}
    assert all(line.step < line.steps for line in heard if line.steps)


def documented(heading: str) -> set[str]:
    """Keys of the table after a line of docs/evaluation.md."""
    text = (ROOT / "docs" / "evaluation.md").read_text()
    table = re.search(r"\n\| key .*?\n\n", text[text.index(f"\n{heading}\n") :], re.S)
    assert table is not None
    return {key for line in table[0].strip().splitlines()[2:] for key in re.findall(r"`(\w+)`", line.split("|")[1])}


def test_json_has_the_documented_keys(compared: tuple[Any, dict[str, Any]]) -> None:
    rivals = compared[1]["rivals"]
    assert set(rivals) == documented("The rivals:")
    assert tuple(rivals["methods"]) == METHODS
    for of in rivals["methods"].values():
        assert set(of) == documented("A method:")
        for kind in ("shared", "per_rank"):
            if of[kind] is not None:
                assert set(of[kind]) == documented("Its scores:")
                assert all(
                    set(rank) == {"fractions", "eraser", "smallest", "probe"} for rank in of[kind]["ranks"].values()
                )


def test_our_row_is_that_of_the_report(compared: tuple[Any, dict[str, Any]]) -> None:
    """Same sequences, same scoring: the figures of the top shares stand in both places."""
    report = compared[1]
    own = report["rivals"]["methods"]["seqmask"]["shared"]["ranks"]
    assert report["rivals"]["sequences"] == report["sequences"]
    for name, rank in report["ranks"].items():
        assert own[name]["fractions"] == rank["fractions"]["seqmask"]
        for figure in ("comprehensiveness", "sufficiency"):
            assert own[name]["eraser"][figure] == pytest.approx(rank["eraser"]["seqmask"][figure])


def test_every_method_is_printed(compared: tuple[Any, dict[str, Any]]) -> None:
    done, report = compared
    for name in METHODS:
        assert re.search(rf"(?m)^│ {name} ", done.text)
        for rank in report["ranks"]:
            assert re.search(rf"(?m)^│ {rank} {name} ", done.text)
        own = report["rivals"]["methods"][name]
        areas = [of["smallest"]["area"]["mean"] for of in (own["per_rank"] or own["shared"])["ranks"].values()]
        assert re.search(rf"(?m)^│ {name} " + "".join(rf".*{area:.3f}" for area in areas), done.text)
        assert re.search(rf"(?m)^{name}: [\d.]+ ms a sequence$", done.err)
    mean = report["rivals"]["methods"]["rollout"]["shared"]["separation"]["mean"]
    assert f"{mean:+.2f}" in done.text


def test_the_limit_takes_a_sample(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    found = []
    for seed in (1, 1, 2):
        path = tmp_path / f"{len(found)}.json"
        options = ("--rivals", "random", "--rivals-limit", 5, "--sample", 2, "--seed", seed, "--json", path)
        assert run("evaluate", "-q", few, "-m", tiny_model, *options).code == 0
        rivals = json.loads(path.read_text())["rivals"]
        assert rivals["sequences"] == 5
        found.append({name: of["shared"] for name, of in rivals["methods"].items()})
    assert found[0] == found[1] != found[2]


def test_bad_rivals_are_found_before_anything_is_read(run: Run, tmp_path: Path) -> None:
    done = run("evaluate", tmp_path / "absent.fasta", "--rivals", "lime,gradcam")
    assert done.code == 2
    assert re.fullmatch(r"seqmask: error: --rivals gradcam: no such method; expected .*\n", done.err)


def test_a_missing_package_is_a_usage_error(run: Run, few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = run("evaluate", few, "--rivals", "ig")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "in a clone of seqmask, pip install '.[rivals]'" in done.err
