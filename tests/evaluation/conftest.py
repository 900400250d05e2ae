"""Networks whose answers are known by construction, read by the same path as trained ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqmask.evaluation.scoring import Scorer
from seqmask.inference.engine import Engine
from seqmask.labels.ranks import Rank, Ranks
from seqmask.models.checkpoint import ClassifierModel
from seqmask.sequences.records import Record
from seqmask.sequences.tokens import KmerTokenizer

Score = Callable[[Tensor, Tensor, bool], Tensor]
Logits = Callable[[Tensor, Tensor, Tensor], Tensor]


def seen(ids: Tensor, attention: Tensor | None) -> Tensor:
    """What is no padding; None where nothing is."""
    return torch.ones_like(ids, dtype=torch.bool) if attention is None else attention


class Network(nn.Module):
    """A classifier of one rank by a function of ids (B, T), what is shown of them (B, T), and whether it is masked."""

    def __init__(self, score: Score, classes: int) -> None:
        super().__init__()
        self.score, self.sizes, self.operator, self.max_tokens = score, (classes,), "blend", 256

    def forward(self, ids: Tensor, attention: Tensor | None, mask: Tensor | None = None, operator: str = "") -> Tensor:
        shown = seen(ids, attention).float() * (1 if mask is None else mask)
        return self.score(ids, shown, mask is not None)


class Masks(nn.Module):
    """An Explainer by a function of ids (B, T), attention (B, T) and classes (B, R) to keep-logits (B, T)."""

    def __init__(self, logits: Logits) -> None:
        super().__init__()
        self.logits, self.tracks = logits, 1

    def forward(self, ids: Tensor, attention: Tensor | None, classes: Tensor) -> Tensor:
        return self.logits(ids, seen(ids, attention), classes).unsqueeze(-1)


MakeScorer = Callable[..., Scorer]


@pytest.fixture
def make_scorer() -> MakeScorer:
    """Sequences under a classifier of one rank by a function (see `Network`), cut into k-mers."""

    def make(
        score: Score, sequences: Sequence[str], names: Sequence[str] = ("one", "other"), k: int = 6, frames: int = 1
    ) -> Scorer:
        ranks, network = Ranks((Rank("kind", tuple(names)),)), Network(score, len(names))
        model = ClassifierModel(network, KmerTokenizer(k, k), ranks, f"{id(network)}", {})  # type: ignore[arg-type]
        records = [Record(f"r{i}", f"r{i}", sequence) for i, sequence in enumerate(sequences)]
        return Scorer.of(records, model, Engine(torch.device("cpu")), frames=frames)

    return make


@pytest.fixture
def make_explainer() -> Callable[[Logits], Masks]:
    """An Explainer of one track by a function of ids (B, T), attention (B, T) and the classes to explain (B, 1)."""
    return Masks


@pytest.fixture
def motifs() -> tuple[list[str], np.ndarray]:
    """60 sequences of 40 to 50 6-mers of G and T, with AAAAAA in the first class and CCCCCC in the second; classes."""
    rng = np.random.default_rng(0)
    classes = np.arange(60) % 2
    sequences = []
    for label in classes:
        tokens = ["".join(rng.choice(list("GT"), 6)) for _ in range(rng.integers(40, 51))]
        for place in rng.choice(len(tokens), 3, replace=False):
            tokens[place] = "AC"[label] * 6
        sequences.append("".join(tokens))
    return sequences, classes
