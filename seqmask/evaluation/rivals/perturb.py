"""Occlusion, LIME and partition SHAP: tokens are hidden by binary masks, through the classifier's masking operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.evaluation.metrics import softmax
from seqmask.evaluation.scoring import Scorer

Read = Callable[[NDArray[np.float32], Sequence[slice], NDArray[np.int64]], NDArray[np.float64]]
"""Logits (K, C), the slices of the ranks and the classes (R,) to what is explained (K, R)."""

Values = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""Binary masks (K, N) of one record, 1 = kept, to what is explained (K, R)."""

CHUNK = 256  # masks that are scored together: bounds the memory of long records
HIDDEN = "_"


def class_logits(
    logits: NDArray[np.float32], slices: Sequence[slice], classes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Logits (K, R) of the explained class (R,) of each rank, from all logits (K, C)."""
    pairs = zip(slices, classes.tolist(), strict=True)
    return np.stack([logits[:, columns][:, index] for columns, index in pairs], axis=1).astype(np.float64)


def class_odds(logits: NDArray[np.float32], slices: Sequence[slice], classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log odds (K, R) of the explained class (R,) of each rank, nats, from all logits (K, C)."""
    own, odds = class_logits(logits, slices, classes), []
    for columns, index, scores in zip(slices, classes.tolist(), own.T, strict=True):
        others = np.delete(logits[:, columns].astype(np.float64), index, axis=1)
        odds.append(scores - np.logaddexp.reduce(others, axis=1) if others.shape[1] else np.zeros(len(logits)))
    return np.stack(odds, axis=1)


def class_probabilities(
    logits: NDArray[np.float32], slices: Sequence[slice], classes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Probabilities (K, R) of the explained class (R,) of each rank, from all logits (K, C)."""
    pairs = zip(slices, classes.tolist(), strict=True)
    return np.stack([softmax(logits[:, columns])[:, index] for columns, index in pairs], axis=1)


def record_values(scorer: Scorer, row: int, classes: NDArray[np.int64], read: Read = class_logits) -> Values:
    """What is read off a held record's logits under masks of all its tokens, windows end to end; classes (R,)."""

    def values(masks: NDArray[np.float32]) -> NDArray[np.float64]:
        parts = []
        for begin in range(0, len(masks), CHUNK):
            chunk = list(masks[begin : begin + CHUNK])
            logits = scorer.subset([row] * len(chunk)).logits(chunk)
            parts.append(read(logits, scorer.model.ranks.slices, classes))
        return np.concatenate(parts)

    return values


def occlusion(scorer: Scorer, row: int, classes: NDArray[np.int64], read: Read = class_logits) -> NDArray[np.float64]:
    """Drop (N, R) of each class's logit when one token of a held record is hidden (Zeiler & Fergus 2014).

    read: what drops, if not the logit.

    A hidden token changes its own window only, which has a part of the record's logits by its share of the tokens.
    """
    prepared, total = scorer.prepared[row], scorer.lengths[row]
    found = []
    for window in prepared.windows:
        size = len(window.tokens)
        masks = np.concatenate([np.ones((1, size)), 1 - np.eye(size)]).astype(np.float32)
        alone = replace(scorer, prepared=[replace(prepared, windows=[window])])
        values = record_values(alone, 0, classes, read)(masks)
        found.append((values[:1] - values[1:]) * size / total)
    return np.concatenate(found)


def lime(values: Values, tokens: int, ranks: int, samples: int, seed: int) -> NDArray[np.float64]:
    """Weights (N, R) of LIME's local linear model (Ribeiro et al. 2016), tokens as words, `samples` masks.

    `lime.lime_text` as it is: its sampling, kernel and ridge regression; every token is a word of its own at its place,
    and all of them are features. It is meant for probabilities.
    """
    from lime.lime_text import LimeTextExplainer

    def classify(texts: list[str]) -> NDArray[np.float64]:
        masks = [[word != HIDDEN for word in text.split(" ")] for text in texts]
        return values(np.array(masks, dtype=np.float32))

    text = " ".join(str(i) for i in range(tokens))
    explainer = LimeTextExplainer(bow=False, mask_string=HIDDEN, feature_selection="none", random_state=seed)
    found = explainer.explain_instance(text, classify, labels=range(ranks), num_features=tokens, num_samples=samples)
    weights = np.zeros((tokens, ranks))
    for rank in range(ranks):
        for token, weight in found.local_exp[rank]:
            weights[token, rank] = weight
    return weights


def shap(values: Values, starts: NDArray[np.integer[Any]], evaluations: int, seed: int) -> NDArray[np.float64]:
    """Owen values (N, R) of SHAP's partition explainer (Lundberg & Lee 2017), up to `evaluations` masks.

    starts (N,): the first nucleotide of each token. The coalitions are stretches of the record: neighbouring tokens,
    of whatever window or frame, are hidden together until the evaluations suffice to part them.
    """
    order = np.argsort(starts, kind="stable")
    place = np.argsort(order, kind="stable")
    tokens = len(order)
    if tokens == 1:
        ends = values(np.array([[1.0], [0.0]], dtype=np.float32))
        return ends[:1] - ends[1:]
    from shap import PartitionExplainer

    explainer = PartitionExplainer(lambda masks: values(masks[:, place].astype(np.float32)), TokenMasker(tokens))
    state = np.random.get_state()
    np.random.seed(seed)  # it breaks ties by numpy's global generator
    try:
        found = explainer(np.ones((1, tokens)), max_evals=evaluations, silent=True)
    finally:
        np.random.set_state(state)
    owen: NDArray[np.float64] = found.values[0][place]
    return owen


class TokenMasker:
    """A masker as SHAP wants it: the masked input is the mask itself, the clustering a balanced tree of neighbours."""

    def __init__(self, tokens: int) -> None:
        self.shape = (1, tokens)
        self.clustering = neighbour_tree(tokens)

    def __call__(self, mask: NDArray[np.bool_], x: NDArray[np.float64]) -> NDArray[np.bool_]:
        """The masked inputs (1, N) of one mask (N,)."""
        return mask[None]


def neighbour_tree(leaves: int) -> NDArray[np.float64]:
    """A balanced binary tree over a row of leaves (leaves - 1, 4), as `scipy.cluster.hierarchy` writes it.

    A line is two nodes that are joined, the height and the number of leaves; node `leaves + i` is made by line i.
    """
    lines: list[tuple[int, int, float, int]] = []

    def join(begin: int, end: int) -> tuple[int, float]:
        if end - begin == 1:
            return begin, 0.0
        middle = (begin + end + 1) // 2
        (left, below), (right, other) = join(begin, middle), join(middle, end)
        height = max(below, other) + 1
        lines.append((left, right, height, end - begin))
        return leaves + len(lines) - 1, height

    join(0, leaves)
    return np.array(lines, dtype=np.float64)
