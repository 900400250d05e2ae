"""What the training and evaluation commands share: labelled sequences in, an output directory out."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.config import to_json
from seqmask.errors import InputError, UsageError, brief
from seqmask.evaluation.resampling import Resampling
from seqmask.labels.ranks import Ranks
from seqmask.labels.tables import LabelTable, read_labels
from seqmask.labels.taxonomy import files_of
from seqmask.models.storage import file_sha256, read_json
from seqmask.results.files import is_straight, refuse_option
from seqmask.sequences.records import Record, check_nucleotides, read
from seqmask.sequences.source import STDIN, check_readable
from seqmask.training.dataset import CropLaw
from seqmask.training.processes import is_main

BASE = re.compile("[ACGTUacgtu]")
SPECIES = "species"  # its sequences are right or wrong together


@dataclass(slots=True)
class Labelled:
    """Records by split ("train" where the table has no split) and the table that names their classes, if any.

    remarks: a line each on what was left out, or counts more than once.
    """

    table: LabelTable | None
    splits: dict[str, list[Record]]
    remarks: Sequence[str] = ()

    def rows(self, records: Sequence[Record]) -> list[dict[str, str]]:
        """The row of each record; empty ones without a table."""
        return [self.table.row(record.name) if self.table else {} for record in records]

    def encode(self, records: Sequence[Record], ranks: Ranks) -> NDArray[np.int64]:
        """Classes (n, R) int64, -1 unknown."""
        rows = [ranks.encode(row) for row in self.rows(records)]
        return np.stack(rows) if rows else np.zeros((0, len(ranks.ranks)), np.int64)

    def resampled_by(self, named: str | None = None) -> str | None:
        """The column whose sequences intervals draw together: the one that is named, else SPECIES if it is there.

        None, as by the name "none": each sequence is drawn by itself. InputError for a column that is absent or empty.
        """
        if self.table is None or named == "none":
            return None
        named = named and named.casefold()  # as the columns of a table are
        if named is None:
            return SPECIES if self.table.has(SPECIES) and any(self.table.column(SPECIES)) else None
        if not any(self.table.column(named)):
            raise InputError(
                self.table.path, f"column {named!r} is empty", remedy="name another one with --resample-by"
            )
        return named

    def resampling(self, records: Sequence[Record], column: str | None, seed: int) -> Resampling:
        """How records are drawn for intervals: those of one name in a column of the table together; None: singly."""
        if self.table is None or column is None:
            return Resampling(seed)
        return Resampling.of_names([row[column] for row in self.rows(records)], seed)


def read_labelled(
    sequences: Sequence[Path | str],
    labels: Path | None,
    ranks: Sequence[str],
    shortest: int = 0,
    any_rank: bool = False,
    taxonomy: Path | None = None,
) -> Labelled:
    """Every record with its row; records shorter than `shortest` nt, or without a base, are left out of `train` alone.

    any_rank: one of the ranks is enough; otherwise the table has to name taxa of all of them. taxonomy: the folder of
    an NCBI taxdump, by which taxids name taxa.
    Raises InputError for a sequence without a row, a table without a rank, or a record that is not nucleotides.
    """
    table = None
    if labels is not None:
        table = read_labels(labels, taxonomy, ranks)
        there = [rank for rank in ranks if table.has(rank) and any(table.column(rank))]
        table.require(there if any_rank and there else ranks, asked=not any_rank)
    splits: dict[str, list[Record]] = {}
    missing, names, too_short, bare = [], Counter[str](), 0, 0
    for record in read([str(path) for path in sequences]):
        check_nucleotides(record)
        if table is not None and record.name not in table:
            missing.append(record.name)
            continue
        names[record.name] += 1
        split = table.split(record.name) if table and table.has_splits else "train"
        if split == "train" and len(record.sequence) < shortest:
            too_short += 1
        elif split == "train" and shortest and not BASE.search(record.sequence):
            bare += 1
        else:
            splits.setdefault(split, []).append(record)
    remarks = []
    if too_short or bare:
        remarks.append(
            f"not trained on: {too_short} sequences shorter than {shortest} nt, {bare} without A, C, G, T or U"
        )
    if twice := [name for name, count in names.items() if count > 1]:
        remarks.append(f"{len(twice)} names come more than once, such as {brief(twice[0])}: each record counts")
    if table is not None:
        table.require_ids(missing, all_of_them=not names)
        if unused := sum(name not in names for name in table.ids):
            remarks.append(f"{table.path}: {unused} of {len(table)} rows are of no sequence here")
    return Labelled(table, splits, remarks)


def of_no_class(labelled: Labelled, ranks: Ranks, reference: NDArray[np.int64]) -> Iterator[str]:
    """A line on each rank at which none of the classes (n, R) is known: why that may be."""
    table = labelled.table
    if table is None:
        return
    for i in np.flatnonzero((reference < 0).all(axis=0)).tolist():
        rank = ranks.ranks[i]
        if not table.has(rank.name):
            yield f"{rank.name}: {table.path} has no such column"
        elif taxa := sorted({*table.column(rank.name)} - {""}):
            yield f"{rank.name}: {table.path} has names such as {taxa[0]}, the model such as {rank.classes[0]}"
        else:
            yield f"{rank.name}: {table.path} names no taxon"


def of_split(labelled: Labelled, split: str | None, sources: Sequence[Path | str]) -> list[Record]:
    """The records of one split, None = of all, split by split; InputError (naming `sources`) where there is none."""
    if split and labelled.table is not None and not labelled.table.has_splits:
        raise InputError(
            labelled.table.path,
            f"no column `split`, so no sequences of split {split!r}",
            remedy="add the column, or leave out --split",
        )
    records = [record for name, found in sorted(labelled.splits.items()) if split in (None, name) for record in found]
    if not records:
        there = ", ".join(sorted(filter(None, labelled.splits)))
        raise InputError(
            ", ".join(map(str, sources)),
            "no sequences" + (f" of split {split!r}" if split else ""),
            expected=f"one of {there}" if there else "at least one record",
        )
    return records


def sampled(records: list[Record], limit: int, seed: int) -> list[Record]:
    """A random sample of so many records, in their order; 0 = all."""
    if not 0 < limit < len(records):
        return records
    chosen = np.random.default_rng(seed).choice(len(records), limit, replace=False)
    return [records[i] for i in sorted(chosen.tolist())]


def listed(path: str | None) -> list[str]:
    """The file names in a file, one a line; '-' is stdin. Blank lines and lines that begin with # are left out.

    Raises InputError if it cannot be read or names nothing, UsageError for a stdin that is closed.
    """
    if path is None:
        return []
    if path == STDIN and sys.stdin is None:
        raise UsageError("--infile-list -: standard input is closed; name a file")
    try:
        text = sys.stdin.read() if path == STDIN else Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"cannot be read: {error}", expected="file names, one a line") from error
    names = [line.strip() for line in text.splitlines()]
    names = [name for name in names if name and not name.startswith("#")]
    if not names:
        raise InputError(path, "no file name", expected="file names, one a line")
    return names


def training_records(labelled: Labelled, source: str) -> list[Record]:
    """The split `train`; an error when it is empty, or where a table with splits leaves that of a sequence open."""
    if nameless := labelled.splits.get(""):
        shown = ", ".join(repr(record.name) for record in nameless[:5]) + (", ..." if len(nameless) > 5 else "")
        raise InputError(
            source,
            f"no `split` for {len(nameless)} sequences: {shown}",
            expected="train, val or another name (none, NA, unknown and the like count as empty)",
            remedy="name one, or take them out: what is not said to be for training is not trained on",
        )
    records = labelled.splits.get("train", [])
    if not records:
        if not labelled.splits:
            raise InputError(source, "nothing to train on: the sequence files hold no record", expected="one or more")
        there = ", ".join(sorted(labelled.splits))
        raise InputError(
            source,
            f"no training sequences, only of {there}",
            expected="rows whose `split` is `train`, or no such column",
        )
    return records


def digests(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of the files of a training by name, before any work; UsageError for what can be read only once."""
    paths = list(paths)
    for path in paths:
        if str(path) == STDIN or is_straight(path):
            raise UsageError(
                f"{path} is a pipe: training notes the digests of its files and may be resumed; name files"
            )
        check_readable(str(path))
    return sha256_by_name(paths)


def check_taxonomy(taxonomy: Path | None, labels: Path | None) -> None:
    """UsageError for a taxonomy without a table, InputError for a folder that holds none."""
    if taxonomy is not None and labels is None:
        raise UsageError("--taxonomy needs --labels: it names the taxids of the label table")
    dump_of(taxonomy)


def dump_of(taxonomy: Path | None) -> list[Path]:
    """The files of a taxdump, if there is one."""
    return [] if taxonomy is None else files_of(taxonomy)


def sha256_by_name(paths: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of files by their names; by the paths as given where two have one name."""
    names = Counter(path.name for path in paths)
    return {path.name if names[path.name] == 1 else str(path): file_sha256(path) for path in paths}


def finished(options: Any, settings: str, report: str, checkpoints: Sequence[str], wanted: dict[str, Any]) -> bool:
    """Whether `--resume` finds the training in a directory done.

    settings: the file that says how the directory was made; report: the one that is written last; checkpoints: of what
    is not done; wanted: as it would be made now. Raises UsageError for a directory that was made otherwise, unless
    --force trains it anew.
    """
    directory: Path = options.output
    there = all((directory / name).exists() for name in (settings, report))
    if not options.resume or not there or any((directory / name).exists() for name in checkpoints):
        return False
    stored = read_json(directory / settings)
    try:
        told = stored["settings"]
        # An option that is younger than the directory had what is now its default
        found = {**to_json(type(options)()), **stored, **told["options"], "data_sha256": told.get("data_sha256")}
        found["began_with"] = told.get("began_with", {}).get("explainer_sha256")
    except (KeyError, TypeError):  # not of a training
        found = {}
    changed = [key for key, value in wanted.items() if found.get(key) != value]
    if changed and not options.force:
        raise UsageError(
            f"{directory}: holds a finished training with another {', '.join(changed)}; "
            "give --force to train anew, or the same options"
        )
    return not changed


def check_output(directory: Path, force: bool, resume: bool) -> None:
    """UsageError or InputError for a directory that holds something already, unless --force or --resume, or that can
    not be. It is made when there is something to train (`Checkpoints.begin`).
    """
    if not is_main():
        return
    refuse_option(str(directory))
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory}: is a file; give a directory")
    if directory.exists() and any(directory.iterdir()) and not (force or resume):
        raise UsageError(f"{directory}: exists and is not empty; give --force to replace what it holds, or --resume")
    there = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK) and not resume:  # what is finished needs no room
        raise InputError(directory, f"the directory {there} is not writable")


def check_precision(precision: str) -> None:
    """UsageError for one that only masking has: small gradients are 0 in fp16."""
    if precision == "fp16":
        raise UsageError("--precision fp16: expected auto, fp32 or bf16; training needs the range of these")


def one_of(flag: str, value: str, known: Collection[str]) -> None:
    """Raise UsageError unless the value of an option is one of those that are known."""
    if value not in known:
        raise UsageError(f"{flag} {value}: expected one of {', '.join(known)}")


def crop_law(shortest: int, longest: int) -> CropLaw:
    """Random crops from `--min-crop` to the longest window, both nt; UsageError where none is that short."""
    if shortest > longest:
        raise UsageError(
            f"--min-crop {shortest}: expected at most {longest} nt, the longest window (train-classifier --max-tokens)"
        )
    return CropLaw(shortest, longest)


def thin(history: list[dict[str, float]], most: int = 500) -> list[dict[str, float]]:
    """At most `most` rows, evenly spaced, values rounded to 5 digits."""
    every = max(-(-len(history) // most), 1)
    return [{key: float(f"{value:.5g}") for key, value in row.items()} for row in history[::every]]
