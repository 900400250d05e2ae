"""Recipes of the models that ship: valid options of the commands, and a build that takes no result for another."""

from __future__ import annotations

import importlib.util
import json
import sys
import tomllib
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from seqmask.cli.app import app
from seqmask.cli.settings import spelling

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("genomes", "ssu")
FILES = sorted(path.stem for path in (ROOT / "recipes").glob("*.toml"))
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build", ROOT / "recipes" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["build"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


build = load()


# The recipes


@pytest.mark.parametrize("name", NAMES)
def test_recipe_and_prose_are_there(name: str) -> None:
    recipe = tomllib.loads((ROOT / "recipes" / f"{name}.toml").read_text())
    assert {"train-classifier", "train-explainer", "evaluate"} <= set(recipe)
    prose = (ROOT / "recipes" / f"{name}.md").read_text()
    for heading in ("Use", "Data", "Splits", "Known biases", "What must not be concluded", "Licence"):
        assert f"## {heading}\n" in prose
    assert name in build.BASELINES


@pytest.mark.parametrize("name", FILES)
def test_a_recipe_is_a_command_line(name: str, tmp_path: Path) -> None:
    """Every table is a command, every key one of its options, and click takes every value."""
    (tmp_path / "x").touch()
    for command, table in tomllib.loads((ROOT / "recipes" / f"{name}.toml").read_text()).items():
        known = {spelling(param): param for param in COMMANDS[command].params}
        assert set(table) <= set(known), command
        words = build.flags(table, tmp_path)
        for param in COMMANDS[command].params:
            if param.required and spelling(param) not in table:
                words += [str(tmp_path / "x")] if param.param_type_name == "argument" else [param.opts[0], "x"]
        context = COMMANDS[command].make_context(command, words)
        for key, value in table.items():
            assert build.plain(context.params[known[key].name]).endswith(build.plain(value)), (command, key)


@pytest.mark.parametrize("name", FILES)
def test_a_recipe_is_a_configuration_file(name: str, tmp_path: Path) -> None:
    """`--config recipes/NAME.toml` gives the same options as the words of the build."""
    path = ROOT / "recipes" / f"{name}.toml"
    command, table = next(iter(tomllib.loads(path.read_text()).items()))
    given = ["x.fasta", "--labels", "x.tsv"] + (["--output", "out"] if command.startswith("train") else [])
    by_file = COMMANDS[command]
    group = typer.Context(typer.main.get_command(app))
    contexts = [
        by_file.make_context(command, [*given, *more], parent=group)
        for more in (["--config", str(path)], build.flags(table, tmp_path))
    ]
    left, right = ({k: v for k, v in context.params.items() if k != "config"} for context in contexts)
    assert left == right


# The build


class Recorded(build.Build):  # type: ignore[name-defined,misc]
    """A build whose commands only leave the results that the next steps look for."""

    def call(self, words: Any) -> None:
        self.calls.append(list(words))
        where = {words[i]: Path(words[i + 1]) for i in range(len(words) - 1) if words[i].startswith("--")}
        if "train-classifier" in words:
            self.write_classifier(where["--output"], int(str(where["--seed"])))
        elif "train-explainer" in words:
            self.write_explainer(where["--output"])
        elif "cut" in words:
            where["--output"].mkdir()
            for region in ("v4", "v3-v4"):
                (where["--output"] / f"{region}.fasta.gz").touch()
        elif "model_card.py" in words[1]:
            where["--output"].write_text("card")
        elif "--json" in where:
            of = {"classifier_sha256": "classifier-1", "explainer_sha256": "explainer"}
            where["--json"].write_text(json.dumps(of))
            for option in ("--tsv", "--plot"):
                if option in where:
                    where[option].touch()

    @property
    def calls(self) -> list[list[str]]:
        return CALLS

    def write_classifier(self, directory: Path, seed: int) -> None:
        directory.mkdir(exist_ok=True)
        options = {"sequences": ["/home/me/data/x.fasta.gz"], "labels": "/home/me/x.tsv", "output": str(directory)}
        options |= self.recipe["train-classifier"] | {"seed": seed, "ranks": ["superkingdom", "genus"]}
        options = {key.replace("-", "_"): value for key, value in options.items()}
        settings = {"settings": {"options": options}}
        (directory / "classifier.json").write_text(json.dumps(settings))
        (directory / "report.json").write_text(json.dumps({"classifier_sha256": f"classifier-{seed}"}))
        for name in ("classifier.safetensors", "tokenizer.json", "labels.json", "history.json"):
            (directory / name).write_text("{}")

    def write_explainer(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        for name in build.SHIPPED:
            (directory / name).write_text("{}")
        settings = {"options": {"classifier": "/home/me/classifier", "target_area": 0.2}}
        made = {"classifier_sha256": "classifier-1", "settings": settings}
        (directory / "explainer.json").write_text(json.dumps(made))
        (directory / "explainer-report.json").write_text(json.dumps({"explainer_sha256": "explainer"}))
        text = (self.work / f"{self.name}-classifier" / "classifier.json").read_text()
        (directory / "classifier.json").write_text(text)


CALLS: list[list[str]] = []


@pytest.fixture
def made(tmp_path: Path) -> Any:
    CALLS.clear()
    for folder in ("data", "work", "recipes"):
        (tmp_path / folder).mkdir()
    (tmp_path / "data" / "ssu.tsv.gz").write_text("id\tsplit\na\ttrain\nb\tval\nc\ttest_gene\nd\ttest_species\n")
    (tmp_path / "recipes" / "ssu.toml").write_text(
        '[train-classifier]\nranks = "superkingdom,genus"\nsteps = 16.0\nseed = 1\n'
        '[train-explainer]\ntarget-area = 0.2\n[evaluate]\nannotations = "x.bed"\n[profile]\nregions = "ecoli-16s"\n'
    )
    (tmp_path / "recipes" / "rivals.toml").write_text('[evaluate]\nsplit = "test_species"\nrivals = "lime"\n')
    folders = [tmp_path / name for name in ("shipped", "docs", "recipes")]
    return Recorded("ssu", tmp_path / "data", tmp_path / "work", ("--device", "cpu"), False, *folders)


def steps() -> list[str]:
    """What each command was, in a word or two."""
    kinds = ("train-classifier", "train-explainer", "evaluate", "profile", "cut", "score")
    found = [next((kind for kind in kinds if kind in words), Path(words[1]).stem) for words in CALLS]
    CALLS.clear()
    return found


def test_every_step_and_then_none(made: Any) -> None:
    made.run()
    evaluations = [words for words in CALLS if "evaluate" in words]
    assert [words[words.index("--split") + 1] for words in evaluations] == ["test_gene", "test_species", "test_species"]
    assert ["--rivals" in words for words in evaluations] == [False, False, True]
    for words in evaluations[:2]:
        assert words[words.index("--judge") + 1] == str(made.work / "ssu-judge")
        assert words[words.index("--annotations") + 1] == str(made.data / "x.bed")
        assert words[-2:] == ["--device", "cpu"]
    card = CALLS[-1]
    assert card[card.index("--rivals") + 1] == str(made.work / "ssu-rivals.json")
    assert str(made.work / "ssu-rivals.json") not in card[: card.index("--rivals")]
    seeds = [words[words.index("--seed") + 1] for words in CALLS if "train-classifier" in words]
    assert seeds == ["1", "2"]
    crops = [words[words.index("--crop") + 1] for words in CALLS if "--crop" in words]
    assert crops == ["250", "450"]
    assert steps() == [
        *("train-classifier", "train-classifier", "train-explainer", "evaluate", "evaluate", "evaluate"),
        *("baseline_kmer", "cut", "baseline_kmer", "baseline_kmer", "score", "profile", "model_card"),
    ]
    shipped = made.shipped / "ssu"
    assert {path.name for path in shipped.iterdir()} == set(build.SHIPPED)
    assert "/home/me" not in "".join(path.read_text() for path in shipped.iterdir())
    assert json.loads((shipped / "classifier.json").read_text())["settings"]["options"]["sequences"] == ["x.fasta.gz"]
    documents = {path.name for path in (made.documents / "ssu").iterdir()}
    assert {
        "test_gene.json",
        "rivals.json",
        "baseline.json",
        "baseline-250.json",
        "amplicons.json",
        "profile.png",
    } <= documents
    made.run()
    assert steps() == ["model_card"]  # the card alone is written anew


def test_taxids_by_a_taxdump(made: Any) -> None:
    """Of the model that ships, before its card is written."""
    replace(made, taxonomy=made.data).run()
    words = CALLS[-2]
    assert words[1:3] == [str(build.ROOT / "recipes" / "taxids.py"), str(made.shipped / "ssu")]
    assert words[3:] == ["--labels", str(made.data / "ssu.tsv.gz"), "--taxonomy", str(made.data)]


def test_a_judge_of_its_own_recipe(made: Any) -> None:
    (made.recipes / "ssu-judge.toml").write_text("[train-classifier]\nsteps = 9\nseed = 5\n")
    made.run()
    own, judge = (words for words in CALLS if "train-classifier" in words)
    assert [own[own.index(flag) + 1] for flag in ("--steps", "--seed")] == ["16", "1"]
    assert [judge[judge.index(flag) + 1] for flag in ("--steps", "--seed")] == ["9", "5"]
    assert judge[judge.index("--ranks") + 1] == "superkingdom,genus"


def test_a_stopped_training_goes_on(made: Any) -> None:
    (made.work / "ssu-classifier").mkdir()
    (made.work / "ssu-classifier" / "checkpoint.safetensors").touch()
    made.run()
    assert ["--resume" in words for words in CALLS if "train-classifier" in words] == [True, False]


def test_a_result_of_another_recipe_is_refused(made: Any) -> None:
    made.run()
    recipe = made.recipes / "ssu.toml"
    recipe.write_text(recipe.read_text().replace("steps = 16.0", "steps = 17"))
    with pytest.raises(SystemExit, match=r"ssu-classifier: made with steps 16\.0, not by recipes/ssu\.toml"):
        made.run()


def test_an_explainer_of_another_classifier_is_refused(made: Any) -> None:
    made.run()
    path = made.work / "ssu-classifier" / "report.json"
    path.write_text(json.dumps({"classifier_sha256": "retrained"}))
    with pytest.raises(SystemExit, match="ssu: is not for the classifier in"):
        made.run()


def test_reports_about_another_model_are_made_anew(made: Any) -> None:
    made.run()
    steps()
    path = made.work / "ssu-test_gene.json"
    path.write_text(json.dumps({"classifier_sha256": "classifier-1", "explainer_sha256": "an older one"}))
    made.run()
    assert steps() == ["evaluate", "model_card"]


def test_dry_run_touches_nothing(made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {field.name: getattr(made, field.name) for field in fields(made)}
    build.Build(**given | {"dry": True}).run()
    printed = capsys.readouterr().err
    assert [word in printed for word in ("train-classifier", "train-explainer", "evaluate", "model_card")] == [True] * 4
    assert not list(made.work.iterdir())
    assert not made.shipped.exists()


def test_values_as_on_the_command_line(tmp_path: Path) -> None:
    table = {"a": True, "b": False, "c": [1, 2.0], "d": 1234567, "e": 0.03, "truth": "t.bed"}
    words = build.flags(table, tmp_path)
    assert words == ["--a", "--no-b", "--c", "1,2", "--d", "1234567", "--e", "0.03", "--truth", str(tmp_path / "t.bed")]
