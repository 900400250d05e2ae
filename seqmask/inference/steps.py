"""What the engine is asked to run: classifying, checking and explaining."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from seqmask.inference.batches import Batch, Found
from seqmask.models.classifier import Classifier
from seqmask.models.explainer import Explainer


@dataclass(frozen=True, slots=True)
class Classify:
    """Logits (B, C), under the mask where the items bring one."""

    classifier: Classifier
    operator: str

    def __call__(self, batch: Batch) -> Found:
        """(B, C) float32, None."""
        mask = batch.values[0] if batch.values else None
        return self.classifier(batch.ids, batch.seen, mask, self.operator), None


@dataclass(frozen=True, slots=True)
class Check:
    """Logits (B, 2 C), with the tokens alone that each item's first mask shows, and with those of its second one.

    stacked: both in one pass, which is half the launches on a GPU. On a CPU it gains nothing, and rounding follows the
    size of the batch: one after the other, the logits are those of the same batch under one mask, bit by bit.
    """

    classifier: Classifier
    operator: str
    stacked: bool

    def __call__(self, batch: Batch) -> Found:
        """(B, 2 C) float32, None."""
        ids, attention, (shown, left) = batch.ids, batch.seen, batch.values
        if self.stacked:
            twice = None if attention is None else attention.repeat(2, 1)
            both = self.classifier(ids.repeat(2, 1), twice, torch.cat([shown, left]), self.operator)
            return torch.cat(both.chunk(2), dim=1), None
        halves = [self.classifier(ids, attention, part, self.operator) for part in (shown, left)]
        return torch.cat(halves, dim=1), None


@dataclass(frozen=True, slots=True)
class Explain:
    """Keep probabilities (B, T, tracks) for the classes (R,) that each item brings."""

    explainer: Explainer

    def __call__(self, batch: Batch) -> Found:
        """None, (B, T, tracks) float32."""
        return None, torch.sigmoid(self.explainer(batch.ids, batch.seen, batch.fixed))


@dataclass(frozen=True, slots=True)
class Ahead:
    """How far ahead the classes (R,) that each item brings are without their best tokens: see `Explainer.ahead`."""

    explainer: Explainer

    def __call__(self, batch: Batch) -> Found:
        """(B, tracks) float32, None."""
        return self.explainer.ahead(batch.ids, batch.seen, batch.fixed), None
