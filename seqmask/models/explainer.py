"""The Explainer: the same tokens to one keep-logit a token (or one a token and rank)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from seqmask.models.classifier import Classifier
from seqmask.models.encoders import build

LOGIT_BOUND = 5.0  # a saturated sigmoid has no gradient: METHOD, "logits clamped at +-5"
START_BIAS = 2.0  # start near all ones (sigmoid(2) = .88), so that the classifier still sees its evidence


class Explainer(nn.Module):
    """Token ids to keep-logits; sigmoid(logit) is the probability that a token is kept.

    config: the encoder's JSON configuration. tracks: 1 for a mask shared by all ranks, R for one a rank.
    """

    def __init__(self, config: dict[str, Any], tracks: int = 1) -> None:
        super().__init__()
        self.config, self.tracks = dict(config), tracks
        self.encoder = build(config)
        width = int(config["hidden_size"])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, tracks)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, START_BIAS)

    @classmethod
    def like(cls, classifier: Classifier, layers: int, tracks: int = 1) -> Explainer:
        """An Explainer that starts from the classifier's embeddings and its first `layers` layers.

        It has to know what the classifier will look for; starting from the classifier's own features saves most of the
        training. The weights are copies and are trained: the classifier itself stays frozen.
        """
        config = {**classifier.config, "num_hidden_layers": min(layers, classifier.config["num_hidden_layers"])}
        explainer = cls(config, tracks)
        own = explainer.encoder.state_dict()
        source = classifier.encoder.state_dict()
        explainer.encoder.load_state_dict({name: source[name].clone() for name in own})
        return explainer

    def forward(self, ids: Tensor, attention: Tensor) -> Tensor:
        """Keep-logits (B, T, tracks) float32 within +-LOGIT_BOUND. ids (B, T) int64, attention (B, T) bool."""
        hidden = self.encoder(input_ids=ids, attention_mask=attention).last_hidden_state
        with torch.autocast(device_type=hidden.device.type, enabled=False):
            logits = self.head(self.norm(hidden.to(self.norm.weight.dtype))).float()
        # tanh keeps a gradient beyond the bound where a hard clamp has none
        return LOGIT_BOUND * torch.tanh(logits / LOGIT_BOUND)
