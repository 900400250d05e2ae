"""Which gradient of a binary mask tells what a token does? At m = 1 or at m = 0?

    python benchmarks/mask_gradients.py CLASSIFIER SEQS --labels TSV [--split val] [--count 12] [--operator blend]

For each sequence: random binary masks at several shares kept; the gradient -dL/dm of the cross-entropy of the
classifier's own classes, averaged over the draws in which a token is hidden (m = 0) or kept (m = 1); against the effect
itself, the same loss with the token hidden less the loss with the token kept, by brute force under the same masks.
Prints Spearman correlations over the tokens of a sequence, averaged over sequences. Integrated gradients along the
constant mask stand beside them. docs/decisions/0003 reads the result.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from seqmask.commands.inputs import read_labelled
from seqmask.evaluation.ranking import spearman
from seqmask.models.checkpoint import load_classifier
from seqmask.models.classifier import Classifier

DRAWS, BRUTE_FORCE_DRAWS = 64, 16
SHARES = (0.1, 0.3, 0.6)


def losses(network: Classifier, ids: Tensor, mask: Tensor, classes: list[Tensor], operator: str) -> Tensor:
    """Cross-entropy of the given classes (R scalars), summed over ranks (B,); ids (T,), mask (B, T)."""
    rows = ids.repeat(len(mask), 1)
    logits = network.split(network(rows, torch.ones_like(rows, dtype=torch.bool), mask, operator))
    pairs = zip(logits, classes, strict=True)
    per_rank = [F.cross_entropy(part, c.repeat(len(mask)), reduction="none") for part, c in pairs]
    return torch.stack(per_rank).sum(dim=0)


def gradient(network: Classifier, ids: Tensor, mask: Tensor, classes: list[Tensor], operator: str) -> Tensor:
    """-dL/dm (B, T)."""
    mask = mask.clone().requires_grad_(True)
    (found,) = torch.autograd.grad(losses(network, ids, mask, classes, operator).sum(), mask)
    return -found


def correlations(network: Classifier, ids: Tensor, operator: str, generator: torch.Generator) -> list[list[float]]:
    """For each share: Spearman with the effect, of the gradient at m = 0, at m = 1, and of integrated gradients."""
    attention = torch.ones(1, len(ids), dtype=torch.bool)
    classes = [part.argmax(dim=1) for part in network.split(network(ids[None], attention))]
    path = ((torch.arange(DRAWS) + 0.5) / DRAWS)[:, None].expand(DRAWS, len(ids))
    integrated = gradient(network, ids, path, classes, operator).mean(dim=0)
    rows = []
    for share in SHARES:
        mask = (torch.rand(DRAWS, len(ids), generator=generator) < share).float()
        slope = gradient(network, ids, mask, classes, operator)
        hidden = (slope * (1 - mask)).sum(0) / (1 - mask).sum(0).clamp_min(1)
        kept = (slope * mask).sum(0) / mask.sum(0).clamp_min(1)
        effect = brute_force(network, ids, mask[:BRUTE_FORCE_DRAWS], classes, operator)
        rows.append([spearman(part.numpy(), effect.numpy()) for part in (hidden, kept, integrated)])
    return rows


@torch.no_grad()
def brute_force(network: Classifier, ids: Tensor, mask: Tensor, classes: list[Tensor], operator: str) -> Tensor:
    """Mean over masks of L(token hidden) - L(token kept), for each token (T,)."""
    effect = torch.zeros(len(ids))
    for token in range(len(ids)):
        on, off = mask.clone(), mask.clone()
        on[:, token], off[:, token] = 1, 0
        both = losses(network, ids, torch.cat([on, off]), classes, operator)
        effect[token] = (both[len(mask) :] - both[: len(mask)]).mean()
    return effect


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("classifier", type=Path)
    parser.add_argument("sequences", type=Path)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--operator", default="")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model = load_classifier(options.classifier)
    network = model.network.requires_grad_(False)
    records = read_labelled([options.sequences], options.labels, model.ranks.names).splits[options.split]
    generator = torch.Generator().manual_seed(options.seed)
    tables = []
    for record in records[: options.count]:
        ids = model.tokenizer.encode(record.sequence).ids[: network.max_tokens]
        operator = options.operator or network.operator
        tables.append(correlations(network, torch.from_numpy(ids.astype(np.int64)), operator, generator))
    print(f"Spearman with the true effect of a token, mean of {len(tables)} sequences of `{options.split}`")
    print(f"{'share kept':>10}  {'at m = 0':>9}  {'at m = 1':>9}  {'IG':>9}")
    for share, row in zip(SHARES, np.mean(tables, axis=0), strict=True):
        print(f"{share:>10.0%}  " + "  ".join(f"{value:>9.3f}" for value in row))


if __name__ == "__main__":
    main()
