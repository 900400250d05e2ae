"""Renders the card of a model from what its training and its evaluation have written; no figure is typed by hand.

    python benchmarks/model_card.py MODEL_DIR EVALUATE_JSON... --baseline BASELINE_JSON -o docs/models/NAME.md

MODEL_DIR is what `seqmask train-explainer` wrote, EVALUATE_JSON what `seqmask evaluate --json` wrote for that model,
and BASELINE_JSON what `benchmarks/baseline_kmer.py --json` wrote for the same data. The prose (use, data, splits,
biases, limits) is the file recipes/NAME.md, or the one given with --recipe. The card is also written to
MODEL_DIR/README.md.
Reports of another model, or weights that differ from what the reports describe, are an error.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shlex
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent
MASK = "seqmask"
SPELLED = {"k": "--kmer"}  # options whose flag is not their name
# Options that change no result, or that the command line gives in another form
LEFT_OUT = {"sequences", "compute", "resume", "force", "checkpoint_minutes"}
PATHS = {"labels", "output", "classifier"}


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


def main(argv: Sequence[str] | None = None) -> None:
    """Write the card."""
    args = options(argv)
    model = read_model(args.model, args.output.stem)
    reports = [read(path) for path in args.reports]
    for path, report in zip(args.reports, reports, strict=True):
        check_report(path, report, model)
    recipe = args.recipe or ROOT / "recipes" / f"{args.output.stem}.md"
    if not recipe.is_file():
        raise SystemExit(f"{recipe}: no such file; write the card's prose there, or name it with --recipe")
    baseline = read(args.baseline) if args.baseline else None
    card = render(model, reports, baseline, recipe.read_text(encoding="utf-8"))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    for target in (args.output, args.model / "README.md"):
        target.write_text(card, encoding="utf-8")
        print(target)


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL_DIR")
    parser.add_argument("reports", type=Path, nargs="+", metavar="EVALUATE_JSON")
    parser.add_argument("--baseline", type=Path, metavar="BASELINE_JSON", help="k-mer baseline to set beside")
    parser.add_argument("--recipe", type=Path, metavar="FILE", help="prose in Markdown (default recipes/NAME.md)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="NAME.md")
    return parser.parse_args(argv)


def render(model: Model, reports: Sequence[Json], baseline: Json | None, prose: str) -> str:
    """The whole card."""
    parts = [
        f"# Model card: {model.name}",
        wrap(
            "Written by `benchmarks/model_card.py` from the JSON files of the model directory and of its evaluation. "
            "Edit the prose in the recipe, not here. What the tables mean: `docs/evaluation.md`. How it works: "
            "`docs/method.md`."
        ),
        *summary(model, reports),
        *training(model),
        prose.strip(),
        *accuracy(model, baseline),
        *threshold(model),
        "## Evaluation of the masks",
        *(part for report in reports for part in evaluation(report, model)),
    ]
    return "\n\n".join(parts) + "\n"


# What the model is


def summary(model: Model, reports: Sequence[Json]) -> list[str]:
    """The two networks, and how many red flags there are."""
    encoder, tokenizer = model.classifier["encoder"], model.tokenizer
    longest = tokenizer["k"] + tokenizer["stride"] * (encoder["max_position_embeddings"] - 1)
    classes = ", ".join(f"{len(rank['classes'])} {rank['name']}" for rank in model.labels["ranks"])
    tracks = model.explainer["tracks"]
    flags = ", ".join(f"{len(report['red_flags'])} on {subject(report)}" for report in reports)
    rows = [
        ("classes", classes),
        ("tokens", f"{tokenizer['k']}-mers every {tokenizer['stride']} nt; windows of up to {longest} nt"),
        ("classifier", f"{shape(encoder)}, {model.classifier_report['parameters']:,} parameters"),
        ("Explainer", f"{shape(model.explainer['encoder'])}; {'one mask' if tracks == 1 else 'one mask a rank'}"),
        ("masking operator", f"`{model.explainer['operator']}`"),
        ("threshold tau", f"{model.explainer['threshold']:.5f}"),
        *((f"`{name}`", f"{size / 1e6:.1f} MB, SHA-256 `{digest}`") for name, (size, digest) in model.weights.items()),
        ("seqmask that evaluated it", ", ".join(sorted({report["seqmask_version"] for report in reports}))),
        ("red flags", flags),
    ]
    return ["## Model", table(("", ""), rows)]


def shape(encoder: Json) -> str:
    return (
        f"{encoder['model_type']}, {encoder['num_hidden_layers']} layers of width {encoder['hidden_size']}, "
        f"{encoder['num_attention_heads']} heads"
    )


def training(model: Model) -> list[str]:
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
    digests = {(name, digest) for settings in (ours, theirs) for name, digest in settings["data_sha256"].items()}
    parts.append(table(("data file", "SHA-256"), ((f"`{n}`", f"`{d}`") for n, d in sorted(digests))))
    return parts


def command(name: str, given: Json) -> list[str]:
    """The words of a training command from the options that its settings keep."""
    words = ["seqmask", name, *(Path(path).name for path in given["sequences"])]
    for option, value in given.items():
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


def accuracy(model: Model, baseline: Json | None) -> list[str]:
    """The classifier on every split but `train`, beside the baseline where there is one for the rank and split."""
    scores = {(s["split"], s["rank"]): s for s in (baseline or {}).get("scores", []) if s["crop"] is None}
    header = ["split", "rank", "accuracy", "balanced", "majority", "known", "all labelled"]
    if baseline:
        header += ["k-mers: accuracy", "balanced", "known", "all labelled"]
    rows, other_classes = [], False
    for split, ranks in model.classifier_report["splits"].items():
        for rank, own in ranks.items():
            row = [f"`{split}`", rank, number(own["accuracy"]), number(own["balanced_accuracy"])]
            row += [number(own["majority_rate"]), f"{own['known']} of {own['labelled']}", number(own["accuracy_all"])]
            found = scores.get((split, rank))
            if baseline and found:
                row += [number(found["accuracy_known"]), number(found["balanced_known"])]
                row += [f"{found['known']} of {found['labelled']}", number(found["accuracy"])]
                other_classes |= (found["known"], found["labelled"]) != (own["known"], own["labelled"])
            elif baseline:
                row += ["n/a"] * 4
            rows.append(row)
    parts = [
        "## Accuracy of the classifier",
        wrap(
            "Whole sequences. *Accuracy*, *balanced* (mean recall over classes) and *majority* (share of the most "
            "frequent class) are over the sequences whose class the classifier knows; in *all labelled* the others "
            "count as errors."
        ),
        table(header, rows),
    ]
    if baseline:
        parts.append(baseline_note(baseline["settings"], other_classes))
    return parts


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
    """The frontier on `val` from which the threshold was chosen."""
    given, chosen = model.explainer["settings"]["options"], model.explainer["settings"]["validation"]
    least = given["min_agreement"]
    found = f"keeps {number(min(chosen['kept']))} at area {number(chosen['area'])}"
    verdict = f"the chosen threshold {found}" if min(chosen["kept"]) >= least else f"**the best trade {found}**"
    rows = [
        [("**chosen** " if same(point, chosen) else "") + f"{point['threshold']:.5f}", number(point["area"])]
        + [f"{number(k)} / {number(r)}" for k, r in zip(point["kept"], point["removed"], strict=True)]
        for point in model.explainer_report["validation"][-1]["frontier"]
    ]
    return [
        "## Choice of the threshold",
        wrap(
            "On split `val`: share of the sequences with the right class by the kept tokens / by the others, relative "
            f"to whole sequences. Wanted was at least {least:g} in every rank at the smallest area; in the lowest rank "
            f"{verdict}."
        ),
        table(["threshold", "area", *model.ranks], rows),
    ]


def same(point: Json, other: Json) -> bool:
    return math.isclose(point["threshold"], other["threshold"], rel_tol=1e-9)


def evaluation(report: Json, model: Model) -> list[str]:
    """All tables of one report of `seqmask evaluate`."""
    ranks: Json = report["ranks"]
    notes = [
        f"{report['sequences']} sequences ({report['left_out']} left out as unreadable), against {report['against']}, "
        f"hard masks at tau {report['threshold']:.5f}, operator `{report['operator']}`, seed {report['seed']}."
    ]
    if not math.isclose(report["threshold"], model.explainer["threshold"], rel_tol=1e-9):
        notes.append("**This is not the model's own threshold.**")
    trained = {**model.classifier["settings"]["data_sha256"], **model.explainer["settings"]["data_sha256"]}
    others = {n: d for n, d in report["data_sha256"].items() if d not in trained.values()}
    if others:
        notes.append("Data: " + ", ".join(f"`{name}` (SHA-256 `{digest}`)" for name, digest in others.items()) + ".")
    flags = "\n".join(f"- {sentence}" for sentence in report["red_flags"])
    return [
        f"### {subject(report)}",
        wrap(" ".join(notes)),
        "Hard masks, accuracy (95 % interval):",
        headline(ranks),
        "Hard masks and controls of the same area, accuracy masked / inverse:",
        rows_table(ranks, soft=False),
        "Top share of each sequence, accuracy kept / removed:",
        shares(ranks),
        "ERASER (mean over top shares), comprehensiveness (high is good) / sufficiency (low is good):",
        eraser(ranks),
        "Soft masks, accuracy masked / inverse; without the constant mask beside them they say nothing:",
        rows_table(ranks, soft=True),
        "Shape of the masks:",
        mask_shape(report),
        f"Red flags:\n\n{flags}" if report["red_flags"] else "Red flags: none.",
    ]


def subject(report: Json) -> str:
    """What a report is about: its split, or its files."""
    if report["split"]:
        return f"split `{report['split']}`"
    return ", ".join(f"`{name}`" for name in report["data_sha256"]) or "standard input"


def headline(ranks: Json) -> str:
    header = ["rank", "full", "masked", "inverse", "inverse of `random`", "majority", "best control", "gap"]
    rows = []
    for name, rank in ranks.items():
        mask, best = rank["rows"][MASK], rank["best_control"]
        inverse = number(rank["rows"]["random"]["inverse"]["accuracy"])
        cells = [with_interval(part) for part in (rank["full"], mask["masked"], mask["inverse"])]
        best_cell = f"{number(best['accuracy'])} `{best['name']}`"
        rows.append([name, *cells, inverse, number(rank["majority_rate"]), best_cell, number(best["gap"], "+")])
    return table(header, rows)


def rows_table(ranks: Json, soft: bool) -> str:
    names = [name for name in next(iter(ranks.values()))["rows"] if name.endswith("(soft)") is soft]
    rows = []
    for name in names:
        pairs = [rank["rows"][name] for rank in ranks.values()]
        cells = [f"{number(p['masked']['accuracy'])} / {number(p['inverse']['accuracy'])}" for p in pairs]
        rows.append([f"`{name}`", *cells])
    return table(["mask", *ranks], rows)


def shares(ranks: Json) -> str:
    header = [f"{100 * float(share):g} %" for share in next(iter(ranks.values()))["fractions"][MASK]]
    rows = [
        [name, f"`{order}`", *(f"{number(p['kept'])} / {number(p['removed'])}" for p in of.values())]
        for name, rank in ranks.items()
        for order, of in rank["fractions"].items()
    ]
    return table(["rank", "order", *header], rows)


def eraser(ranks: Json) -> str:
    orders = list(next(iter(ranks.values()))["eraser"])
    rows = []
    for name, rank in ranks.items():
        pairs = [rank["eraser"][order] for order in orders]
        rows.append([name, *(f"{number(p['comprehensiveness'])} / {number(p['sufficiency'])}" for p in pairs)])
    return table(["rank", *(f"`{order}`" for order in orders)], rows)


def mask_shape(report: Json) -> str:
    shapes = {"all": report["mask"]} if "mask" in report else {n: r["mask"] for n, r in report["ranks"].items()}
    header = ["rank", "area", "median", "5-95 %", "soft area", "binarity", "variation", "segments", "median segment"]
    rows = []
    for name, of in shapes.items():
        area = of["area"]
        spread = f"{number(area['p5'])}-{number(area['p95'])}"
        figures = [of["soft_area"]["mean"], of["binarity"], of["variation"]]
        segments = [f"{of['segments']:.1f}", f"{of['median_segment_nt']:.0f} nt"]
        rows.append([name, number(area["mean"]), number(area["median"]), spread, *map(number, figures), *segments])
    return table(header, rows)


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
    files = ("classifier", "classifier-report", "explainer", "explainer-report", "tokenizer", "labels")
    model = Model(name, *(read(directory / f"{file}.json") for file in files), weights)
    (_, classifier), (_, explainer) = weights.values()
    expect(directory / "classifier-report.json", "classifier", model.classifier_report["classifier_sha256"], classifier)
    expect(directory / "explainer.json", "classifier", model.explainer["classifier_sha256"], classifier)
    expect(directory / "explainer-report.json", "Explainer", model.explainer_report["explainer_sha256"], explainer)
    return model


def check_report(path: Path, report: Json, model: Model) -> None:
    """A report must be of `seqmask evaluate` and of this model."""
    if report.get("report") != "evaluate":
        raise SystemExit(f"{path}: not written by `seqmask evaluate --json`")
    (_, classifier), (_, explainer) = model.weights.values()
    expect(path, "classifier", report["classifier_sha256"], classifier)
    expect(path, "Explainer", report["explainer_sha256"], explainer)


def expect(path: Path, what: str, said: str, found: str) -> None:
    if said != found:
        raise SystemExit(f"{path}: is about {what} {said[:12]}, the model directory holds {found[:12]}")


# Markdown


def wrap(paragraph: str) -> str:
    return textwrap.fill(paragraph, 120, break_long_words=False, break_on_hyphens=False)


def number(value: float | None, sign: str = "") -> str:
    """Three decimals; n/a for what is not defined."""
    return "n/a" if value is None or math.isnan(value) else f"{value:{sign}.3f}"


def with_interval(score: Json) -> str:
    low, high = score["interval"]
    return f"{number(score['accuracy'])} ({number(low)}-{number(high)})"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(words: Sequence[str]) -> str:
    """A shell command as an indented block, broken before flags at 100 letters."""
    lines, line = [], ""
    for word in words:
        quoted = shlex.quote(word)
        if word.startswith("-") and len(line) > 90:
            lines.append(line + " \\")
            line = "    " + quoted
        else:
            line += f"{' ' if line else ''}{quoted}"
    return "\n".join(f"    {part}" for part in [*lines, line])


if __name__ == "__main__":
    main()
