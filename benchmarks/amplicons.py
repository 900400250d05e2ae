"""Amplicons of 16S and 18S genes: V4 and V3-V4 as they are sequenced, and how well classifiers do on them.

    python benchmarks/amplicons.py cut SEQS --labels TSV -o DIR
    python benchmarks/baseline_kmer.py SEQS --labels TSV --k 6 --crop 250 --test DIR/v4.fasta.gz --json b250.json
    python benchmarks/amplicons.py score SEQS --labels TSV --amplicons DIR --classifier MODEL --baseline b250.json ...

`cut` aligns the genes of one split to E. coli's (examples/16s/ecoli.fasta) and takes, from the first nucleotide of the
forward primer on, as many nucleotides as a read or a merged pair of reads has: V4 from 515F (Parada et al. 2016), 250
nt; V3-V4 from 341F (Klindworth et al. 2013), 450 nt. Genes that do not reach so far are left out. It writes
DIR/v4.fasta.gz and DIR/v3-v4.fasta.gz, and the rows of the label table of each as DIR/v4.tsv and DIR/v3-v4.tsv.

`score` prints a classifier of seqmask beside the k-mer baseline that was trained on random crops of that length, both
over the sequences whose class the classifier knows and over all labelled ones; and both on whole genes. A baseline
that was trained on other classes shows in the columns `known`, where there must be one number only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from Bio.Seq import reverse_complement

from seqmask.labels.tables import LabelTable, read_labels
from seqmask.results.files import Target
from seqmask.sequences.alignment import Reference
from seqmask.sequences.records import Record, read

ECOLI = Path(__file__).resolve().parent.parent / "examples" / "16s" / "ecoli.fasta"
LATE = 5  # nt of the reference by which a gene may miss the primer's beginning
WHOLE = "whole"
SEED = 1  # of the intervals


@dataclass(frozen=True)
class Amplicon:
    """start: the forward primer's first position in E. coli's numbering, from 1. length: nt from there on."""

    name: str
    start: int
    length: int


AMPLICONS = (Amplicon("v4", 515, 250), Amplicon("v3-v4", 341, 450))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run in (("cut", cut), ("score", score)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("sequences", type=Path, metavar="SEQS")
        command.add_argument("--labels", type=Path, required=True, metavar="TSV")
        command.add_argument("--split", default="test_species")
    commands.choices["cut"].add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    commands.choices["cut"].add_argument("--reference", type=Path, default=ECOLI, metavar="FASTA")
    add = commands.choices["score"].add_argument
    add("--amplicons", type=Path, required=True, metavar="DIR", help="what `cut` wrote")
    add("--classifier", type=Path, required=True, metavar="DIR", help="classifier or model directory")
    add("--baseline", type=Path, nargs="+", default=[], metavar="JSON", help="of baseline_kmer.py --test")
    add("--device", default="auto")
    add("--threads", type=int, default=0)
    add("--json", type=Path, metavar="F", help="write the numbers here too")
    options = parser.parse_args(argv)
    options.run(options)


# Cutting


def cut(options: argparse.Namespace) -> None:
    """Write the amplicons of one split."""
    table = read_labels(options.labels)
    (gene,) = read([options.reference])
    reference = Reference(gene)
    found: dict[str, list[Record]] = {amplicon.name: [] for amplicon in AMPLICONS}
    total = 0
    for record in of_split(options.sequences, table, options.split):
        total += 1
        for amplicon, sequence in amplicons(record.sequence, reference):
            found[amplicon.name].append(Record(record.name, record.name, sequence))
    options.output.mkdir(parents=True, exist_ok=True)
    for name, records in found.items():
        if not records:
            raise SystemExit(f"{options.sequences}: no sequence of split {options.split!r} holds {name}")
        write(options.output / f"{name}.fasta.gz", "".join(f">{r.name}\n{r.sequence}\n" for r in records))
        lines = [["id", *table.columns]]
        rows = ((record.name, table.row(record.name)) for record in records)
        lines += [[record, *(row[column] for column in table.columns)] for record, row in rows]
        write(options.output / f"{name}.tsv", "".join("\t".join(line) + "\n" for line in lines))
        print(f"{name}: {len(records)} of {total} sequences")


def of_split(path: Path, table: LabelTable, split: str) -> Iterator[Record]:
    return (record for record in read([path]) if record.name in table and table.split(record.name) == split)


def amplicons(sequence: str, reference: Reference) -> Iterator[tuple[Amplicon, str]]:
    """The amplicons that a gene holds, on the strand of the forward primer."""
    placed = reference.place(sequence)
    if placed is None:
        return
    positions = placed.positions[::-1] if placed.reverse else placed.positions
    sequence = reverse_complement(sequence) if placed.reverse else sequence
    for amplicon in AMPLICONS:
        first = amplicon.start - 1
        at = np.flatnonzero((positions >= first) & (positions <= first + LATE))
        if at.size and len(sequence) >= at[0] + amplicon.length:
            yield amplicon, sequence[at[0] : at[0] + amplicon.length]


def write(path: Path, text: str) -> None:
    with Target(path) as target, contextlib.closing(target.open()) as sink:
        sink.write(text.encode())


# Scoring


def score(options: argparse.Namespace) -> None:
    """Print the classifier beside the baselines."""
    from seqmask.config import Compute
    from seqmask.evaluation.resampling import Resampling
    from seqmask.evaluation.scoring import classifier_report
    from seqmask.inference.device import options_of
    from seqmask.inference.engine import Engine
    from seqmask.models.checkpoint import load_classifier

    table = read_labels(options.labels)
    device, precision = options_of(Compute(options.device, "fp32", threads=options.threads))
    model = load_classifier(options.classifier)
    model.network.to(device)
    baselines = [json.loads(path.read_text()) for path in options.baseline]
    report: dict[str, Any] = {
        "report": "amplicons",
        "classifier_sha256": model.sha256,
        "split": options.split,
        "regions": {},
    }
    for name, length in [(amplicon.name, amplicon.length) for amplicon in AMPLICONS] + [(WHOLE, None)]:
        if length is None:
            records = list(of_split(options.sequences, table, options.split))
        else:
            records = list(read([options.amplicons / f"{name}.fasta.gz"]))
        rows = [table.row(record.name) for record in records]
        print(f"{name}: {len(records)} sequences", file=sys.stderr)
        by = Resampling.of_names([row.get("species", "") for row in rows], SEED)
        ours = classifier_report(records, rows, model, Engine(device, precision), overlap=0, by=by)
        theirs = baseline(baselines, name if length else options.split, length)
        report["regions"][name] = {
            "length": length,
            "sequences": len(records),
            "ranks": {rank: {"classifier": of, "baseline": theirs.get(rank)} for rank, of in ours.items()},
        }
    print(as_text(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def baseline(reports: Sequence[dict[str, Any]], split: str, crop: int | None) -> dict[str, Any]:
    """The baselines' scores of a split by rank, of those that were trained on crops of that length (None = whole)."""
    found = {}
    for report in reports:
        for of in report["scores"]:
            if of["split"] == split and of["crop"] == crop:
                found[of["rank"]] = {
                    "k": report["settings"]["k"],
                    "accuracy": of["accuracy_known"],
                    "balanced_accuracy": of["balanced_known"],
                    "accuracy_all": of["accuracy"],
                    "known": of["known"],
                    "labelled": of["labelled"],
                }
    return found


def as_text(report: dict[str, Any]) -> str:
    """Aligned columns: over known classes accuracy and balanced accuracy of both, and accuracy over all labelled."""
    both = [f"{who}{what}" for who in ("", "k-mers: ") for what in ("known", "accuracy", "balanced", "all labelled")]
    lines = [("region", "nt", "rank", "labelled", "majority", *both)]
    for region, of_region in report["regions"].items():
        for rank, pair in of_region["ranks"].items():
            ours = pair["classifier"]
            first = (region, str(of_region["length"] or "all"), rank, str(ours["labelled"]))
            lines.append((*first, f"{ours['majority_rate']:.3f}", *cells(ours), *cells(pair["baseline"])))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def cells(of: dict[str, Any] | None) -> tuple[str, ...]:
    if of is None:
        return ("-",) * 4
    return (str(of["known"]), *(f"{of[key]:.3f}" for key in ("accuracy", "balanced_accuracy", "accuracy_all")))


if __name__ == "__main__":
    main()
