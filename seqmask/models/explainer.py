"""The Explainer: the same tokens to a keep-logit a token (or a token and rank), for the predicted or a named class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from seqmask.models import fused
from seqmask.models.bert import Embeddings
from seqmask.models.classifier import Classifier
from seqmask.models.crossing import CrossingEmbedding
from seqmask.models.encoders import build
from seqmask.models.heads import heads_of
from seqmask.models.pooler import pooled_states, pooler_of
from seqmask.sequences.tokens import MASK

# Weights, at the start, of a rank's readings of a token: see `_readings` and `_readings_in_masks`. Found by regression
# on measured effects (docs/decisions/0008, 0012)
START = (0.1, 0.07, 0.85, 0.18)
START_IN_MASKS = (0.4, 0.57, 0.2)
KEPT, REMOVED = 0.1, 0.2  # shares of the tokens in the two masks that are looked at again
STEEPNESS = 10.0  # of their edge, per standard deviation of the scores
CENTRE = 0.5  # the threshold of a centred Explainer
FITTED = ("need", "usual")  # where thresholds are chosen, not in training; weights of before had neither
LOGIT_BOUND = 5.0  # a saturated sigmoid has no gradient: an all-ones start at +-12 never moves


class Explainer(nn.Module):
    """Token ids to keep-logits; sigmoid(logit) is the probability that a token is kept.

    A token's logit is a mix of how much it points towards the explained class of each rank, and of a linear reading of
    its state. Pointing is read at three places: the token's state (a class activation map, Zhou et al. 2016), what
    hiding the token changes in the embeddings, its neighbours' included, and what the token's embedding is when it
    alone is shown. What these say makes a first mask, and some of it is read again for the sequence as this mask would
    leave it: beside few kept tokens, and beside the rest. With these the Explainer starts (`like`) near the measured
    effects of tokens; training then moves everything.

    Readings are standardised in each sequence, so that the mask is about as large in all of them. How much one needs is
    told by how far ahead its class is beside the rest: by what that is over the `usual`, times `need`, all logits of
    the sequence are raised (docs/decisions/0042). Not for a class that is not the sequence's own: what it would need is
    not known.

    config: the encoder's JSON configuration. sizes: classes a rank (R ranks, C in all). tracks: 1 for a mask shared by
    all ranks, R for one a rank.
    """

    need: Tensor
    usual: Tensor

    def __init__(self, config: dict[str, Any], sizes: Sequence[int], tracks: int = 1) -> None:
        super().__init__()
        self.config, self.sizes, self.tracks = dict(config), tuple(sizes), tracks
        self.encoder = build(config)
        width = int(config["hidden_size"])
        self.pooler = pooler_of(width, int(config.get("pooler", 0)))
        self.query = heads_of(config, sizes)
        ranks = len(self.sizes)
        own = torch.ones(1, ranks) / ranks if tracks == 1 else torch.eye(ranks)
        start = torch.tensor(START + START_IN_MASKS)
        self.mix = nn.Parameter(own.unsqueeze(2) * start)  # (tracks, R, readings)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, tracks)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        for name in FITTED:
            self.register_buffer(name, torch.zeros(tracks))
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

    def forward(self, ids: Tensor, attention: Tensor | None, classes: Tensor | None = None) -> Tensor:
        """Keep-logits (B, T, tracks) float32 within +-LOGIT_BOUND.

        ids (B, T) int64, attention (B, T) bool or None = nothing is padded. classes (B, R) int64: the class to explain
        at each rank, -1 or None: the one that the Explainer's own heads predict.
        """
        logits, ahead, own = self._look(ids, attention, classes)
        raised = self.need * (ahead - self.usual) * own
        return bounded(logits + raised.unsqueeze(1))

    def ahead(self, ids: Tensor, attention: Tensor | None, classes: Tensor | None = None) -> Tensor:
        """How far ahead the explained class is where the best of the tokens are hidden (B, tracks) float32: the sign of
        its log odds o there times log(1 + |o|). A mask for all ranks: of the rank at which it is furthest ahead.
        """
        return self._look(ids, attention, classes)[1]

    def _look(self, ids: Tensor, attention: Tensor | None, classes: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, T, tracks) before they are raised and bounded, what `ahead` says (B, tracks), and whether the
        explained class is the one that the Explainer's own heads predict (B, tracks) bool.
        """
        hidden = self.encoder(input_ids=ids, attention_mask=attention).last_hidden_state.float()
        if attention is None:
            attention = torch.ones_like(ids, dtype=torch.bool)
        with torch.autocast(device_type=hidden.device.type, enabled=False):
            taken, alone = self._evidence(ids)
            places = hidden, taken.float(), alone.float()
            best, explained, readings = self._readings(*places, attention, classes)
            first = len(START)
            logits = self.head(self.norm(hidden)) + torch.einsum("btrk,grk->btg", readings, self.mix[:, :, :first])
            again, ahead = self._readings_in_masks(*places, attention, explained, logits.detach())
            logits = logits + torch.einsum("btrk,grk->btg", again, self.mix[:, :, first:])
        own = explained == best
        return logits, ahead, own.all(dim=1, keepdim=True) if self.tracks == 1 else own

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in FITTED:
            state_dict.setdefault(prefix + name, torch.zeros(self.tracks))
        super()._load_from_state_dict(state_dict, prefix, *rest)

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
        hidden = embeddings.finish(words(torch.full_like(ids[:1], MASK)))
        if not isinstance(words, CrossingEmbedding):
            return full - hidden, full - hidden
        if embeddings.fused:
            return fused.evidence(*words.bags(ids), embeddings.shift(ids.shape[1]), hidden, embeddings.LayerNorm)
        before, own, after = words.parts(ids)
        taken, alone = full - hidden, embeddings.finish(own) - hidden
        # of the token after it, what reaches back; of the token before it, what reaches on
        back, on = full - embeddings.finish(own + after), full - embeddings.finish(before + own)
        return taken + F.pad(back[:, 1:], (0, 0, 0, 1)) + F.pad(on[:, :-1], (0, 0, 1, 0)), alone

    def _readings(
        self, hidden: Tensor, taken: Tensor, alone: Tensor, attention: Tensor, classes: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The classes that the own heads predict and the explained ones (B, R) each, and how much each token speaks for
        these (B, T, R, 4).

        A rank's four: the state against the mean class and against the classes that compete for this sequence, what
        hiding takes away against the competing ones, and what is there when it stands alone against the mean class.
        """
        pooled = torch.einsum("btd,bt->bd", hidden, shares(attention))
        logits = self.query(pooled_states(self.pooler, pooled)).split(self.sizes, dim=1)
        best = torch.stack([scores.argmax(dim=1) for scores in logits], dim=1)
        explained = best if classes is None else torch.where(classes >= 0, classes, best)
        mean, competing, _ = self._directions(pooled, explained, range(len(self.sizes)))
        pairs = ((hidden, mean), (hidden, competing), (taken, competing), (alone, mean))
        return best, explained, _along(pairs, attention)

    def _readings_in_masks(
        self, hidden: Tensor, taken: Tensor, alone: Tensor, attention: Tensor, explained: Tensor, logits: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The same (B, T, R, 3) where the first mask, by logits (B, T, tracks), is used: against what competes with
        the explained classes (B, R) there. And how far ahead these still are in what is left (B, tracks): see `ahead`.

        Beside its best tokens alone: what a token gives when it is added to them. Beside what is left without more of
        them: what hiding takes away, and what a token gives.
        """
        found, ahead = [], []
        ranks = range(len(self.sizes))
        for track, of_track in enumerate(logits.unbind(2)):
            own = ranks if self.tracks == 1 else [track]
            kept, removed = (near_top(of_track, attention, share) for share in (KEPT, REMOVED))
            of_kept, of_rest = (
                torch.einsum("btd,bt->bd", hidden, shares(of)) for of in (kept, attention.float() - removed)
            )
            _, beside_kept, _ = self._directions(of_kept, explained, own)
            _, beside_rest, odds = self._directions(of_rest, explained, own)
            found.append(_along(((alone, beside_kept), (taken, beside_rest), (alone, beside_rest)), attention))
            told = [place for place, rank in enumerate(own) if self.sizes[rank] > 1]  # one class is ahead of nothing
            odds = torch.stack([odds[:, place] for place in told or [0]], dim=1).amax(dim=1).detach()
            ahead.append(odds.sign() * odds.abs().log1p())
        return torch.cat(found, dim=2), torch.stack(ahead, dim=1)

    def _directions(self, pooled: Tensor, explained: Tensor, ranks: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Where states point towards the explained classes (B, R) of some ranks, away from the mean class and away from
        the classes that compete at pooled (B, D): (B, ranks, D) each; and the log odds there (B, ranks).

        Behind a pooler the heads' directions are followed back through it, there.
        """
        mean, competing, odds = self.query.directions(pooled_states(self.pooler, pooled), explained, ranks)
        if self.pooler is not None:
            both = self.pooler.pull_back(pooled, torch.cat([mean, competing], dim=1))
            mean, competing = both.chunk(2, dim=1)
        return mean, competing, odds


def _along(pairs: Sequence[tuple[Tensor, Tensor]], attention: Tensor) -> Tensor:
    """States (B, T, D) along directions (B, R, D), of mean 0 and variance 1 in each sequence: (B, T, R, pairs)."""
    weights = shares(attention)
    readings = torch.stack([torch.einsum("btd,brd->btr", *pair) for pair in pairs], dim=3)
    readings = readings - torch.einsum("btrk,bt->brk", readings, weights).unsqueeze(1)
    variance = torch.einsum("btrk,bt->brk", readings.square(), weights)
    return readings / (variance + 1e-8).sqrt().unsqueeze(1)


def unbounded(mask: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The logits before `bounded` of keep probabilities m; where m is at the end of its range, a number near it."""
    m = mask.astype(np.float64)
    with np.errstate(divide="ignore"):
        inside = (np.log(m) - np.log1p(-m)) / LOGIT_BOUND
    found: NDArray[np.float64] = LOGIT_BOUND * np.arctanh(np.clip(inside, -0.999, 0.999))
    return found


def bounded(logits: Tensor) -> Tensor:
    """Logits within +-LOGIT_BOUND; tanh keeps a gradient beyond it where a hard clamp has none."""
    inside: Tensor = LOGIT_BOUND * torch.tanh(logits / LOGIT_BOUND)
    return inside


def shares(tokens: Tensor) -> Tensor:
    """Weights (B, T) float32 of tokens (B, T), bool or in [0, 1], that sum to 1 a sequence."""
    weights = tokens.float()
    return weights / weights.sum(dim=1, keepdim=True).clamp_min(1e-6)


def near_top(scores: Tensor, attention: Tensor, share: float) -> Tensor:
    """A mask (B, T) float32 of about this share of each sequence's tokens, those with the highest scores (B, T).

    Steep, not hard: another order of additions must not swap tokens.
    """
    weights = shares(attention)
    mean = (scores * weights).sum(dim=1, keepdim=True)
    deviation = ((scores - mean).square() * weights).sum(dim=1, keepdim=True).sqrt() + 1e-4
    level = quantile_threshold(scores.unsqueeze(2), attention, scores.new_full((len(scores),), share))[:, :, 0]
    return torch.sigmoid(STEEPNESS * (scores - level) / deviation) * attention


def quantile_threshold(score: Tensor, attention: Tensor, shares: Tensor) -> Tensor:
    """The score (B, 1, G) above which a share (B,) of the valid tokens lies, half-way between two tokens."""
    ordered = score.masked_fill(~attention.unsqueeze(-1), -1e4).sort(dim=1, descending=True).values
    valid = attention.sum(dim=1)
    kept = (shares * valid).round().long().clamp_min(1).minimum((valid - 1).clamp_min(1))
    pick = kept.view(-1, 1, 1).expand(-1, 1, score.shape[2])
    below = pick.minimum((valid - 1).clamp_min(0).view(-1, 1, 1))  # not padding, whose number is the batch's
    return 0.5 * (ordered.gather(1, pick - 1) + ordered.gather(1, below))
