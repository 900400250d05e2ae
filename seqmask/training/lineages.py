"""Ranks that were trained alone become one distribution over lineages: how much each of them says, fitted on `val`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqmask.labels.ranks import UNKNOWN, lineages_of
from seqmask.models.heads import Heads, LineageHeads, by_lineage, summed
from seqmask.training.calibration import cross_entropy, temperatures

MOST = 8_000_000  # energies that are held at once: sequences x lineages
ITERATIONS = 60
FEWEST = 10  # held-out sequences that each of the numbers has to rest on
RARE = 0.01  # share of the training sequences below which classes that are not known at a rank hardly matter


@dataclass(frozen=True, slots=True)
class Joint:
    """lineages (N, R), -1 = no class there, and shares (N,), log of their share of the training sequences.

    The energy of a lineage is the sum over ranks of weights (R,) x the class's own logit, or of absent (R,) where it
    has no class there, and of prior x its log share. cross_entropy: summed over ranks, on what it was fitted to.
    """

    lineages: NDArray[np.int64]
    shares: NDArray[np.float64]
    weights: NDArray[np.float64]
    absent: NDArray[np.float64]
    prior: float
    cross_entropy: float

    def energies(self) -> Tensor:
        """What does not hang on the sequence, (N,)."""
        return torch.from_numpy(self.prior * self.shares + (self.lineages == UNKNOWN) @ self.absent)

    def heads(self, alone: Heads) -> LineageHeads:
        """The joint heads of those that were alone."""
        return LineageHeads.joining(
            alone, torch.from_numpy(self.lineages), torch.from_numpy(self.weights), self.energies()
        )


def too_little(held: NDArray[np.int64], trained: NDArray[np.int64], names: Sequence[str]) -> str:
    """Why held-out classes (m, R), -1 = unknown, are too few to join ranks by, or an empty text.

    A rank needs sequences of known class; and, where training sequences, trained (n, R), lack a class at it, such as
    lack it: what lineages without one weigh would be made up.
    """
    for rank, name in enumerate(names):
        if (known := int((held[:, rank] != UNKNOWN).sum())) < FEWEST:
            return f"split `val` has {known} sequences of a known {name}, fewer than {FEWEST}"
        lacking, there = ((of[:, rank] == UNKNOWN) & (of != UNKNOWN).any(axis=1) for of in (trained, held))
        if lacking.mean() > RARE and (count := int(there.sum())) < FEWEST:
            return (
                f"{lacking.mean():.0%} of the training sequences have no {name} that is a class, and {count} of split"
                f" `val`, fewer than {FEWEST}"
            )
    return ""


def alone_cross_entropy(logits: NDArray[np.float32], targets: NDArray[np.int64], slices: Sequence[slice]) -> float:
    """Cross-entropy, summed over ranks, of logits (n, C) of ranks that are alone, each at its best temperature."""
    total = 0.0
    for rank, (columns, temperature) in enumerate(zip(slices, temperatures(logits, targets, slices), strict=True)):
        known = targets[:, rank] != UNKNOWN
        total += cross_entropy(logits[known, columns].astype(np.float64), targets[known, rank], temperature)
    return total


def join(
    logits: NDArray[np.float32], targets: NDArray[np.int64], sizes: tuple[int, ...], trained: NDArray[np.int64]
) -> Joint:
    """The joint distribution whose cross-entropy, summed over ranks, is the least on held-out sequences.

    logits (n, C) of ranks that are alone, before any temperature; targets (n, R) and those of the training sequences,
    trained (m, R), -1 = unknown. A product of experts (Hinton 2002) with 2 R + 1 numbers; it begins with the finest
    rank alone, and a normal prior around that, of variance 1, keeps it there where few sequences are held out.
    """
    lineages, counts = lineages_of(trained)
    shares = np.log(counts / counts.sum())
    most = min(max(MOST // len(lineages), 1), len(logits))
    rows = np.linspace(0, len(logits) - 1, most).astype(np.int64)
    of, truth = torch.from_numpy(lineages), torch.from_numpy(targets[rows])
    own = torch.split(torch.from_numpy(logits[rows]).double(), list(sizes), dim=1)
    parts = [by_lineage(part, of[:, [rank]], sizes[rank : rank + 1]) for rank, part in enumerate(own)]
    fixed = torch.cat([torch.from_numpy(shares)[None], (of == UNKNOWN).T.double()])
    start = torch.zeros(2 * len(sizes) + 1, dtype=torch.float64)
    start[len(sizes) - 1] = 1.0
    weights = start.clone().requires_grad_()

    def cost() -> Tensor:
        energies = weights[len(sizes) :] @ fixed + sum(w * part for w, part in zip(weights, parts, strict=False))
        total = torch.zeros((), dtype=torch.float64)
        for scores, target in zip(summed(energies, of, sizes), truth.unbind(1), strict=True):
            if (target != UNKNOWN).any():
                total = total + torch.nn.functional.cross_entropy(scores, target, ignore_index=UNKNOWN)
        return total

    def loss() -> Tensor:
        optimizer.zero_grad()
        total = cost() + (weights - start).square().sum() / (2 * most)
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer = torch.optim.LBFGS([weights], max_iter=ITERATIONS, line_search_fn="strong_wolfe")
    optimizer.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        reached = float(cost())
    settled = weights.detach().numpy()
    of_ranks, prior, absent = settled[: len(sizes)], float(settled[len(sizes)]), settled[len(sizes) + 1 :]
    return Joint(lineages, shares, of_ranks, absent, prior, reached)
