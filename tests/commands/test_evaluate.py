"""`seqmask evaluate`: what docs/evaluation.md promises, controls beside every figure, and flags that have teeth."""

from __future__ import annotations

import copy
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

from seqmask.cli.tables import print_report
from seqmask.models.checkpoint import load_classifier, load_model, save_classifier, save_explainer

Run = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
RANKS = ("superkingdom", "phylum", "genus")
SAME_AREA = ("random", "shuffled", "shifted", "other_sequence", "complexity", "gc")
LIMIT, SAMPLE = 40, 15


@pytest.fixture(scope="module")
def judge(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same classifier under another name: 5-mers, ranks and classes in another order, and other weights."""
    import torch

    from seqmask.labels.ranks import Rank, Ranks
    from seqmask.models.classifier import Classifier
    from seqmask.models.encoders import configuration
    from seqmask.sequences.tokens import KmerTokenizer

    directory, tokenizer = tmp_path_factory.mktemp("judge") / "judge", KmerTokenizer(5, 5)
    ours = load_classifier(tiny_model).ranks
    ranks = Ranks(tuple(Rank(rank.name, (*rank.classes[::-1], "another")) for rank in ours.ranks[::-1]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network = Classifier(configuration("tiny", tokenizer.vocabulary_size, 64), ranks.sizes, "blend")
        torch.nn.init.normal_(network.head.weight, std=2)
    save_classifier(directory, network, tokenizer, ranks, {})
    return directory


@pytest.fixture(scope="module")
def other(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another Explainer of the same classifier."""
    import torch

    copy = shutil.copytree(tiny_model, tmp_path_factory.mktemp("other") / "other")
    model = load_model(copy)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        torch.nn.init.normal_(model.explainer.head.weight, std=1)
    save_explainer(copy, model.explainer, model.classifier, 0.5, "blend", {})
    return copy


@pytest.fixture(scope="module")
def labelled(
    run: Run, reads: Path, labels: Path, tiny_model: Path, judge: Path, other: Path, tmp_path_factory: Any
) -> tuple[Any, dict[str, Any]]:
    """One evaluation with everything against true labels: what it printed, and its JSON."""
    path = tmp_path_factory.mktemp("evaluate") / "report.json"
    options = ("--limit", LIMIT, "--sample", SAMPLE, "--judge", judge, "--other", other)
    done = run("evaluate", reads, "-m", tiny_model, "-l", labels, "--json", path, *options)
    assert done.code == 0, done.err
    return done, json.loads(path.read_text())


@pytest.fixture(scope="module")
def unlabelled(
    run: Run, reads: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, dict[str, Any]]:
    """One evaluation against the classifier's own predictions."""
    path = tmp_path_factory.mktemp("evaluate") / "report.json"
    done = run("evaluate", reads, "-m", tiny_model, "--limit", LIMIT, "--sample", SAMPLE, "--json", path)
    assert done.code == 0, done.err
    return done, json.loads(path.read_text())


def test_files_of_one_name_have_a_digest_each(run: Run, tiny_model: Path, reads: Path, tmp_path: Path) -> None:
    paths = [tmp_path / name / "x.fasta" for name in "ab"]
    for base, path in zip("AC", paths, strict=True):
        path.parent.mkdir()
        path.write_text(f">{base}\n{'ACGGTCA' * 20}{base}\n")
    common = ("-m", tiny_model, "--sample", 1, "-x", "cpu", "-t", 1, "-q")
    for given, names in ((paths, {str(path) for path in paths}), (paths[:1], {"x.fasta"})):
        done = run("evaluate", *given, *common, "--json", tmp_path / "x.json", "--force")
        assert done.code == 0, done.err
        assert set(json.loads((tmp_path / "x.json").read_text())["data_sha256"]) == names


def test_labels_of_one_rank_are_enough(
    run: Run, reads: Path, labels: Path, tiny_model: Path, tmp_path: Path, labelled: tuple[Any, dict[str, Any]]
) -> None:
    """The others are said to have no truth, and what is scored does not change."""
    rows = [line.split("\t") for line in labels.read_text().splitlines()]
    chosen = [rows[0].index(name) for name in ("id", "phylum")]
    table, path = tmp_path / "phylum.tsv", tmp_path / "report.json"
    table.write_text("".join("\t".join(row[i] for i in chosen) + "\n" for row in rows))
    done = run("evaluate", reads, "-m", tiny_model, "-l", table, "--limit", LIMIT, "--sample", SAMPLE, "--json", path)
    assert done.code == 0, done.err
    report = json.loads(path.read_text())["ranks"]
    assert {name: bool(rank["scored"]) for name, rank in report.items()} == {name: name == "phylum" for name in report}
    assert report["phylum"]["rows"]["seqmask"] == labelled[1]["ranks"]["phylum"]["rows"]["seqmask"]


@pytest.mark.parametrize(
    ("gap", "low", "told"), [(0.1, -0.05, True), (0.1, 0.0, True), (0.1, 0.05, False), (-0.1, -0.2, False)]
)
def test_a_gap_that_may_be_chance_is_said_so(
    labelled: tuple[Any, dict[str, Any]], capsys: pytest.CaptureFixture[str], gap: float, low: float, told: bool
) -> None:
    """One that is not above 0 has a red flag instead."""
    report = copy.deepcopy(labelled[1])
    report["ranks"]["phylum"]["best_control"] |= {"gap": gap, "interval": [low, 0.3]}
    print_report(report)
    assert ("phylum: the gap may be chance" in capsys.readouterr().out) is told


def test_without_an_interval_none_is_shown(
    labelled: tuple[Any, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a single species: there is nothing to draw."""
    report = copy.deepcopy(labelled[1])
    nothing = [float("nan"), float("nan")]
    report["ranks"]["phylum"]["best_control"] |= {"gap": 0.123, "interval": nothing}
    report["ranks"]["phylum"]["full"]["interval"] = nothing
    print_report(report)
    out = capsys.readouterr().out
    assert "nan" not in out
    assert "+0.123" in out
    assert "phylum: no interval, as there is one" in out


def test_names_from_files_are_no_markup(
    labelled: tuple[Any, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    report = copy.deepcopy(labelled[1])
    half = {"mean": 0.5, "interval": [0.4, 0.6]}
    keys = ("inside", "outside", "ratio", "kept_inside", "kept_outside", "kept_ratio")
    kinds = {name: {"sequences": 9, **dict.fromkeys(keys, half)} for name in ("CDS[/x]", "[gene=cox1]", "tRNA:bug:")}
    print_report(report | {"annotations": {"tracks": {"all": kinds}}})
    out = capsys.readouterr().out
    assert all(name in out for name in kinds)


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
        gap = documented("A gap:")
        assert set(rank["gaps"]) == set(SAME_AREA)
        assert all(set(of) == gap for of in (*rank["gaps"].values(), rank["above_full"]))
        assert set(rank["best_control"]) == {"name", "accuracy", *gap}
        scores = [rank["full"], *(row[which] for row in rank["rows"].values() for which in ("masked", "inverse"))]
        assert all(set(score) == documented("A score:") for score in scores)
        assert set(rank["fractions"]) == set(rank["eraser"]) == set(rank["auc"]) == {"seqmask", "random"}
        assert all(set(of) == {"0.05", "0.1", "0.2", "0.4"} for of in rank["fractions"].values())
        points = [point for of in rank["fractions"].values() for point in of.values()]
        orders = [*rank["eraser"].values(), *rank["auc"].values(), *points]
        assert all(set(of["intervals"]) == set(of) - {"intervals"} for of in orders)
        assert {key for of in orders for key in of} == documented("An order:")
        assert set(rank["confidence"]) == documented("The confidence:")
        assert set(rank["probe"]) == documented("The probe:")
        assert set(rank["judge"]) == documented("The judge:")
        assert set(rank["judge"]["judge"]) == set(rank["judge"]["classifier"]) == {"full", "masked", "inverse"}
        assert set(rank["calibration"]) == {"removed", "bins", "monotonicity"}
        assert set(rank["smallest"]) == {"seqmask", "random"}
        assert all(set(of) == {"area", "holds"} for of in rank["smallest"].values())
        assert all(set(of) == documented("A bin:") for of in rank["calibration"]["bins"])
        assert len(rank["calibration"]["bins"]) == 10
    assert set(report["mask"]) == documented("A mask's shape:")
    assert set(report["mask"]["consistency"]) == documented("The consistency:")


def test_no_figure_is_not_a_number(labelled: tuple[Any, dict[str, Any]]) -> None:
    """What is undefined is null: NaN is no JSON."""

    def numbers(part: Any) -> list[float]:
        if isinstance(part, dict):
            return [n for of in part.values() for n in numbers(of)]
        if isinstance(part, list):
            return [n for of in part for n in numbers(of)]
        return [part] if isinstance(part, float) else []

    assert np.isfinite(numbers(labelled[1])).all()


def test_json_says_what_was_scored(
    labelled: tuple[Any, dict[str, Any]], reads: Path, labels: Path, tiny_model: Path, judge: Path, other: Path
) -> None:
    _, report = labelled
    model = load_model(tiny_model)
    assert (report["tool"], report["report"], report["against"]) == ("seqmask", "evaluate", "true labels")
    assert (report["model"], report["operator"], report["threshold"]) == ("tiny", "blend", model.threshold)
    assert (report["classifier_sha256"], report["explainer_sha256"]) == (model.classifier.sha256, model.sha256)
    assert (report["sequences"], report["left_out"], report["seed"], report["split"]) == (LIMIT, 0, 1, None)
    assert report["sampled"] == report["mask"]["consistency"]["sequences"] == SAMPLE
    assert report["judge_sha256"] == load_classifier(judge).sha256
    assert report["other_sha256"] == load_model(other).sha256
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
        for name, of in rank["gaps"].items():
            difference = rows["seqmask"]["masked"]["accuracy"] - rows[name]["masked"]["accuracy"]
            assert of["gap"] == pytest.approx(difference)
            if rank["scored"] > 1:  # a single sequence has no interval
                assert of["interval"][0] <= difference + 1e-9
                assert difference <= of["interval"][1] + 1e-9
        above = rows["seqmask"]["masked"]["balanced_accuracy"] - rank["full"]["balanced_accuracy"]
        assert rank["above_full"]["balanced"] == pytest.approx(above)
        judge = rank["judge"]
        assert judge["shared_classes"] == rank["classes"], "the judge knows one more"
        assert judge["classifier"]["masked"]["mean"] == pytest.approx(rows["seqmask"]["masked"]["accuracy"])
        assert judge["gap"]["mean"] == pytest.approx(
            judge["classifier"]["masked"]["mean"] - judge["judge"]["masked"]["mean"]
        )
        assert rank["calibration"]["removed"] > 0
        assert sum(of["trials"] for of in rank["calibration"]["bins"]) > 0
        low, high = rows["seqmask"]["masked"]["interval"]
        if rank["scored"] > 1:
            assert low <= rows["seqmask"]["masked"]["accuracy"] <= high
        else:
            assert low is high is None
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
        assert rank["confidence"] is None, "no calibration without the truth"
        assert rank["judge"] is None
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
        assert f"{rank['eraser']['seqmask']['comprehensiveness']:.2f}" in done.text
        probe = rank["probe"]["accuracy"]  # none where too few sequences share a class
        assert probe is None or f"{probe:.3f}" in done.text
        assert f"{rank['judge']['gap']['mean']:+.3f}" in done.text
        for part in (rank["full"], rank["rows"]["seqmask"]["masked"], rank["rows"]["seqmask"]["inverse"]):
            assert f"{part['accuracy']:.3f}" in done.text
            low, high = part["interval"]  # none where a single sequence is scored
            assert low is None or f"({low:.3f}-{high:.3f})" in done.text
    for name in RANKS:
        assert name in done.text


def test_the_widest_table_is_not_cut_off_either(
    labelled: tuple[Any, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    _, report = labelled
    report = json.loads(json.dumps(report))
    wide = report["ranks"].pop("superkingdom")
    wide["best_control"] = {
        **wide["best_control"],
        "name": "other_sequence",
        "accuracy": 0.123,
        "gap": -0.456,
        "interval": [-0.789, -0.321],
    }
    report["ranks"]["a rank of a long name"] = wide
    report["red_flags"] = [f"genus: {'a long sentence ' * 12}"]
    print_report(report)
    text = capsys.readouterr().out
    assert "…" not in text
    assert all(part in text for part in ("-0.456", "-0.321)", "other_sequence", "0.123", report["red_flags"][0]))


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


def test_sequences_of_one_species_are_drawn_together(
    run: Run,
    reads: Path,
    labels: Path,
    tiny_model: Path,
    judge: Path,
    tmp_path: Path,
    labelled: tuple[Any, dict[str, Any]],
) -> None:
    """Where the table says which they are, unless told otherwise; only the intervals differ."""
    table, path = tmp_path / "labels.tsv", tmp_path / "report.json"
    head, *lines = labels.read_text().splitlines()
    table.write_text(
        "\n".join([f"{head}\tspecies", *(f"{line}\t{line.split(chr(9))[2]} one" for line in lines)]) + "\n"
    )
    found = {}
    for column in ("species", "none", "superkingdom"):
        given = () if column == "species" else ("--resample-by", column)
        given += ("--judge", judge, "--rivals", "random", "--rivals-limit", 9) if column == "species" else ()
        options = ("--limit", LIMIT, "--sample", SAMPLE, "--json", path, "--force")
        done = run("evaluate", reads, "-m", tiny_model, "-l", table, *options, *given)
        assert done.code == 0, done.err
        assert (f"sequences of one {column} are drawn together" in done.err) is (column != "none")
        found[column] = json.loads(path.read_text())
    assert {report["ranks"]["phylum"]["full"]["accuracy"] for report in found.values()} == {
        labelled[1]["ranks"]["phylum"]["full"]["accuracy"]
    }
    assert found["species"]["resample_by"] == "species"
    assert 3 < found["species"]["clusters"] < LIMIT
    assert (found["none"]["resample_by"], found["none"]["clusters"]) == (None, None)
    intervals = [report["ranks"]["phylum"]["full"]["interval"] for report in (found["species"], found["none"])]
    assert intervals[1] == labelled[1]["ranks"]["phylum"]["full"]["interval"] != intervals[0]
    # By the rank whose groups are in the report the interval can be drawn by hand
    rank = found["superkingdom"]["ranks"]["superkingdom"]
    scored = np.array([of["scored"] for of in rank["groups"]])
    right = scored * [of["full"]["mean"] for of in rank["groups"]]
    drawn = np.random.default_rng(1).integers(0, len(scored), (1000, len(scored)))
    expected = np.percentile(right[drawn].sum(axis=1) / scored[drawn].sum(axis=1), [2.5, 97.5])
    np.testing.assert_allclose(rank["full"]["interval"], expected, atol=1e-9)


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


def as_masked(run: Run, reads: Path, model: object, tmp_path: Path, which: str, frames: int) -> list[float]:
    """Areas of `mask --check` or `--smallest`, the finest rank's; `evaluate` finds these and the same predictions."""
    path, table = tmp_path / f"x{which}.json", tmp_path / f"x{which}.tsv"
    smallest = [which] * (which == "--smallest")
    run("evaluate", reads, "-m", model, "--json", path, "--frames", frames, "--sample", 1, *smallest)
    run("mask", reads, "-m", model, "--tsv", table, which, "--frames", frames)
    report = json.loads(path.read_text())
    assert report["smallest"] is bool(smallest)
    header, *lines = (line.split("\t") for line in table.read_text().splitlines())
    column = {name: [line[i] for line in lines] for i, name in enumerate(header)}
    areas = [*map(float, column["kept_fraction"])]
    shape = report.get("mask") or report["ranks"][RANKS[-1]]["mask"]
    assert shape["area"]["mean"] == pytest.approx(np.mean(areas), abs=1e-4)
    for rank in RANKS:
        row = report["ranks"][rank]["rows"]["seqmask"]
        for side in ("masked", "inverse"):
            same = np.mean([a == b for a, b in zip(column[rank], column[f"{rank}_{side}"], strict=True)])
            assert row[side]["agreement"] == pytest.approx(same)
    return areas


@pytest.mark.parametrize("frames", [1, 3])
def test_the_same_path_as_mask(run: Run, few: Path, tiny_model: Path, tmp_path: Path, frames: int) -> None:
    """The accuracy of the hard masks is that of `mask --check`, and so is the area."""
    as_masked(run, few, tiny_model, tmp_path, "--check", frames)


def test_the_smallest_masks_are_those_of_mask(run: Run, few: Path, tmp_path: Path) -> None:
    """By a model whose masks can hold: these are smaller."""
    (tmp_path / "some.fasta").write_text(">".join(few.read_text().split(">")[:4]))
    usual, least = (
        as_masked(run, tmp_path / "some.fasta", "genomes", tmp_path, which, 1) for which in ("--check", "--smallest")
    )
    assert len(usual) == len(least) == 3
    assert np.mean(least) < 0.8 * np.mean(usual)


def test_a_mask_for_each_rank(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Each rank is scored under its own track, and the shape of the masks stands with the rank."""
    import torch

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
    assert len({report["ranks"][rank]["mask"]["consistency"]["reverse_complement"]["mean"] for rank in RANKS}) == 3
    done = run("mask", "-q", few, "-m", copy, "-o", tmp_path / "x", "--check")
    assert (done.code, done.err) == (0, "")
    header, *lines = (line.split("\t") for line in (tmp_path / "x.tsv").read_text().splitlines())
    column = {name: [line[i] for line in lines] for i, name in enumerate(header)}
    for rank in RANKS:
        row = report["ranks"][rank]["rows"]["seqmask"]
        for which in ("masked", "inverse"):
            same = np.mean([a == b for a, b in zip(column[rank], column[f"{rank}_{which}"], strict=True)])
            assert row[which]["agreement"] == pytest.approx(same), "each rank is checked with its own mask"
    assert {line.split("\t")[3].split(":")[0] for line in (tmp_path / "x.bed").read_text().splitlines()} == set(RANKS)


def test_a_rank_without_a_scored_sequence_is_said_so(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    """No figure, no flag, no nan: a sentence."""
    table = tmp_path / "labels.tsv"
    names = [line[1:].split()[0] for line in few.read_text().splitlines() if line.startswith(">")]
    rows = [f"{name}\tBacteria\tPseudomonadota\tnever heard of" for name in names]
    table.write_text("\n".join(["id\tsuperkingdom\tphylum\tgenus", *rows]) + "\n")
    done = run("evaluate", few, "-m", tiny_model, "-l", table, "--json", tmp_path / "x.json")
    assert done.code == 0
    assert "genus: no sequence of a class that the model knows: nothing is scored at this rank" in done.text
    assert f"genus: {table} has names such as never heard of, the model such as Bacillus" in done.err
    assert "nan" not in done.text.lower().replace("uninan", "")
    report = json.loads((tmp_path / "x.json").read_text())
    rank = report["ranks"]["genus"]
    assert (rank["scored"], rank["best_control"], rank["full"]["accuracy"]) == (0, None, None)
    assert rank["auc"]["seqmask"]["insertion"] > 0, "what needs no label is there"
    assert not any(flag.startswith("genus") for flag in report["red_flags"])


def test_who_may_judge(run: Run, few: Path, tiny_model: Path, judge: Path, tmp_path: Path) -> None:
    """One clear line: a judge of other ranks, the classifier itself, an Explainer of another classifier."""
    from seqmask.models.explainer import Explainer

    labels = json.loads((tiny_model / "labels.json").read_text())
    for rank, name in zip(labels["ranks"], ("superkingdom", "phylum", "species"), strict=True):
        rank["name"] = name
    wrong = shutil.copytree(tiny_model, tmp_path / "wrong")
    (wrong / "labels.json").write_text(json.dumps(labels))
    cases = {
        ("--judge", wrong): f"{wrong}: a judge of the ranks superkingdom, phylum, species; expected superkingdom, "
        "phylum, genus; train a judge of the same ranks",
        (
            "--judge",
            tiny_model,
        ): f"{tiny_model}: the judge is the classifier itself, which can not judge its own masks; "
        "train one with another seed",
        ("--other", tiny_model): f"{tiny_model}: the same Explainer; give one that was trained with another seed",
    }
    for options, message in cases.items():
        done = run("evaluate", "-q", few, "-m", tiny_model, *options)
        assert (done.code, done.out, done.err) == (1, b"", f"seqmask: error: {message}\n")
    foreign = load_classifier(shutil.copytree(judge, tmp_path / "foreign"))
    save_explainer(tmp_path / "foreign", Explainer.like(foreign.network), foreign, 0.5, "blend", {})
    done = run("evaluate", "-q", few, "-m", tiny_model, "--other", tmp_path / "foreign")
    assert done.code == 1
    assert re.fullmatch(
        r"seqmask: error: \S+: an Explainer of classifier \w{12}; expected one of classifier \w{12}; .*\n", done.err
    )
