"""The Explainer: the same tokens to a keep-logit a token (or a token and rank), for the predicted or a named class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqmask.models.bert import Embeddings
from seqmask.models.classifier import Classifier
from seqmask.models.crossing import CrossingEmbedding
from seqmask.models.encoders import build
from seqmask.models.pooler import pooled_states, pooler_of
from seqmask.sequences.tokens import MASK

# Weights, at the start, of a rank's readings of a token: see `_readings`. Found by regression on measured effects
# (docs/decisions/0008)
START = (0.15, 0.1, 0.9, 0.3)
CENTRE = 0.5  # the threshold of a centred Explainer
LOGIT_BOUND = 5.0  # a saturated sigmoid has no gradient: an all-ones start at +-12 never moves


class Explainer(nn.Module):
    """Token ids to keep-logits; sigmoid(logit) is the probability that a token is kept.

    A token's logit is a mix of how much it points towards the explained class of each rank, and of a linear reading of
    its state. Pointing is read at three places: the token's state (a class activation map, Zhou et al. 2016), what
    hiding the token changes in the embeddings, its neighbours' included, and what the token's embedding is when it
    alone is shown. With these the Explainer starts (`like`) near the measured effects of tokens; training then moves
    everything.

    config: the encoder's JSON configuration. sizes: classes a rank (R ranks, C in all). tracks: 1 for a mask shared by
    all ranks, R for one a rank.
    """

    def __init__(self, config: dict[str, Any], sizes: Sequence[int], tracks: int = 1) -> None:
        super().__init__()
        self.config, self.sizes, self.tracks = dict(config), tuple(sizes), tracks
        self.encoder = build(config)
        width = int(config["hidden_size"])
        self.pooler = pooler_of(width, int(config.get("pooler", 0)))
        self.query = nn.Linear(width, sum(sizes))
        ranks = len(self.sizes)
        own = torch.ones(1, ranks) / ranks if tracks == 1 else torch.eye(ranks)
        self.mix = nn.Parameter(torch.kron(own, torch.tensor([START])))  # (tracks, 4 R)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, tracks)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self._embedded: Tensor | None = None
        self.encoder.embeddings.register_forward_hook(self._keep)  # type: ignore[union-attr]

    @classmethod
    def like(cls, classifier: Classifier, layers: int = 0, tracks: int = 1, area: float = 0.5) -> Explainer:
        """An Explainer that starts from the classifier: its embeddings, its first `layers` layers (0 = all), its heads.

        It has to know what the classifier looks for. The weights are copies and are trained: the classifier stays
        frozen. area: about the share of tokens that it keeps at first.
        """
        depth = int(classifier.config["num_hidden_layers"])
        explainer = cls(
            {**classifier.config, "num_hidden_layers": min(layers or depth, depth)}, classifier.sizes, tracks
        )
        own = explainer.encoder.state_dict()
        source = classifier.encoder.state_dict()
        explainer.encoder.load_state_dict({name: source[name].clone() for name in own})
        explainer.query.load_state_dict(classifier.head.state_dict())
        if explainer.pooler is not None and classifier.pooler is not None:
            explainer.pooler.load_state_dict(classifier.pooler.state_dict())
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
            taken, alone = self._evidence(ids)
            readings = self._readings(hidden, taken.float(), alone.float(), attention, classes)
            logits = readings @ self.mix.T + self.head(self.norm(hidden))
        # tanh keeps a gradient beyond the bound where a hard clamp has none
        bounded: Tensor = LOGIT_BOUND * torch.tanh(logits / LOGIT_BOUND)
        return bounded

    def _keep(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self._embedded = output

    def _evidence(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """What hiding each token takes out of the embeddings, and what it gives when shown alone, (B, T, D) each.

        Where k-mers cross into neighbours, hiding a token changes three embeddings; elsewhere only its own. Less what a
        hidden token has.
        """
        full, self._embedded = self._embedded, None
        assert full is not None
        embeddings = self.encoder.embeddings
        if not isinstance(embeddings, Embeddings):
            return full, full
        words = embeddings.word_embeddings
        taken = full - embeddings.finish(words(torch.full_like(ids[:1], MASK)))
        if not isinstance(words, CrossingEmbedding):
            return taken, taken
        before, own, after = words.parts(ids)
        alone = taken + embeddings.finish(own) - full
        # of the token after it, what reaches back; of the token before it, what reaches on
        back, on = full - embeddings.finish(own + after), full - embeddings.finish(before + own)
        return taken + F.pad(back[:, 1:], (0, 0, 0, 1)) + F.pad(on[:, :-1], (0, 0, 1, 0)), alone

    def _readings(
        self, hidden: Tensor, taken: Tensor, alone: Tensor, attention: Tensor, classes: Tensor | None
    ) -> Tensor:
        """How much each token speaks for the explained classes (B, T, 4 R), of unit variance within a sequence.

        A rank's four: the state against the mean class and against the classes that compete for this sequence, what
        hiding takes away against the competing ones, and what is there when it stands alone against the mean class.
        Behind a pooler the heads' directions are followed back through it, at the mean of the whole sequence.
        """
        weights = attention.float()
        weights = weights / weights.sum(dim=1, keepdim=True)
        pooled = torch.einsum("btd,bt->bd", hidden, weights)
        scores = torch.split(self.query(pooled_states(self.pooler, pooled)), list(self.sizes), dim=1)
        heads = torch.split(self.query.weight, list(self.sizes), dim=0)
        found: list[Tensor] = []
        directions: list[Tensor] = []
        for rank, (of_rank, head) in enumerate(zip(scores, heads, strict=True)):
            explained = of_rank.argmax(dim=1)
            if classes is not None:
                explained = torch.where(classes[:, rank] >= 0, classes[:, rank], explained)
            towards = head[explained]
            mean = towards - head.mean(dim=0)
            # without the class itself: the gradient of its log odds, whose direction is there however sure it is
            others = of_rank.scatter(1, explained.unsqueeze(1), torch.finfo(of_rank.dtype).min)
            directions += [mean, towards - F.softmax(others, dim=1) @ head]
        if self.pooler is not None:
            directions = list(self.pooler.pull_back(pooled, torch.stack(directions, dim=1)).unbind(1))
        for mean, competing in zip(directions[::2], directions[1::2], strict=True):
            pairs = ((hidden, mean), (hidden, competing), (taken, competing), (alone, mean))
            found += [torch.einsum("btd,bd->bt", states, direction) for states, direction in pairs]
        readings = torch.stack(found, dim=2)
        readings = readings - torch.einsum("btk,bt->bk", readings, weights).unsqueeze(1)
        variance = torch.einsum("btk,bt->bk", readings.square(), weights)
        return readings / (variance + 1e-8).sqrt().unsqueeze(1)
