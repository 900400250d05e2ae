"""Occlusion, LIME and partition SHAP: tokens are hidden by binary masks, through the classifier's masking operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.evaluation.metrics import log_softmax
from seqmask.evaluation.scoring import Scorer

Values = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""Binary masks (K, N) of one record, 1 = kept, to what is explained (K, R)."""

CHUNK = 256  # masks that are scored together: bounds the memory of long records
HIDDEN = "_"


def log_probabilities(
    logits: NDArray[np.float32], slices: tuple[slice, ...], classes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Log-probability (K, R) of the explained class (R,) of each rank, from logits (K, C)."""
    pairs = zip(slices, classes.tolist(), strict=True)
    return np.stack([log_softmax(logits[:, columns])[:, index] for columns, index in pairs], axis=1)


def record_values(scorer: Scorer, row: int, classes: NDArray[np.int64]) -> Values:
    """The log-probabilities of a held record's classes (R,) under masks of all its tokens, windows end to end."""
    slices = scorer.model.ranks.slices

    def values(masks: NDArray[np.float32]) -> NDArray[np.float64]:
        parts = []
        for begin in range(0, len(masks), CHUNK):
            chunk = list(masks[begin : begin + CHUNK])
            same = replace(scorer, prepared=[scorer.prepared[row]] * len(chunk))
            parts.append(log_probabilities(same.logits(chunk), slices, classes))
        return np.concatenate(parts)

    return values


def occlusion(scorer: Scorer, row: int, logits: NDArray[np.float32], classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Drop (N, R) of the log-probability of each class when one token is hidden (Zeiler & Fergus 2014).

    logits (C,): of the whole record. A hidden token changes its own window only, so only that one runs again.
    """
    prepared = scorer.prepared[row]
    total = sum(len(window.tokens) for window in prepared.windows)
    slices = scorer.model.ranks.slices
    found = []
    for window in prepared.windows:
        size = len(window.tokens)
        masks = np.concatenate([np.ones((1, size)), 1 - np.eye(size)]).astype(np.float32)
        alone = replace(scorer, prepared=[replace(prepared, windows=[window])] * len(masks)).logits(list(masks))
        # row 0, nothing hidden, is the record itself: the window's share of its logits is replaced by itself
        record = logits + (alone - alone[:1]) * np.float32(size / total)
        values = log_probabilities(record, slices, classes)
        found.append(values[:1] - values[1:])
    return np.concatenate(found)


def lime(values: Values, tokens: int, ranks: int, samples: int, seed: int) -> NDArray[np.float64]:
    """Weights (N, R) of LIME's local linear model (Ribeiro et al. 2016), tokens as words, `samples` masks.

    `lime.lime_text` as it is: its sampling, kernel and ridge regression; every token is a word of its own at its place,
    and all of them are features. It explains probabilities.
    """
    from lime.lime_text import LimeTextExplainer

    def classify(texts: list[str]) -> NDArray[np.float64]:
        masks = [[word != HIDDEN for word in text.split(" ")] for text in texts]
        return np.exp(values(np.array(masks, dtype=np.float32)))

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
