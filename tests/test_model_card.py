"""`benchmarks/model_card.py`: a card from small JSON files, every figure of which is known."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from seqmask.cli.app import app
from seqmask.commands.train_explainer import NEW
from seqmask.config import ClassifierOptions, ExplainerOptions, to_json
from seqmask.sequences.tokens import KmerTokenizer

ROOT = Path(__file__).resolve().parent.parent
Json = dict[str, Any]


def load() -> ModuleType:
    sys.path.insert(0, str(ROOT / "benchmarks"))  # as where it is run as a script
    spec = importlib.util.spec_from_file_location("model_card", ROOT / "benchmarks" / "model_card.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["model_card"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    sys.path.remove(str(ROOT / "benchmarks"))
    return module


card = load()


# Small files


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


CLASSIFIER, EXPLAINER = b"classifier weights", b"explainer weights"
ENCODER = {
    "model_type": "bert",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 128,
}
CHANCE = {"ranks": [0, 1], "chance": [0.3, 0.2]}
POINT = {"threshold": 0.25, "area": 0.2, "kept": [0.99, 0.98], "removed": [0.4, 0.1], **CHANCE}
OTHER_POINT = {"threshold": 0.5, "area": 0.1, "kept": [0.9, 0.7], "removed": [0.8, 0.5], **CHANCE}
TRAINED_ON = {"small.fasta.gz": "d" * 64, "small.tsv": "e" * 64}
SCORED = {
    "accuracy": 0.911,
    "interval": [0.871, 0.951],
    "balanced_accuracy": 0.822,
    "majority_rate": 0.533,
    "ece": 0.031,
    "ece_by_chance": 0.017,
    "accuracy_all": 0.844,
    "known": 90,
    "labelled": 100,
    "groups": [{"class": "A", "scored": 1060, "accuracy": {"mean": 0.515, "interval": [0.4, 0.6]}}],
    "at_least": [{"confidence": 0.5, "share": 0.404, "accuracy": {"mean": 0.616, "interval": [0.5, 0.7]}}],
}
BASELINE = {
    "settings": {"k": 5, "both_strands": True, "min_per_class": 20},
    "scores": [
        {
            "crop": crop,
            "rank": "domain",
            "split": "test",
            "labelled": 100,
            "known": 90,
            "accuracy": 0.711,
            "accuracy_known": accuracy,
            "balanced": 0.6,
            "balanced_known": 0.655,
        }
        for crop, accuracy in ((None, 0.777), (300, 0.111))
    ],
}


def classifier_options() -> Json:
    options = ClassifierOptions(
        sequences=[Path("/data/far away/small.fasta.gz")],
        labels=Path("/data/small.tsv"),
        output=Path("/scratch/run/classifier"),
        ranks=("domain", "genus"),
        size="tiny",
        seed=7,
    )
    return to_json(options)


def explainer_options() -> Json:
    options = ExplainerOptions(
        classifier=Path("/scratch/run/classifier"),
        sequences=[Path("/data/small.fasta.gz")],
        labels=Path("/data/small.tsv"),
        output=Path("/scratch/run/model"),
        mask_per_rank=True,
        resume=True,
        **NEW,  # as a training stores what is not given
    )
    return to_json(options)


def model_directory(directory: Path) -> Path:
    directory.mkdir()
    (directory / "classifier.safetensors").write_bytes(CLASSIFIER)
    (directory / "explainer.safetensors").write_bytes(EXPLAINER)
    content: dict[str, Json] = {
        "classifier": {
            "encoder": ENCODER,
            "settings": {
                "options": classifier_options(),
                "data_sha256": TRAINED_ON,
                "lineages": {"count": 1234, "weights": {"domain": 0.125, "genus": 0.875}, "absent": {}, "prior": -0.5},
                "temperatures": {"domain": 1.234, "genus": 0.987},
            },
        },
        "classifier-report": {
            "classifier_sha256": digest(CLASSIFIER),
            "parameters": 381153,
            "splits": {"test": {"domain": SCORED, "genus": {**SCORED, "known": 40, "accuracy": 0.123}}},
        },
        "explainer": {
            "encoder": ENCODER,
            "tracks": 1,
            "operator": "blend",
            "threshold": 0.25,
            "classifier_sha256": digest(CLASSIFIER),
            "settings": {
                "options": explainer_options(),
                "data_sha256": {"small.fasta.gz": "d" * 64},
                "validation": [POINT],
            },
        },
        "explainer-report": {
            "explainer_sha256": digest(EXPLAINER),
            "threshold": 0.25,
            "validation": [{"step": 1, "frontier": [[]]}, {"step": 2, "frontier": [[OTHER_POINT, POINT]]}],
        },
        "tokenizer": KmerTokenizer(6, 5).to_json(),
        "labels": {"ranks": [{"name": "domain", "classes": ["A", "B"]}, {"name": "genus", "classes": ["x", "y", "z"]}]},
    }
    for name, data in content.items():
        (directory / f"{name}.json").write_text(json.dumps(data))
    return directory


def score(accuracy: float) -> Json:
    return {
        "accuracy": accuracy,
        "interval": [accuracy - 0.05, accuracy + 0.05],
        "balanced_accuracy": accuracy - 0.1,
        "intervals": {"balanced_accuracy": [accuracy - 0.2, accuracy]},
    }


def estimate(mean: float) -> Json:
    return {"mean": mean, "interval": [mean - 0.1, mean + 0.1]}


def pair(masked: float, inverse: float) -> Json:
    return {"masked": score(masked), "inverse": score(inverse)}


def rank_report(full: float, gap: float = 0.12) -> Json:
    point = {"kept": 0.61, "removed": 0.92}
    shares = {"0.05": point, "0.1": point, "0.2": point, "0.4": {"kept": 0.85, "removed": 0.43}}
    faithful = {"comprehensiveness": 0.171, "sufficiency": 0.282}
    views = {"full": estimate(0.91), "masked": estimate(0.82), "inverse": estimate(0.23)}
    return {
        "scored": 90,
        "full": score(full),
        "majority_rate": 0.535,
        "confidence": {"mean": 0.888, "ece": 0.044, "interval": [0.03, 0.06]},
        "groups": [{"class": "A", "scored": 60, **views}, {"class": "B", "scored": 30, **views}],
        "probe": {"accuracy": 0.541, "majority_rate": 0.539, "length_accuracy": 0.542},
        "judge": {"judge": views, "excess": estimate(0.021)},
        "rows": {
            "seqmask": pair(0.875, 0.316),
            "seqmask (soft)": pair(0.866, 0.477),
            "random": pair(0.755, 0.814),
            "constant (soft)": pair(0.744, 0.733),
        },
        "best_control": {"name": "random", "accuracy": 0.755, "gap": gap, "interval": [gap - 0.05, gap + 0.05]},
        "fractions": {"seqmask": shares, "random": shares},
        "eraser": {"seqmask": faithful, "random": faithful},
    }


def inside(ratio: float) -> Json:
    return {"sequences": 12, "ratio": estimate(ratio), "kept_ratio": estimate(ratio + 0.1)}


def report() -> Json:
    spread = {"mean": 0.211, "median": 0.199, "p5": 0.05, "p95": 0.4}
    return {
        "report": "evaluate",
        "seqmask_version": "0.1.0",
        "classifier_sha256": digest(CLASSIFIER),
        "explainer_sha256": digest(EXPLAINER),
        "operator": "blend",
        "against": "true labels",
        "split": "test",
        "data_sha256": {"other.fasta": "f" * 64},
        "left_out": 1,
        "seed": 1,
        "frames": 3,
        "resample_by": "species",
        "sequences": 99,
        "threshold": 0.25,
        "judge_sha256": "1" * 64,
        "ranks": {"domain": rank_report(0.9), "genus": rank_report(float("nan"), 0.02)},
        "rivals": None,
        "annotations": {
            "sequences": 12,
            "tracks": {
                "all": {
                    "CDS": inside(1.25),
                    "tRNA": {"sequences": 0, "whole": 3},
                    "rep": {**inside(2.5), "sequences": 9},
                }
            },
        },
        "mask": {
            "area": spread,
            "soft_area": spread,
            "binarity": 0.8,
            "variation": 0.3,
            "segments": 4.25,
            "median_segment_nt": 18.0,
            "position": 0.09,
            "consistency": {"reverse_complement": estimate(0.77), "frame": estimate(0.66)},
        },
        "red_flags": ["genus: something speaks against it"],
    }


def rivals() -> Json:
    """A report that has other methods: `seqmask` of one order, `ig` also of one a rank."""

    def method(shared: float, per_rank: float | None, gap: float | None) -> Json:
        orders = [
            value and {"separation": estimate(value), "gap": gap and estimate(gap), "ranks": erased(value)}
            for value in (shared, per_rank)
        ]
        return dict(zip(("shared", "per_rank"), orders, strict=True))

    def erased(value: float) -> Json:
        eraser = {"comprehensiveness": value - 0.2, "sufficiency": value - 0.3}
        probe = {
            "accuracy": value,
            "interval": [value - 0.1, value + 0.1],
            "majority_rate": 0.31,
            "length_accuracy": 0.32,
        }
        return {"domain": {"eraser": eraser, "probe": probe}, "genus": {"eraser": eraser, "probe": probe}}

    methods = {
        "seqmask": {"forwards": 2, "milliseconds": 12.2, **method(0.5, None, None)},
        "ig": {"forwards": 2400, "milliseconds": 3456.7, **method(0.4, 0.45, 0.1)},
    }
    return {**report(), "rivals": {"sequences": 30, "methods": methods}}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    paths = {name: tmp_path / f"{name}.json" for name in ("report", "baseline")}
    paths["report"].write_text(json.dumps(report()))
    paths["baseline"].write_text(json.dumps(BASELINE))
    paths["recipe"] = tmp_path / "recipe.md"
    paths["recipe"].write_text("## Known biases\nWhat a person has written.\n")
    return {"model": model_directory(tmp_path / "model"), "output": tmp_path / "cards" / "toy.md", **paths}


def make(files: dict[str, Path], *more: str) -> str:
    words = [files["model"], files["report"], *more, "--recipe", files["recipe"], "-o", files["output"]]
    card.main([*map(str, words)])
    text: str = files["output"].read_text()
    return text


def cells(text: str, *begin: str) -> list[list[str]]:
    """The rows of all tables that begin with these cells."""
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    return [row for row in rows if row[: len(begin)] == list(begin)]


def commands(text: str) -> list[str]:
    """The two training commands, each as one line."""
    joined = text.replace(" \\\n", " ")
    return [" ".join(line.split()) for line in joined.splitlines() if line.strip().startswith("seqmask train-")]


# What the card says


def test_card_is_written_twice_and_holds_the_prose(files: dict[str, Path]) -> None:
    text = make(files)
    assert (files["model"] / "README.md").read_text() == text
    assert text.startswith("# Model card: toy\n")
    assert "## Known biases\nWhat a person has written.\n" in text
    assert "381,153 parameters" in text
    assert "6-mers every 5 nt; windows of up to 641 nt" in text  # 6 + 5 * 127
    assert cells(text, "frames") == [["frames", "1"]]
    assert cells(text, "classes") == [["classes", "2 domain, 3 genus"]]
    assert digest(EXPLAINER) in text


def test_commands_are_whole_and_name_no_machine(files: dict[str, Path]) -> None:
    text = make(files)
    classifier, explainer = commands(text)
    assert classifier.startswith(
        "seqmask train-classifier small.fasta.gz --labels small.tsv --output classifier --ranks domain,genus"
    )
    assert "--size tiny --tokenizer kmer --vocabulary 4096 --kmer 6 " in classifier
    assert "--seed 7" in classifier
    assert "--classifier classifier" in explainer
    assert "--mask-per-rank" in explainer
    assert "--soft" not in explainer  # off
    assert "--resume" not in explainer
    assert "Explainer was stopped and gone on with" in text
    assert "/data" not in text
    assert "/scratch" not in text


@pytest.mark.parametrize(
    ("name", "options"), [("train-classifier", ClassifierOptions), ("train-explainer", ExplainerOptions)]
)
def test_every_option_has_the_flag_that_the_card_gives_it(name: str, options: type) -> None:
    """An option that a later version adds must be in the command, or be left out on purpose."""
    parameters = typer.main.get_command(app).commands[name].params  # type: ignore[attr-defined]
    flags = {flag for parameter in parameters for flag in parameter.opts}
    wanted = {card.flag(field.name) for field in fields(options) if field.name not in card.LEFT_OUT}
    assert wanted <= flags
    assert {"--device", "--precision", "--threads"} <= flags


def test_accuracy_beside_the_baseline(files: dict[str, Path]) -> None:
    text = make(files, str(files["baseline"]))
    own = ["`test`", "domain", "0.911 (0.871-0.951)", "0.822", "0.533", "0.031 (0.017)", "90 of 100", "0.844"]
    assert [*own, "0.777", "0.655", "90 of 100", "0.711"] in cells(text, "`test`")  # not the one on crops
    assert cells(text, "`test`", "genus")[0][-4:] == ["n/a"] * 4
    assert "5-mer counts, both strands as one" in text
    assert "compare *all labelled* only" not in text


def test_accuracy_by_group_and_by_confidence(files: dict[str, Path]) -> None:
    text = make(files)
    both = ["0.515 (0.400-0.600); 1,060"] * 2
    assert ["`test`", "A", *both] in cells(text, "`test`", "A")
    assert ["`test`", "genus", "0.616 (0.404)"] in cells(text, "`test`", "genus")
    assert "| split | rank | 0.5 or more |" in text


def test_baseline_of_other_classes_is_called_so(files: dict[str, Path]) -> None:
    other = json.loads(files["baseline"].read_text())
    other["scores"][0]["known"] = 80
    files["baseline"].write_text(json.dumps(other))
    text = make(files, str(files["baseline"]))
    assert "compare *all labelled* only" in " ".join(text.split())


def test_without_baseline_there_is_no_column_for_it(files: dict[str, Path]) -> None:
    text = make(files)
    row = ["`test`", "domain", "0.911 (0.871-0.951)", "0.822", "0.533", "0.031 (0.017)", "90 of 100", "0.844"]
    assert cells(text, "`test`", "domain")[0] == row
    assert "k-mers:" not in text


def test_threshold_and_its_frontier(files: dict[str, Path]) -> None:
    text = make(files)
    point = ["0.990 / 0.400 / 0.300", "0.980 / 0.100 / 0.200"]
    assert cells(text, "**chosen** 0.25000") == [["**chosen** 0.25000", "0.200", *point]]
    assert cells(text, "0.50000") == [["0.50000", "0.100", "0.900 / 0.800 / 0.300", "0.700 / 0.500 / 0.200"]]
    assert "Mask of all ranks, in the lowest rank the chosen threshold keeps 0.980 at area 0.200:" in text


def test_threshold_of_each_mask(files: dict[str, Path]) -> None:
    points = [
        {"threshold": 0.5, "area": 0.1 + r / 10, "ranks": [r], "kept": [0.98], "removed": [0.2], "chance": [0.1]}
        for r in range(2)
    ]
    for name, change in (
        ("explainer", lambda data: data["settings"].update(validation=points)),
        ("explainer-report", lambda data: data.update(validation=[{"frontier": [[point] for point in points]}])),
    ):
        path = files["model"] / f"{name}.json"
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))
    text = make(files)
    rows = cells(text, "**chosen** 0.50000")
    assert rows == [["**chosen** 0.50000", area, "0.980 / 0.200 / 0.100"] for area in ("0.100", "0.200")]
    assert "Mask of domain, in the lowest rank the chosen threshold keeps 0.980 at area 0.100:" in text
    assert "Mask of genus, in the lowest rank the chosen threshold keeps 0.980 at area 0.200:" in text


def test_best_trade_is_no_success(files: dict[str, Path]) -> None:
    path = files["model"] / "explainer.json"
    data = json.loads(path.read_text())
    data["settings"]["validation"] = [OTHER_POINT]
    path.write_text(json.dumps(data))
    assert "**the best trade keeps 0.700 at area 0.100**" in " ".join(make(files).split())


def test_evaluation_tables(files: dict[str, Path]) -> None:
    text = make(files)
    headline = ["0.875 (0.825-0.925)", "0.316 (0.266-0.366)", "0.814", "0.535", "0.755 `random`"]
    assert ["domain", "0.900 (0.850-0.950)", *headline, "+0.120 (+0.070 to +0.170)"] in cells(text, "domain")
    assert ["genus", "n/a (n/a-n/a)", *headline, "+0.020 (-0.030 to +0.070)"] in cells(text, "genus")
    balanced = ["0.800 (0.700-0.900)", "0.775 (0.675-0.875)", "0.216 (0.116-0.316)"]
    assert ["domain", *balanced, "0.888", "0.044 (0.030-0.060)"] in cells(text, "domain")
    views = ["0.910 (0.810-1.010)", "0.820 (0.720-0.920)", "0.230 (0.130-0.330)"]
    assert ["genus", "B", "30", *views] in cells(text, "genus")
    judged = ["0.910", "0.820", "0.230", "+0.021 (-0.079 to +0.121)", "0.541", "0.539", "0.542"]
    assert ["genus", *judged] in cells(text, "genus")
    assert f"Judge of the masks, which does not ship: classifier `{'1' * 64}`." in text
    assert cells(text, "all", "CDS") == [["all", "CDS", "12", "1.250 (1.150-1.350)", "1.350 (1.250-1.450)"]]
    assert cells(text, "all", "tRNA") == cells(text, "all", "rep") == []  # of too few sequences
    assert "12 sequences, kinds of at least 10 of them:" in text
    assert "domain 1.234, genus 0.987" in text
    assert (
        "1,234 lineages (`--lineages`), fitted on split `val`; weights of the ranks' own heads: domain 0.125"
        in " ".join(text.split())
    )
    assert ["`seqmask`", "0.875 / 0.316", "0.875 / 0.316"] in cells(text, "`seqmask`")
    assert cells(text, "`seqmask (soft)`") == [["`seqmask (soft)`", "0.866 / 0.477", "0.866 / 0.477"]]
    assert cells(text, "`constant (soft)`") == [["`constant (soft)`", "0.744 / 0.733", "0.744 / 0.733"]]
    assert ["rank", "order", "5 %", "10 %", "20 %", "40 %"] in cells(text, "rank")
    assert ["domain", "`random`", *["0.610 / 0.920"] * 3, "0.850 / 0.430"] in cells(text, "domain")
    assert ["domain", "0.171 / 0.282", "0.171 / 0.282"] in cells(text, "domain")
    shape = ["all", "0.211", "0.199", "0.050-0.400", "0.211", "0.800", "0.300", "4.2", "18 nt"]
    assert [*shape, "0.090", "0.770", "0.660"] in cells(text, "all")
    assert "- genus: something speaks against it" in text
    assert cells(text, "red flags") == [["red flags", "1 on split `test`"]]
    assert f"`other.fasta` (SHA-256 `{'f' * 64}`)" in " ".join(text.split())
    assert "not the model's own threshold" not in text


def test_other_methods_are_those_of_their_report(files: dict[str, Path], tmp_path: Path) -> None:
    """Beside the reports on the splits, whose tables are not repeated for it."""
    path = tmp_path / "rivals.json"
    path.write_text(json.dumps(rivals()))
    text = make(files, "--rivals", str(path))
    methods = [row for row in cells(text, "`seqmask`") + cells(text, "`ig`") if "+0." in row[2]]
    assert methods == [
        ["`seqmask`", "all ranks", "+0.500 (+0.400 to +0.600)", "n/a", "2", "12"],
        ["`ig`", "all ranks", "+0.400 (+0.300 to +0.500)", "+0.100 (+0.000 to +0.200)", "2,400", "3,457"],
        ["`ig`", "each rank", "+0.450 (+0.350 to +0.550)", "+0.100 (+0.000 to +0.200)", "2,400", "3,457"],
    ]
    assert cells(text, "`seqmask` (one order)") == [["`seqmask` (one order)", *["0.300 / 0.200"] * 2]]
    assert ["`ig`", *["0.250 / 0.150"] * 2] in cells(text, "`ig`")
    assert ["`seqmask`", *["0.500 (0.400-0.600)"] * 2] in cells(text, "`seqmask`")
    assert ["`ig`", *["0.450 (0.350-0.550)"] * 2] in cells(text, "`ig`")
    assert cells(text, "length alone") == [["length alone", "0.320", "0.320"]]
    assert cells(text, "most frequent class") == [["most frequent class", "0.310", "0.310"]]
    assert "The smallest top share" not in text  # reports of before there was one
    found = rivals()
    for of in (of for method in found["rivals"]["methods"].values() for of in method.values() if isinstance(of, dict)):
        for rank in of["ranks"].values():
            rank["smallest"] = {"area": estimate(0.21), "holds": 0.98}
    for rank in found["ranks"].values():
        rank["smallest"] = {"seqmask": {"area": estimate(0.33), "holds": 0.875}}
    path.write_text(json.dumps(found))
    least = make(files, "--rivals", str(path))
    assert ["`ig`", *["0.210 (0.110-0.310) (0.98)"] * 2] in cells(least, "`ig`")
    assert least.count("The smallest top share") == 1
    files["report"].write_text(json.dumps({**found, "rivals": None}))
    least = make(files, "--rivals", str(path))
    assert least.count("The smallest top share") == 2
    assert ["`seqmask`", *["0.330 (0.230-0.430) (0.88)"] * 2] in cells(least, "`seqmask`")
    files["report"].write_text(json.dumps(report()))
    assert text.count("### Split `test`") == 1
    assert "Order of the tokens of 30 sequences of split `test`, seed 1." in " ".join(text.split())
    assert "Sequences are read in 3 frames, each with tokens of its own" in " ".join(text.split())
    path.write_text(json.dumps(report()))
    with pytest.raises(SystemExit, match=r"rivals\.json: not written by `seqmask evaluate --rivals"):
        make(files, "--rivals", str(path))


@pytest.mark.parametrize(("column", "told"), [("species", "of one species together"), (None, "singly")])
def test_how_intervals_were_drawn(files: dict[str, Path], column: str | None, told: str) -> None:
    files["report"].write_text(json.dumps({**report(), "resample_by": column}))
    of_masks = " ".join(make(files).split()).partition("## Evaluation of the masks")[2]
    assert f"Intervals draw {'the ' if column else ''}sequences {told}." in of_masks


def test_mask_of_each_rank_and_another_threshold(files: dict[str, Path]) -> None:
    data = report()
    shape = data.pop("mask")
    for rank in data["ranks"].values():
        rank["mask"] = shape
    files["report"].write_text(json.dumps({**data, "threshold": 0.3, "red_flags": []}))
    text = make(files)
    assert len([row for row in cells(text) if len(row) > 8 and row[8] == "18 nt"]) == 2
    assert "**This is not the model's own threshold.**" in " ".join(text.split())
    assert "Red flags: none." in text


def test_where_it_stands_is_what_the_figures_say(files: dict[str, Path]) -> None:
    words = " ".join(make(files, str(files["baseline"])).split())
    assert "on `test`, all labelled sequences: not behind at domain (0.844, k-mers 0.711)." in words
    assert (
        "Masks on split `test`: they keep more than the best control of the same area at domain; "
        "**no certain gain over the best control at genus**; 1 red flags." in words
    )
    worse = json.loads(files["baseline"].read_text())
    worse["scores"][0]["accuracy"] = 0.9
    files["baseline"].write_text(json.dumps(worse))
    assert "**behind** at domain (0.844, k-mers 0.900)" in " ".join(make(files, str(files["baseline"])).split())


def test_a_rank_without_scored_sequences(files: dict[str, Path]) -> None:
    data = report()
    data["ranks"]["genus"].update(scored=0, best_control=None)
    files["report"].write_text(json.dumps(data))
    text = make(files)
    assert "No sequence of a known class at genus." in " ".join(text.split())
    assert not [row for row in cells(text, "genus") if row[1].startswith("n/a (")]


def test_without_judge_and_annotations(files: dict[str, Path]) -> None:
    data = report()
    data.update(annotations=None, judge_sha256=None)
    for rank in data["ranks"].values():
        rank.update(judge=None, confidence=None)
    files["report"].write_text(json.dumps(data))
    text = make(files)
    for word in ("judge", "Judge", "attribution", "annotations"):
        assert word not in text
    assert next(row for row in cells(text, "domain") if row[-1] == "n/a")[-2:] == ["n/a", "n/a"]


def test_amplicons_and_profile_beside_it(files: dict[str, Path], tmp_path: Path) -> None:
    ours = {"accuracy": 0.66, "balanced_accuracy": 0.7, "accuracy_all": 0.48, "known": 9, "labelled": 10}
    ours["majority_rate"] = 0.02
    theirs = {"accuracy": 0.55, "balanced_accuracy": 0.5, "accuracy_all": 0.44}
    ranks = {"domain": {"classifier": ours, "baseline": theirs}, "genus": {"classifier": ours, "baseline": None}}
    region = {"length": 250, "sequences": 10, "ranks": ranks}
    amplicons = {"report": "amplicons", "split": "test", "regions": {"v4": region, "whole": {**region, "length": None}}}
    profile = {"report": "profile", "split": "test", "reference": "AP1", "aligned": 8, "sequences": 10}
    profile |= {"identity": {"mean": 0.812}, "regions": {"genus": {"V4": inside(1.5), "any": inside(1.1)}}}
    paths = []
    for found in (amplicons, profile):
        found |= {"classifier_sha256": digest(CLASSIFIER)}
        paths.append(tmp_path / f"{found['report']}.json")
        paths[-1].write_text(json.dumps(found | ({"explainer_sha256": digest(EXPLAINER)} if found is profile else {})))
    text = make(files, *map(str, paths))
    assert cells(text, "v4", "250", "domain") == [
        ["v4", "250", "domain", "9 of 10", "0.020", "0.660", "0.700", "0.480", "0.550", "0.500", "0.440"]
    ]
    assert cells(text, "whole", "all", "genus")[0][-3:] == ["n/a"] * 3
    assert cells(text, "genus", "V4") == [["genus", "V4", "12", "1.500 (1.400-1.600)", "1.600 (1.500-1.700)"]]
    assert "8 of 10 sequences of split `test` aligned to AP1, mean identity 0.812" in " ".join(text.split())


def test_a_switch_that_is_off_is_said(files: dict[str, Path]) -> None:
    assert "--crossing" in commands(make(files))[0]
    path = files["model"] / "classifier.json"
    data = json.loads(path.read_text())
    data["settings"]["options"]["crossing"] = False
    path.write_text(json.dumps(data))
    assert "--no-crossing" in commands(make(files))[0]


# What it refuses


def test_no_report_of_evaluate(files: dict[str, Path]) -> None:
    files["report"].write_text(json.dumps(BASELINE))
    with pytest.raises(SystemExit, match="no report of `seqmask evaluate --json` among the files"):
        make(files)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"explainer_sha256": "0" * 64}, "is about Explainer 000000000000"),
        ({"classifier_sha256": "0" * 64}, "is about classifier 000000000000"),
        ({"report": "else"}, "not written by"),
    ],
)
def test_report_of_another_model(files: dict[str, Path], change: Json, message: str) -> None:
    files["report"].write_text(json.dumps({**report(), **change}))
    with pytest.raises(SystemExit, match=message):
        make(files)
    assert not files["output"].exists()


def test_weights_that_the_reports_do_not_describe(files: dict[str, Path]) -> None:
    (files["model"] / "explainer.safetensors").write_bytes(b"others")
    with pytest.raises(SystemExit, match=r"explainer-report\.json: is about Explainer"):
        make(files)


def test_missing_files(files: dict[str, Path]) -> None:
    files["recipe"].unlink()
    with pytest.raises(SystemExit, match="write the card's prose there"):
        make(files)
    (files["model"] / "labels.json").unlink()
    with pytest.raises(SystemExit, match="cannot be read"):
        make(files)


def test_recipes_hold_no_figures() -> None:
    """Figures come from the JSON files; in the prose they would go stale."""
    for path in (ROOT / "recipes").glob("*.md"):
        text = re.sub(r"September \d+|\d+-mers|1[68][Ss]|[A-Za-z]+\d", "", path.read_text())
        assert re.findall(r"[\d%].*", text) == [], path.name
