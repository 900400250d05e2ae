"""The tables of `evaluate`, to stdout: they are its data. One function a table, one line each in `print_report`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH = 140  # of tables that go to a file or a pipe, where nothing may be cut off
NOTHING = "-"  # a figure that nothing defines


def print_report(report: dict[str, Any]) -> None:
    """All of a report that a person reads."""
    # markup: a class or a kind of annotation may be called [gene=cox1]
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else WIDTH)

    def line(text: str) -> None:
        console.print(text, soft_wrap=True)

    line(
        f"model {report['model']}, {report['sequences']} sequences, against {report['against']}, "
        f"hard masks at tau {report['threshold']:.3f}"
    )
    for name, rank in report["ranks"].items():
        if not rank["scored"]:
            line(f"{name}: no sequence of a class that the model knows: nothing is scored at this rank")
    for table in (
        _headline(report),
        _controls(report, soft=False),
        _macro(report),
        *([_sure(report)] if any(rank["confidence"] for _, rank in _scored(report)) else []),
        _fractions(report),
        _order(report),
        _smallest(report),
        _leakage(report),
        _calibration(report),
        _controls(report, soft=True),
        *(_rivals(report["rivals"]) if report["rivals"] else []),
        *([_truth(report["truth"])] if report["truth"] else []),
        *(_annotations(name, of) for name, of in (report["annotations"] or {"tracks": {}})["tracks"].items()),
    ):
        title, table.title = str(table.title), None  # a table breaks its title at its own width
        line(title)
        console.print(table)
    shapes = {"masks": report["mask"]} if "mask" in report else {n: r["mask"] for n, r in report["ranks"].items()}
    for name, shape in shapes.items():
        line(_shape(name, shape))
        line(_consistency(name, shape["consistency"]))
    for name, rank in _scored(report):
        if count := rank["probe"]["pooled_classes"]:
            line(f"probe of {name}: {count} rare classes ({rank['probe']['pooled_sequences']} sequences) count as one")
    for name, rank in _scored(report):
        gap, drawn = rank["best_control"], report["resample_by"] or "sequence"
        if not _defined(gap["interval"][0]):
            line(f"{name}: no interval, as there is one {drawn} only; more would tell")
        elif gap["gap"] > 0 >= gap["interval"][0]:
            line(f"{name}: the gap may be chance, its interval reaches 0; more of {drawn} would tell")
    for flag in report["red_flags"]:
        line(f"RED FLAG {flag}")
    if not report["red_flags"]:
        line("no red flag")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for i, name in enumerate(columns):
        # Never cut off: where the width does not do, a cell goes on below
        table.add_column(name, justify="left" if i == 0 else "right", overflow="fold")
    return table


def _scored(report: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The ranks that have figures."""
    return ((name, rank) for name, rank in report["ranks"].items() if rank["scored"])


def _defined(value: float | None) -> bool:
    """Whether something defines a figure: it is neither null, as in a file, nor NaN."""
    return value is not None and value == value


def _number(value: float | None, form: str = ".3f") -> str:
    return format(value, form) if _defined(value) else NOTHING


def _with_interval(value: float | None, interval: list[float], form: str = ".3f") -> str:
    """`0.123 (0.100-0.150)`, or `+0.123 (-0.010 to 0.200)` where it has a sign; the value alone without an interval."""
    if not _defined(value) or not _defined(interval[0]):
        return _number(value, form)
    between = " to " if form.startswith("+") else "-"
    low, high = (f"{end:{form.removeprefix('+')}}" for end in interval)
    return f"{value:{form}} ({low}{between}{high})"


def _estimate(of: dict[str, Any], form: str = ".3f") -> str:
    return _with_interval(of["mean"], of["interval"], form)


def _headline(report: dict[str, Any]) -> Table:
    """Hard masks: what is kept, what is left without them, and what a mask of the same size would keep."""
    chosen = "; each the smallest that holds: chosen by that, as controls are not" if report["smallest"] else ""
    table = _table(
        f"hard masks, accuracy (95 % interval){chosen}",
        "rank",
        "full",
        "masked",
        "inverse",
        "majority",
        "best control",
        "gap",
    )
    for name, rank in _scored(report):
        row, best = rank["rows"]["seqmask"], rank["best_control"]
        table.add_row(
            name,
            *(
                _with_interval(part["accuracy"], part["interval"])
                for part in (rank["full"], row["masked"], row["inverse"])
            ),
            f"{rank['majority_rate']:.3f}",
            f"{best['accuracy']:.3f} {best['name']}",
            _with_interval(best["gap"], best["interval"], "+.3f"),
        )
    return table


def _controls(report: dict[str, Any], soft: bool) -> Table:
    """Masked / inverse accuracy of mask and controls; soft figures never without the constant mask beside them."""
    title = "soft masks" if soft else "hard masks and controls of the same area"
    ranks = dict(_scored(report))
    table = _table(f"{title}, accuracy masked / inverse", "mask", *ranks)
    for name in next(iter(ranks.values()))["rows"]:
        if name.endswith("(soft)") is soft:
            rows = [rank["rows"][name] for rank in ranks.values()]
            table.add_row(name, *(f"{r['masked']['accuracy']:.3f} / {r['inverse']['accuracy']:.3f}" for r in rows))
    return table


def _macro(report: dict[str, Any]) -> Table:
    """Means over classes, where a frequent class counts no more than a rare one; how sure the classifier is."""
    columns = ("full", "masked", "inverse", "gap to control", "conf.", "ECE")
    table = _table(
        "balanced accuracy (macro average over classes); confidence, calibration error",
        "rank",
        *columns,
    )
    for name, rank in _scored(report):
        row, best, sure = rank["rows"]["seqmask"], rank["best_control"], rank["confidence"]
        table.add_row(
            name,
            *(
                _with_interval(part["balanced_accuracy"], part["intervals"]["balanced_accuracy"])
                for part in (rank["full"], row["masked"], row["inverse"])
            ),
            _with_interval(best["balanced"], best["balanced_interval"], "+.3f"),
            NOTHING if sure is None else f"{sure['mean']:.3f}",
            NOTHING if sure is None else _with_interval(sure["ece"], sure["interval"], ".2f"),
        )
    return table


def _sure(report: dict[str, Any]) -> Table:
    """What a least confidence leaves, and how much of that is right."""
    least = [of["confidence"] for _, rank in _scored(report) for of in rank["confidence"]["at_least"]]
    columns = [f"{value:g} or more" for value in dict.fromkeys(least)]
    table = _table("accuracy of predictions of such a confidence (share of the sequences)", "rank", *columns)
    for name, rank in _scored(report):
        cells = rank["confidence"]["at_least"]
        table.add_row(name, *(f"{_number(of['accuracy']['mean'])} ({_number(of['share'])})" for of in cells))
    return table


def _fractions(report: dict[str, Any]) -> Table:
    """Accuracy when only the top share of each sequence is kept / when it is removed."""
    table = _table(
        "top share of each sequence, accuracy kept / removed", "rank and order", "5 %", "10 %", "20 %", "40 %"
    )
    for name, rank in _scored(report):
        for order, of in rank["fractions"].items():
            table.add_row(f"{name} {order}", *(f"{p['kept']:.3f} / {p['removed']:.3f}" for p in of.values()))
    return table


def _order(report: dict[str, Any]) -> Table:
    """Probability of the predicted class in the order of the mask: ERASER's figures, and areas under curves."""
    table = _table(
        f"probability of the predicted class in the order of m; curves: {report['sampled']} sequences",
        "rank and order",
        *("comprehensiveness +", "sufficiency -", "insertion +", "deletion -", "norm. compr. +", "norm. suff. +"),
    )
    for name, rank in report["ranks"].items():
        for order, of in rank["eraser"].items():
            curve = rank["auc"][order]
            table.add_row(
                f"{name} {order}",
                *(_with_interval(of[key], of["intervals"][key], ".2f") for key in ("comprehensiveness", "sufficiency")),
                *(_with_interval(curve[key], curve["intervals"][key], ".2f") for key in ("insertion", "deletion")),
                *(_number(of[f"normalised_{key}"], ".2f") for key in ("comprehensiveness", "sufficiency")),
            )
    return table


def _smallest(report: dict[str, Any]) -> Table:
    """How much of a sequence a mask needs until it holds, in the order of m and in a random one."""
    ranks = list(report["ranks"].values())
    orders = list(ranks[0]["smallest"])
    title = f"smallest share that holds (masks that do with up to half), {report['sampled']} sequences"
    table = _table(title, "rank", *orders)
    for name, rank in report["ranks"].items():
        table.add_row(name, *(_least(rank["smallest"][order]) for order in orders))
    table.caption = "mean; the whole sequence counts where no share up to half holds"
    table.caption_justify = "left"
    return table


def _least(of: dict[str, Any]) -> str:
    return f"{_estimate(of['area'])} ({of['holds']:.2f})"


def _leakage(report: dict[str, Any]) -> Table:
    """What the mask alone tells of the class, and what another classifier finds under it."""
    judged = any(rank["judge"] for rank in report["ranks"].values())
    columns = ("probe of the mask alone", "majority", "from length", "judge full", "masked", "inverse", "gap")
    title = "leakage: class from the mask alone" + ("; accuracy of the judge, gap to it (masked)" if judged else "")
    table = _table(title, "rank", *(columns if judged else columns[:3]))
    for name, rank in _scored(report):
        probe, judge = rank["probe"], rank["judge"]
        cells = [
            _with_interval(probe["accuracy"], probe["interval"]),
            _number(probe["majority_rate"]),
            _number(probe["length_accuracy"]),
        ]
        if judge:
            cells += [_number(judge["judge"][view]["mean"]) for view in ("full", "masked", "inverse")]
            cells.append(_estimate(judge["gap"], "+.3f"))
        table.add_row(name, *cells)
    return table


def _calibration(report: dict[str, Any]) -> Table:
    """What removing as many tokens of each bin of m costs."""
    first = next(iter(report["ranks"].values()))["calibration"]
    title = (
        f"drop of the predicted class's probability when {first['removed']} tokens of these m are removed, "
        f"{report['sampled']} sequences"
    )
    table = _table(title, "rank", *(f"{b['from']:.1f}-{b['to']:.1f}" for b in first["bins"]), "monotonicity")
    for name, rank in report["ranks"].items():
        of = rank["calibration"]
        table.add_row(name, *(_number(b["drop"], "+.3f") for b in of["bins"]), _number(of["monotonicity"], "+.2f"))
    return table


def _rivals(rivals: dict[str, Any]) -> Iterator[Table]:
    """Other attribution methods: how their orders separate, what they cost; accuracies at the top shares."""
    methods = rivals["methods"]
    ranks = list(methods["seqmask"]["shared"]["ranks"])
    table = _table(
        f"rivals on {rivals['sequences']} sequences: separation = mean kept minus removed accuracy (95 % interval); "
        "comprehensiveness / sufficiency",
        *("order", "separation +", "seqmask minus it", "an order a rank", "seqmask minus it"),
        *(f"{rank} + / -" for rank in ranks),
        *("forwards", "ms"),
    )
    for name, of in methods.items():
        pairs = [cell for kind in ("shared", "per_rank") for cell in _separation(of[kind])]
        erased = [of["shared"]["ranks"][rank]["eraser"] for rank in ranks]
        table.add_row(
            name,
            *pairs,
            *(f"{_number(e['comprehensiveness'], '.2f')} / {_number(e['sufficiency'], '.2f')}" for e in erased),
            f"{of['forwards']:,.0f}",
            f"{of['milliseconds']:,.1f}",
        )
    table.caption = "forwards and ms a sequence, beyond the prediction itself; a backward pass counts 2"
    table.caption_justify = "left"
    yield table
    shares = _table(
        "rivals, top share of each sequence by one order for all ranks, accuracy kept / removed",
        *("rank and order", "5 %", "10 %", "20 %", "40 %"),
    )
    for rank in ranks:
        for name, of in methods.items():
            points = of["shared"]["ranks"][rank]["fractions"].values()
            shares.add_row(f"{rank} {name}", *(f"{_number(p['kept'])} / {_number(p['removed'])}" for p in points))
    yield shares
    own = {name: (of["per_rank"] or of["shared"])["ranks"] for name, of in methods.items()}
    least = _table(
        "rivals, smallest share that holds (masks that do with up to half), an order a rank where there is one",
        *("order", *ranks),
    )
    for name, of in own.items():
        least.add_row(name, *(_least(of[rank]["smallest"]) for rank in ranks))
    yield least
    told = _table(
        "rivals, class told from the order alone, an order a rank where there is one: accuracy (95 % interval)",
        *("order", *ranks),
    )
    probes = {name: [of[rank]["probe"] for rank in ranks] for name, of in own.items()}
    for name, found in probes.items():
        told.add_row(name, *(_with_interval(p["accuracy"], p["interval"]) for p in found))
    for label, key in (("length alone", "length_accuracy"), ("most frequent class", "majority_rate")):
        told.add_row(label, *(_number(p[key]) for p in probes["seqmask"]))
    yield told


def _separation(of: dict[str, Any] | None) -> list[str]:
    if of is None:
        return [NOTHING, NOTHING]
    return [_estimate(of["separation"], "+.2f"), _estimate(of["gap"], "+.2f") if of["gap"] else NOTHING]


def _truth(truth: dict[str, Any]) -> Table:
    """How well the masks find what is known to decide, by token and by nucleotide."""
    columns = ("sequences", "AUROC", "AUPRC", "prevalence", "precision", "IoU", "pointing", "decoy hits", "decoys")
    table = _table("planted truth, mean over sequences (AUPRC with 95 % interval)", "truth and scores of", *columns)
    for name, part in (("all ranks", truth["all"]), *truth["ranks"].items()):
        for which, of in part.items():
            for level in ("token", "nt"):
                values = of[level]
                before = [_number(values["auroc"]["mean"]), _estimate(values["auprc"])]
                after = ("prevalence", "precision", "iou", "pointing_game", "decoy_hit_rate", "decoy_prevalence")
                cells = [*before, *(_number(values[key]["mean"]) for key in after)]
                table.add_row(f"{name}, {which}, {level}", str(of["sequences"]), *cells)
    table.caption = "deciding: the classifier is right, and occluding the truth changes its class"
    table.caption_justify = "left"
    return table


FEWEST = 5  # sequences of a kind of annotation that is printed


def _annotations(name: str, kinds: dict[str, dict[str, Any]]) -> Table:
    """Importance and what is kept inside each kind of annotation against the rest of the same sequences."""
    columns = ("sequences", "m inside", "outside", "ratio (95 % interval)", "kept inside", "outside", "ratio")
    title = "annotations" if name == "all" else f"annotations, mask of {name}"
    table = _table(f"{title}: importance m and share that is kept", "kind", *columns)
    shown = {kind: of for kind, of in kinds.items() if of["sequences"] >= FEWEST}
    for kind, of in shown.items():
        cells = [
            *(_number(of[key]["mean"]) for key in ("inside", "outside")),
            _estimate(of["ratio"], ".2f"),
            *(_number(of[key]["mean"]) for key in ("kept_inside", "kept_outside")),
            _estimate(of["kept_ratio"], ".2f"),
        ]
        table.add_row(kind, str(of["sequences"]), *cells)
    if len(kinds) > len(shown):
        table.caption = f"{len(kinds) - len(shown)} kinds on fewer than {FEWEST} sequences are in the JSON only"
        table.caption_justify = "left"
    return table


def _shape(name: str, shape: dict[str, Any]) -> str:
    return (
        f"{name}: area {shape['area']['mean']:.3f} (median {shape['area']['median']:.3f}, 5-95 % "
        f"{shape['area']['p5']:.3f}-{shape['area']['p95']:.3f}), soft area {shape['soft_area']['mean']:.3f}, "
        f"binarity {shape['binarity']:.3f}, {shape['segments']:.1f} segments a sequence, "
        f"median {_number(shape['median_segment_nt'], '.0f')} nt, "
        f"relative position explains {_number(shape['position'], '.0%')}"
    )


def _consistency(name: str, of: dict[str, Any]) -> str:
    parts = {"reverse complement": of["reverse_complement"], "frame": of["frame"], "other Explainer": of["other"]}
    found = ", ".join(f"{what} {_estimate(part, '.2f')}" for what, part in parts.items() if part)
    return f"{name}, Spearman over nucleotides, {of['sequences']} sequences: {found}"
