"""Records to explanations: classify, choose the class to explain, explain, check."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqmask.inference.engine import Engine, Items
from seqmask.inference.smallest import Holds, at_smallest
from seqmask.inference.steps import Ahead, Check, Classify, Explain
from seqmask.models.checkpoint import ClassifierModel, Model
from seqmask.models.classifier import Classifier
from seqmask.models.explainer import Explainer
from seqmask.sequences.explanations import Explanation, Explanations, Status
from seqmask.sequences.pool import Pool, make_pool
from seqmask.sequences.records import Record
from seqmask.sequences.spans import shift, sides, under
from seqmask.sequences.tokens import UNK
from seqmask.sequences.windows import Window, count_windows, frame_offsets, split

POOL_WINDOWS = 4096
LESS = 8  # pools are so much smaller where masks are searched, which takes many times as long
FIRST_WINDOWS = 256  # of the first pool: who looks at the first results need not wait for thousands

Masks = Sequence[Sequence[NDArray[np.float32]]]
"""One (T,) mask a window, for each record."""


def pooled(
    numbered: Iterable[tuple[int, Record]],
    classifier: ClassifierModel,
    overlap: int,
    frames: int = 1,
    smallest: bool = False,
) -> Iterator[Pool]:
    """Whole records of about POOL_WINDOWS windows together, as windows: what is in memory at once.

    numbered: records, each with its ordinal in the input. Windows are cut in each of `frames` k-mer frames; neighbours
    share at least `overlap` nt. smallest: whether `explain_pool` is to look for the smallest masks.
    """
    tokenizer, limit = classifier.tokenizer, classifier.network.max_tokens
    for index, records in grouped(numbered, classifier, overlap, frames, smallest):
        yield make_pool(records, index, tokenizer, limit, overlap, frames)


def grouped(
    numbered: Iterable[tuple[int, Record]],
    classifier: ClassifierModel,
    overlap: int,
    frames: int = 1,
    smallest: bool = False,
) -> Iterator[tuple[list[int], list[Record]]]:
    """Ordinals and records of each pool, as of `pooled`.

    What is computed together decides the last bits of a result: shards end where a pool does, and so does what a
    stopped run has done. The pool of record 0 is a small one.
    """
    tokenizer, limit = classifier.tokenizer, classifier.network.max_tokens
    shifts = frame_offsets(tokenizer.stride, frames)
    usual = range(tokenizer.shortest + shifts[-1], tokenizer.max_length(limit) + 1)  # lengths of one window a frame
    most = POOL_WINDOWS // LESS if smallest else POOL_WINDOWS
    index: list[int] = []
    records: list[Record] = []
    count = 0
    for ordinal, record in numbered:
        index.append(ordinal)
        records.append(record)
        length = len(record.sequence)
        few = len(shifts) if length in usual else count_windows(length, tokenizer, limit, overlap, frames)
        count += few or 1
        if count >= (most if index[0] else min(FIRST_WINDOWS, most)):
            yield index, records
            index, records, count = [], [], 0
    if records:
        yield index, records


def classify_pool(
    pool: Pool, classifier: Classifier, engine: Engine, mask: NDArray[np.float32] | None = None, operator: str = ""
) -> NDArray[np.float32]:
    """Logits (n, C) of records: the mean over their windows, as of `mean_over_windows`.

    mask: of every token (T,), 1 = kept; None = unmasked.
    """
    items = Items(pool.ids, pool.offsets, () if mask is None else (mask,))
    found = engine.run_all(Classify(classifier, operator or classifier.operator), items)
    return mean_over_windows(pool, found.window, sum(classifier.sizes))


def check_pool(
    pool: Pool, classifier: Classifier, engine: Engine, kept: NDArray[np.bool_], operator: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits (n, C) of records from the nucleotides of their kept tokens (T,) alone, and from all other ones.

    A token is read where all of its nucleotides are among them. Where tokens overlap (several frames, windows that
    share nucleotides) those across an edge are read on neither side.
    """
    width, stacked = sum(classifier.sizes), engine.device.type != "cpu"
    lengths = np.array([len(record.sequence) for record in pool.records], dtype=np.int64)
    ends = np.cumsum(lengths)
    placed = shift(pool.spans, np.repeat(ends - lengths, pool.token_counts))
    shown, left = sides(under(kept, placed, int(ends[-1])), placed)
    items = Items(pool.ids, pool.offsets, (shown.astype(np.float32), left.astype(np.float32)))
    found = engine.run_all(Check(classifier, operator, stacked), items, copies=2 if stacked else 1)
    both = mean_over_windows(pool, found.window, 2 * width)
    return both[:, :width], both[:, width:]


def check_ranks(
    pool: Pool, model: Model, engine: Engine, hard: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`check_pool` of hard masks (T, tracks): with one a rank, the logits of each rank are those under its own mask."""
    network = model.classifier.network
    found = [check_pool(pool, network, engine, np.ascontiguousarray(track), model.operator) for track in hard.T]
    kept, inverse = found[0]
    for columns, (own_kept, own_inverse) in zip(model.classifier.ranks.slices, found, strict=False):
        kept[:, columns], inverse[:, columns] = own_kept[:, columns], own_inverse[:, columns]
    return kept, inverse


def smallest_pool(
    pool: Pool,
    classifier: ClassifierModel,
    engine: Engine,
    mask: NDArray[np.float32],
    operator: str,
    classes: NDArray[np.int64],
    tau: float,
) -> NDArray[np.float32]:
    """Keep probabilities (T, tracks), each record's moved so that at tau is its smallest mask that holds: see
    `at_smallest`.

    It holds where its nucleotides alone are of the classes (n, R), and all others are not: a mask for all ranks at
    every one of them.
    """
    slices, found = classifier.ranks.slices, []
    for track, of_track in enumerate(mask.T):
        ranks = slice(None) if mask.shape[1] == 1 else slice(track, track + 1)
        each = holding(classifier, engine, operator, classes[:, ranks], slices[ranks])
        found.append(at_smallest(pool, np.ascontiguousarray(of_track), tau, each))
    return np.stack(found, axis=1)


def holding(
    classifier: ClassifierModel, engine: Engine, operator: str, classes: NDArray[np.int64], slices: Sequence[slice]
) -> Holds:
    """Whether masks hold at some ranks (m, ranks): what is kept is of the classes (n, ranks), what is left is not.

    slices: the columns of these ranks.
    """

    def holds(part: Pool, rows: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        both = check_pool(part, classifier.network, engine, kept, operator)
        of_kept, of_left = (predictions(logits, slices) for logits in both)
        met: NDArray[np.bool_] = (of_kept == classes[rows]) & (of_left != classes[rows])
        return met

    return holds


def mean_over_windows(pool: Pool, logits: NDArray[np.float32] | None, width: int) -> NDArray[np.float32]:
    """Of logits (W, width) of windows the mean of each record (n, width), weighted by the tokens that are read; zeros
    without window.
    """
    if logits is not None and (pool.windows == 1).all():
        return logits
    mean = np.zeros((len(pool.records), width), dtype=np.float32)
    if logits is None:
        return mean
    counts = pool.read_counts
    before = np.concatenate(([0], np.cumsum(counts)))
    last = np.cumsum(pool.windows)
    first = last - pool.windows
    weights = (counts / np.repeat(before[last] - before[first], pool.windows)).astype(np.float32)
    for ordinal in range(int(pool.windows.max())):
        rows = np.flatnonzero(pool.windows > ordinal)
        window = first[rows] + ordinal
        mean[rows] += logits[window] * weights[window, None]
    return mean


def mask_pool(pool: Pool, explainer: Explainer, engine: Engine, classes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Keep probabilities (T, tracks) float32 of every token, for the classes (n, R) to explain.

    All windows of a record explain the record's class, whatever they would be classified as alone. An [UNK] has 0: it
    is not read, so that nothing rests on it.
    """
    items = Items(pool.ids, pool.offsets, fixed=np.repeat(classes, pool.windows, axis=0))
    mask = engine.run_all(Explain(explainer), items).token
    if mask is None:
        return np.zeros((0, explainer.tracks), np.float32)
    mask[pool.ids == UNK] = 0
    return mask


def ahead_of_pool(pool: Pool, explainer: Explainer, engine: Engine, classes: NDArray[np.int64]) -> NDArray[np.float32]:
    """How far ahead the classes (n, R) are without their best tokens (n, tracks): the mean over a record's windows."""
    items = Items(pool.ids, pool.offsets, fixed=np.repeat(classes, pool.windows, axis=0))
    return mean_over_windows(pool, engine.run_all(Ahead(explainer), items).window, explainer.tracks)


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
    named: NDArray[np.int64] | None = None,
    smallest: bool = False,
) -> Iterator[Explanation]:
    """Explanations of all records, in order.

    frames: k-mer frames to read and average, 0 = the model's own number. tau: threshold of the hard mask that `check`
    tests, None = the model's. named, smallest: as for `explain_pool`.
    """
    for pool in pooled(enumerate(records), model.classifier, overlap, frames or model.frames, smallest):
        yield from explain_pool(pool, model, engine, check, model.threshold if tau is None else tau, named, smallest)


def explain_pool(
    pool: Pool,
    model: Model,
    engine: Engine,
    check: bool,
    tau: float,
    named: NDArray[np.int64] | None = None,
    smallest: bool = False,
) -> Explanations:
    """Explanations of one pool: classify, pick one target class a rank, explain, and check the hard masks if asked.

    named (R,): the class to explain at each rank, whatever is predicted; -1 or None = the predicted one. smallest:
    whether each record gets its smallest mask that holds (`smallest_pool`).
    """
    classifier, nothing = model.classifier.network, pool.status != Status.ok
    logits = classify_pool(pool, classifier, engine)
    targets = predictions(logits, model.classifier.ranks.slices)
    if named is not None:
        targets = np.where(named >= 0, named, targets)
    mask = mask_pool(pool, model.explainer, engine, targets)
    if smallest:
        mask = smallest_pool(pool, model.classifier, engine, mask, model.operator, targets, tau)
    kept = inverse = None
    if check:
        kept, inverse = check_ranks(pool, model, engine, mask >= np.float32(tau))
        kept[nothing] = inverse[nothing] = np.nan
    targets[nothing] = -1
    order = pool.order()
    return Explanations(
        pool.records,
        pool.index,
        pool.status,
        logits,
        targets,
        pool.token_counts,
        pool.spans if order is None else pool.spans[order],
        mask if order is None else mask[order],
        kept,
        inverse,
    )


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
    """Whole records of about `windows` windows together."""
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


def as_pool(prepared: Sequence[Prepared]) -> Pool:
    """The windows of n >= 1 records end to end."""
    windows = [window for item in prepared for window in item.windows]
    tokens = [window.tokens for window in windows]
    nothing = np.zeros((0, 2), dtype=np.int32)
    return Pool(
        [item.record for item in prepared],
        np.array([item.index for item in prepared], dtype=np.int64),
        np.array([item.status for item in prepared], dtype=np.uint8),
        np.array([len(item.windows) for item in prepared], dtype=np.int64),
        np.cumsum([0, *map(len, tokens)]),
        np.concatenate([nothing[:, 0], *(of.ids for of in tokens)]),
        np.concatenate([nothing, *(of.spans + np.int32(w.start) for of, w in zip(tokens, windows, strict=True))]),
    )


def classify(
    pool: Sequence[Prepared], classifier: Classifier, engine: Engine, masks: Masks | None = None, operator: str = ""
) -> NDArray[np.float32]:
    """`classify_pool` of records as windows. masks: one (T,) array a window and record, 1 = kept; None = unmasked."""
    mask = None
    if masks is not None:
        parts = [window for of_record in masks for window in of_record]
        mask = np.concatenate([np.zeros(0, np.float32), *parts], dtype=np.float32, casting="same_kind")
    return classify_pool(as_pool(pool), classifier, engine, mask, operator)


def window_masks(
    pool: Sequence[Prepared], explainer: Explainer, engine: Engine, classes: NDArray[np.int64]
) -> list[list[NDArray[np.float32]]]:
    """`mask_pool` of records as windows: keep probabilities (T, tracks) of each window of each record."""
    together = as_pool(pool)
    parts = iter(np.split(mask_pool(together, explainer, engine, classes), together.offsets[1:-1]))
    return [[next(parts) for _ in item.windows] for item in pool]
