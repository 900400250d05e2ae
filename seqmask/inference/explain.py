"""Records to `Explanation`s: classify, choose the class to explain, explain, check."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqmask.inference.engine import Batch, Engine, Item, Step
from seqmask.models.checkpoint import ClassifierModel, Model
from seqmask.models.classifier import Classifier
from seqmask.models.explainer import Explainer
from seqmask.sequences.explanations import Explanation, Status
from seqmask.sequences.records import Record
from seqmask.sequences.windows import Window, join, split

POOL_WINDOWS = 4096

Masks = Sequence[Sequence[NDArray[np.float32]]]
"""One (T,) mask a window, for each record."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A record as windows; index: its ordinal in the input."""

    record: Record
    index: int
    status: Status
    windows: list[Window]


def prepare(
    records: Iterable[Record], classifier: ClassifierModel, overlap: int, frames: int = 1
) -> Iterator[Prepared]:
    """Windows of every record, in order, in each of `frames` k-mer frames; neighbours share at least `overlap` nt."""
    limit = classifier.network.max_tokens
    for index, record in enumerate(records):
        status, windows = split(record, classifier.tokenizer, limit, overlap, frames)
        yield Prepared(record, index, status, windows)


def pools(prepared: Iterable[Prepared], windows: int = POOL_WINDOWS) -> Iterator[list[Prepared]]:
    """Whole records of about `windows` windows together: what is in memory at once."""
    pool: list[Prepared] = []
    count = 0
    for item in prepared:
        pool.append(item)
        count += max(len(item.windows), 1)
        if count >= windows:
            yield pool
            pool, count = [], 0
    if pool:
        yield pool


def classify_step(classifier: Classifier, operator: str) -> Step:
    """Engine step: logits (B, C), under the mask where the items bring one."""

    def step(batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        mask = batch.values[0] if batch.values else None
        return classifier(batch.ids, batch.attention, mask, operator), None

    return step


def explain_step(explainer: Explainer) -> Step:
    """Engine step: keep probabilities (B, T, tracks) for the classes (R,) that each item brings."""

    def step(batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        return None, torch.sigmoid(explainer(batch.ids, batch.attention, batch.fixed))

    return step


def classify(
    pool: Sequence[Prepared], classifier: Classifier, engine: Engine, masks: Masks | None = None, operator: str = ""
) -> NDArray[np.float32]:
    """Logits (n, C) of records: the mean over their windows, weighted by tokens; zeros where a record has no window.

    masks: one (T,) array a window and record, 1 = kept; None = unmasked.
    """
    items = [
        Item(window.tokens.ids, () if masks is None else (masks[i][j],))
        for i, prepared in enumerate(pool)
        for j, window in enumerate(prepared.windows)
    ]
    outputs = iter(engine.run(classify_step(classifier, operator or classifier.operator), items))
    logits = np.zeros((len(pool), sum(classifier.sizes)), dtype=np.float32)
    for row, prepared in zip(logits, pool, strict=True):
        weights = [len(window.tokens) for window in prepared.windows]
        for weight in weights:
            window_logits = next(outputs).window
            assert window_logits is not None
            row += window_logits * np.float32(weight / sum(weights))
    return logits


def window_masks(
    pool: Sequence[Prepared], explainer: Explainer, engine: Engine, classes: NDArray[np.int64]
) -> list[list[NDArray[np.float32]]]:
    """Keep probabilities (T, tracks) float32 of each window of each record, for the classes (n, R) to explain.

    All windows of a record explain the record's class, whatever they would be classified as alone.
    """
    items = [
        Item(window.tokens.ids, fixed=explained)
        for prepared, explained in zip(pool, classes, strict=True)
        for window in prepared.windows
    ]
    outputs = iter(engine.run(explain_step(explainer), items))
    result = []
    for prepared in pool:
        masks = [next(outputs).token for _ in prepared.windows]
        result.append([mask for mask in masks if mask is not None])
    return result


def predictions(logits: NDArray[np.float32], slices: Sequence[slice]) -> NDArray[np.int64]:
    """The best class of each rank (n, R) int64 from logits (n, C)."""
    return np.stack([logits[:, columns].argmax(axis=1) for columns in slices], axis=1).astype(np.int64)


def explain(
    records: Iterable[Record],
    model: Model,
    engine: Engine,
    *,
    overlap: int,
    frames: int = 0,
    check: bool = False,
    tau: float | None = None,
) -> Iterator[Explanation]:
    """Explanations of all records, in order.

    frames: k-mer frames to read and average, 0 = the model's own number. tau: threshold of the hard mask that `check`
    tests, None = the model's.
    """
    for pool in pools(prepare(records, model.classifier, overlap, frames or model.frames)):
        yield from explain_pool(pool, model, engine, check, model.threshold if tau is None else tau)


def explain_pool(
    pool: Sequence[Prepared], model: Model, engine: Engine, check: bool, tau: float
) -> Iterator[Explanation]:
    """Explanations of one pool: classify, pick one target class a rank, explain, and check the hard masks if asked."""
    classifier = model.classifier.network
    slices = model.classifier.ranks.slices
    logits = classify(pool, classifier, engine)
    targets = predictions(logits, slices)
    masks = window_masks(pool, model.explainer, engine, targets)
    kept = inverse = None
    if check:
        hard = [[(mask.max(axis=1) >= tau).astype(np.float32) for mask in of_record] for of_record in masks]
        kept = classify(pool, classifier, engine, hard, model.operator)
        inverse = classify(pool, classifier, engine, [[1 - m for m in of_record] for of_record in hard], model.operator)
    tracks = model.explainer.tracks
    for i, prepared in enumerate(pool):
        if prepared.status is Status.ok:
            spans, mask = join(prepared.windows, masks[i])
            row_targets = targets[i]
        else:
            spans, mask = np.zeros((0, 2), np.int32), np.zeros((0, tracks), np.float32)
            row_targets = np.full(len(slices), -1, dtype=np.int64)
        explanation = Explanation(prepared.record, prepared.index, prepared.status, logits[i], row_targets, spans, mask)
        if kept is not None and inverse is not None and prepared.status is Status.ok:
            explanation = replace(explanation, masked_logits=kept[i], inverse_logits=inverse[i])
        yield explanation
