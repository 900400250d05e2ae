"""`seqmask evaluate`: what docs/evaluation.md promises, controls beside every figure, and flags that have teeth."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqmask.evaluation.study import red_flags
from seqmask.models.checkpoint import load_model
from seqmask.terminal import print_report

Run = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
RANKS = ("superkingdom", "phylum", "genus")
SAME_AREA = ("random", "shuffled", "shifted", "other_sequence", "complexity", "gc")
LIMIT = 40


@pytest.fixture(scope="module")
def labelled(
    run: Run, reads: Path, labels: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, dict[str, Any]]:
    """One evaluation against true labels: what it printed, and its JSON."""
    path = tmp_path_factory.mktemp("evaluate") / "report.json"
    done = run("evaluate", reads, "-m", tiny_model, "-l", labels, "--limit", LIMIT, "--json", path)
    assert done.code == 0, done.err
    return done, json.loads(path.read_text())


@pytest.fixture(scope="module")
def unlabelled(
    run: Run, reads: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, dict[str, Any]]:
    """One evaluation against the classifier's own predictions."""
    path = tmp_path_factory.mktemp("evaluate") / "report.json"
    done = run("evaluate", reads, "-m", tiny_model, "--limit", LIMIT, "--json", path)
    assert done.code == 0, done.err
    return done, json.loads(path.read_text())


def documented(heading: str) -> set[str]:
    """Keys in the table after a line of docs/evaluation.md, up to the next blank line after the table."""
    text = (ROOT / "docs" / "evaluation.md").read_text()
    after = text[text.index(f"\n{heading}\n") :]
    table = re.search(r"\n\| key .*?\n\n", after, re.S)
    assert table is not None
    cells = [line.split("|")[1] for line in table[0].strip().splitlines()[2:]]
    return {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}


def test_json_has_exactly_the_documented_keys(labelled: tuple[Any, dict[str, Any]]) -> None:
    _, report = labelled
    assert set(report) == documented("## JSON")
    assert list(report["ranks"]) == list(RANKS)
    for rank in report["ranks"].values():
        assert set(rank) == documented("In each rank:")
        assert set(rank["rows"]) == {
            "seqmask",
            *SAME_AREA,
            "all_ones",
            "all_zeros",
            "seqmask (soft)",
            "constant (soft)",
        }
        assert set(rank["best_control"]) == {"name", "accuracy", "gap"}
        scores = [rank["full"], *(row[which] for row in rank["rows"].values() for which in ("masked", "inverse"))]
        assert all(set(score) == documented("A score:") for score in scores)
        assert set(rank["fractions"]) == set(rank["eraser"]) == {"seqmask", "random"}
        assert all(set(of) == {"0.05", "0.1", "0.2", "0.4"} for of in rank["fractions"].values())
    assert set(report["mask"]) == documented("A mask's shape:")


def test_json_says_what_was_scored(
    labelled: tuple[Any, dict[str, Any]], reads: Path, labels: Path, tiny_model: Path
) -> None:
    _, report = labelled
    model = load_model(tiny_model)
    assert (report["tool"], report["report"], report["against"]) == ("seqmask", "evaluate", "true labels")
    assert (report["model"], report["operator"], report["threshold"]) == ("tiny", "blend", model.threshold)
    assert (report["classifier_sha256"], report["explainer_sha256"]) == (model.classifier.sha256, model.sha256)
    assert (report["sequences"], report["left_out"], report["seed"], report["split"]) == (LIMIT, 0, 1, None)
    assert report["data_sha256"] == {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (reads, labels)}


def test_the_figures_hang_together(labelled: tuple[Any, dict[str, Any]]) -> None:
    _, report = labelled
    for rank in report["ranks"].values():
        rows = rank["rows"]
        assert 0 < rank["scored"] <= LIMIT
        for part in ("accuracy", "balanced_accuracy", "kl", "entropy"):
            assert rows["all_ones"]["masked"][part] == pytest.approx(rank["full"][part], abs=1e-4)
            assert rows["all_zeros"]["inverse"][part] == pytest.approx(rank["full"][part], abs=1e-4)
        assert rows["all_ones"]["masked"]["agreement"] == rank["full"]["agreement"] == 1
        best = rank["best_control"]
        assert best["name"] in SAME_AREA
        assert best["accuracy"] == max(rows[name]["masked"]["accuracy"] for name in SAME_AREA)
        assert best["gap"] == pytest.approx(rows["seqmask"]["masked"]["accuracy"] - best["accuracy"])
        low, high = rows["seqmask"]["masked"]["interval"]
        assert low <= rows["seqmask"]["masked"]["accuracy"] <= high
    shape = report["mask"]
    assert 0.2 < shape["area"]["mean"] < 0.8
    assert shape["area"]["p5"] <= shape["area"]["median"] <= shape["area"]["p95"]


def test_without_labels_the_classifier_is_right_by_definition(unlabelled: tuple[Any, dict[str, Any]]) -> None:
    done, report = unlabelled
    assert report["against"] == "the classifier's own predictions"
    assert "against the classifier's own predictions" in done.text
    for rank in report["ranks"].values():
        assert rank["full"]["accuracy"] == rank["full"]["balanced_accuracy"] == 1.0
        assert rank["full"]["interval"] == [1.0, 1.0]
        assert rank["scored"] == LIMIT
        row = rank["rows"]["seqmask"]["masked"]
        assert row["accuracy"] == row["agreement"] < 1


def test_against_true_labels_an_untrained_model_is_at_chance(labelled: tuple[Any, dict[str, Any]]) -> None:
    _, report = labelled
    assert report["ranks"]["superkingdom"]["full"]["accuracy"] < 0.6


def test_hard_masks_come_before_soft_ones(labelled: tuple[Any, dict[str, Any]]) -> None:
    """A soft figure is never the first that is read, and never without the constant mask beside it."""
    text = labelled[0].text
    first, controls, soft = (
        text.index(title)
        for title in ("hard masks, accuracy (95 % interval)", "hard masks and controls of the same area", "soft masks")
    )
    assert first < controls < soft
    lines = text.splitlines()
    at = [i for i, line in enumerate(lines) if "(soft)" in line]
    assert len(at) == 2
    assert at[1] == at[0] + 1, "one row directly under the other"
    assert "seqmask (soft)" in lines[at[0]]
    assert "constant (soft)" in lines[at[1]]
    assert text.index("seqmask (soft)") > soft


def test_no_figure_is_cut_off(labelled: tuple[Any, dict[str, Any]]) -> None:
    """The table is data: a gap that reads +0.0… is none."""
    done, report = labelled
    assert "…" not in done.text
    for rank in report["ranks"].values():
        assert f"{rank['best_control']['gap']:+.3f}" in done.text
        for part in (rank["full"], rank["rows"]["seqmask"]["masked"], rank["rows"]["seqmask"]["inverse"]):
            assert f"{part['accuracy']:.3f}" in done.text
            assert f"({part['interval'][0]:.3f}-{part['interval'][1]:.3f})" in done.text
    for name in RANKS:
        assert name in done.text


def test_the_widest_table_is_not_cut_off_either(
    labelled: tuple[Any, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    _, report = labelled
    report = json.loads(json.dumps(report))
    wide = report["ranks"].pop("superkingdom")
    wide["best_control"] = {"name": "other_sequence", "accuracy": 0.123, "gap": -0.456}
    report["ranks"]["a rank of a long name"] = wide
    report["red_flags"] = [f"genus: {'a long sentence ' * 12}"]
    print_report(report)
    text = capsys.readouterr().out
    assert "…" not in text
    assert all(part in text for part in ("-0.456", "other_sequence", "0.123", report["red_flags"][0]))


def test_every_flag_is_printed(labelled: tuple[Any, dict[str, Any]]) -> None:
    done, report = labelled
    assert report["red_flags"], "an untrained Explainer must not pass"
    printed = [line.removeprefix("RED FLAG ") for line in done.text.splitlines() if line.startswith("RED FLAG")]
    assert printed == report["red_flags"]
    assert "no red flag" not in done.text


def test_strict_fails_when_a_flag_fires(run: Run, few: Path, tiny_model: Path) -> None:
    lenient = run("evaluate", "-q", few, "-m", tiny_model)
    strict = run("evaluate", "-q", few, "-m", tiny_model, "--strict")
    count = lenient.text.count("RED FLAG")
    assert count > 0
    assert (lenient.code, lenient.err) == (0, "")
    assert strict.code == 1
    assert strict.out == lenient.out, "the tables are printed all the same"
    assert re.fullmatch(rf"seqmask: error: --strict: {count} red flags?\n", strict.err)


def test_strict_passes_without_a_flag(run: Run, few: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqmask.commands.evaluate.red_flags", lambda result: [])
    done = run("evaluate", "-q", few, "-m", tiny_model, "--strict")
    assert (done.code, done.err) == (0, "")
    assert "no red flag" in done.text


def score(accuracy: float, half: float = 0.05) -> dict[str, Any]:
    return {"accuracy": accuracy, "interval": [accuracy - half, accuracy + half]}


def example() -> dict[str, Any]:
    """A rank whose masks can be believed."""
    rows = {
        "seqmask": {"masked": score(0.9), "inverse": score(0.3)},
        "seqmask (soft)": {"masked": score(0.92), "inverse": score(0.5)},
        "constant (soft)": {"masked": score(0.7), "inverse": score(0.9)},
        "random": {"masked": score(0.6), "inverse": score(0.8)},
        "gc": {"masked": score(0.65), "inverse": score(0.8)},
    }
    best = {"name": "gc", "accuracy": 0.65, "gap": 0.25}
    return {"full": score(0.93), "rows": rows, "best_control": best}


FLAGS: dict[str, Callable[[dict[str, Any]], None]] = {
    r"genus: the control `gc` of the same area keeps as much": lambda rank: rank["best_control"].update(gap=0.0),
    r"genus: a constant mask keeps as much as the soft mask": lambda rank: rank["rows"]["constant (soft)"].update(
        masked=score(0.92)
    ),
    r"genus: masked accuracy is above full accuracy": lambda rank: rank.update(full=score(0.7)),
    r"genus: .* not necessary": lambda rank: rank["rows"]["seqmask"].update(inverse=score(0.8)),
}


def test_a_good_mask_raises_no_flag() -> None:
    assert red_flags({"ranks": {"domain": example(), "genus": example()}}) == []


@pytest.mark.parametrize("pattern", FLAGS)
def test_each_flag_fires_on_its_own(pattern: str) -> None:
    rank = example()
    FLAGS[pattern](rank)
    (flag,) = red_flags({"ranks": {"domain": example(), "genus": rank}})
    assert re.match(pattern, flag)


def test_split_and_limit(run: Run, reads: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Only the rows of the split; a sample of it is the same for the same seed."""
    table = tmp_path / "labels.tsv"
    source = (ROOT / "examples" / "reads.tsv").read_text().splitlines()
    lines = [f"{line}\t{'test' if i % 10 == 0 else 'train'}" for i, line in enumerate(source[1:])]
    table.write_text("\n".join([f"{source[0]}\tsplit", *lines]) + "\n")
    found = []
    for name, options in (("all", ()), ("one", ("--limit", 9)), ("two", ("--limit", 9)), ("three", ("--seed", 5))):
        limit = ("--limit", 9) if name == "three" else ()
        path = tmp_path / f"{name}.json"
        run("evaluate", reads, "-m", tiny_model, "-l", table, "--split", "test", "--json", path, *options, *limit)
        found.append(json.loads(path.read_text()))
    assert [(report["split"], report["sequences"]) for report in found] == [("test", 50), *[("test", 9)] * 3]
    assert found[1] == found[2]
    assert found[1]["mask"] != found[3]["mask"]


def test_threshold(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    for tau, area in ((0, 1.0), (1, 0.0)):
        path = tmp_path / f"{tau}.json"
        assert run("evaluate", few, "-m", tiny_model, "--threshold", tau, "--json", path).code == 0
        report = json.loads(path.read_text())
        assert (report["threshold"], report["mask"]["area"]["mean"]) == (tau, area)


def test_one_sequence_and_odd_ones(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    """No other sequence to take a mask from; records without tokens are counted, not scored."""
    one = few.read_bytes().split(b">")[1]
    path = tmp_path / "one.json"
    stdin = b">" + one + b">e\n>s\nACG\n>n\nNNNNNNNN\n"
    assert run("evaluate", "-", "-m", tiny_model, "--json", path, stdin=stdin).code == 0
    report = json.loads(path.read_text())
    assert (report["sequences"], report["left_out"], report["data_sha256"]) == (1, 3, {})
    assert "other_sequence" not in report["ranks"]["genus"]["rows"]


def test_json_to_a_fifo_leaves_the_fifo(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Devices, FIFOs and >(...) are written straight: renaming over them would replace /dev/null by a file."""
    import os

    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(fifo.read_text()), daemon=True)
    reader.start()
    assert run("evaluate", few, "-m", tiny_model, "--json", fifo).code == 0
    assert fifo.is_fifo()
    reader.join(10)
    assert json.loads(found[0])["tool"] == "seqmask"
    assert [item.name for item in tmp_path.iterdir()] == ["fifo"]


def test_json_to_stdout_is_json_alone(
    run: Run, few: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("evaluate", few, "-m", tiny_model, "--json", "-")
    assert list(tmp_path.iterdir()) == [], "no file named '-'"
    assert json.loads(done.out)["tool"] == "seqmask"


def test_the_same_path_as_mask(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    """The accuracy of the hard masks is that of `mask --check`, and so is the area."""
    path, table = tmp_path / "x.json", tmp_path / "x.tsv"
    run("evaluate", few, "-m", tiny_model, "--json", path)
    run("mask", few, "-m", tiny_model, "--tsv", table, "--check")
    report = json.loads(path.read_text())
    header, *lines = (line.split("\t") for line in table.read_text().splitlines())
    column = {name: [line[i] for line in lines] for i, name in enumerate(header)}
    for rank in RANKS:
        row = report["ranks"][rank]["rows"]["seqmask"]
        for which, name in (("masked", "masked"), ("inverse", "inverse")):
            same = np.mean([a == b for a, b in zip(column[rank], column[f"{rank}_{name}"], strict=True)])
            assert row[which]["agreement"] == pytest.approx(same)


def test_a_mask_for_each_rank(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Each rank is scored under its own track, and the shape of the masks stands with the rank."""
    import torch

    from seqmask.models.checkpoint import load_classifier, save_explainer
    from seqmask.models.explainer import Explainer

    copy = shutil.copytree(tiny_model, tmp_path / "three")
    classifier = load_classifier(copy)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        explainer = Explainer.like(classifier.network, 1, tracks=3)
        torch.nn.init.normal_(explainer.head.weight, std=0.2)
    save_explainer(copy, explainer, classifier, 0.5, "blend", {})
    assert run("evaluate", few, "-m", copy, "--json", tmp_path / "x.json").code == 0
    report = json.loads((tmp_path / "x.json").read_text())
    assert "mask" not in report
    shapes = [report["ranks"][rank]["mask"]["soft_area"]["mean"] for rank in RANKS]
    assert len(set(shapes)) == 3
    done = run("mask", "-q", few, "-m", copy, "-o", tmp_path / "x", "--check")
    assert (done.code, done.err) == (0, "")
    assert {line.split("\t")[3].split(":")[0] for line in (tmp_path / "x.bed").read_text().splitlines()} == set(RANKS)
