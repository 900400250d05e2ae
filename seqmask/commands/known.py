"""What `seqmask evaluate` does with a BED file of planted truth or of annotations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seqmask.commands.inputs import Labelled
from seqmask.errors import InputError
from seqmask.evaluation.intervals import Intervals, read_bed
from seqmask.evaluation.known import annotation_report, truth_report, truths_of
from seqmask.evaluation.resampling import Resampling
from seqmask.evaluation.scoring import Scorer
from seqmask.models.checkpoint import Model
from seqmask.sequences.records import Record


@dataclass(frozen=True, slots=True)
class Known:
    """Intervals, and the records to score that they lie on. counts: what was found where, for the report."""

    intervals: Intervals
    records: list[Record]
    counts: dict[str, int]


def read_known(
    path: Path | None,
    records: Sequence[Record],
    names: Iterable[str],
    limit: int,
    seed: int,
    say: Callable[[str], None],
) -> Known | None:
    """The intervals of a file on `records`, at most `limit` of them (0 = all) at random; None where there is no file.

    names: of all sequences that were read, those of other splits included. InputError for a line that is no interval,
    an interval beyond the end of its sequence, and a file that names none of the records.
    """
    if path is None:
        return None
    intervals = read_bed(str(path))
    found = [record for record in records if record.name in intervals.by_chrom]
    unknown = intervals.unknown(names)
    counts = {
        "intervals": sum(len(items) for items in intervals.by_chrom.values()),
        "chroms": len(intervals.by_chrom),
        "unknown_chroms": unknown,
        "not_scored_chroms": len(intervals.by_chrom) - unknown - len({record.name for record in found}),
    }
    if not found:
        elsewhere = ", all of other splits" if counts["not_scored_chroms"] else ""
        raise InputError(
            path,
            f"none of its {counts['chroms']} sequences is among those to score{elsewhere}",
            expected=f"names such as {records[0].name!r} in column 1",
        )
    for record in found:
        intervals.of(record)
    if 0 < limit < len(found):
        chosen = np.random.default_rng(seed).choice(len(found), limit, replace=False)
        found = [found[i] for i in sorted(chosen.tolist())]
    say(
        f"{path}: {counts['intervals']} intervals on {counts['chroms']} sequences: {len(found)} to score,"
        f" {unknown} not among the sequences"
    )
    return Known(intervals, found, counts)


def score_known(
    truth: Known | None,
    annotations: Known | None,
    scorer: Scorer,
    model: Model,
    labelled: Labelled,
    threshold: float,
    draws: Callable[[Sequence[Record]], Resampling],
) -> dict[str, Any]:
    """The keys `truth` and `annotations` of the report, null where there is no such file, or none of its
    sequences has a token. scorer: how records are read.

    Without labels the classifier's own predictions count as right. draws: how records are resampled.
    """
    result: dict[str, Any] = {"truth": None, "annotations": None}
    if truth is not None and (held := scorer.like(truth.records)).prepared:
        records = [item.record for item in held.prepared]
        known = labelled.encode(records, model.classifier.ranks)
        reference = held.classes(held.logits()) if labelled.table is None else known
        masks = held.masks(model.explainer)
        # A motif of a rank that only the labels have decides nothing of this model's
        others = () if labelled.table is None else labelled.table.columns
        truths = truths_of(held, truth.intervals, others)
        figures = truth_report(held, masks, reference, truths, threshold, draws(records))
        result["truth"] = {**truth.counts, **figures}
    if annotations is not None and (held := scorer.like(annotations.records)).prepared:
        by = draws([item.record for item in held.prepared])
        figures = annotation_report(held, held.masks(model.explainer), annotations.intervals, threshold, by)
        result["annotations"] = {**annotations.counts, **figures}
    return result
