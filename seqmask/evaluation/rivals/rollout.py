"""Attention rollout: how much of each token reaches the pooled state, by the attention weights alone."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from seqmask.inference.batches import Batch, Step
from seqmask.models.classifier import Classifier
from seqmask.models.encoders import build


def rollout_step(classifier: Classifier) -> Step:
    """Engine step: scores (B, T, 1), the same for every class, summing to 1 over the tokens of a sequence.

    Abnar & Zuidema 2020: the product over layers of .5 (attention, mean over heads) + .5 identity. The mean over its
    rows, since the classifier pools by the mean. Only eager attention has weights to show, so a copy of the classifier
    runs with it.
    """
    network = copy.deepcopy(classifier)
    encoder: Any = build(classifier.config, "eager")
    encoder.load_state_dict(classifier.encoder.state_dict())
    encoder.config.output_attentions = True
    network.encoder = encoder.to(classifier.head.weight.device).eval()
    seen: list[tuple[Tensor, ...]] = []
    encoder.register_forward_hook(lambda module, args, output: seen.append(output.attentions))

    def step(batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        seen.clear()
        network(batch.ids, batch.attention)
        return None, pooled_rollout(seen.pop(), batch.attention).unsqueeze(-1)

    return step


def pooled_rollout(layers: tuple[Tensor, ...], attention: Tensor) -> Tensor:
    """Scores (B, T) from attention weights (B, heads, T, T) of each layer, first to last; attention (B, T) bool."""
    flow = attention.float() / attention.sum(dim=1, keepdim=True)  # what each state gives to the mean
    for weights in reversed(layers):
        flow = 0.5 * flow + 0.5 * torch.einsum("bq,bqk->bk", flow, weights.float().mean(dim=1))
    return flow
