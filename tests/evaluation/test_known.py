"""Which sequences count as deciding, and which masks stand for which rank."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from seqmask.evaluation.intervals import BedInterval, Intervals
from seqmask.evaluation.known import annotation_report, truth_report, truths_of
from seqmask.evaluation.resampling import Resampling
from seqmask.labels.ranks import Rank, Ranks
from seqmask.sequences.records import Record
from seqmask.sequences.tokens import KmerTokenizer

BY = Resampling(1)

RANKS = Ranks((Rank("domain", ("x", "y")), Rank("phylum", ("p", "q", "r"))))
SPANS = KmerTokenizer(6, 6).encode("A" * 60).spans


@dataclass
class Reader:
    """Stands in for a scorer: of each sequence, the tokens that each rank's class 1 hangs on; else it is class 0."""

    needs: list[tuple[list[int], list[int]]]
    asked: list[Any] = field(default_factory=list)

    @property
    def prepared(self) -> list[Any]:
        return [SimpleNamespace(record=Record(f"s{i}", f"s{i}", "A" * 60)) for i in range(len(self.needs))]

    @property
    def model(self) -> Any:
        return SimpleNamespace(ranks=RANKS)

    def spans(self) -> list[Any]:
        return [SPANS] * len(self.needs)

    def logits(self, masks: list[Any] | None = None) -> Any:
        self.asked.append(masks)
        shown = [np.ones(10)] * len(self.needs) if masks is None else masks
        return np.array(
            [[all(m[t] == 1 for t in of) for of in need] for m, need in zip(shown, self.needs, strict=True)]
        )

    def classes(self, logits: Any) -> Any:
        return logits.astype(np.int64)


def bed(name: str, start: int, end: int, role: str) -> BedInterval:
    return BedInterval(name, start, end, role, 1)


# Truth: nt 5 to 13 of both ranks (it touches tokens 0, 1 and 2), nt 30 to 36 of the phylum (token 5)
INTERVALS = Intervals(
    "x.bed",
    {f"s{i}": [bed(f"s{i}", 5, 13, "superkingdom,phylum:a"), bed(f"s{i}", 30, 36, "phylum:b")] for i in range(4)},
)


def report(reader: Reader, masks: list[Any], reference: Any, threshold: float = 0.5) -> dict[str, Any]:
    scorer: Any = reader
    return truth_report(scorer, masks, reference, truths_of(scorer, INTERVALS), threshold, BY)


def test_deciding_is_right_and_flipped_when_the_truth_is_hidden() -> None:
    # s0 reads both motifs; s1 something else; s2 as s0, but is wrong at the phylum; s3 reads the phylum's motif alone
    reader = Reader([([0], [5]), ([8], [9]), ([0], [5]), ([8], [5])])
    reference = np.array([[1, 1], [1, 1], [1, 0], [1, 1]])
    masks = [np.full((10, 1), 0.5, np.float32)] * 4
    found = report(reader, masks, reference)
    assert found["with_truth"] == 4
    assert found["all"]["every"]["sequences"] == 4
    assert found["all"]["deciding"]["sequences"] == 2  # s0, s3: some rank flips
    assert list(found["ranks"]) == ["domain"]  # all of the truth is the phylum's
    assert found["ranks"]["domain"]["deciding"]["sequences"] == 2  # s0, s2
    # every token that the truth touches was hidden, and no other
    whole, hidden, domain = reader.asked
    assert whole is None
    assert [np.flatnonzero(m == 0).tolist() for m in hidden] == [[0, 1, 2, 5]] * 4
    assert [np.flatnonzero(m == 0).tolist() for m in domain] == [[0, 1, 2]] * 4


def test_unknown_classes_neither_right_nor_wrong() -> None:
    reader = Reader([([0], [5])] * 4)
    reference = np.array([[1, -1], [-1, -1], [-1, 1], [0, -1]])
    found = report(reader, [np.full((10, 1), 0.5, np.float32)] * 4, reference)
    assert found["all"]["deciding"]["sequences"] == 2
    # a flip at a rank whose class is not known says nothing
    reader = Reader([([8], [5])] * 4)
    assert (
        report(reader, [np.full((10, 1), 0.5, np.float32)] * 4, np.array([[1, -1]] * 4))["all"]["deciding"]["sequences"]
        == 0
    )


def test_a_mask_for_each_rank_is_scored_against_its_own_truth() -> None:
    reader = Reader([([0], [5])] * 4)
    domain, phylum = (np.isin(np.arange(10), tokens).astype(np.float32) for tokens in ([1], [1, 5]))
    found = report(reader, [np.stack([domain, phylum], axis=1)] * 4, np.ones((4, 2), np.int64))
    assert list(found["ranks"]) == ["domain", "phylum"]
    for part in (found["all"], *found["ranks"].values()):
        assert part["every"]["token"]["auprc"]["mean"] == part["every"]["token"]["iou"]["mean"] == 1
    swapped = report(reader, [np.stack([phylum, domain], axis=1)] * 4, np.ones((4, 2), np.int64))
    assert swapped["all"]["every"]["token"]["auprc"]["mean"] == 1
    assert swapped["ranks"]["domain"]["every"]["token"]["iou"]["mean"] == 0.5


def test_annotations_of_those_that_have_some() -> None:
    scorer: Any = Reader([([0], [5])] * 3)
    intervals = Intervals("x.bed", {"s1": [bed("s1", 0, 12, "V1")]})
    masks = [np.where(np.arange(10) < 2, 0.8, 0.2).astype(np.float32)[:, None]] * 3
    found = annotation_report(scorer, masks, intervals, 0.5, BY)
    assert found["sequences"] == 1
    assert found["tracks"]["all"]["V1"]["ratio"]["mean"] == pytest.approx(4, abs=1e-5)
    both = annotation_report(scorer, [np.concatenate([m, 1 - m], axis=1) for m in masks], intervals, 0.5, BY)
    assert list(both["tracks"]) == ["domain", "phylum"]
    assert both["tracks"]["phylum"]["V1"]["ratio"]["mean"] == pytest.approx(0.25, abs=1e-5)
