"""A model that ships, from the data files to the model directory, its reports and its card.

    python recipes/build.py genomes --data DATA [--work runs] [--device cuda] [--taxonomy TAXDUMP] [--dry-run]

DATA holds NAME.fasta.gz, NAME.tsv.gz and what the recipe names beside. What is done is recipes/NAME.toml: a table for
each command of seqmask, its keys the long options. The steps:

- the classifier, and its judge, which does not ship: the same recipe with the next seed, or with what
  recipes/NAME-judge.toml changes
- the Explainer of the frozen classifier
- a report on every test split with the judge, and one that has other attribution methods beside the masks
  (recipes/rivals.toml)
- the k-mer baseline; for a model of rRNA genes also on amplicons, and the profile along E. coli's 16S
- the copies: the model into the package, the reports into docs/models/NAME, the card into both

A step whose result is there is skipped, so that a stopped run goes on; a result of another recipe or of another model
is not taken for this one's.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from seqmask.cli.app import app
from seqmask.cli.settings import spelling
from seqmask.errors import SeqmaskError
from seqmask.labels.tables import read_labels
from seqmask.models.checkpoint import CLASSIFIER_FILES
from seqmask.models.storage import write_json

ROOT = Path(__file__).resolve().parent.parent
ECOLI = ROOT / "examples" / "16s" / "ecoli.fasta"
SHIPPED = (
    *CLASSIFIER_FILES,
    "explainer.safetensors",
    "explainer.json",
    "classifier-report.json",
    "explainer-report.json",
)
# Options that name files of the machine a model was made on
PATHS = ("sequences", "labels", "taxonomy", "classifier", "output")
IN_DATA = ("annotations", "truth")  # options whose files lie in DATA
SEQMASK = [sys.executable, "-m", "seqmask"]
# Options of benchmarks/baseline_kmer.py; `crops` trains on random crops as long as the amplicons, one run for each
BASELINES: dict[str, dict[str, Any]] = {
    "genomes": {"k": 5, "epochs": 12},
    "ssu": {"k": 6, "epochs": 20, "min-per-class": 4, "crops": {"v4": 250, "v3-v4": 450}},
}


@dataclass(frozen=True)
class Build:
    """One model. work: where results go before they ship. compute: options for every command that runs networks."""

    name: str
    data: Path
    work: Path
    compute: tuple[str, ...] = ()
    dry: bool = False
    shipped: Path = ROOT / "seqmask" / "models" / "shipped"
    documents: Path = ROOT / "docs" / "models"
    recipes: Path = ROOT / "recipes"
    taxonomy: Path | None = None  # folder of an NCBI taxdump: classes get their taxids

    @property
    def recipe(self) -> dict[str, dict[str, Any]]:
        return tomllib.loads((self.recipes / f"{self.name}.toml").read_text(encoding="utf-8"))

    @property
    def judge(self) -> dict[str, Any]:
        """What the judge's training changes in the classifier's, where a file says so."""
        path = self.recipes / f"{self.name}-judge.toml"
        found: dict[str, Any] = (
            tomllib.loads(path.read_text(encoding="utf-8"))["train-classifier"] if path.exists() else {}
        )
        return found

    @property
    def rivals(self) -> dict[str, Any]:
        """How every model is compared with other attribution methods."""
        found: dict[str, Any] = tomllib.loads((self.recipes / "rivals.toml").read_text(encoding="utf-8"))["evaluate"]
        return found

    @property
    def sequences(self) -> Path:
        return self.data / f"{self.name}.fasta.gz"

    @property
    def labels(self) -> Path:
        return self.data / f"{self.name}.tsv.gz"

    @property
    def model(self) -> Path:
        return self.work / self.name

    def result(self, what: str) -> Path:
        return self.work / f"{self.name}-{what}"

    # The steps

    def run(self) -> None:
        classifier, judge = self.result("classifier"), self.result("judge")
        seed = self.recipe["train-classifier"].get("seed", 1)
        self.train("train-classifier", classifier, "report.json")
        self.train("train-classifier", judge, "report.json", **{"seed": seed + 1, **self.judge})
        self.train("train-explainer", self.model, "explainer-report.json", "--classifier", str(classifier))
        self.check_pair(classifier)
        reports = [
            self.evaluate(f"{split}.json", self.recipe["evaluate"], "--split", split, "--judge", str(judge))
            for split in self.test_splits()
        ]
        rivals = self.evaluate("rivals.json", self.rivals)
        more = [*self.baseline(), *self.profile()]
        self.ship([*reports, *more], rivals)

    def train(self, command: str, output: Path, result: str, *words: str, **replaced: Any) -> None:
        """One training, gone on with where it was stopped."""
        table = self.recipe[command] | replaced
        if (output / result).exists():
            self.check(command, table, output)
            self.skip(output / result)
            return
        begun = ["--resume"] if output.is_dir() and any(output.iterdir()) else []
        given = [str(self.sequences), "--labels", str(self.labels), *words, *flags(table, self.data)]
        self.call([*SEQMASK, command, *given, "--output", str(output), *self.compute, *begun])

    def check(self, command: str, table: dict[str, Any], output: Path) -> None:
        """Raise SystemExit where a directory was made by another recipe."""
        name = "explainer.json" if command == "train-explainer" else "classifier.json"
        made = read(output / name)["settings"]["options"]
        params = {spelling(param): param for param in typer.main.get_command(app).commands[command].params}  # type: ignore[attr-defined]
        found = {key: made.get(params[key].name, params[key].default) for key in table}
        others = [f"{key} {found[key]}" for key, value in table.items() if plain(found[key]) != plain(value)]
        if others:
            recipe = f"recipes/{self.name}.toml"
            raise SystemExit(
                f"{output}: made with {', '.join(others)}, not by {recipe}; take it away, or give another --work"
            )

    def check_pair(self, classifier: Path) -> None:
        """Raise SystemExit where the Explainer was trained for another classifier."""
        path = self.model / "explainer.json"
        if path.exists() and read(path)["classifier_sha256"] != read(classifier / "report.json")["classifier_sha256"]:
            raise SystemExit(
                f"{self.model}: is not for the classifier in {classifier}; take it away, or give another --work"
            )

    def test_splits(self) -> list[str]:
        """Every split but those that trained or chose something."""
        return sorted(set(read_labels(self.labels).column("split")) - {"train", "val", ""})

    def evaluate(self, name: str, table: dict[str, Any], *words: str) -> Path:
        target = self.result(name)
        if self.is_of_model(target):
            self.skip(target)
            return target
        given = [str(self.sequences), "--labels", str(self.labels), *words, "--model", str(self.model)]
        given += [*flags(table, self.data), "--json", str(target), "--force"]
        self.call([*SEQMASK, "evaluate", *given, *self.compute])
        return target

    def profile(self) -> list[Path]:
        """Importance along E. coli's 16S, where the recipe has such a table."""
        target = self.result("profile.json")
        if "profile" not in self.recipe:
            return []
        files = [target.with_suffix(suffix) for suffix in (".json", ".tsv", ".png")]
        if self.is_of_model(target):
            self.skip(target)
            return files
        given = [
            str(self.sequences),
            "--labels",
            str(self.labels),
            "--model",
            str(self.model),
            "--reference",
            str(ECOLI),
        ]
        for option, path in zip(("--json", "--tsv", "--plot"), files, strict=True):
            given += [option, str(path)]
        self.call([*SEQMASK, "profile", *given, *flags(self.recipe["profile"], self.data), "--force", *self.compute])
        return files

    def baseline(self) -> list[Path]:
        """The k-mer baseline on whole sequences and, for rRNA genes, on amplicons beside the classifier."""
        options = dict(BASELINES[self.name])
        crops: dict[str, int] = options.pop("crops", {})
        whole = self.result("baseline.json")
        self.kmers(options, whole)
        if not crops:
            return [whole]
        amplicons = self.result("amplicons")
        script = ROOT / "benchmarks" / "amplicons.py"
        common = [str(self.sequences), "--labels", str(self.labels)]
        if not all((amplicons / f"{region}.fasta.gz").exists() for region in crops):
            self.call([sys.executable, str(script), "cut", *common, "--output", str(amplicons)])
        baselines = [whole]
        for region, length in crops.items():
            baselines.append(self.result(f"baseline-{length}.json"))
            self.kmers(options | {"crop": length, "test": amplicons / f"{region}.fasta.gz"}, baselines[-1])
        target = self.result("amplicons.json")
        if self.is_of_model(target):
            self.skip(target)
        else:
            given = [*common, "--amplicons", str(amplicons), "--classifier", str(self.model), "--json", str(target)]
            self.call([sys.executable, str(script), "score", *given, "--baseline", *map(str, baselines), *self.compute])
        return [*baselines, target]

    def kmers(self, options: dict[str, Any], target: Path) -> None:
        if target.exists():
            self.skip(target)
            return
        script = ROOT / "benchmarks" / "baseline_kmer.py"
        given = [str(self.sequences), "--labels", str(self.labels), *flags(options, self.data), "--json", str(target)]
        self.call([sys.executable, str(script), *given])

    def ship(self, reports: Sequence[Path], rivals: Path) -> None:
        """The model into the package, its reports into the documents, the card into both."""
        package, documents = self.shipped / self.name, self.documents / self.name
        say(f"copy {self.model} to {package}, reports to {documents}")
        if not self.dry:
            package.mkdir(parents=True, exist_ok=True)
            for name in SHIPPED:
                shutil.copyfile(self.model / name, package / name)
            for name in ("classifier.json", "explainer.json"):
                write_json(package / name, without_paths(read(package / name)))
            documents.mkdir(parents=True, exist_ok=True)
            for path in (*reports, rivals, self.result("classifier") / "history.json"):
                shutil.copyfile(path, documents / path.name.removeprefix(f"{self.name}-"))
        if self.taxonomy is not None:
            words = ["--labels", str(self.labels), "--taxonomy", str(self.taxonomy)]
            self.call([sys.executable, str(ROOT / "recipes" / "taxids.py"), str(package), *words])
        script = ROOT / "benchmarks" / "model_card.py"
        given = [str(package), *(str(path) for path in reports if path.suffix == ".json")]
        given += ["--rivals", str(rivals)]
        self.call([sys.executable, str(script), *given, "--output", str(self.documents / f"{self.name}.md")])

    # What they are made of

    def is_of_model(self, path: Path) -> bool:
        """Whether a report is there and about the networks that are there."""
        if not path.exists() or not (self.model / "explainer.json").exists():
            return False
        said, now = read(path), read(self.model / "explainer-report.json")
        made = read(self.model / "explainer.json")
        return bool(
            said["classifier_sha256"] == made["classifier_sha256"]
            and said.get("explainer_sha256", now["explainer_sha256"]) == now["explainer_sha256"]
        )

    def skip(self, path: Path) -> None:
        say(f"{path} is there")

    def call(self, words: Sequence[str]) -> None:
        """Run one command, which is printed; its failure ends the build."""
        say(shlex.join(words))
        if not self.dry:
            self.work.mkdir(parents=True, exist_ok=True)
            began = time.monotonic()
            subprocess.run(words, check=True)
            say(f"done in {(time.monotonic() - began) / 60:.1f} min")


def say(text: str) -> None:
    print(f"== {text}", file=sys.stderr, flush=True)


def read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def flags(table: dict[str, Any], data: Path) -> list[str]:
    """The words of a command line from a table of options; a file of the data gets its folder."""
    words: list[str] = []
    for key, value in table.items():
        words.append(f"--no-{key}" if value is False else f"--{key}")
        if not isinstance(value, bool):
            words.append(str(data / value) if key in IN_DATA else plain(value))
    return words


def plain(value: Any) -> str:
    """A value as on the command line: 16 for 16.0, a list with commas."""
    if isinstance(value, list | tuple):
        return ",".join(map(plain, value))
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def without_paths(data: dict[str, Any]) -> dict[str, Any]:
    """Settings that name files, not where they lay."""
    options = data["settings"]["options"]
    for key in PATHS:
        if isinstance(options.get(key), list):
            options[key] = [Path(path).name for path in options[key]]
        elif options.get(key):
            options[key] = Path(options[key]).name
    return data


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(BASELINES))
    parser.add_argument("--data", type=Path, required=True, help="folder with NAME.fasta.gz and NAME.tsv.gz")
    parser.add_argument("--work", type=Path, default=Path("runs"), help="folder for results (default runs)")
    parser.add_argument("--device", help="auto, cpu, cuda, ... (default: what each command takes)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    parser.add_argument("--taxonomy", type=Path, help="folder of an NCBI taxdump, for the taxids of the classes")
    parser.add_argument("-n", "--dry-run", action="store_true", help="only say what would be done")
    options = parser.parse_args(argv)
    given: Iterable[tuple[str, Any]] = (("--device", options.device), ("--threads", options.threads))
    compute = tuple(word for flag, value in given if value is not None for word in (flag, str(value)))
    try:
        Build(options.name, options.data, options.work, compute, options.dry_run, taxonomy=options.taxonomy).run()
    except subprocess.CalledProcessError as error:  # the command has said what is wrong
        raise SystemExit(error.returncode) from error
    except SeqmaskError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
