"""The tables of a model card that come from reports: `evaluate`, `profile`, and the one of benchmarks/amplicons.py."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

from card_markdown import Json, between, bullets, drawn, estimate, number, score, table, wrap

MASK = "seqmask"
FEWEST = 10  # sequences of a kind of annotation that the card shows; the report has all


def subject(report: Json) -> str:
    """What a report is about: its split, or its files."""
    if report["split"]:
        return f"split `{report['split']}`"
    return ", ".join(f"`{name}`" for name in report["data_sha256"]) or "standard input"


def evaluation(report: Json, threshold: float, trained: Collection[str]) -> list[str]:
    """All tables of one report of `seqmask evaluate`. threshold: the model's own; trained: digests of its data."""
    ranks = {name: rank for name, rank in report["ranks"].items() if rank["scored"]}
    notes = [
        f"{report['sequences']} sequences ({report['left_out']} left out as unreadable), against {report['against']}, "
        f"hard masks at tau {report['threshold']:.5f}, operator `{report['operator']}`, seed {report['seed']}.",
        drawn(report),
    ]
    if not math.isclose(report["threshold"], threshold, rel_tol=1e-9):
        notes.append("**This is not the model's own threshold.**")
    if missing := [name for name in report["ranks"] if name not in ranks]:
        notes.append(f"No sequence of a known class at {', '.join(missing)}.")
    others = {name: digest for name, digest in report["data_sha256"].items() if digest not in trained}
    if others:
        notes.append("Data: " + ", ".join(f"`{name}` (SHA-256 `{digest}`)" for name, digest in others.items()) + ".")
    return [
        f"### {subject(report)[0].upper()}{subject(report)[1:]}",
        wrap(" ".join(notes)),
        *(part for part in tables(report, ranks)),
        *(told(report) if report["rivals"] else ()),
        f"Red flags:\n\n{bullets(report['red_flags'])}" if report["red_flags"] else "Red flags: none.",
    ]


def others(report: Json) -> list[str]:
    """The masks' order of tokens beside that of other attribution methods, of a report that has them."""
    found = report["rivals"]
    return [
        "## Other attribution methods",
        wrap(
            f"Order of the tokens of {found['sequences']} sequences of {subject(report)}, seed {report['seed']}. "
            "*Separation* is the mean over top shares and ranks of kept minus removed accuracy, *gap* that of seqmask "
            "less the method's, paired; a backward pass counts as two forward ones. Sequences are read in "
            f"{report['frames']} frames, each with tokens of its own, and a method that samples has the same samples "
            f"for all of them (decision 0029). {drawn(report)}"
        ),
        rivals(found),
        "ERASER under an order for each rank, comprehensiveness (high is good) / sufficiency (low is good):",
        erased(found),
        *least({name: {rank: of.get("smallest") for rank, of in ranks.items()} for name, ranks in by_order(report)}),
        *told(report),
    ]


def by_order(report: Json) -> Iterator[tuple[str, Json]]:
    """Of each method its figures by rank, under an order for each rank where it has one."""
    for name, method in report["rivals"]["methods"].items():
        yield name, (method["per_rank"] or method["shared"])["ranks"]


def least(orders: Json) -> Iterator[str]:
    """The smallest share that holds, of orders by name and rank; nothing of reports of before 0041."""
    if not orders or not all(of for ranks in orders.values() for of in ranks.values()):
        return
    yield wrap(
        "The smallest top share, up to half, that keeps the class of the whole and without which the rest loses it: "
        "mean (95 % interval) with 1 where none does; in brackets the share of the sequences that have one:"
    )
    rows = [
        [
            f"`{name}`",
            *(f"{between(of['area']['mean'], of['area']['interval'])} ({of['holds']:.2f})" for of in ranks.values()),
        ]
        for name, ranks in orders.items()
    ]
    yield table(["order", *next(iter(orders.values()))], rows)


def told(report: Json) -> list[str]:
    """What the order of tokens alone tells of the class, of a report that has it: theirs as well as ours."""
    orders = dict(by_order(report))
    if not all("probe" in of for of in orders[MASK].values()):  # reports of before 0028
        return []
    probes = {name: {rank: of["probe"] for rank, of in ranks.items()} for name, ranks in orders.items()}
    own = probes[MASK]
    rows = [[f"`{name}`", *(score(of) for of in ranks.values())] for name, ranks in probes.items()]
    rows += [
        [label, *(number(of[key]) for of in own.values())]
        for label, key in (("length alone", "length_accuracy"), ("most frequent class", "majority_rate"))
    ]
    return [
        wrap(
            f"What a regression tells of the class from the order of the tokens alone, "
            f"{report['rivals']['sequences']} sequences, every method read alike; one that learned nothing can not "
            "write a class into its order:"
        ),
        table(["order", *own], rows),
    ]


def tables(report: Json, ranks: Json) -> Iterator[str]:
    """The tables with a line over each."""
    if not ranks:
        return
    yield "Hard masks, accuracy (95 % interval); the gap to the best control is paired:"
    yield headline(ranks)
    yield "Balanced accuracy (mean recall over classes); confidence on whole sequences and expected calibration error:"
    yield balanced(ranks)
    yield f"By {next(iter(report['ranks']))}, accuracy (95 % interval):"
    yield groups(ranks)
    yield "Hard masks and controls of the same area, accuracy masked / inverse:"
    yield controls(ranks, soft=False)
    if any(rank["judge"] for rank in ranks.values()):
        yield wrap(
            "An independent judge (another classifier, trained apart) reads the hard masks; *excess*: how much more "
            "accuracy the classifier has than the judge on masked sequences, less the same on whole ones. And what a "
            "regression tells of the class from the mask alone:"
        )
        yield leakage(ranks)
    yield "Top share of each sequence, accuracy kept / removed:"
    yield shares(ranks)
    yield "ERASER (mean over top shares), comprehensiveness (high is good) / sufficiency (low is good):"
    yield eraser(ranks)
    names = next(iter(ranks.values())).get("smallest", {})
    yield from least({name: {rank: of["smallest"][name] for rank, of in ranks.items()} for name in names})
    if report["annotations"]:
        of = f"{report['annotations']['sequences']} sequences, kinds of at least {FEWEST} of them"
        yield f"Importance inside annotations over that outside, {of}:"
        yield enrichment(report["annotations"]["tracks"])
    yield "Soft masks, accuracy masked / inverse; without the constant mask beside them they say nothing:"
    yield controls(ranks, soft=True)
    yield "Shape of the masks; *area* is the kept share of the nucleotides:"
    yield shapes(report)


def headline(ranks: Json) -> str:
    header = ["rank", "full", "masked", "inverse", "inverse of `random`", "majority", "best control", "gap"]
    rows = []
    for name, rank in ranks.items():
        mask, best = rank["rows"][MASK], rank["best_control"]
        inverse = number(rank["rows"]["random"]["inverse"]["accuracy"])
        cells = [score(part) for part in (rank["full"], mask["masked"], mask["inverse"])]
        best_cell = f"{number(best['accuracy'])} `{best['name']}`"
        gap = between(best["gap"], best["interval"], "+")
        rows.append([name, *cells, inverse, number(rank["majority_rate"]), best_cell, gap])
    return table(header, rows)


def balanced(ranks: Json) -> str:
    rows = []
    for name, rank in ranks.items():
        mask, sure = rank["rows"][MASK], rank["confidence"]
        views = (rank["full"], mask["masked"], mask["inverse"])
        cells = [between(of["balanced_accuracy"], of["intervals"]["balanced_accuracy"]) for of in views]
        confident = ["n/a"] * 2 if sure is None else [number(sure["mean"]), between(sure["ece"], sure["interval"])]
        rows.append([name, *cells, *confident])
    return table(["rank", "full", "masked", "inverse", "confidence", "calibration error"], rows)


def groups(ranks: Json) -> str:
    rows = [
        [name, of["class"], str(of["scored"]), *(estimate(of[view]) for view in ("full", "masked", "inverse"))]
        for name, rank in ranks.items()
        for of in rank["groups"]
    ]
    return table(["rank", "of", "sequences", "full", "masked", "inverse"], rows)


def controls(ranks: Json, soft: bool) -> str:
    rows = []
    for name in next(iter(ranks.values()))["rows"]:
        if name.endswith("(soft)") is soft:
            pairs = [rank["rows"][name] for rank in ranks.values()]
            cells = [f"{number(p['masked']['accuracy'])} / {number(p['inverse']['accuracy'])}" for p in pairs]
            rows.append([f"`{name}`", *cells])
    return table(["mask", *ranks], rows)


def leakage(ranks: Json) -> str:
    header = ["rank", "judge full", "masked", "inverse", "excess", "probe of the mask", "majority", "from length"]
    rows = []
    for name, rank in ranks.items():
        judge, probe = rank["judge"], rank["probe"]
        views = (
            [number(judge["judge"][view]["mean"]) for view in ("full", "masked", "inverse")] if judge else ["n/a"] * 3
        )
        excess = estimate(judge["excess"] if judge else None, "+")
        told = [number(probe[key]) for key in ("accuracy", "majority_rate", "length_accuracy")]
        rows.append([name, *views, excess, *told])
    return table(header, rows)


def rivals(of: Json) -> str:
    rows = []
    for name, method in of["methods"].items():
        for kind, found in (("all ranks", method["shared"]), ("each rank", method["per_rank"])):
            if found:
                cost = [f"{method['forwards']:,.0f}", f"{method['milliseconds']:,.0f}"]
                rows.append([f"`{name}`", kind, estimate(found["separation"], "+"), estimate(found["gap"], "+"), *cost])
    return table(["method", "one order for", "separation", "gap", "forward passes", "ms a sequence"], rows)


def erased(of: Json) -> str:
    rows = []
    for name, method in of["methods"].items():
        ranks = (method["per_rank"] or method["shared"])["ranks"]
        pairs = [rank["eraser"] for rank in ranks.values()]
        cells = [f"{number(p['comprehensiveness'])} / {number(p['sufficiency'])}" for p in pairs]
        rows.append([f"`{name}`" if method["per_rank"] else f"`{name}` (one order)", *cells])
    return table(["method", *next(iter(of["methods"].values()))["shared"]["ranks"]], rows)


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


def enrichment(tracks: Json) -> str:
    rows = []
    for name, kinds in tracks.items():
        for kind, of in kinds.items():
            if of["sequences"] >= FEWEST:
                figures = [estimate(of[key]) for key in ("ratio", "kept_ratio")]
                rows.append([name, kind, str(of["sequences"]), *figures])
    return table(["mask", "inside", "sequences", "importance", "kept"], rows)


def shapes(report: Json) -> str:
    found = {"all": report["mask"]} if "mask" in report else {n: r["mask"] for n, r in report["ranks"].items()}
    header = [
        "mask",
        "area",
        "median",
        "5-95 %",
        "soft area",
        "binarity",
        "variation",
        "segments",
        "median segment",
    ]
    header += ["from position", "other strand", "other frame"]
    rows = []
    for name, of in found.items():
        area, same = of["area"], of["consistency"]
        spread = f"{number(area['p5'])}-{number(area['p95'])}"
        figures = [of["soft_area"]["mean"], of["binarity"], of["variation"]]
        median = of["median_segment_nt"]
        segments = [f"{of['segments']:.1f}", "n/a" if median is None else f"{median:.0f} nt"]
        stable = [of["position"], same["reverse_complement"]["mean"], same["frame"]["mean"]]
        cells = [number(area["mean"]), number(area["median"]), spread, *map(number, figures), *segments]
        rows.append([name, *cells, *map(number, stable)])
    return table(header, rows)


# Other reports


def amplicons(report: Json) -> list[str]:
    """The classifier on amplicons beside the baseline trained on crops of that length."""
    rows = []
    for region, of in report["regions"].items():
        for rank, pair in of["ranks"].items():
            ours, theirs = pair["classifier"], pair["baseline"]
            keys = ("accuracy", "balanced_accuracy", "accuracy_all")
            figures, beside = ([number(p[key]) if p else "n/a" for key in keys] for p in (ours, theirs))
            known = f"{ours['known']} of {ours['labelled']}"
            first = [region, str(of["length"] or "all"), rank, known, number(ours["majority_rate"])]
            rows.append([*first, *figures, *beside])
    header = ["part", "nt", "rank", "known", "majority", "accuracy", "balanced", "all labelled"]
    return [
        "## Amplicons",
        wrap(
            f"Parts of the genes of split `{report['split']}` as they are sequenced (`benchmarks/amplicons.py`), "
            "beside the k-mer baseline trained on random crops of the same length. Columns as above."
        ),
        table([*header, "k-mers: accuracy", "balanced", "all labelled"], rows),
    ]


def profile(report: Json) -> list[str]:
    """Importance inside the regions of a reference."""
    parts = [
        "## Along a reference",
        wrap(
            f"`seqmask profile`: {report['aligned']} of {report['sequences']} sequences"
            + (f" of split `{report['split']}`" if report["split"] else "")
            + f" aligned to {report['reference']}, mean identity {number(report['identity']['mean'])}. Importance, and "
            "share kept, inside each region over that in the rest of the same sequences; *any*: all regions together. "
            + drawn(report)
        ),
    ]
    return [*parts, enrichment(report["regions"])] if report["regions"] else parts
