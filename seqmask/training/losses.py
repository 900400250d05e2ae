"""Loss terms as pure tensor functions, in the notation of Berman et al. 2026; normalised so that ranks compare."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def classification(logits: Sequence[Tensor], targets: Tensor, smoothing: float = 0.0) -> list[Tensor]:
    """Cross-entropy of each rank, a scalar each; logits[r] (B, C_r), targets (B, R) with -1 = unknown, left out.

    A rank of which the batch knows no class contributes 0. smoothing: this share of a target is spread evenly over all
    classes (Szegedy et al. 2016).
    """
    terms = []
    for rank, scores in enumerate(logits):
        known = targets[:, rank] >= 0
        if known.any():
            terms.append(F.cross_entropy(scores[known], targets[known, rank], label_smoothing=smoothing))
        else:
            terms.append(scores.sum() * 0.0)
    return terms


def sufficiency(masked: Sequence[Tensor], full: Sequence[Tensor]) -> list[Tensor]:
    """KL(f(x) || f(o(m, x))) of each rank, nats, mean over the batch; both (B, C_r) logits (DiffMask, De Cao 2020)."""
    return [
        F.kl_div(F.log_softmax(after, dim=1), F.log_softmax(before, dim=1), reduction="batchmean", log_target=True)
        for after, before in zip(masked, full, strict=True)
    ]


def entropy_deficit(inverse: Sequence[Tensor]) -> list[Tensor]:
    """1 - H(f(o(1 - m, x))) / log C_r of each rank, mean over the batch: 0 = knows nothing, 1 = certain.

    Divided by log C_r so that ranks compare; NN-Explainer (Stalder et al. 2022) averages over classes instead, so that
    its term shrinks as 1 / C. For logits that give (.5, .5) the value is 0, for (.9, .1) it is 1 - .325 / .693 = .531.
    """
    terms = []
    for logits in inverse:
        log_p = F.log_softmax(logits, dim=1)
        entropy = -(log_p.exp() * log_p).sum(dim=1)
        terms.append((1 - entropy / math.log(max(logits.shape[1], 2))).mean())
    return terms


def null_divergence(inverse: Sequence[Tensor], null: Sequence[Tensor]) -> list[Tensor]:
    """KL(f(o(1 - m, x)) || f(o(0, x))) of each rank, nats, mean over the batch: how much the rest still tells.

    With unbalanced classes "knows nothing" is the prior, not the uniform distribution.
    """
    return [
        F.kl_div(F.log_softmax(nothing, dim=1), F.log_softmax(rest, dim=1), reduction="batchmean", log_target=True)
        for rest, nothing in zip(inverse, null, strict=True)
    ]


def unlikelihood(inverse: Sequence[Tensor], targets: Tensor) -> list[Tensor]:
    """-log(1 - p_y) of each rank, nats: how sure the rest still is of the explained class y (Welleck et al. 2020).

    inverse[r] (B, C_r), targets (B, R) with -1 = left out. Unlike entropy it does not care which class is read instead,
    and unlike a cross-entropy its gradient is largest where p_y is near 1, as it is while evidence is redundant. For
    p_y = .9 the value is 2.3, for .1 it is .105. A rank of a single class has nothing to tell: 0.
    """
    terms = []
    for rank, logits in enumerate(inverse):
        known = targets[:, rank] >= 0
        if not known.any() or logits.shape[1] == 1:
            terms.append(logits.sum() * 0.0)
            continue
        scores, classes = logits[known], targets[known, rank : rank + 1]
        others = scores.scatter(1, classes, -math.inf).logsumexp(dim=1)
        terms.append((scores.logsumexp(dim=1) - others).mean())
    return terms


def area(mask: Tensor, nucleotides: Tensor) -> Tensor:
    """Share of kept nucleotides of each sequence (B, G); mask (B, T, G), nucleotides (B, T): token lengths, 0 = pad.

    Two tokens of 6 nt with m = 1 and 0: .5.
    """
    weight = nucleotides.unsqueeze(-1)
    return (mask * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1)


def variation(mask: Tensor, nucleotides: Tensor) -> Tensor:
    """Mean |m_(t+1) - m_t| of each sequence (B, G) over neighbouring valid tokens, weighted by their mean length."""
    step = (mask[:, 1:] - mask[:, :-1]).abs()
    both = (nucleotides[:, 1:] > 0) & (nucleotides[:, :-1] > 0)
    weight = (0.5 * (nucleotides[:, 1:] + nucleotides[:, :-1]) * both).unsqueeze(-1)
    return (step * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1e-6)


def bounds(mask: Tensor, valid: Tensor, low: float = 0.05, high: float = 0.3) -> Tensor:
    """Between a share `low` and `high` of the tokens kept, of each sequence (B, G) (NN-Explainer, Stalder et al. 2022).

    Sorted descending over the n valid tokens: mean of relu(1[i < low n] - m_i) + relu(m_i - 1[i < high n]).
    mask (B, T, G), valid (B, T) bool.
    """
    ordered = mask.masked_fill(~valid.unsqueeze(-1), -1.0).sort(dim=1, descending=True).values
    n = valid.sum(dim=1).view(-1, 1, 1)
    i = torch.arange(mask.shape[1], device=mask.device).view(1, -1, 1)
    terms = F.relu((i < low * n).float() - ordered) + F.relu(ordered - (i < high * n).float())
    return (terms * (i < n)).sum(dim=1) / n.squeeze(1).clamp_min(1)
