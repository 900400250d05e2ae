"""`train-classifier` and `train-explainer` on a few real sequences: what they write, and what they refuse."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seqmask.commands.held_out import every_tenth, last_tenth
from seqmask.commands.train_classifier import train_classifier
from seqmask.commands.train_explainer import train_explainer, verdict
from seqmask.config import ClassifierOptions, Compute, ExplainerOptions
from seqmask.errors import InputError, SeqmaskError, StoppedError, UsageError
from seqmask.evaluation import validation
from seqmask.evaluation.frontier import AREAS, FEW_AREAS, Point, Wanted
from seqmask.evaluation.scoring import Scorer, hard_masks
from seqmask.inference.engine import Engine
from seqmask.labels.ranks import Ranks
from seqmask.models.checkpoint import (
    CLASSIFIER_FILES,
    load_classifier,
    load_model,
    round_to_half,
    save_classifier,
    save_explainer,
)
from seqmask.models.crossing import CrossingEmbedding
from seqmask.models.explainer import FITTED
from seqmask.models.heads import LineageHeads
from seqmask.progress import Progress
from seqmask.sequences.records import read

Run = Callable[..., Any]
SMALL = Path(__file__).resolve().parents[2] / "examples" / "small"
TRAIN, VAL = 100, 12
REPEATABLE = ("-t", 1, "-x", "cpu", "--precision", "fp32")  # `auto` times a product, which another process may slow
QUICK = ("--steps", 4, "--validations", 2, "--batch-tokens", 1024, "--min-crop", 60, *REPEATABLE)
CHOSEN = {"head.bias", *FITTED}  # what is fitted where thresholds are chosen
TERMS = {"sufficiency", "necessity", "area", "variation", "bounds"}


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The first 190 nt, a window of 64 3-mers, of 112 real 16S and 18S pieces, and their labels: splits train, val."""
    directory = tmp_path_factory.mktemp("data")
    rows = [line.split("\t") for line in (SMALL / "small.tsv").read_text().splitlines()]
    of = {split: [row for row in rows[1:] if row[-1] == split] for split in ("train", "val")}
    rng = np.random.default_rng(0)
    chosen = [of[s][i] for s, n in (("train", TRAIN), ("val", VAL)) for i in sorted(rng.permutation(len(of[s]))[:n])]
    sequences = {record.name: record.sequence for record in read([str(SMALL / "small.fasta.gz")])}
    (directory / "few.fasta").write_text("".join(f">{row[0]}\n{sequences[row[0]][:190]}\n" for row in chosen))
    (directory / "few.tsv").write_text("\n".join("\t".join(row) for row in [rows[0], *chosen]) + "\n")
    return directory / "few.fasta", directory / "few.tsv"


def classify(run: Run, data: tuple[Path, Path], output: Path, *more: object) -> Any:
    size = ("-k", 3, "--stride", 3, "--max-tokens", 64, "--size", "tiny", "--min-per-class", 2)
    short = ("--bag-epochs", 8, "--steps", 5, "--batch-tokens", 1024, "--min-crop", 60, *REPEATABLE)
    return run("train-classifier", data[0], "-l", data[1], "-o", output, *size, *short, *more)


@pytest.fixture(scope="session")
def classifier(run: Run, data: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of 3-mers that has seen them for seconds."""
    output = tmp_path_factory.mktemp("trained") / "classifier"
    done = classify(run, data, output)
    assert done.code == 0, done.err
    return output


def explain(run: Run, data: tuple[Path, Path], classifier: Path, output: Path, *more: object) -> Any:
    return run("train-explainer", data[0], "-l", data[1], "--classifier", classifier, "-o", output, *QUICK, *more)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def test_what_training_leaves_out_or_counts_twice_is_said(run: Run, data: tuple[Path, Path], tmp_path: Path) -> None:
    """Splits by other names, placeholders, records that can not be read, names that come twice, rows of nothing."""
    lines = data[1].read_text().replace("\tval\n", "\tvalidation\n").splitlines()
    first = lines[1].split("\t")
    rows = ["\t".join([name, *first[1:]]) for name in ("short", "bare", "elsewhere")]
    parent = lines[0].split("\t").index("phylum")
    wrong = lines[-1].split("\t")
    wrong[parent] = next(row for line in lines[1:] if (row := line.split("\t")[parent]) != wrong[parent])
    wrong[0], wrong[-1] = "wrong", "train"
    (tmp_path / "more.tsv").write_text("\n".join([*lines, *rows, "\t".join(wrong)]) + "\n")
    records = data[0].read_text()
    (tmp_path / "more.fasta").write_text(
        records
        + ">short\nAC\n>bare\n"
        + "N" * 99
        + "\n>wrong\n"
        + "ACGT" * 30
        + "\n"
        + records.split(">")[1].join([">", ""])
    )
    done = classify(run, (tmp_path / "more.fasta", tmp_path / "more.tsv"), tmp_path / "classifier")
    assert done.code == 0, done.err
    assert "not trained on: 1 sequences shorter than 3 nt, 1 without A, C, G, T or U" in done.err
    assert "1 names come more than once, such as" in done.err
    assert "more.tsv: 1 of " in done.err
    assert "no sequences of split `val` (there are train, validation)" in done.err
    assert "scoring splits validation" in done.err
    assert "classes stand under several of phylum" in done.err


def test_a_table_without_splits(run: Run, data: tuple[Path, Path], tmp_path: Path) -> None:
    """Everything is trained on, and that is said; a table of no splits is not printed."""
    lines = [line.rsplit("\t", 1)[0] for line in data[1].read_text().splitlines()]
    (tmp_path / "bare.tsv").write_text("\n".join(lines) + "\n")
    done = classify(run, (data[0], tmp_path / "bare.tsv"), tmp_path / "classifier")
    assert done.code == 0, done.err
    assert "bare.tsv has no column `split`: all labelled sequences are trained on and nothing is held out" in done.err
    assert f"{TRAIN + VAL} training sequences" in done.err
    assert "accuracy on whole sequences" not in done.err
    assert read_json(tmp_path / "classifier" / "report.json")["splits"] == {}


def point(area: float, kept: float, removed: float, ranks: tuple[int, ...] = (0,)) -> Point:
    return Point(0.5, area, ranks, (kept,) * len(ranks), (removed,) * len(ranks), (0.4,) * len(ranks))


class TestVerdict:
    """What is said of the stored Explainer at the end."""

    @pytest.mark.parametrize(
        ("step", "stored", "said"),
        [
            (50, point(0.2, 1.0, 0.4), [r"best .* is that of step 50"]),
            (0, point(0.2, 1.0, 0.4), [r"the start: training gained nothing over it; .*--steps .*--learning-rate"]),
            (None, point(0.2, 1.0, 0.4), []),
            (None, point(0.3, 1.0, 0.4), [r"mask of phylum: area 0.30 is above --target-area 0.2: "]),
            (None, point(0.2, 0.9, 0.4), [r"mask of phylum: no area up to a half keeps 0.97 .* leaves no more than"]),
            (None, point(0.2, 1.0, 0.44), [r"mask of phylum: no area up to 0.35 .* at most 0.02 more .* at most 0.05"]),
            (None, point(0.4, 1.0, 0.6, (0, 1)), [r"mask of phylum, genus: no area"]),
        ],
    )
    def test_lines(self, step: int | None, stored: Point, said: list[str]) -> None:
        lines = list(verdict(step, [stored], Wanted(0.97), 0.2, ["phylum", "genus"]))
        assert len(lines) == len(said)
        assert all(re.search(pattern, line) for pattern, line in zip(said, lines, strict=True)), lines

    def test_the_step_is_that_of_the_candidate_that_won(
        self, run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path
    ) -> None:
        done = explain(run, data, classifier, tmp_path / "model", "--learning-rate", 0)
        assert done.code == 0, done.err
        assert "the best of the candidates is the start" in done.err  # at rate 0 all of them are the start

    @pytest.mark.parametrize(("share", "last"), [(0.5, 2), (0.6, 3), (0, None), (1, None)])
    def test_the_two_parts_are_announced(
        self, run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path, share: float, last: int | None
    ) -> None:
        """As many steps as log the first part's loss."""
        done = explain(run, data, classifier, tmp_path / "model", "--effects-share", share)
        assert done.code == 0, done.err
        history = read_json(tmp_path / "model" / "explainer-history.json")
        assert sum("effects" in row for row in history) == (last if last is not None else 4 * share)
        found = re.search(r"steps 1 to (\d+) fit measured effects of single tokens, the rest draw masks", done.err)
        assert (found and int(found[1])) == last


class TestExplainer:
    @pytest.mark.parametrize(
        "options",
        [
            (),
            ("--mask-per-rank",),
            ("--mask-per-rank", "--form", "constrained", "--necessity-kind", "null", "--named-share", 1),
            ("--form", "constrained"),
            ("--form", "weighted", "--area-weight", 2),
            ("--necessity-kind", "null"),
            ("--necessity-kind", "entropy", "--target", "true"),
            ("--named-share", 0.5, "--frames", 2),
            ("--target", "kl", "--operator", "gate", "--layers", 1),
        ],
        ids=lambda options: " ".join(map(str, options)) or "defaults",
    )
    def test_writes_a_model_with_its_threshold_at_a_half(
        self, run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path, options: tuple[object, ...]
    ) -> None:
        done = explain(run, data, classifier, tmp_path / "model", "--effects-share", 0.5, *options)
        assert (done.code, done.out) == (0, b""), done.err
        model = load_model(tmp_path / "model")
        tracks = 3 if "--mask-per-rank" in options else 1
        assert (model.threshold, model.explainer.tracks) == (0.5, tracks)
        report = read_json(tmp_path / "model" / "explainer-report.json")
        assert report["threshold"] == 0.5
        assert report["explainer_sha256"] == model.sha256
        chosen = model.settings["validation"]
        assert [point["threshold"] for point in chosen] == [0.5] * tracks
        assert [point["ranks"] for point in chosen] == ([[0], [1], [2]] if tracks == 3 else [[0, 1, 2]])
        self.check_masks(model, data, chosen)
        assert all(point["area"] < 0.55 for point in chosen)
        assert list(report["fewer_frames"]) == (["1"] if "--frames" in options else [])
        for number, points in report["fewer_frames"].items():
            assert model.fewer == {int(number): [point["threshold"] for point in points]}
            self.check_masks(model, data, points, int(number))
            shifted = load_model(tmp_path / "model")
            shifted.read_in(int(number))
            self.check_masks(shifted, data, [point | {"threshold": 0.5} for point in points], int(number))
        known, centred = (entry["frontier"] for entry in report["validation"][-2:])
        for old, track, point in zip(known, centred, chosen, strict=True):
            assert len(track) == len(old)
            for one, other in zip(old, track, strict=True):
                assert other == point or other == one | {"threshold": other["threshold"]}
            self.check_masks(model, data, track)
            assert point in track
            assert [of["area"] for of in track] == sorted(of["area"] for of in track)
        before = report["validation"][-2]["chosen"]
        assert all(point["threshold"] != 0.5 for point in before)
        assert [point["area"] for point in chosen] == pytest.approx([point["area"] for point in before], abs=0.02)
        assert [entry["step"] for entry in report["validation"]] == [0, 2, 4, 4, 4]

        history = read_json(tmp_path / "model" / "explainer-history.json")
        assert [row["step"] for row in history] == [0, 1, 2, 3]
        for row, terms in zip(history, [{"effects"}, {"effects"}, TERMS, TERMS], strict=True):
            assert set(row) == terms | {"step", "loss", "mean_mask", "spread"}
            assert row["loss"] == pytest.approx(sum(row[name] for name in terms), rel=1e-3)
        plot = (tmp_path / "model" / "explainer-training.svg").read_text()
        words = {element.text for element in ElementTree.fromstring(plot).iter() if element.text}
        assert TERMS | {"effects", "genus kept", "superkingdom removed", "mean_mask"} <= words
        assert ("area genus" if tracks == 3 else "area") in words
        assert not (tmp_path / "model" / "explainer-checkpoint.safetensors").exists()

    def check_masks(
        self, model: Any, data: tuple[Path, Path], points: Sequence[dict[str, Any]], frames: int = 0
    ) -> None:
        """Stored areas are those of the stored model: share of the nucleotides of `val` under tokens that reach tau."""
        labels = dict(line.split("\t", 1) for line in data[1].read_text().splitlines())
        val = [record for record in read([str(data[0])]) if labels[record.name].endswith("val")]
        scorer = Scorer.of(val, model.classifier, Engine(), model.operator, frames=frames or model.frames)
        masks = scorer.masks(model.explainer)
        for point in points:
            track = point["ranks"][0] if model.explainer.tracks > 1 else 0
            hard = hard_masks([mask[:, track] for mask in masks], scorer.spans(), point["threshold"])
            assert np.concatenate(hard).mean() == pytest.approx(point["area"], abs=1e-6)

    def test_soft_masks(self, run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path) -> None:
        done = explain(run, data, classifier, tmp_path / "model", "--soft", "--operator", "blend", "--force-operator")
        assert done.code == 0, done.err
        assert load_model(tmp_path / "model").threshold == 0.5

    def test_masks_of_the_stored_model(
        self, run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path
    ) -> None:
        """`mask` reads what was written, and keeps tokens at .5."""
        assert explain(run, data, classifier, tmp_path / "model").code == 0
        done = run("mask", data[0], "-m", tmp_path / "model", "--tsv", "-", "-x", "cpu")
        assert done.code == 0, done.err
        assert len(done.text.splitlines()) == TRAIN + VAL + 1
        assert "tau 0.5" in done.err

    def test_into_the_classifiers_own_directory(
        self, run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path
    ) -> None:
        own = shutil.copytree(classifier, tmp_path / "own")
        done = explain(run, data, own, own)
        assert done.code == 2
        assert "not empty" in done.err
        done = explain(run, data, own, own, "--force")
        assert done.code == 0, done.err
        assert load_model(own).threshold == 0.5
        for name in CLASSIFIER_FILES:
            assert (own / name).read_bytes() == (classifier / name).read_bytes()
        assert read_json(own / "classifier-report.json") == read_json(classifier / "report.json")
        again = explain(run, data, own, tmp_path / "other")  # a model directory is a classifier directory, too
        assert again.code == 0, again.err
        assert read_json(tmp_path / "other" / "classifier-report.json") == read_json(classifier / "report.json")
        assert (tmp_path / "other" / "explainer.safetensors").read_bytes() == (
            own / "explainer.safetensors"
        ).read_bytes()

    def test_need_is_fitted_stored_and_used(
        self, run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As if there were one: so few sequences show none. The masks that are stored are those that were measured."""
        monkeypatch.setattr(validation, "slope", lambda values, by: 0.75)
        monkeypatch.setattr(validation.Validation, "_gains", lambda self, one, other: one.ranks == (2,))
        done = explain(run, data, classifier, tmp_path / "o", "--mask-per-rank", "--min-agreement", 0.5)
        assert done.code == 0, done.err
        model = load_model(tmp_path / "o")
        assert model.explainer.need.tolist() == [0, 0, 0.75]
        assert model.explainer.usual[2] != 0
        assert read_json(tmp_path / "o" / "explainer-report.json")["need"] == [0, 0, 0.75]
        assert re.findall("mask of (.*): larger the surer the rest is of the class, need (.*)", done.err) == [
            ("genus", "0.75")
        ]
        self.check_masks(model, data, model.settings["validation"])

    def test_begins_with_the_explainer_of_another_model(
        self, run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path
    ) -> None:
        """Its weights, frames, operator and number of masks; what was said of it stays known."""
        own = ("--mask-per-rank", "--frames", 2, "--operator", "blend", "--force-operator")
        first = explain(run, data, classifier, tmp_path / "first", *own)
        assert first.code == 0, first.err
        begun = self.moved(tmp_path / "first")
        still = ("--learning-rate", 0, "--force-operator")
        done = run(
            "train-explainer", data[0], "-l", data[1], "--explainer", tmp_path / "first", "-o", tmp_path / "again",
            *QUICK, *still,
        )  # fmt: skip
        assert done.code == 0, done.err
        again = load_model(tmp_path / "again")
        assert (again.explainer.tracks, again.frames, again.operator) == (3, 2, "blend")
        before, after = begun.explainer.state_dict(), again.explainer.state_dict()
        assert all(before[name].equal(after[name]) for name in before if name not in CHOSEN)
        told = again.settings["began_with"]
        assert told == {"explainer_sha256": begun.sha256, "settings": begun.settings}
        options = again.settings["options"]
        assert (options["mask_per_rank"], options["frames"], options["classifier"]) == (
            True,
            2,
            str(tmp_path / "first"),
        )

    @pytest.mark.parametrize("named", ["classes", "labels", "nothing"])
    def test_thresholds_for_other_sequences(
        self, run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path, named: str
    ) -> None:
        """With `--steps 0`: of all sequences, where none are of `val`; of what is trained only biases change."""
        first = explain(
            run, data, classifier, tmp_path / "first", "--mask-per-rank", "--frames", 2, "--min-agreement", 0.5
        )
        assert first.code == 0, first.err
        before = self.moved(tmp_path / "first")
        lines = data[1].read_text().splitlines()
        if named == "classes":  # no column `split`
            lines = [line.rsplit("\t", 1)[0] for line in lines]
        (tmp_path / "own.tsv").write_text("\n".join(lines) + "\n")
        labels = () if named == "nothing" else ("-l", tmp_path / "own.tsv")
        asked = ("--steps", 0, *REPEATABLE)
        done = run("train-explainer", data[0], *labels, "--explainer", tmp_path / "first", "-o", tmp_path / "o", *asked)
        assert done.code == 0, done.err
        used = VAL if named == "labels" else TRAIN + VAL
        assert f"\n{used} validation sequences\n" in done.err
        assert (f"no sequences of split `val`: the {used} that may be trained on choose" in done.err) == (used != VAL)
        model = load_model(tmp_path / "o")
        changed = {
            name
            for name, value in before.explainer.state_dict().items()
            if not value.equal(model.explainer.state_dict()[name])
        }
        assert {"head.bias"} <= changed <= CHOSEN
        assert model.settings["options"]["min_agreement"] == 0.5
        chosen = model.settings["validation"]
        assert [point["threshold"] for point in chosen] == [0.5] * 3
        report = read_json(tmp_path / "o" / "explainer-report.json")
        assert [entry["step"] for entry in report["validation"]] == [0, 0]
        wanted, known = Wanted(0.5), report["validation"][0]
        for of_track, point in zip(known["frontier"], known["chosen"], strict=True):
            assert Point.of(point) == wanted.choose([Point.of(of) for of in of_track])
        assert set(model.fewer) == {1}
        assert not list((tmp_path / "o").glob("explainer-history*"))
        if named == "labels":
            self.check_masks(model, data, chosen)

    def moved(self, directory: Path) -> Any:
        """The model of a directory with other weights, so that they are no longer those that a new Explainer has."""
        model = load_model(directory)
        with torch.no_grad():
            model.explainer.mix.mul_(1.25)
            model.explainer.head.bias.add_(0.5)
        round_to_half(model.explainer)
        fewer = model.fewer
        save_explainer(
            directory, model.explainer, model.classifier, 0.5, model.operator, model.settings, model.frames, fewer
        )
        return load_model(directory)

    def test_thresholds_of_a_model_in_its_own_directory(
        self, run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path
    ) -> None:
        """What the training had drawn goes; --resume of it is another one, once the model is another."""
        own = tmp_path / "own"
        assert explain(run, data, classifier, own).code == 0
        assert (own / "explainer-training.svg").exists()
        before = load_model(own)
        words = ("train-explainer", data[0], "-l", data[1], "--explainer", own, "-o", own, "--steps", 0, *REPEATABLE)
        assert run(*words).code == 2  # the directory is not empty
        done = run(*words, "--force")
        assert done.code == 0, done.err
        assert load_model(own).settings["began_with"]["explainer_sha256"] == before.sha256
        assert not (own / "explainer-training.svg").exists()
        assert not (own / "explainer-history.json").exists()

    def test_another_explainer_is_another_training(
        self, run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path
    ) -> None:
        assert explain(run, data, classifier, tmp_path / "first").code == 0
        words = ("train-explainer", data[0], "--explainer", tmp_path / "first", "-o", tmp_path / "o", "--steps", 0)
        assert run(*words, *REPEATABLE).code == 0
        again = run(*words, *REPEATABLE, "--resume")
        assert (again.code, "finished already, with the same options" in again.err) == (0, True)
        self.moved(tmp_path / "first")
        other = run(*words, *REPEATABLE, "--resume")
        assert other.code == 2
        assert "holds a finished training with another began_with" in other.err

    def test_nothing_to_choose_thresholds_by(
        self, run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path
    ) -> None:
        assert explain(run, data, classifier, tmp_path / "first").code == 0
        table = data[1].read_text().replace("\ttrain\n", "\ttest\n").replace("\tval\n", "\ttest\n")
        (tmp_path / "test.tsv").write_text(table)
        words = ("train-explainer", data[0], "-l", tmp_path / "test.tsv", "--explainer", tmp_path / "first")
        done = run(*words, "-o", tmp_path / "o", "--steps", 0, *REPEATABLE)
        assert done.code == 1
        assert "test.tsv: no sequences to choose by, only of test; expected rows whose `split` is `val`" in done.err

    def test_what_can_not_be_begun_with(
        self, run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path
    ) -> None:
        assert explain(run, data, classifier, tmp_path / "first").code == 0
        other = classify(run, data, tmp_path / "other", "--seed", 2)
        assert other.code == 0, other.err
        begun = ("--explainer", tmp_path / "first")
        for words, said in (
            ((), "expected --classifier, or --explainer"),
            (("--classifier", classifier, "--steps", 0), "--steps 0 needs --explainer"),
            ((*begun, "--classifier", tmp_path / "other"), "not for that of --classifier"),
            ((*begun, "--layers", 1), "--layers is for a new Explainer"),
            ((*begun, "--mask-per-rank"), "has one mask for all ranks: leave out --mask-per-rank"),
            (("--explainer", "genoms"), "did you mean 'genomes'?"),
        ):
            done = run("train-explainer", data[0], "-l", data[1], "-o", tmp_path / "model", *QUICK, *words)
            assert done.code == 2, (words, done.err)
            assert said in done.err
            assert not (tmp_path / "model").exists()

    def test_without_labels(self, run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path) -> None:
        """Every tenth is held out; the classifier's own classes are the reference."""
        done = run("train-explainer", data[0], "--classifier", classifier, "-o", tmp_path / "model", *QUICK)
        assert done.code == 0, done.err
        assert "101 training sequences, 11 validation sequences" in done.err
        assert "sequences of any split are trained on: every tenth of them, 11 in all, are held out" in done.err
        assert load_model(tmp_path / "model").threshold == 0.5


def test_of_a_file_without_labels_every_part_is_held_out() -> None:
    assert np.flatnonzero(every_tenth(35)).tolist() == [9, 19, 29]
    assert [np.flatnonzero(every_tenth(n)).tolist() for n in (2, 9, 10)] == [[1], [8], [9]]


def test_of_a_file_that_is_sorted_by_taxon_each_class_is_held_out() -> None:
    held = last_tenth(np.repeat([3, 1, -1, 2], [20, 30, 12, 9]))
    assert np.flatnonzero(held).tolist() == [18, 19, 47, 48, 49, 61]
    assert np.flatnonzero(last_tenth(np.arange(25))).tolist() == [23, 24], "no class has ten"
    assert np.flatnonzero(last_tenth(np.zeros(2, np.int64))).tolist() == [1]


REFUSED: list[tuple[str, tuple[object, ...], str]] = [
    ("train-classifier", ("--precision", "fp16"), "--precision fp16: expected auto, fp32 or bf16"),
    ("train-explainer", ("--precision", "fp16"), "--precision fp16: expected auto, fp32 or bf16"),
    ("train-classifier", ("--phases", "3", "--no-crossing"), "--phases is of crossing k-mers"),
    ("train-classifier", ("--balanced-ranks", "genus,genus"), "--balanced-ranks: a rank comes twice"),
    ("train-explainer", ("--frames", "7"), "--frames 7: expected at most 3, the tokens' stride"),
    ("train-explainer", ("--form", "hard"), "--form hard: expected one of budget, constrained, weighted"),
    ("train-explainer", ("--necessity-kind", "none"), "--necessity-kind none: expected one of class, entropy, null"),
    ("train-explainer", ("--target", "best"), "--target best: expected one of predicted, true, kl"),
    ("train-explainer", ("--operator", "zero"), "--operator zero: expected one of .*scale, blend, gate"),
    ("train-classifier", ("--size", "huge"), "--size huge: expected one of tiny, mini, wide, small, base"),
    ("train-classifier", ("--operator", "zero"), "--operator zero: expected one of scale, blend, gate"),
    ("train-classifier", ("--min-crop", 200), "--min-crop 200: expected at most 192 nt, the longest window"),
    ("train-explainer", ("-o", "-f"), "an output is named -f, as if it were an option"),
    ("train-classifier", ("-o", "-f"), "an output is named -f, as if it were an option"),
]


class TestRefused:
    def test_files_without_a_record(self, run: Run, data: tuple[Path, Path], tmp_path: Path) -> None:
        empty = tmp_path / "empty.fasta"
        empty.write_bytes(b"")
        done = run("train-classifier", empty, "-l", data[1], "-o", tmp_path / "c", "--ranks", "genus")
        assert (done.code, done.out) == (1, b"")
        assert "nothing to train on: the sequence files hold no record; expected one or more" in done.err

    @pytest.mark.parametrize(("command", "options", "message"), REFUSED)
    def test_values_that_are_not_known(
        self,
        run: Run,
        data: tuple[Path, Path],
        classifier: Path,
        tmp_path: Path,
        command: str,
        options: tuple[object, ...],
        message: str,
    ) -> None:
        """Exit code 2 and one line, before anything is read or written."""
        if command == "train-explainer":
            done = explain(run, data, classifier, tmp_path / "x", *options, "-q")
        else:
            done = classify(run, data, tmp_path / "x", *options, "-q")
        assert (done.code, done.out) == (2, b"")
        assert re.fullmatch(rf"seqmask: error: {message}[^\n]*\n", done.err), done.err
        assert list(tmp_path.iterdir()) == []

    def test_crops_longer_than_the_classifiers_window(
        self, run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path
    ) -> None:
        done = explain(run, data, classifier, tmp_path / "x", "--min-crop", 200, "-q")
        assert done.code == 2
        assert re.fullmatch(r"seqmask: error: --min-crop 200: expected at most 192 nt[^\n]*\n", done.err), done.err

    def test_true_classes_need_labels(
        self, run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path
    ) -> None:
        done = run(
            "train-explainer", data[0], "--classifier", classifier, "-o", tmp_path / "x", "--target", "true", "-q"
        )
        assert (done.code, done.err) == (2, "seqmask: error: --target true needs --labels\n")

    def test_one_sequence(self, run: Run, classifier: Path, tmp_path: Path) -> None:
        """Nothing could be held out: it would never end."""
        (tmp_path / "one.fasta").write_text(">a\n" + "ACGTTGCA" * 20 + "\n")
        done = run(
            "train-explainer", tmp_path / "one.fasta", "--classifier", classifier, "-o", tmp_path / "x", *QUICK, "-q"
        )
        assert done.code == 1
        assert re.fullmatch(r"seqmask: error: .*one\.fasta: one sequence; expected two or more[^\n]*\n", done.err)


class Stopped(Exception):
    """Power failure."""


STEPS = 6
WRITTEN = ("explainer.safetensors", "explainer-report.json", "explainer-history.json", "explainer-training.svg")


def options_of(data: tuple[Path, Path], classifier: Path, output: Path) -> ExplainerOptions:
    """At a rate at which every step changes the masks."""
    return ExplainerOptions(
        classifier=classifier,
        sequences=[data[0]],
        labels=data[1],
        output=output,
        named_share=0.5,
        steps=STEPS,
        effects_share=0.5,
        effect_tokens=4,
        validations=3,
        batch_tokens=1024,
        min_crop=60,
        learning_rate=0.1,
        checkpoint_minutes=0,
        compute=Compute(device="cpu", threads=1),
    )


def train(options: ExplainerOptions, at: int = 0, how: str = "") -> list[str]:
    """What was said; stopped after step `at`. The start counts as the best Explainer: it must not be forgotten."""
    said: list[str] = []

    def report(progress: Progress) -> None:
        if progress.step == at and how == "failure":
            raise Stopped
        if progress.step == at:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Wanted, "better", lambda *_: False)
        train_explainer(options, report, said.append)
    return said


@pytest.fixture(scope="module")
def whole(data: tuple[Path, Path], classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nobody disturbed."""
    output: Path = tmp_path_factory.mktemp("whole") / "model"
    train(options_of(data, classifier, output))
    validated = read_json(output / "explainer-report.json")["validation"]
    assert [entry["step"] for entry in validated] == [0, 2, 4, STEPS, STEPS, STEPS]
    *seen, chosen, _ = ([[point["kept"] for point in track] for track in entry["frontier"]] for entry in validated)
    assert [[track[AREAS.index(area)] for area in FEW_AREAS] for track in chosen] == seen[0]
    assert seen[0] not in seen[1:], "or it makes no difference which one is stored"
    return output


def test_an_explainer_for_a_rank_without_labels(
    run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path
) -> None:
    """What the classifier says counts as right there; a rank that nothing is known of must not choose any area."""
    rows = [line.split("\t") for line in data[1].read_text().splitlines()]
    chosen = [rows[0].index(name) for name in ("id", "phylum", "split")]
    table = tmp_path / "phylum.tsv"
    table.write_text("".join("\t".join(row[i] for i in chosen) + "\n" for row in rows))
    done = explain(run, (data[0], table), classifier, tmp_path / "some", "--mask-per-rank")
    assert done.code == 0, done.err
    assert "superkingdom, genus: the labels of the validation sequences name no class" in done.err
    assert f"genus: {table} has no such column" in done.err
    for point in read_json(tmp_path / "some" / "explainer.json")["settings"]["validation"]:
        assert np.isfinite(point["chance"]).all(), "a rank without any class has none"


class TestResume:
    """A run that was stopped ends as the run that was not."""

    @pytest.mark.parametrize(("at", "how"), [(1, "failure"), (4, "failure"), (6, "failure"), (6, "signal")])
    def test_the_same_model_bit_for_bit(
        self, data: tuple[Path, Path], classifier: Path, whole: Path, tmp_path: Path, at: int, how: str
    ) -> None:
        options = options_of(data, classifier, tmp_path / "model")
        with pytest.raises((Stopped, SeqmaskError)) as caught:
            train(options, at, how)
        assert caught.type is Stopped or "stopped by SIGTERM" in str(caught.value)
        assert not (tmp_path / "model" / "explainer.safetensors").exists()
        said = train(replace(options, resume=True))
        assert any(line.startswith("step 0:") for line in said) is (at == 1), "what was scored is not scored again"
        for name in WRITTEN:
            assert (tmp_path / "model" / name).read_bytes() == (whole / name).read_bytes(), name
        assert not (tmp_path / "model" / "explainer-checkpoint.safetensors").exists()

    def test_another_classifier_is_refused(self, data: tuple[Path, Path], classifier: Path, tmp_path: Path) -> None:
        """At the same path, but trained anew since."""
        own = shutil.copytree(classifier, tmp_path / "classifier")
        options = options_of(data, own, tmp_path / "model")
        with pytest.raises(Stopped):
            train(options, 2, "failure")
        model = load_classifier(own)
        model.network.head.bias.data += 1
        save_classifier(own, model.network, model.tokenizer, model.ranks, model.settings)
        with pytest.raises(InputError, match=r"other options \(classifier_sha256\)"):
            train(replace(options, resume=True))


@pytest.mark.parametrize(("command", "reader"), [("classifier", "train_classifier"), ("explainer", "held_out")])
def test_a_signal_while_it_reads(
    run: Run,
    data: tuple[Path, Path],
    classifier: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    reader: str,
) -> None:
    """Before the first step: exit code 75, by which a job is queued again, and --resume begins."""
    module = f"seqmask.commands.{reader}"
    read_labelled = sys.modules[module].read_labelled

    def signalled(*given: Any, **named: Any) -> Any:
        signal.raise_signal(signal.SIGUSR1)
        return read_labelled(*given, **named)

    given = (run, data, *([classifier] if command == "explainer" else []), tmp_path / "out")
    train_it = explain if command == "explainer" else classify
    with monkeypatch.context() as patch:
        patch.setattr(f"{module}.read_labelled", signalled)
        done = train_it(*given)
    assert (done.code, "training: stopped; go on with --resume" in done.err) == (75, True)
    done = train_it(*given, "--resume")
    assert done.code == 0, done.err


class TestFinished:
    """A job that is queued once more with --resume finds its work done; --force or other options train anew."""

    def test_classifier(self, run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path) -> None:
        shutil.copytree(classifier, out := tmp_path / "classifier")
        before = {path.name: path.read_bytes() for path in out.iterdir()}
        again = classify(run, data, out, "--resume")
        assert again.code == 0, again.err
        assert f"{out}: finished already, with the same options" in again.err
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
        other = classify(run, data, out, "--resume", "--seed", 2, "--bag-epochs", 1)
        assert other.code == 2
        assert "holds a finished training with another bag_epochs, seed; give --force to train anew" in other.err
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
        anew = classify(run, data, out, "--resume", "--force", "--seed", 2, "--bag-epochs", 1)
        assert anew.code == 0, anew.err
        assert (out / "classifier.safetensors").read_bytes() != before["classifier.safetensors"]

    def test_what_was_made_by_an_older_version(self, run: Run, data: Any, classifier: Path, tmp_path: Path) -> None:
        """It lacks options that came since: they had what is the default now. A report of another kind is none."""
        shutil.copytree(classifier, out := tmp_path / "classifier")
        stored = read_json(out / "classifier.json")
        del stored["settings"]["options"]["tokenizer"], stored["settings"]["options"]["balanced_ranks"]
        (out / "classifier.json").write_text(json.dumps(stored))
        assert "finished already" in classify(run, data, out, "--resume").err
        del stored["settings"]["options"]
        (out / "classifier.json").write_text(json.dumps(stored))
        done = classify(run, data, out, "--resume")
        assert (done.code, "holds a finished training with another" in done.err) == (2, True)
        (out / "classifier.json").unlink()
        assert classify(run, data, out, "--resume").code == 0

    def test_in_one_directory(self, run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path) -> None:
        """An Explainer that is stopped beside its classifier leaves that one finished."""
        shutil.copytree(classifier, out := tmp_path / "both")
        with pytest.raises(Stopped):
            train(replace(options_of(data, out, out), force=True), 4, "failure")
        assert "finished already" in classify(run, data, out, "--resume").err
        train(replace(options_of(data, out, out), resume=True))
        assert (out / "explainer.safetensors").exists()

    def test_explainer(self, data: tuple[Path, Path], classifier: Path, whole: Path, tmp_path: Path) -> None:
        shutil.copytree(whole, out := tmp_path / "model")
        options = replace(options_of(data, classifier, out), resume=True)
        assert train(options) == [f"{out}: finished already, with the same options"]
        with pytest.raises(UsageError, match="with another learning_rate"):
            train(replace(options, learning_rate=0.2))

    def test_force_with_wrong_input_loses_no_checkpoint(
        self, data: tuple[Path, Path], classifier: Path, tmp_path: Path
    ) -> None:
        options = options_of(data, classifier, tmp_path / "model")
        with pytest.raises(Stopped):
            train(options, 4, "failure")
        broken = tmp_path / "broken.fasta"
        broken.write_text("no FASTA\n")
        with pytest.raises(SeqmaskError):
            train(replace(options, sequences=[broken], force=True))
        assert (tmp_path / "model" / "explainer-checkpoint.safetensors").exists()
        with pytest.raises(Stopped):
            train(replace(options, force=True), 1, "failure")
        assert not (tmp_path / "model" / "explainer-checkpoint.safetensors").exists(), "this one began anew"


class TestClassifier:
    def test_balanced_ranks(self, run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path) -> None:
        """Nothing changes but what that rank's logits are shifted by: the logarithm of the shares in `train`, rounded
        to half.
        """
        done = classify(run, data, tmp_path / "balanced", "--balanced-ranks", "phylum")
        assert done.code == 0, done.err
        plain, balanced = load_classifier(classifier), load_classifier(tmp_path / "balanced")
        assert balanced.settings["options"]["balanced_ranks"] == ["phylum"]
        before, after = plain.network.state_dict(), balanced.network.state_dict()
        lost = before.pop("head.shift") - after.pop("head.shift")
        assert all(before[name].equal(after[name]) for name in before)
        phylum = plain.ranks.slices[plain.ranks.names.index("phylum")]
        rows = [line.split("\t") for line in data[1].read_text().splitlines()]
        at = rows[0].index("phylum")
        taxa = [row[at] for row in rows[1:] if row[-1] == "train"]
        counts = np.array([taxa.count(taxon) for taxon in plain.ranks.ranks[1].classes])
        assert lost[phylum].numpy() == pytest.approx(np.log(counts / counts.sum()), abs=2e-3)
        lost[phylum] = 0
        assert not lost.any()

    def test_ranks_are_joined(self, run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path) -> None:
        """The same run without: heads alone, whose logits are joined as the settings say."""
        done = classify(run, data, tmp_path / "alone", "--no-lineages")
        assert done.code == 0, done.err
        assert "ranks joined" not in done.err
        alone, joined = load_classifier(tmp_path / "alone"), load_classifier(classifier)
        assert not isinstance(alone.network.head, LineageHeads)
        assert isinstance(joined.network.head, LineageHeads)
        assert alone.settings["lineages"] == {}
        found, ranks = joined.settings["lineages"], joined.ranks
        assert list(found["weights"]) == list(ranks.names)
        lineages = joined.network.head.lineages
        assert found["count"] == len(lineages) == joined.network.config["lineages"]
        for rank, size in enumerate(ranks.sizes):
            assert set(range(size)) <= set(lineages[:, rank].tolist())
        for finer in range(1, len(ranks.sizes)):  # every lineage is one of the training labels
            for column, own in lineages[:, finer - 1 : finer + 1].tolist():
                assert column < 0 or own < 0 or column in ranks.ranks[finer].parents[own]
        records = list(read([str(data[0])]))
        before, after = (Scorer.of(records, model, Engine()).logits() for model in (alone, joined))
        was, now = (list(model.settings["temperatures"].values()) for model in (alone, joined))
        own = [before[:, of] * t for of, t in zip(ranks.slices, was, strict=True)]  # as they were trained
        shares = found["prior"] * np.log(self.shares(data[1], ranks, lineages.tolist()))
        for i in range(len(records)):
            energies = shares + [
                sum(
                    weight * own[rank][i, c] if c >= 0 else absent
                    for rank, (c, weight, absent) in enumerate(
                        zip(lineage, found["weights"].values(), found["absent"].values(), strict=True)
                    )
                )
                for lineage in lineages.tolist()
            ]
            for rank, columns in enumerate(ranks.slices):
                through = np.array([np.exp(energies)[lineages[:, rank] == c].sum() for c in range(ranks.sizes[rank])])
                assert after[i, columns] == pytest.approx(np.log(through) / now[rank], abs=0.05)

    @staticmethod
    def shares(table: Path, ranks: Ranks, lineages: list[list[int]]) -> NDArray[np.float64]:
        """Of the training sequences that are of each lineage."""
        header, *rows = [line.split("\t") for line in table.read_text().splitlines()]
        trained = [tuple(ranks.encode(dict(zip(header, row, strict=True)))) for row in rows if row[-1] == "train"]
        counts = np.array([trained.count(tuple(lineage)) for lineage in lineages])
        shares: NDArray[np.float64] = counts / counts.sum()
        return shares

    def test_ranks_that_are_no_lineages(self, run: Run, data: tuple[Path, Path], tmp_path: Path) -> None:
        """Where a class stands under any class of the rank above, each rank is told alone."""
        rows = [line.split("\t") for line in data[1].read_text().splitlines()]
        at = rows[0].index("phylum")
        rows[0][at] = "shuffled"
        for i, row in enumerate(rows[1:]):
            row[at] = f"class {i % 2}"
        (tmp_path / "mixed.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
        ranks = ("--ranks", "superkingdom,shuffled")
        done = classify(run, (data[0], tmp_path / "mixed.tsv"), tmp_path / "mixed", *ranks)
        assert done.code == 0, done.err
        assert re.search(r"ranks are no lineages \(\d\d% of the labels stand under one class each\)", done.err)
        assert load_classifier(tmp_path / "mixed").settings["lineages"] == {}

    def test_an_unknown_rank_is_not_balanced(self, run: Run, data: tuple[Path, Path], tmp_path: Path) -> None:
        done = classify(run, data, tmp_path / "balanced", "--balanced-ranks", "phylum,family")
        assert done.code == 2
        assert "--balanced-ranks family: expected one of superkingdom, phylum, genus" in done.err
        assert not (tmp_path / "balanced").exists()

    @pytest.mark.parametrize(
        ("part", "at", "left"),
        [("bag of k-mers", 3, ["bag.safetensors"]), ("classifier", 2, ["bag.safetensors", "checkpoint.safetensors"])],
    )
    def test_stopped_in_either_part_it_ends_as_undisturbed(
        self, data: tuple[Path, Path], tmp_path: Path, part: str, at: int, left: list[str]
    ) -> None:
        """The bag of k-mers takes most of the time of many trainings: it must not be lost."""
        options = ClassifierOptions(
            sequences=[data[0]],
            labels=data[1],
            size="tiny",
            k=3,
            stride=3,
            canonical=True,
            max_tokens=64,
            min_per_class=2,
            min_crop=60,
            bag_epochs=1,
            steps=4,
            batch_tokens=1024,
            checkpoint_minutes=1e9,
            compute=Compute(device="cpu", threads=1),
        )
        steps: list[tuple[str, int]] = []

        def stop(progress: Progress) -> None:
            if (progress.name, progress.step) == (part, at):
                os.kill(os.getpid(), signal.SIGTERM)

        def note(progress: Progress) -> None:
            steps.append((progress.name, progress.step))

        whole = train_classifier(replace(options, output=tmp_path / "whole"), note, lambda line: None)
        before = steps.index((part, at)) + 1
        expected, steps = steps[before:], []
        stopped = replace(options, output=tmp_path / "stopped")
        with pytest.raises(StoppedError):
            train_classifier(stopped, stop, lambda line: None)
        assert sorted(path.name for path in stopped.output.iterdir()) == left
        assert train_classifier(replace(stopped, resume=True), note, lambda line: None) == whole
        assert steps == expected, "what was done is not done again"
        written = sorted(path.name for path in (tmp_path / "whole").iterdir())
        assert sorted(path.name for path in stopped.output.iterdir()) == written
        assert "checkpoint.safetensors" not in written

    @pytest.mark.parametrize(
        ("options", "crossing"), [((), True), (("--no-crossing",), False), (("--stride", 1), False)]
    )
    def test_crossing_needs_tokens_side_by_side(
        self, run: Run, data: tuple[Path, Path], tmp_path: Path, options: tuple[object, ...], crossing: bool
    ) -> None:
        done = classify(run, data, tmp_path / "c", "--bag-epochs", 1, "--steps", 1, *options)
        assert done.code == 0, done.err
        words = load_classifier(tmp_path / "c").network.encoder.embeddings.word_embeddings
        assert isinstance(words, CrossingEmbedding) is crossing
        done = classify(run, data, tmp_path / "d", "--bag-epochs", 1, "--steps", 1, "--canonical", *options)
        assert done.code == (0 if crossing else 2), done.err
        assert crossing or "--canonical is of crossing k-mers" in done.err

    def test_the_help_says_so(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setenv("TERM", "dumb")
        text = " ".join(re.sub(r"[│\s]+", " ", run("train-classifier", "--help").text).split())
        assert "only where --stride = --kmer > 1" in text


class TestWhatIsRefusedAtOnce:
    """Before any step, and before the directory is made."""

    @pytest.mark.parametrize(
        ("ranks", "more", "message"),
        [
            ("phylum,phylum", (), r"--ranks: phylum comes twice"),
            ("superkingdom,domain", (), r"--ranks: domain comes twice"),
            ("status", (), r"--ranks status: rename the column"),
            ("a/b", (), r"--ranks a/b: rename the column"),
            ("phylum", ("--stride", 9), r"--stride 9: expected at most --kmer 3"),
            ("phylum", ("--bag-epochs", "inf"), r"--bag-epochs"),
            ("phylum", ("--learning-rate", -1), r"--learning-rate"),
        ],
    )
    def test_options(
        self, run: Run, data: tuple[Path, Path], tmp_path: Path, ranks: str, more: tuple[Any, ...], message: str
    ) -> None:
        done = classify(run, data, tmp_path / "out", "--ranks", ranks, *more)
        assert done.code == 2
        assert re.search(message, done.err), done.err
        assert not (tmp_path / "out").exists()

    def test_a_pipe(self, run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path) -> None:
        """It cannot be read again for its digest, nor for --resume."""
        for done in (
            classify(run, (Path("-"), data[1]), tmp_path / "out"),
            run("train-explainer", "-", "-l", data[1], "--classifier", classifier, "-o", tmp_path / "out"),
        ):
            assert (done.code, "- is a pipe" in done.err) == (2, True), done.err
            assert not (tmp_path / "out").exists()

    def test_a_sequence_of_no_split(self, run: Run, data: tuple[Path, Path], tmp_path: Path) -> None:
        """Nobody said that it is for training."""
        lines = data[1].read_text().splitlines()
        for word in ("", "NA"):
            open_ended = [
                line.removesuffix("\tval") + f"\t{word}" if line.endswith("\tval") else line for line in lines
            ]
            (tmp_path / "open.tsv").write_text("\n".join(open_ended) + "\n")
            done = classify(run, (data[0], tmp_path / "open.tsv"), tmp_path / "out", "--force")
            assert done.code == 1
            assert re.search(rf"open\.tsv: no `split` for {VAL} sequences: '", done.err), done.err


def test_resuming_with_other_labels_is_refused(run: Run, data: tuple[Path, Path], tmp_path: Path) -> None:
    """Classes in another order would put the old head on them without a word."""
    labels, out = tmp_path / "labels.tsv", tmp_path / "out"
    shutil.copy(data[1], labels)

    def stop(progress: Progress) -> None:
        if progress.step == 2:
            signal.raise_signal(signal.SIGTERM)

    compute = Compute(device="cpu", threads=1, precision="fp32")
    options = ClassifierOptions(
        [str(data[0])], labels, out, ranks=("phylum",), size="tiny", k=3, stride=3, max_tokens=64, min_per_class=2,
        min_crop=60, bag_epochs=0, steps=5, batch_tokens=1024, compute=compute,
    )  # fmt: skip
    with pytest.raises(StoppedError):
        train_classifier(options, stop, lambda line: None)
    labels.write_text(labels.read_text().replace("Pseudomonadota", "ZPseudomonadota"))
    with pytest.raises(InputError, match=r"written with other options \(data_sha256\)"):
        train_classifier(replace(options, resume=True), lambda progress: None, lambda line: None)


def test_names_of_ranks_may_have_capitals(run: Run, data: tuple[Path, Path], tmp_path: Path) -> None:
    text = data[1].read_text()
    (tmp_path / "upper.tsv").write_text(text.replace("phylum", "Phylum", 1))
    done = classify(run, (data[0], tmp_path / "upper.tsv"), tmp_path / "out", "--ranks", "Phylum")
    assert done.code == 0, done.err
    assert load_classifier(tmp_path / "out").ranks.names == ("phylum",)


def test_no_validation_sequence_has_a_token(
    run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path
) -> None:
    val = {line.split("\t")[0] for line in data[1].read_text().splitlines() if line.endswith("\tval")}
    short = [f">{r.name}\n{r.sequence[:2] if r.name in val else r.sequence}\n" for r in read([str(data[0])])]
    (tmp_path / "short.fasta").write_text("".join(short))
    more = ("--classifier", classifier, "-o", tmp_path / "out", *QUICK)
    done = run("train-explainer", tmp_path / "short.fasta", "-l", data[1], *more)
    assert (done.code, "no validation sequence that can be read" in done.err) == (1, True), done.err


def test_an_area_of_all_is_no_mask(run: Run, data: tuple[Path, Path], classifier: Path, tmp_path: Path) -> None:
    more = ("--classifier", classifier, "-o", tmp_path / "out", *QUICK, "--target-area", 1)
    done = run("train-explainer", data[0], "-l", data[1], *more)
    assert (done.code, "--target-area" in done.err) == (2, True)
