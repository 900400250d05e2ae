"""Saliency, gradient x input and integrated gradients, by Captum, at the output of the embedding module."""

from __future__ import annotations

import torch
from torch import Tensor

from seqmask.inference.batches import Batch, Step
from seqmask.models.classifier import Classifier, log_odds


def gradient_step(classifier: Classifier, kind: str, steps: int) -> Step:
    """Engine step: scores (B, T, R) for the classes (B, R) that the items bring. One Captum call a rank.

    What is explained is the logit of a class. kind: saliency (Euclidean length of the gradient; Simonyan et al. 2014),
    gradxinput (sum of gradient x embedding; Shrikumar et al. 2016), ig (Sundararajan et al. 2017, from the embeddings
    of [MASK] in `steps` steps; the scores of a sequence sum to the difference between the two ends) or ig-odds (the
    same of the class's log odds).
    """
    first = torch.tensor([0, *classifier.sizes[:-1]], device=classifier.head.weight.device).cumsum(0)

    def masked(mask: Tensor, ids: Tensor, attention: Tensor) -> Tensor:
        logits: Tensor = classifier(ids, attention, mask, "blend")
        return logits

    def odds(mask: Tensor, ids: Tensor, attention: Tensor, rank: int, own: Tensor) -> Tensor:
        """Of one rank's class (B,): (B,)."""
        scores = classifier.split(masked(mask, ids, attention))[rank]
        return log_odds([scores], own.unsqueeze(1))[:, 0]

    def attribute(batch: Batch, rank: int, column: Tensor) -> Tensor:
        from captum.attr import LayerGradientXActivation, LayerIntegratedGradients

        layer = classifier.encoder.embeddings
        if not kind.startswith("ig"):
            method = LayerGradientXActivation(classifier, layer, multiply_by_inputs=kind == "gradxinput")
            found: Tensor = method.attribute(batch.ids, column, (batch.attention,))
            return found.norm(dim=-1) if kind == "saliency" else found.sum(dim=-1)
        # The masks are the inputs that Captum sees: all ones give the embeddings of the sequence, all zeros those of
        # [MASK] in its place, whatever the embedding module is. One step of the path a pass keeps the batch's size.
        shown = torch.ones(batch.ids.shape, device=batch.ids.device)
        inputs: tuple[Tensor | int, ...] = (batch.ids, batch.attention)
        if kind == "ig-odds":
            inputs = (*inputs, rank, column - first[rank])
        found = LayerIntegratedGradients(odds if kind == "ig-odds" else masked, layer).attribute(
            shown,
            torch.zeros_like(shown),
            None if kind == "ig-odds" else column,
            inputs,
            n_steps=steps,
            internal_batch_size=len(shown),
        )
        return found.sum(dim=-1)

    def step(batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        assert batch.fixed is not None
        with torch.inference_mode(False), torch.enable_grad(), _nothing_cached(batch.ids.device.type):
            columns = batch.fixed + first
            found = [attribute(batch, rank, column).detach() for rank, column in enumerate(columns.unbind(dim=1))]
        return None, torch.stack(found, dim=-1)

    return step


def _nothing_cached(device: str) -> torch.autocast:
    """Autocast as it is, but without its cache, which holds every step's embeddings until the engine is through."""
    dtype, enabled = torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
    return torch.autocast(device, dtype=dtype, enabled=enabled, cache_enabled=False)
