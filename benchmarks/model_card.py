"""Renders the card of a model from what its training and its evaluation have written; no figure is typed by hand.

    python benchmarks/model_card.py MODEL_DIR REPORT_JSON... -o docs/models/NAME.md

MODEL_DIR is what `seqmask train-explainer` wrote. REPORT_JSON are reports about that model, at least one of `seqmask
evaluate --json`; those of `seqmask profile --json`, `benchmarks/amplicons.py` and `benchmarks/baseline_kmer.py` may
stand among them. The prose (use, data, splits, biases, limits, licence) is the file recipes/NAME.md, or the one given
with --recipe. The card is also written to MODEL_DIR/README.md.
Reports of another model, or weights that differ from what the reports describe, are an error.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from card_markdown import Json, bullets, code, drawn, estimate, number, score, table, wrap
from card_reports import MASK, amplicons, evaluation, others, profile, subject

from seqmask.sequences.tokenizer import tokenizer_of

ROOT = Path(__file__).resolve().parent.parent
SPELLED = {  # options whose flag is not their name
    "k": "--kmer",
    "sufficiency_bound": "--sufficiency",
    "necessity_bound": "--necessity",
}
# Options that change no result, or that the command line gives in another form
LEFT_OUT = {"sequences", "compute", "resume", "force", "checkpoint_minutes"}
PATHS = {"labels", "output", "classifier", "explainer"}
SWITCHED_ON = {"crossing", "lineages"}  # switches that are on unless the command line says no


@dataclass(frozen=True)
class Model:
    """The JSON files of a model directory; weights: size in bytes and SHA-256 of the two safetensors files."""

    name: str
    classifier: Json
    classifier_report: Json
    explainer: Json
    explainer_report: Json
    tokenizer: Json
    labels: Json
    weights: dict[str, tuple[int, str]]

    @property
    def ranks(self) -> list[str]:
        return [rank["name"] for rank in self.labels["ranks"]]

    @property
    def data(self) -> set[str]:
        """Digests of what it was trained on."""
        both = (self.classifier["settings"], self.explainer["settings"])
        return {digest for settings in both for digest in settings["data_sha256"].values()}


def main(argv: Sequence[str] | None = None) -> None:
    """Write the card."""
    args = options(argv)
    model = read_model(args.model, args.output.stem)
    rivals = args.rivals and (args.rivals, read(args.rivals))
    reports = Reports([(path, read(path)) for path in args.reports], model, rivals)
    recipe = args.recipe or ROOT / "recipes" / f"{args.output.stem}.md"
    if not recipe.is_file():
        raise SystemExit(f"{recipe}: no such file; write the card's prose there, or name it with --recipe")
    card = render(model, reports, recipe.read_text(encoding="utf-8"))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    for target in (args.output, args.model / "README.md"):
        target.write_text(card, encoding="utf-8")
        print(target)


class Reports:
    """The reports by kind; SystemExit for one that is of none, or about another model."""

    def __init__(
        self, files: Sequence[tuple[Path, Json]], model: Model, rivals: tuple[Path, Json] | None = None
    ) -> None:
        self.evaluations: list[Json] = []
        self.profiles: list[Json] = []
        self.amplicons: list[Json] = []
        self.baselines: list[Json] = []
        kinds = {"evaluate": self.evaluations, "profile": self.profiles, "amplicons": self.amplicons}
        for path, report in files:
            if "scores" in report:  # the baseline knows no model
                self.baselines.append(report)
                continue
            if report.get("report") not in kinds:
                raise SystemExit(f"{path}: not written by `seqmask evaluate --json`, nor by what may stand beside it")
            check_report(path, report, model)
            kinds[report["report"]].append(report)
        if not self.evaluations:
            raise SystemExit("no report of `seqmask evaluate --json` among the files")
        self.rivals: Json | None = None
        if rivals:
            path, self.rivals = rivals
            check_report(path, self.rivals, model)
            if not self.rivals.get("rivals"):
                raise SystemExit(f"{path}: not written by `seqmask evaluate --rivals NAMES --json`")

    def baseline(self, split: str, rank: str) -> tuple[Json, Json] | None:
        """Settings and scores of the baseline on whole sequences, if there is one for that split and rank."""
        for of in self.baselines:
            for found in of["scores"]:
                if (found["crop"], found["split"], found["rank"]) == (None, split, rank):
                    return of["settings"], found
        return None


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL_DIR")
    parser.add_argument("reports", type=Path, nargs="+", metavar="REPORT_JSON")
    parser.add_argument("--rivals", type=Path, metavar="REPORT_JSON", help="the report with other attribution methods")
    parser.add_argument("--recipe", type=Path, metavar="FILE", help="prose in Markdown (default recipes/NAME.md)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="NAME.md")
    return parser.parse_args(argv)


def render(model: Model, reports: Reports, prose: str) -> str:
    """The whole card."""
    parts = [
        f"# Model card: {model.name}",
        wrap(
            "Written by `benchmarks/model_card.py` from the JSON files of the model directory and of its evaluation. "
            "Edit the prose in the recipe, not here. What the tables mean: `docs/evaluation.md`. How it works: "
            "`docs/method.md`."
        ),
        *summary(model, reports),
        "## Where it stands",
        bullets(standing(model, reports)),
        *training(model, reports),
        prose.strip(),
        *accuracy(model, reports),
        *(part for report in reports.amplicons for part in amplicons(report)),
        *threshold(model),
        "## Evaluation of the masks",
        *(
            part
            for report in reports.evaluations
            for part in evaluation(report, model.explainer["threshold"], model.data)
        ),
        *(others(reports.rivals) if reports.rivals else ()),
        *(part for report in reports.profiles for part in profile(report)),
    ]
    return "\n\n".join(parts) + "\n"


# What the model is


def summary(model: Model, reports: Reports) -> list[str]:
    """The two networks, and how many red flags there are."""
    encoder, tokenizer = model.classifier["encoder"], tokenizer_of(model.tokenizer)
    longest, frames = tokenizer.max_length(encoder["max_position_embeddings"]), model.explainer.get("frames", 1)
    classes = ", ".join(f"{len(rank['classes'])} {rank['name']}" for rank in model.labels["ranks"])
    tracks = model.explainer["tracks"]
    flags = ", ".join(f"{len(report['red_flags'])} on {subject(report)}" for report in reports.evaluations)
    rows = [
        ("classes", classes),
        ("tokens", f"{tokenizer.summary}; windows of up to {longest} nt"),
        ("frames", "1" if frames == 1 else f"{frames}, averaged"),
        ("classifier", f"{shape(encoder)}, {model.classifier_report['parameters']:,} parameters"),
        ("Explainer", f"{shape(model.explainer['encoder'])}; {'one mask' if tracks == 1 else 'one mask a rank'}"),
        ("masking operator", f"`{model.explainer['operator']}`"),
        ("threshold tau", f"{model.explainer['threshold']:.5f}"),
        *((f"`{name}`", f"{size / 1e6:.1f} MB, SHA-256 `{digest}`") for name, (size, digest) in model.weights.items()),
        ("seqmask that evaluated it", ", ".join(sorted({report["seqmask_version"] for report in reports.evaluations}))),
        ("red flags", flags),
    ]
    return ["## Model", table(("", ""), rows)]


def standing(model: Model, reports: Reports) -> Iterator[str]:
    """What the figures amount to, in sentences; no more than the tables say."""
    for split, ranks in model.classifier_report["splits"].items():
        if split == "val":
            continue
        pairs = [(rank, own["accuracy_all"], reports.baseline(split, rank)) for rank, own in ranks.items()]
        told = [
            f"{'**behind**' if own < found[1]['accuracy'] else 'not behind'} at {rank} ({number(own)}, k-mers "
            f"{number(found[1]['accuracy'])})"
            for rank, own, found in pairs
            if found
        ]
        if told:
            beside = f"Classifier beside k-mer logistic regression on `{split}`, all labelled sequences"
            yield f"{beside}: {', '.join(told)}."
    for report in reports.evaluations:
        ranks = {name: rank for name, rank in report["ranks"].items() if rank["scored"]}
        sure = [name for name, rank in ranks.items() if (rank["best_control"]["interval"][0] or 0) > 0]
        unsure = [name for name in ranks if name not in sure]
        sentence = f"Masks on {subject(report)}: "
        sentence += f"they keep more than the best control of the same area at {', '.join(sure)}" if sure else ""
        sentence += "; " if sure and unsure else ""
        sentence += f"**no certain gain over the best control at {', '.join(unsure)}**" if unsure else ""
        yield sentence + f"; {len(report['red_flags'])} red flags."
        full = {
            name: (rank["full"]["accuracy"], rank["rows"][MASK]["masked"]["accuracy"]) for name, rank in ranks.items()
        }
        kept = ", ".join(f"{name} {number(masked)} of {number(whole)}" for name, (whole, masked) in full.items())
        yield f"What the kept part alone gives on {subject(report)}, of what the whole gives: {kept}."


def shape(encoder: Json) -> str:
    return (
        f"{encoder['model_type']}, {encoder['num_hidden_layers']} layers of width {encoder['hidden_size']}, "
        f"{encoder['num_attention_heads']} heads"
    )


def training(model: Model, reports: Reports) -> list[str]:
    """The commands with every option that decides the result, and the digests of the data."""
    ours, theirs = model.classifier["settings"], model.explainer["settings"]
    parts = [
        "## Training",
        "Every option is given, so that later defaults do not matter; directories are named without their path.",
        code(command("train-classifier", ours["options"])),
        code(command("train-explainer", theirs["options"])),
        "Seeds: " + f"classifier {ours['options']['seed']}, Explainer {theirs['options']['seed']}.",
    ]
    stopped = [n for n, s in (("classifier", ours), ("Explainer", theirs)) if s["options"].get("resume")]
    if stopped:
        parts.append(f"Training of the {' and the '.join(stopped)} was stopped and gone on with (`--resume`).")
    if joined := ours.get("lineages"):
        weights = ", ".join(f"{name} {number(value)}" for name, value in joined["weights"].items())
        parts.append(
            wrap(
                f"The ranks are joined to one distribution over {joined['count']:,} lineages (`--lineages`), fitted on "
                f"split `val`; weights of the ranks' own heads: {weights}; of the training shares: "
                f"{number(joined['prior'])}."
            )
        )
    if model.classifier["settings"].get("temperatures"):
        found = ", ".join(f"{name} {number(value)}" for name, value in ours["temperatures"].items())
        parts.append(
            wrap(f"Confidences were scaled on split `val`, the temperatures folded into the weights: {found}.")
        )
    if balanced := ours["options"].get("balanced_ranks"):
        parts.append(
            wrap(
                f"At {', '.join(balanced)} the classes count alike, however many training sequences each has "
                "(`--balanced-ranks`)."
            )
        )
    judges = sorted({report["judge_sha256"] for report in reports.evaluations if report["judge_sha256"]})
    if judges:
        parts.append("Judge of the masks, which does not ship: classifier " + ", ".join(f"`{d}`" for d in judges) + ".")
    digests = {(name, digest) for settings in (ours, theirs) for name, digest in settings["data_sha256"].items()}
    parts.append(table(("data file", "SHA-256"), ((f"`{n}`", f"`{d}`") for n, d in sorted(digests))))
    return parts


def command(name: str, given: Json) -> list[str]:
    """The words of a training command from the options that its settings keep."""
    words = ["seqmask", name, *(Path(path).name for path in given["sequences"])]
    for option, value in given.items():
        if value is False and option in SWITCHED_ON:
            words.append(f"--no-{option}")
        if option in LEFT_OUT or value is None or value is False or value in ("", []):
            continue
        words.append(flag(option))
        if value is not True:
            words.append(Path(value).name if option in PATHS else text(value))
    for option in ("device", "precision", "threads"):
        if given["compute"].get(option):
            words += [flag(option), text(given["compute"][option])]
    return words


def flag(option: str) -> str:
    """The flag of an option of `seqmask.config`."""
    return SPELLED.get(option, f"--{option.replace('_', '-')}")


def text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


# How good it is


def accuracy(model: Model, reports: Reports) -> list[str]:
    """The classifier on every split but `train`, beside the baseline where there is one for the rank and split."""
    header = [
        "split",
        "rank",
        "accuracy (95 % interval)",
        "balanced",
        "majority",
        "ECE (by chance)",
        "known",
        "all labelled",
    ]
    rows, other_classes, settings = [], False, None
    for split, ranks in model.classifier_report["splits"].items():
        for rank, own in ranks.items():
            row = [f"`{split}`", rank, score(own), number(own["balanced_accuracy"])]
            row += [number(own["majority_rate"]), f"{number(own['ece'])} ({number(own['ece_by_chance'])})"]
            row += [f"{own['known']} of {own['labelled']}", number(own["accuracy_all"])]
            pair = reports.baseline(split, rank)
            if pair:
                settings, found = pair
                row += [number(found["accuracy_known"]), number(found["balanced_known"])]
                row += [f"{found['known']} of {found['labelled']}", number(found["accuracy"])]
                other_classes |= (found["known"], found["labelled"]) != (own["known"], own["labelled"])
            rows.append(row)
    if settings:
        header += ["k-mers: accuracy", "balanced", "known", "all labelled"]
    parts = [
        "## Accuracy of the classifier",
        wrap(
            "Whole sequences. *Accuracy*, *balanced* (mean recall over classes) and *majority* (share of the most "
            "frequent class) are over the sequences whose class the classifier knows, and so is *ECE*, the expected "
            "calibration error of the confidences (by chance: what exactly right ones would have, were sequences "
            "independent); in *all labelled* the others count as errors. " + drawn(model.classifier_report)
        ),
        table(header, [row + ["n/a"] * (len(header) - len(row)) for row in rows]),
    ]
    if settings:
        parts.append(baseline_note(settings, other_classes))
    parts += [
        f"By {model.ranks[0]}, accuracy (95 % interval; sequences):",
        table(*by_group(model.classifier_report["splits"])),
        "Accuracy of predictions of such a confidence, in brackets their share of the sequences:",
        table(*by_confidence(model.classifier_report["splits"])),
    ]
    return parts


Rows = tuple[list[str], list[list[str]]]


def by_group(splits: Json) -> Rows:
    """Header and rows: how unlike each other the classes of the first rank are told."""
    ranks = list(next(iter(splits.values())))
    rows = []
    for split, of_ranks in splits.items():
        groups = {name: {of["class"]: of for of in rank["groups"]} for name, rank in of_ranks.items()}
        for name in groups[ranks[0]]:
            cells = [groups[rank].get(name) for rank in ranks]
            shown = [f"{estimate(of['accuracy'])}; {of['scored']:,}" if of else "n/a" for of in cells]
            rows.append([f"`{split}`", name, *shown])
    return ["split", "of", *ranks], rows


def by_confidence(splits: Json) -> Rows:
    """Header and rows: what a least confidence leaves, and how much of that is right."""
    rows = [
        [f"`{split}`", rank, *(f"{number(of['accuracy']['mean'])} ({number(of['share'])})" for of in own["at_least"])]
        for split, of_ranks in splits.items()
        for rank, own in of_ranks.items()
    ]
    first = next(iter(next(iter(splits.values())).values()))["at_least"]
    return ["split", "rank", *(f"{of['confidence']:g} or more" for of in first)], rows


def baseline_note(settings: Json, other_classes: bool) -> str:
    strands = ", both strands as one" if settings.get("both_strands") else ""
    note = (
        f"*k-mers* is logistic regression on square roots of {settings['k']}-mer counts{strands} "
        f"(`benchmarks/baseline_kmer.py`), fitted on split `train`, classes with {settings['min_per_class']} training "
        "sequences or more."
    )
    if other_classes:
        note += " **It knows other classes than the model or saw other sequences: compare *all labelled* only.**"
    return wrap(note)


def threshold(model: Model) -> list[str]:
    """The frontiers on `val` from which the thresholds were chosen, one a mask."""
    given, chosen = model.explainer["settings"]["options"], model.explainer["settings"]["validation"]
    least = given["min_agreement"]
    parts = [
        "## Choice of the threshold",
        wrap(
            "On split `val`: share of the sequences with the right class by what is kept / by the rest / for the "
            f"most frequent class, all relative to whole sequences. Wanted was the smallest area that keeps at least "
            f"{least:g} in every rank of the mask and leaves hardly more than the most frequent class."
        ),
    ]
    for track, point in enumerate(chosen):
        names = [model.ranks[r] for r in point["ranks"]]
        found = f"keeps {number(min(point['kept']))} at area {number(point['area'])}"
        verdict = f"the chosen threshold {found}" if min(point["kept"]) >= least else f"**the best trade {found}**"
        whose = "of all ranks" if len(chosen) == 1 else f"of {', '.join(names)}"
        rows = [
            [("**chosen** " if same(of, point) else "") + f"{of['threshold']:.5f}", number(of["area"])]
            + [
                " / ".join(map(number, of_rank))
                for of_rank in zip(of["kept"], of["removed"], of["chance"], strict=True)
            ]
            for of in model.explainer_report["validation"][-1]["frontier"][track]
        ]
        parts += [f"Mask {whose}, in the lowest rank {verdict}:", table(["threshold", "area", *names], rows)]
    return parts


def same(point: Json, other: Json) -> bool:
    return math.isclose(point["threshold"], other["threshold"], rel_tol=1e-9)


# Files


def read(path: Path) -> Json:
    """A JSON object; the end of the program, with the reason, where there is none."""
    try:
        data: Json = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SystemExit(f"{path}: cannot be read: {error}") from error
    return data


def read_model(directory: Path, name: str) -> Model:
    """The JSON files of a model directory, which must describe the weights that lie beside them."""
    weights = {}
    for file in ("classifier.safetensors", "explainer.safetensors"):
        path = directory / file
        if not path.is_file():
            raise SystemExit(f"{path}: no such file; give a directory that `seqmask train-explainer` wrote")
        with path.open("rb") as handle:
            weights[file] = (path.stat().st_size, hashlib.file_digest(handle, "sha256").hexdigest())
    parts = ("classifier", "classifier_report", "explainer", "explainer_report", "tokenizer", "labels")
    files = {part: read(directory / f"{part.replace('_', '-')}.json") for part in parts}
    model = Model(name, **files, weights=weights)
    (_, classifier), (_, explainer) = weights.values()
    expect(directory / "classifier-report.json", "classifier", model.classifier_report["classifier_sha256"], classifier)
    expect(directory / "explainer.json", "classifier", model.explainer["classifier_sha256"], classifier)
    expect(directory / "explainer-report.json", "Explainer", model.explainer_report["explainer_sha256"], explainer)
    return model


def check_report(path: Path, report: Json, model: Model) -> None:
    """A report must be of this model; one about the classifier alone names no Explainer."""
    (_, classifier), (_, explainer) = model.weights.values()
    expect(path, "classifier", report["classifier_sha256"], classifier)
    expect(path, "Explainer", report.get("explainer_sha256", explainer), explainer)


def expect(path: Path, what: str, said: str, found: str) -> None:
    if said != found:
        raise SystemExit(f"{path}: is about {what} {said[:12]}, the model directory holds {found[:12]}")


if __name__ == "__main__":
    main()
