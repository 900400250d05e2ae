"""What the classifier says of whole records, plain and under masks, by the same path that `mask` takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.evaluation.metrics import (
    accuracy,
    balanced_accuracy,
    calibration_by_chance,
    expected_calibration_error,
    majority_rate,
    softmax,
)
from seqmask.evaluation.resampling import Resampling, bootstrap_interval
from seqmask.evaluation.scores import by_confidence, groups
from seqmask.inference.engine import Engine
from seqmask.inference.explain import (
    Prepared,
    ahead_of_pool,
    as_pool,
    classify,
    classify_pool,
    mask_pool,
    pools,
    predictions,
    prepare,
    smallest_pool,
)
from seqmask.models.checkpoint import ClassifierModel
from seqmask.models.explainer import Explainer
from seqmask.sequences.explanations import Status
from seqmask.sequences.records import Record
from seqmask.sequences.spans import Spans, sides, under
from seqmask.sequences.tokens import UNK

TokenMasks = list[NDArray[np.float32]]
"""One (N,) float32 array a record: the mask of its tokens, windows end to end, 1 = kept."""
HardMasks = list[NDArray[np.bool_]]
"""One (L,) bool array a record: whether each nucleotide is kept, up to the end of its last token."""


@dataclass(slots=True)
class Scorer:
    """Records held as windows, scored under any masks. Records that have no token are left out: see `rows`.

    rows: ordinal of each held record among the given ones. operator: the masking operator. overlap (nt) and frames: how
    the records were cut into windows. smallest: whether masks are the smallest that hold, at this threshold, instead of
    the Explainer's own: None = these.
    """

    model: ClassifierModel
    engine: Engine
    operator: str
    prepared: list[Prepared]
    overlap: int = 0
    frames: int = 1
    smallest: float | None = None

    @classmethod
    def of(
        cls,
        records: Sequence[Record],
        model: ClassifierModel,
        engine: Engine,
        operator: str = "",
        overlap: int = 0,
        frames: int = 1,
        smallest: float | None = None,
    ) -> Scorer:
        """Records as windows that share at least `overlap` nt; an empty operator is the classifier's own."""
        held = [item for item in prepare(records, model, overlap, frames) if item.status is Status.ok]
        return cls(model, engine, operator or model.network.operator, held, overlap, frames, smallest)

    def like(self, records: Sequence[Record]) -> Scorer:
        """Other records, read and scored in the same way."""
        return Scorer.of(records, self.model, self.engine, self.operator, self.overlap, self.frames, self.smallest)

    def subset(self, rows: Iterable[int]) -> Scorer:
        """Some of the held records, by their number (0 to n - 1) among the held ones."""
        return replace(self, prepared=[self.prepared[row] for row in rows])

    @property
    def rows(self) -> NDArray[np.int64]:
        """Ordinals (n,) of the held records among those given to `of`, in order."""
        return np.array([item.index for item in self.prepared], dtype=np.int64)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each record, windows end to end."""
        return [sum(len(window.tokens) for window in item.windows) for item in self.prepared]

    @property
    def windows(self) -> int:
        """Windows of all records together."""
        return sum(len(item.windows) for item in self.prepared)

    def spans(self) -> list[NDArray[np.int32]]:
        """Spans (N, 2) of each record's tokens in nt of the record, windows end to end, half-open."""
        return [
            np.concatenate([window.tokens.spans + np.int32(window.start) for window in item.windows])
            for item in self.prepared
        ]

    def read(self) -> list[NDArray[np.bool_]]:
        """Which tokens (N,) of each record the networks read: all but [UNK]."""
        return [np.concatenate([window.tokens.ids != UNK for window in item.windows]) for item in self.prepared]

    def logits(self, masks: TokenMasks | None = None) -> NDArray[np.float32]:
        """Logits (n, C), unmasked or with one mask a record."""
        by_window = None if masks is None else [self._cut(i, mask) for i, mask in enumerate(masks)]
        parts, done = [], 0
        for pool in pools(self.prepared):
            of_pool = None if by_window is None else by_window[done : done + len(pool)]
            parts.append(classify(pool, self.model.network, self.engine, of_pool, self.operator))
            done += len(pool)
        return np.concatenate(parts) if parts else np.zeros((0, sum(self.model.network.sizes)), np.float32)

    def predicted(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Best class and its probability at each rank (n, R), unmasked. Logits are held of one pool at a time."""
        classes, confidence = [], []
        for pool in pools(self.prepared):
            logits = classify(pool, self.model.network, self.engine)
            classes.append(self.classes(logits))
            parts = (logits[:, columns] for columns in self.model.ranks.slices)
            confidence.append(np.stack([softmax(part).max(axis=1) for part in parts], axis=1))
        empty = np.zeros((0, len(self.model.ranks.ranks)))
        return np.concatenate([empty.astype(np.int64), *classes]), np.concatenate([empty, *confidence])

    def masks(self, explainer: Explainer) -> list[NDArray[np.float32]]:
        """Keep probabilities (N, tracks) of each record for the classifier's own classes, windows end to end."""
        found: list[NDArray[np.float32]] = []
        for pool in pools(self.prepared):
            together = as_pool(pool)
            classes = self.classes(classify_pool(together, self.model.network, self.engine))
            mask = mask_pool(together, explainer, self.engine, classes)
            if self.smallest is not None:
                mask = smallest_pool(together, self.model, self.engine, mask, self.operator, classes, self.smallest)
            found += np.split(mask, np.cumsum(together.token_counts)[:-1])
        return found

    def ahead(self, explainer: Explainer) -> NDArray[np.float32]:
        """How far ahead each record's class is without its best tokens (n, tracks), as the Explainer tells it."""
        found = [np.zeros((0, explainer.tracks), dtype=np.float32)]
        for pool in pools(self.prepared):
            together = as_pool(pool)
            classes = self.classes(classify_pool(together, self.model.network, self.engine))
            found.append(ahead_of_pool(together, explainer, self.engine, classes))
        return np.concatenate(found)

    def classes(self, logits: NDArray[np.float32]) -> NDArray[np.int64]:
        """Best class of each rank (n, R)."""
        return predictions(logits, self.model.ranks.slices)

    def _cut(self, row: int, mask: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        sizes = [len(window.tokens) for window in self.prepared[row].windows]
        return np.split(mask, np.cumsum(sizes)[:-1])


def hard_masks(soft: Iterable[NDArray[np.float32]], spans: Iterable[Spans], tau: float) -> HardMasks:
    """The nucleotides under tokens with m >= tau, as files have them, of each record: soft (N,) on spans (N, 2)."""
    pairs = zip(soft, spans, strict=True)
    return [under(mask >= np.float32(tau), of_record, int(of_record[:, 1].max())) for mask, of_record in pairs]


def on_tokens(hard: Iterable[NDArray[np.bool_]], spans: Iterable[Spans]) -> tuple[TokenMasks, TokenMasks]:
    """What the classifier is given under hard masks: tokens wholly in the kept nucleotides; those wholly outside."""
    both = [sides(track, of_record) for track, of_record in zip(hard, spans, strict=True)]
    return [shown.astype(np.float32) for shown, _ in both], [left.astype(np.float32) for _, left in both]


def classifier_report(
    records: Sequence[Record],
    rows: Sequence[Mapping[str, str]],
    model: ClassifierModel,
    engine: Engine,
    overlap: int,
    by: Resampling,
) -> dict[str, Any]:
    """Per rank: accuracy with its interval and expected calibration error over the sequences whose class the classifier
    knows, accuracy by class of the first rank (`groups`) and by confidence (`at_least`), accuracy over all labelled
    ones, majority rate. by: how the records are resampled.

    `accuracy_all` counts a sequence of a class without enough training sequences, or without a token, as wrong.
    """
    scorer = Scorer.of(records, model, engine, overlap=overlap)
    guessed = np.full((len(records), len(model.ranks.ranks)), -2, dtype=np.int64)
    guessed[scorer.rows], confidence = scorer.predicted()
    truth = np.stack([model.ranks.encode(dict(row)) for row in rows])
    read, first = truth[scorer.rows], model.ranks.ranks[0]
    report = {}
    for i, rank in enumerate(model.ranks.ranks):
        labelled = np.array([bool(row.get(rank.name)) for row in rows])
        known = read[:, i] >= 0
        sure = confidence[known, i]
        learned = truth[:, i] >= 0
        correct = (guessed[:, i] == truth[:, i]) & learned
        of_known, of_read = correct[scorer.rows][known], by.of(scorer.rows)
        report[rank.name] = {
            "accuracy": accuracy(guessed[:, i], truth[:, i]),
            "interval": list(bootstrap_interval(correct[learned].astype(np.float64), by.of(learned))),
            "balanced_accuracy": balanced_accuracy(guessed[:, i], truth[:, i]),
            "majority_rate": majority_rate(truth[:, i]),
            "ece": expected_calibration_error(sure, of_known),
            "ece_by_chance": calibration_by_chance(sure),
            "at_least": by_confidence(sure, of_known, of_read.of(known)),
            "groups": groups({"accuracy": guessed[scorer.rows, i]}, read[:, i], read[:, 0], first.classes, of_read),
            "accuracy_all": float(correct[labelled].mean()) if labelled.any() else float("nan"),
            "known": int(learned.sum()),
            "labelled": int(labelled.sum()),
        }
    return report
