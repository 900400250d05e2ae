"""The Explainer fitted to measured effects of single tokens: dense targets, where a drawn mask gives one number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqmask.models.classifier import Classifier, log_odds
from seqmask.models.explainer import bounded, quantile_threshold
from seqmask.training.dataset import TrainingBatch
from seqmask.training.losses import area
from seqmask.training.objectives import ExplainerObjective, log_uniform_shares, spread_of
from seqmask.training.processes import by_rows

CHUNK_TOKENS = 32768  # of masked copies that are classified at once
# Weights of what a token does beside other tokens: beside all of them, none, those that a mask keeps, those that it
# leaves, and some that are drawn at random (docs/decisions/0008, 0012, 0014)
WHOLE, SHOWN, IN_MASKS, AT_RANDOM = 0.6, 0.3, 0.4, 1.2
LEAST_SHOWN = 0.4  # the share of tokens that are drawn at random is from here to 1


@dataclass(slots=True)
class EffectsThenMasks:
    """First the squared error between keep-logits and `effects`, then the loss of drawn masks.

    What a token does is measured on a few tokens of each crop, drawn anew every time, and the Explainer learns to tell
    it of all of them from one pass: amortised attribution (Covert et al. 2024, arXiv 2401.15866). It is measured where
    masks are used, too: beside the tokens that the Explainer would keep, and beside what is left without them. The
    targets are standardised within a sequence, so that about the same share of every sequence lies above a threshold.

    masks: the objective of the steps that follow. share: of the steps that are fitted to effects. tokens: measured in
    each sequence.
    """

    masks: ExplainerObjective
    share: float
    tokens: int = 16

    @property
    def trained(self) -> nn.Module:
        """The Explainer."""
        return self.masks.trained

    def loss(self, batch: TrainingBatch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """The scalar to minimise, and what is logged, under other names in the two parts."""
        if progress >= self.share:
            return self.masks.loss(batch, (progress - self.share) / (1 - self.share))
        of = self.masks
        ids, attention, _, classes, generator = of.begin(batch)
        tokens = drawn_tokens(attention, self.tokens, generator)
        keep_logits = by_rows(of.explainer, ids, attention, classes)
        budget = of.terms.area_budget
        kept_shares = log_uniform_shares(len(ids), budget, generator).to(ids.device)
        levels = quantile_threshold(keep_logits.detach(), attention, kept_shares)
        kept = ((keep_logits > levels) & attention.unsqueeze(-1)).unbind(2)
        # Under autocast, too: effects measured in bf16 correlate with those in fp32 by .9998 or more
        others = random_others(attention, generator)
        target = effects(of.classifier, of.operator, ids, attention, classes, tokens, kept, others)
        found = keep_logits.gather(1, tokens.unsqueeze(-1).expand(-1, -1, keep_logits.shape[2]))
        # Through the bound of keep-logits, or a few tokens far above the rest would be all that counts
        error = (found - bounded(target + math.log(budget / (1 - budget)))).square()
        weight = attention.gather(1, tokens).unsqueeze(-1).expand_as(error).float()
        loss = (error * weight).sum() / weight.sum().clamp_min(1)
        with torch.no_grad():
            probability, valid = torch.sigmoid(keep_logits), of.nucleotides(ids, attention)
            logged = {
                "effects": float(loss.detach()),
                "mean_mask": float(area(probability, valid).mean()),
                "spread": float(spread_of(probability, valid)),
            }
        return loss, logged


def effects(
    classifier: Classifier,
    operator: str,
    ids: Tensor,
    attention: Tensor,
    classes: Tensor,
    tokens: Tensor,
    kept: Sequence[Tensor],
    others: Tensor,
) -> Tensor:
    """What each of some tokens (B, S) does to the log odds of the explained classes (B, R): (B, S, G), standardised.

    Five views, each standardised within the sequence: the odds lost when the token alone is hidden (occlusion, Zeiler &
    Fergus 2014), the odds gained when it alone is shown, and the odds that it makes up beside the tokens that a mask
    keeps, beside those that are left without them, and beside others. kept: these masks (B, T) bool, one a rank, or one
    that answers for all; others: a random draw (B, T) float32 of 0 and 1, anew for every batch, so that what is learned
    is the mean over many (as Shapley values are). These see what the first two can not: evidence that needs other
    evidence, or repeats it.
    Odds and not logits: what speaks for a class and for its nearest rival alike decides nothing.
    """
    seen = attention.gather(1, tokens)

    def made_up(shown: Tensor) -> Tensor:
        found = torch.cat(list(_toggled(classifier, operator, ids, attention, classes, tokens, shown)), dim=1)
        return standardised(found, seen)

    def of_tracks(values: Tensor) -> Tensor:
        return values.mean(dim=2, keepdim=True) if len(kept) == 1 else values

    with torch.no_grad():
        every = torch.ones_like(ids, dtype=torch.float32)
        views = WHOLE * made_up(every) + SHOWN * made_up(1 - every) + AT_RANDOM * made_up(others)
        target = of_tracks(views)
        for track, mask in enumerate(kept):
            own = of_tracks(made_up(mask.float()) + made_up(1 - mask.float()))
            target[:, :, track] += IN_MASKS * own[:, :, track]
    return target


def _toggled(
    classifier: Classifier,
    operator: str,
    ids: Tensor,
    attention: Tensor,
    classes: Tensor,
    tokens: Tensor,
    shown: Tensor,
) -> Iterator[Tensor]:
    """Log odds (B, s, R) with each of the tokens (B, S) shown, less those with it hidden, some of them at a time.

    shown (B, T) float32 of 0 and 1: the other tokens.
    """

    def odds(masks: Tensor) -> Tensor:
        """(B, n, R) of masks (B, n, T)."""
        copies = (x.repeat_interleave(masks.shape[1], dim=0) for x in (ids, attention))
        logits = classifier.split(by_rows(classifier, *copies, masks.flatten(0, 1), operator))
        return log_odds(logits, classes.repeat_interleave(masks.shape[1], dim=0)).view(len(ids), masks.shape[1], -1)

    before = odds(shown.unsqueeze(1))
    rows, width = ids.shape
    step = max(CHUNK_TOKENS // (rows * width), 1)
    for begin in range(0, tokens.shape[1], step):
        part = tokens[:, begin : begin + step]
        single = torch.zeros(rows, part.shape[1], width, device=ids.device).scatter_(2, part.unsqueeze(-1), 1.0)
        after = odds((shown.unsqueeze(1) - single).abs())
        yield (after - before) * (1 - 2 * shown.gather(1, part)).unsqueeze(-1)


def standardised(values: Tensor, valid: Tensor) -> Tensor:
    """Values (B, S, R) less their mean, over their deviation, within each sequence; valid (B, S) bool: the others are
    left out.
    """
    weight = valid.float().unsqueeze(-1)
    weight = weight / weight.sum(dim=1, keepdim=True).clamp_min(1)
    centred = values - (values * weight).sum(dim=1, keepdim=True)
    return centred / ((centred.square() * weight).sum(dim=1, keepdim=True).sqrt() + 1e-6)


def random_others(attention: Tensor, generator: torch.Generator) -> Tensor:
    """A random share from LEAST_SHOWN to 1 of each sequence's tokens: (B, T) float32 of 0 and 1."""
    shares = LEAST_SHOWN + (1 - LEAST_SHOWN) * torch.rand(len(attention), 1, generator=generator)
    return (torch.rand(attention.shape, generator=generator) < shares).float().to(attention.device)


def drawn_tokens(attention: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Places (B, S) of at most `count` random tokens of each sequence; padding only where a sequence has fewer."""
    order = torch.rand(attention.shape, generator=generator).to(attention.device) - (~attention).float()
    return order.topk(min(count, attention.shape[1]), dim=1).indices
