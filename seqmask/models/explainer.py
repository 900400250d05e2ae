"""The Explainer: the same tokens to a keep-logit a token (or a token and rank), for the predicted or a named class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqmask.models.classifier import Classifier
from seqmask.models.encoders import build

CENTRE = 0.5  # the threshold of a centred Explainer
LOGIT_BOUND = 5.0  # a saturated sigmoid has no gradient: an all-ones start at +-12 never moves


class Explainer(nn.Module):
    """Token ids to keep-logits; sigmoid(logit) is the probability that a token is kept.

    A token's logit is a mix of how much its state points towards the explained class of each rank, and of a linear
    reading of the state. The first part is a class activation map (Zhou et al. 2016) and is what the Explainer starts
    as (`like`); training on sampled masks then moves everything.

    config: the encoder's JSON configuration. sizes: classes a rank (R ranks, C in all). tracks: 1 for a mask shared by
    all ranks, R for one a rank.
    """

    def __init__(self, config: dict[str, Any], sizes: Sequence[int], tracks: int = 1) -> None:
        super().__init__()
        self.config, self.sizes, self.tracks = dict(config), tuple(sizes), tracks
        self.encoder = build(config)
        width = int(config["hidden_size"])
        self.query = nn.Linear(width, sum(sizes))
        ranks = len(self.sizes)
        own = torch.ones(1, ranks) / ranks if tracks == 1 else torch.eye(ranks)
        self.mix = nn.Parameter(own.repeat_interleave(2, dim=1))  # (tracks, 2 R)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, tracks)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @classmethod
    def like(cls, classifier: Classifier, layers: int = 0, tracks: int = 1, area: float = 0.5) -> Explainer:
        """An Explainer that starts from the classifier: its embeddings, its first `layers` layers (0 = all), its heads.

        It has to know what the classifier looks for; with all layers it starts as the classifier's class activation
        map. The weights are copies and are trained: the classifier itself stays frozen. area: about the share of tokens
        that it keeps at first.
        """
        depth = int(classifier.config["num_hidden_layers"])
        explainer = cls(
            {**classifier.config, "num_hidden_layers": min(layers or depth, depth)}, classifier.sizes, tracks
        )
        own = explainer.encoder.state_dict()
        source = classifier.encoder.state_dict()
        explainer.encoder.load_state_dict({name: source[name].clone() for name in own})
        explainer.query.load_state_dict(classifier.head.state_dict())
        nn.init.constant_(explainer.head.bias, math.log(area / (1 - area)))
        return explainer

    def centre(self, thresholds: Sequence[float]) -> None:
        """Shift each track's logits so that what was m = threshold becomes m = .5; the order of tokens stays.

        thresholds: one a track, in (0, 1); those beyond the range of m are taken as its ends.
        """
        with torch.no_grad():
            level = torch.logit(torch.tensor(thresholds), eps=1e-6) / LOGIT_BOUND
            self.head.bias.sub_((LOGIT_BOUND * torch.atanh(level.clamp(-0.999, 0.999))).to(self.head.bias))

    def forward(self, ids: Tensor, attention: Tensor, classes: Tensor | None = None) -> Tensor:
        """Keep-logits (B, T, tracks) float32 within +-LOGIT_BOUND.

        ids (B, T) int64, attention (B, T) bool. classes (B, R) int64: the class to explain at each rank, -1 or None:
        the one that the Explainer's own heads predict.
        """
        hidden = self.encoder(input_ids=ids, attention_mask=attention).last_hidden_state.float()
        with torch.autocast(device_type=hidden.device.type, enabled=False):
            logits = self._activation(hidden, attention, classes) @ self.mix.T + self.head(self.norm(hidden))
        # tanh keeps a gradient beyond the bound where a hard clamp has none
        bounded: Tensor = LOGIT_BOUND * torch.tanh(logits / LOGIT_BOUND)
        return bounded

    def _activation(self, hidden: Tensor, attention: Tensor, classes: Tensor | None) -> Tensor:
        """How much each token speaks for the explained classes (B, T, 2 R), of unit variance within a sequence.

        Two readings a rank: against the mean class, and against the classes that compete for this sequence.
        """
        weights = attention.float()
        weights = weights / weights.sum(dim=1, keepdim=True)
        pooled = torch.einsum("btd,bt->bd", hidden, weights)
        scores = torch.split(self.query(pooled), list(self.sizes), dim=1)
        heads = torch.split(self.query.weight, list(self.sizes), dim=0)
        directions = []
        for rank, (of_rank, head) in enumerate(zip(scores, heads, strict=True)):
            explained = of_rank.argmax(dim=1)
            if classes is not None:
                explained = torch.where(classes[:, rank] >= 0, classes[:, rank], explained)
            towards = head[explained]
            directions += [towards - head.mean(dim=0), towards - F.softmax(of_rank, dim=1) @ head]
        found = torch.einsum("btd,bkd->btk", hidden - pooled.unsqueeze(1), torch.stack(directions, dim=1))
        variance = torch.einsum("btk,bt->bk", found.square(), weights)
        return found / (variance + 1e-8).sqrt().unsqueeze(1)
