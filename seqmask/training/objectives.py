"""What the two networks are trained for: each turns a batch into a scalar and its logged terms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from seqmask.models.classifier import Classifier
from seqmask.models.explainer import Explainer
from seqmask.training.dataset import TrainingBatch, random_mask
from seqmask.training.losses import area, bounds, classification, entropy_deficit, sufficiency, variation


@dataclass(slots=True)
class ClassifierObjective:
    """Sum over ranks of the cross-entropy, with binary random masking through the Explainer's operator on some batches.

    Random masking puts masked inputs into the classifier's distribution (Hase et al. 2021, arXiv 2106.00786).
    masked_share: the share of the batches that are masked. Smoothing of targets is left out: confidences are read as
    probabilities.
    """

    classifier: Classifier
    masked_share: float
    seed: int
    device: torch.device

    @property
    def trained(self) -> nn.Module:
        """The classifier, whole."""
        return self.classifier

    def loss(self, batch: TrainingBatch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """The scalar to minimise, and the cross-entropy of each rank in nats, named by whether the batch was masked."""
        rng = np.random.default_rng([self.seed, 11, batch.step])
        ids, attention, targets = (
            torch.from_numpy(part).to(self.device, non_blocking=True)
            for part in (batch.ids, batch.attention, batch.targets)
        )
        mask = None
        if rng.random() < self.masked_share:
            mask = torch.from_numpy(random_mask(batch.attention, rng)).to(self.device)
        self.classifier.train()
        terms = classification(self.classifier.split(self.classifier(ids, attention, mask)), targets)
        kind = "full" if mask is None else "masked"
        logged = {f"{kind}_cross_entropy_{i}": float(term.detach()) for i, term in enumerate(terms)}
        return torch.stack(terms).sum(), logged


@dataclass(slots=True)
class ExplainerWeights:
    """Weights of the terms; ranks are summed, so a term of weight 1 counts once a rank."""

    entropy: float
    area: float
    variation: float
    bounds: float


@dataclass(slots=True)
class ExplainerObjective:
    """L = sum_r CE(f_r(o(m, x)), y_r) + l_E sum_r [1 - H(f_r(o(1-m, x))) / log C_r] + l_A area + l_TV TV + l_B bounds.

    After Berman et al. 2026 and Stalder et al. 2022, with three differences that keep the mask from being empty:
    the classifier sees binary masks (`sample`), area is a hinge above a budget (`over_budget`), and half of the
    sequences are masked at a share fixed in advance, so that tokens must be ranked and one constant probability gains
    nothing.

    classifier: frozen, in eval mode. target: "predicted" (the classifier's own class), "true", "kl" (all classes).
    token_lengths are all equal for k-mers; padding and special tokens have none.
    """

    explainer: Explainer
    classifier: Classifier
    operator: str
    target: str
    weights: ExplainerWeights
    budget: float
    soft: bool
    seed: int
    device: torch.device

    def __post_init__(self) -> None:
        freeze(self.classifier)

    @property
    def trained(self) -> nn.Module:
        """The Explainer; the classifier has no parameter that is trained."""
        return self.explainer

    def loss(self, batch: TrainingBatch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """The scalar to minimise, and its terms by name with mean_mask, spread (both in [0, 1]) and budget."""
        self.classifier.eval()
        self.explainer.train()
        generator = torch.Generator().manual_seed(
            int(np.random.default_rng([self.seed, 13, batch.step]).integers(2**62))
        )
        ids, attention, targets = (
            torch.from_numpy(a).to(self.device) for a in (batch.ids, batch.attention, batch.targets)
        )
        with torch.no_grad():
            full = self.classifier.split(self.classifier(ids, attention))
        targets = self.explained(full, targets)
        keep_logits = self.explainer(ids, attention, targets)
        mask, inverse = self.draw(keep_logits, attention, generator)
        masked, rest = self.classify_both(ids, attention, mask, inverse)

        probability = torch.sigmoid(keep_logits)
        weight = attention.float()
        terms = {
            "sufficiency": torch.stack(self.sufficiency(masked, full, targets)).sum(),
            "entropy": self.weights.entropy * torch.stack(entropy_deficit(rest)).sum(),
            "area": self.weights.area * over_budget(area(probability, weight), self.budget),
            "variation": self.weights.variation * variation(probability, weight).mean(),
            "bounds": self.weights.bounds * bounds(probability, attention).mean(),
        }
        with torch.no_grad():
            logged = {name: float(value) for name, value in terms.items()}
            logged["mean_mask"] = float(area(probability, weight).mean())
            # near 0: the Explainer gives every token the same probability, the collapse of METHOD section 2b
            logged["spread"] = float(spread_of(probability, weight))
        return torch.stack(list(terms.values())).sum(), logged

    def draw(self, keep_logits: Tensor, attention: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The mask m and 1 - m of one draw, (B, T) each for a shared mask, (B, T, R) for one a rank."""
        if self.soft:
            return torch.sigmoid(keep_logits), torch.sigmoid(-keep_logits)
        noise = logistic(keep_logits.shape, generator).to(self.device)
        shares = fixed_shares(len(keep_logits), self.budget, generator).to(self.device)
        return sample(keep_logits, attention, noise, shares)

    def explained(self, full: tuple[Tensor, ...], targets: Tensor) -> Tensor:
        """The classes (B, R) that the mask is for: the classifier's own, or the true ones where those are known.

        The Explainer is told them, in training and in use: its own heads are trained as directions, not as a
        classifier, and would drift away from what the classifier says.
        """
        own = torch.stack([scores.argmax(dim=1) for scores in full], dim=1)
        return torch.where(targets >= 0, targets, own) if self.target == "true" else own

    def classify_both(
        self, ids: Tensor, attention: Tensor, mask: Tensor, inverse: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Logits (B, C_r) a rank of masked and inverse-masked input: one stacked pass of the classifier a track."""
        masked: list[Tensor] = []
        rest: list[Tensor] = []
        for track in range(mask.shape[2]):
            both = torch.cat([mask[..., track], inverse[..., track]])
            logits = self.classifier(ids.repeat(2, 1), attention.repeat(2, 1), both, self.operator)
            kept, removed = (self.classifier.split(part) for part in logits.chunk(2))
            ranks = range(len(kept)) if mask.shape[2] == 1 else [track]
            masked += [kept[r] for r in ranks]
            rest += [removed[r] for r in ranks]
        return masked, rest

    def sufficiency(self, masked: list[Tensor], full: tuple[Tensor, ...], targets: Tensor) -> list[Tensor]:
        """The term of each rank: of the explained classes (B, R) or the whole distribution; logits (B, C_r) a rank."""
        return sufficiency(masked, full) if self.target == "kl" else classification(masked, targets)


def freeze(classifier: Classifier) -> None:
    """No parameter takes a gradient and nothing is in train mode: the classifier is only looked through."""
    classifier.requires_grad_(False)
    classifier.eval()


def logistic(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Standard logistic noise; logit + noise > 0 has probability sigmoid(logit)."""
    uniform = torch.rand(shape, generator=generator).clamp(1e-6, 1 - 1e-6)
    return uniform.log() - (-uniform).log1p()


def fixed_shares(rows: int, budget: float, generator: torch.Generator) -> Tensor:
    """For each sequence (B,) the share of tokens to keep in this draw, or 0 = draw every token on its own.

    Half of the sequences: log-uniform between a fifth of the budget and 1.5 times it, at most .9.
    """
    low, high = 0.2 * budget, min(1.5 * budget, 0.9)
    share = low * (high / low) ** torch.rand(rows, generator=generator)
    return share * (torch.rand(rows, generator=generator) < 0.5)


def sample(keep_logits: Tensor, attention: Tensor, noise: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """A binary draw m and 1 - m (B, T, G) with a one-sided gradient. Padding has m = 1 in both.

    Where shares (B,) is 0 a token is kept when logit + noise > 0, that is with probability p = sigmoid(logit).
    Elsewhere the share of the tokens with the highest logit + noise is kept, and p counts from that quantile.

    The gradient of E[L] by a logit is p (1 - p) (L(token kept) - L(token hidden)). Straight-through estimates the
    difference by dL/dm at the value drawn, which fails at m = 1: a LayerNorm follows the embeddings, so the derivative
    of LN(m h + (1 - m) b) has lost the part along h, the token's own evidence. At m = 0 it is the effect of putting the
    token in. So only hidden tokens count, with weight p, which makes up for the 1 - p of the draws in which they are
    hidden; a kept token is hidden in the inverse pass and counts there, with weight 1 - p (docs/decisions/0003).
    """
    fixed = (shares > 0)[:, None, None]
    weight = attention.unsqueeze(-1) / attention.sum(dim=1).clamp_min(1)[:, None, None]
    level = (keep_logits * weight).sum(dim=1, keepdim=True)
    score = torch.where(fixed, keep_logits - level, keep_logits)
    drawn = (score + noise).detach()
    threshold = quantile_threshold(drawn, attention, shares.clamp_min(1e-3)) * fixed
    hard = (drawn > threshold).float()
    p = torch.sigmoid(score - threshold).detach()
    tangent = score - score.detach()  # zero, with the gradient of the logit
    padding = ~attention.unsqueeze(-1)
    mask = hard + (1 - hard) * p * tangent
    inverse = (1 - hard) - hard * (1 - p) * tangent
    return mask.masked_fill(padding, 1.0), inverse.masked_fill(padding, 1.0)


def quantile_threshold(score: Tensor, attention: Tensor, shares: Tensor) -> Tensor:
    """The score (B, 1, G) above which a share (B,) of the valid tokens lies, half-way between two tokens."""
    ordered = score.masked_fill(~attention.unsqueeze(-1), -1e4).sort(dim=1, descending=True).values
    valid = attention.sum(dim=1)
    kept = (shares * valid).round().long().clamp_min(1).minimum((valid - 1).clamp_min(1))
    pick = kept.view(-1, 1, 1).expand(-1, 1, score.shape[2])
    below = pick.clamp_max(score.shape[1] - 1)
    return 0.5 * (ordered.gather(1, pick - 1) + ordered.gather(1, below))


def over_budget(areas: Tensor, budget: float) -> Tensor:
    """Squared excess of the batch's expected area over the budget, summed over tracks; areas (B, G).

    A hinge, because an undamped multiplier overshoots; of the batch's mean, so that one sequence may need more than
    another.
    """
    return (areas.mean(dim=0) - budget).clamp_min(0).square().sum()


def spread_of(probability: Tensor, weight: Tensor) -> Tensor:
    """Mean over sequences of the standard deviation of the mask within a sequence. (B, T, G), weight (B, T)."""
    share = weight.unsqueeze(-1) / weight.sum(dim=1).clamp_min(1)[:, None, None]
    mean = (probability * share).sum(dim=1, keepdim=True)
    return ((probability - mean).square() * share).sum(dim=1).clamp_min(0).sqrt().mean()
