"""What the two networks are trained for: each turns a batch into a scalar and its logged terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from seqmask.models.classifier import Classifier
from seqmask.models.explainer import Explainer, quantile_threshold
from seqmask.training.dataset import TrainingBatch, random_mask
from seqmask.training.losses import (
    area,
    bounds,
    classification,
    entropy_deficit,
    null_divergence,
    sufficiency,
    unlikelihood,
    variation,
)
from seqmask.training.processes import by_rows


@dataclass(slots=True)
class ClassifierObjective:
    """Sum over ranks of the cross-entropy, with binary random masking through the Explainer's operator on some batches.

    Random masking puts masked inputs into the classifier's distribution (Hase et al. 2021, arXiv 2106.00786).
    masked_share: the share of the batches that are masked. smoothing: of targets; what it does to confidences a
    temperature fitted on `val` takes back for the most part.
    """

    classifier: Classifier
    masked_share: float
    seed: int
    device: torch.device
    smoothing: float = 0.0

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
        logits = self.classifier.split(by_rows(self.classifier, ids, attention, mask))
        terms = classification(logits, targets, self.smoothing)
        kind = "full" if mask is None else "masked"
        logged = {f"{kind}_cross_entropy_{i}": float(term.detach()) for i, term in enumerate(terms)}
        return torch.stack(terms).sum(), logged


TARGETS = ("predicted", "true", "kl")
FORMS = ("budget", "constrained", "weighted")
KINDS = ("class", "entropy", "null")


@dataclass(slots=True)
class Terms:
    """How the terms are weighed; ranks are summed, so a term of weight 1 counts once a rank.

    form: "budget" (area above `area_budget` costs `area` times its square), "constrained" (area costs `area`, and what
    a rank loses by the mask beyond `sufficiency_bound`, or its inverse still tells beyond `necessity_bound`, costs
    `penalty` times its square), "weighted" (area costs `area`: the paper's). kind: what necessity is, see
    `ExplainerObjective.left`.
    """

    form: str = "budget"
    kind: str = "class"
    necessity: float = 1.0
    area: float = 10.0
    variation: float = 0.1
    bounds: float = 0.0
    area_budget: float = 0.2
    sufficiency_bound: float = 0.1
    necessity_bound: float = 0.1
    penalty: float = 30.0


@dataclass(slots=True)
class ExplainerObjective:
    """L = sum_r S_r + l_N sum_r N_r + l_A area + l_TV TV + l_B bounds, after Berman et al. 2026, Stalder et al. 2022.

    S_r = CE(f_r(o(m, x)), y_r), N_r by default -log(1 - p_y) of f_r(o(1-m, x)) (the paper's: 1 - H / log C_r). Three
    things keep the mask from being empty: the classifier sees binary masks (`sample`), area is a hinge above a budget,
    and half of the sequences are masked at a share fixed in advance, so that tokens must be ranked and one constant
    probability gains nothing. Where each rank has a mask of its own, every sequence draws one rank at a time.

    classifier: frozen, in eval mode. target: "predicted" (the classifier's own class), "true", "kl" (all classes).
    named_share: share of the sequences that explain a likely other class instead, as users may ask for; none with
    target "kl", which has no class.
    token_nt: nucleotides of each id (V,), by which area and variation are weighed; None where tokens are equally long.
    """

    explainer: Explainer
    classifier: Classifier
    operator: str
    target: str
    terms: Terms
    soft: bool
    seed: int
    device: torch.device
    named_share: float = 0.0
    token_nt: Tensor | None = None

    def __post_init__(self) -> None:
        freeze(self.classifier)

    @property
    def trained(self) -> nn.Module:
        """The Explainer; the classifier has no parameter that is trained."""
        return self.explainer

    def loss(self, batch: TrainingBatch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """The scalar to minimise, and its terms by name with mean_mask and spread (both in [0, 1])."""
        ids, attention, full, targets, generator = self.begin(batch)
        keep_logits = by_rows(self.explainer, ids, attention, targets)
        track = torch.randint(keep_logits.shape[2], (len(ids),), generator=generator).to(self.device)
        chosen = keep_logits.gather(2, track.view(-1, 1, 1).expand(-1, keep_logits.shape[1], 1))
        shares = fixed_shares(len(ids), self.terms.area_budget, generator).to(self.device) * (not self.soft)
        mask, inverse = self.draw(chosen, attention, shares, progress, generator)
        both = torch.cat([mask[..., 0], inverse[..., 0]])
        logits = by_rows(self.classifier, ids.repeat(2, 1), attention.repeat(2, 1), both, self.operator)
        if keep_logits.shape[2] > 1:  # a track answers for its own rank
            targets = targets.where(torch.arange(targets.shape[1], device=self.device) == track[:, None], -1)
        kept, rest = (self.classifier.split(part) for part in logits.chunk(2))
        nothing = self._with_nothing(ids, attention)

        probability = torch.sigmoid(keep_logits)
        weight = self.nucleotides(ids, attention)
        areas = area(probability, weight)
        terms = {
            **self._evidence(kept, rest, full, nothing, targets, shares > 0),
            "area": self.terms.area * min(progress / RAMP, 1.0) * self._area(areas),
            "variation": self.terms.variation * variation(probability, weight).mean(),
            "bounds": self.terms.bounds * bounds(probability, attention).mean(),
        }
        with torch.no_grad():
            logged = {name: float(value) for name, value in terms.items()}
            logged["mean_mask"] = float(areas.mean())
            # near 0: the Explainer gives every token the same probability, the collapse of METHOD section 2b
            logged["spread"] = float(spread_of(probability, weight))
        return torch.stack(list(terms.values())).sum(), logged

    def begin(self, batch: TrainingBatch) -> tuple[Tensor, Tensor, tuple[Tensor, ...], Tensor, torch.Generator]:
        """Ids and attention (B, T), the classifier's logits (B, C_r) a rank, explained classes (B, R), and what draws.

        The generator depends on the seed and the batch alone.
        """
        self.classifier.eval()
        self.explainer.train()
        generator = torch.Generator().manual_seed(
            int(np.random.default_rng([self.seed, 13, batch.step]).integers(2**62))
        )
        ids, attention, labels = (
            torch.from_numpy(a).to(self.device) for a in (batch.ids, batch.attention, batch.targets)
        )
        with torch.no_grad():
            full = self.classifier.split(by_rows(self.classifier, ids, attention))
        return ids, attention, full, self.explained(full, labels, generator), generator

    def nucleotides(self, ids: Tensor, attention: Tensor) -> Tensor:
        """Length (B, T) float32 of each token in nt, or in tokens where all are equally long; 0 for padding."""
        return attention.float() if self.token_nt is None else self.token_nt[ids] * attention

    def draw(
        self, keep_logits: Tensor, attention: Tensor, shares: Tensor, progress: float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The mask m and 1 - m (B, T, G) of one draw; shares (B,) as in `sample`."""
        if self.soft:
            return torch.sigmoid(keep_logits), torch.sigmoid(-keep_logits)
        noise = logistic(keep_logits.shape, generator).to(self.device)
        return sample(keep_logits, attention, noise, shares, temperature(progress))

    def explained(self, full: Sequence[Tensor], labels: Tensor, generator: torch.Generator) -> Tensor:
        """The classes (B, R) that the mask is for: the classifier's own, or the true ones where those are known.

        The Explainer is told them, in training and in use: its own heads are trained as directions, not as a
        classifier, and would drift away from what the classifier says. For `named_share` of the sequences it is, at
        one random rank, one of the next four classes instead.
        """
        own = torch.stack([scores.argmax(dim=1) for scores in full], dim=1)
        if self.target == "true":
            own = torch.where(labels >= 0, labels, own)
        if not self.named_share or self.target == "kl":
            return own
        named = (torch.rand(len(own), generator=generator) < self.named_share).to(own.device)
        places = torch.randint(1, 5, own.shape, generator=generator).to(own.device)
        likely = [
            scores.topk(min(5, scores.shape[1]), dim=1).indices.gather(
                1, place.clamp_max(scores.shape[1] - 1).unsqueeze(1)
            )
            for scores, place in zip(full, places.unbind(1), strict=True)
        ]
        rank = torch.randint(own.shape[1], (len(own), 1), generator=generator).to(own.device)
        where = named.unsqueeze(1) & (torch.arange(own.shape[1], device=own.device) == rank)
        return torch.where(where, torch.cat(likely, dim=1), own)

    def sufficiency(self, kept: Sequence[Tensor], full: Sequence[Tensor], targets: Tensor) -> list[Tensor]:
        """The term of each rank: of the explained classes (B, R) or the whole distribution; logits (B, C_r) a rank."""
        if self.target != "kl":
            return classification(kept, targets)
        return sufficiency(*_known(targets, kept, full))

    def left(self, rest: Sequence[Tensor], nothing: Sequence[Tensor], targets: Tensor) -> list[Tensor]:
        """What the inverse-masked sequence still tells, a scalar a rank; logits (B, C_r) a rank.

        "class": of the explained class. "entropy": of anything (the paper's). "null": beyond `nothing`, what the
        classifier says with everything hidden; with unbalanced classes that is the prior, not the uniform law.
        """
        if self.terms.kind == "class":
            return unlikelihood(rest, targets)
        if self.terms.kind == "entropy":
            return entropy_deficit(*_known(targets, rest))
        return null_divergence(*_known(targets, rest, nothing))

    def _with_nothing(self, ids: Tensor, attention: Tensor) -> list[Tensor]:
        """Logits (B, C_r) a rank of the batch's first sequence with every token hidden: the others' are alike."""
        hidden = attention.new_zeros((1, attention.shape[1]), dtype=torch.float32)
        with torch.no_grad():
            logits = self.classifier(ids[:1], attention[:1], hidden, self.operator)
        return [scores.expand(len(ids), -1) for scores in self.classifier.split(logits)]

    def _evidence(
        self,
        kept: Sequence[Tensor],
        rest: Sequence[Tensor],
        full: Sequence[Tensor],
        nothing: Sequence[Tensor],
        targets: Tensor,
        fixed: Tensor,
    ) -> dict[str, Tensor]:
        """The terms of sufficiency and necessity; logits (B, C_r) a rank, targets (B, R), fixed (B,) bool.

        "constrained" bounds what is lost against the full sequence and what is left beyond a hidden one: the classifier
        itself is not sure, and a frequent class stays likely without any evidence. No area can bring the sequences of
        a fixed share below a bound: they rank tokens, as in the other forms.
        """

        def summed(of: Tensor) -> tuple[Tensor, Tensor]:
            return torch.stack(self.sufficiency(kept, full, of)), torch.stack(self.left(rest, nothing, of))

        if self.terms.form != "constrained":
            sufficient, left = summed(targets)
            return {"sufficiency": sufficient.sum(), "necessity": self.terms.necessity * left.sum()}
        ranked, own = (targets.where(rows.unsqueeze(1), -1) for rows in (fixed, ~fixed))
        sufficient, left = summed(ranked)
        lost, told = summed(own)
        lost = lost - torch.stack(self.sufficiency(full, full, own))
        told = told - torch.stack(self.left(nothing, nothing, own))
        penalty = self.terms.penalty
        return {
            "sufficiency": sufficient.sum() + penalty * _excess(lost, self.terms.sufficiency_bound),
            "necessity": self.terms.necessity * left.sum() + penalty * _excess(told, self.terms.necessity_bound),
        }

    def _area(self, areas: Tensor) -> Tensor:
        """Cost of the expected areas (B, G)."""
        return over_budget(areas, self.terms.area_budget) if self.terms.form == "budget" else areas.mean(dim=0).sum()


RAMP = 0.1  # share of the steps over which the pressure on area grows from nothing


def temperature(progress: float) -> float:
    """Of the noise of a draw: 1 -> .3, so that training ends near the hard masks in use (Maddison et al. 2017)."""
    return 1.0 - 0.7 * progress


def _excess(values: Tensor, bound: float) -> Tensor:
    """Sum of the squares of what the values (R,) are above the bound."""
    return (values - bound).clamp_min(0).square().sum()


def _known(targets: Tensor, *logits: Sequence[Tensor]) -> list[list[Tensor]]:
    """Of logits (B, C_r) a rank those rows whose target (B, R) is known at that rank; one row of zeros if none is."""
    rows = [targets[:, r] >= 0 for r in range(targets.shape[1])]
    return [
        [part[row] if row.any() else part[:1] * 0 for part, row in zip(parts, rows, strict=True)] for parts in logits
    ]


def freeze(classifier: Classifier) -> None:
    """No parameter takes a gradient and nothing is in train mode: the classifier is only looked through."""
    classifier.requires_grad_(False)
    classifier.eval()


def logistic(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Standard logistic noise; logit + noise > 0 has probability sigmoid(logit)."""
    uniform = torch.rand(shape, generator=generator).clamp(1e-6, 1 - 1e-6)
    return uniform.log() - (-uniform).log1p()


def log_uniform_shares(rows: int, budget: float, generator: torch.Generator) -> Tensor:
    """Shares (B,) of tokens to keep: log-uniform between a fifth of the budget and 1.5 times it, at most .9.

    Masks of many areas are looked at in the end, and one order of the tokens has to serve them all.
    """
    low, high = 0.2 * budget, min(1.5 * budget, 0.9)
    share: Tensor = low * (high / low) ** torch.rand(rows, generator=generator)
    return share


def fixed_shares(rows: int, budget: float, generator: torch.Generator) -> Tensor:
    """For each sequence (B,) the share of tokens to keep in this draw, or 0 = draw every token on its own: for half."""
    share = log_uniform_shares(rows, budget, generator)
    return share * (torch.rand(rows, generator=generator) < 0.5)


def sample(
    keep_logits: Tensor, attention: Tensor, noise: Tensor, shares: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """A binary draw m and 1 - m (B, T, G) with a one-sided gradient. Padding has m = 1 in both.

    Where shares (B,) is 0 a token is kept when logit + noise > 0, that is with probability p = sigmoid(logit).
    Elsewhere the share of the tokens with the highest logit + temperature * noise is kept, and p counts from that
    quantile, at that temperature; the gradient there is `temperature` times that of E[L], so that it does not grow.

    The gradient of E[L] by a logit is p (1 - p) (L(token kept) - L(token hidden)). Straight-through estimates the
    difference by dL/dm at the value drawn, which fails at m = 1: a LayerNorm follows the embeddings, so the derivative
    of LN(m h + (1 - m) b) has lost the part along h, the token's own evidence. At m = 0 it is the effect of putting the
    token in. So only hidden tokens count, with weight p, which makes up for the 1 - p of the draws in which they are
    hidden; a kept token is hidden in the inverse pass and counts there, with weight 1 - p (docs/decisions/0003).
    """
    fixed = (shares > 0)[:, None, None]
    weight = attention.unsqueeze(-1) / attention.sum(dim=1).clamp_min(1)[:, None, None]
    level = (keep_logits * weight).sum(dim=1, keepdim=True)
    score = torch.where(fixed, (keep_logits - level) / temperature, keep_logits)
    drawn = (score + noise).detach()
    threshold = quantile_threshold(drawn, attention, shares.clamp_min(1e-3)) * fixed
    hard = (drawn > threshold).float()
    p = torch.sigmoid(score - threshold).detach()
    raw = torch.where(fixed, keep_logits - level, keep_logits)
    tangent = raw - raw.detach()  # zero, with the gradient of the logit
    padding = ~attention.unsqueeze(-1)
    mask = hard + (1 - hard) * p * tangent
    inverse = (1 - hard) - hard * (1 - p) * tangent
    return mask.masked_fill(padding, 1.0), inverse.masked_fill(padding, 1.0)


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
