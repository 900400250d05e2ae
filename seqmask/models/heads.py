"""From what the pooler gives to the logits of all ranks: a linear head a rank, or one distribution over lineages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Heads(nn.Linear):
    """A linear head a rank, each of which knows nothing of the others. sizes: classes a rank (R ranks, C in all)."""

    def __init__(self, width: int, sizes: Sequence[int]) -> None:
        super().__init__(width, sum(sizes))
        self.sizes = tuple(sizes)

    @property
    def columns(self) -> tuple[slice, ...]:
        """Columns of each rank in a (B, C) row of logits."""
        return tuple(slice(sum(self.sizes[:rank]), sum(self.sizes[: rank + 1])) for rank in range(len(self.sizes)))

    @torch.no_grad()
    def divide(self, rank: int, temperature: float) -> None:
        """Divide the logits of a rank by its temperature."""
        columns = self.columns[rank]
        self.weight[columns] /= temperature
        self.bias[columns] /= temperature

    @torch.no_grad()
    def subtract(self, rank: int, shares: Tensor) -> None:
        """Take shares (C_r,) off the logits of a rank."""
        self.bias[self.columns[rank]] -= shares.to(self.bias)

    def directions(self, states: Tensor, explained: Tensor, ranks: Iterable[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Where states (B, D) point towards the explained classes (B, R) of some ranks, (B, ranks, D) each: away from
        the mean class, and away from those that compete, which is the gradient of the class's log odds. And these odds
        (B, ranks).
        """
        logits, found, odds = self(states), [], []
        for rank in ranks:
            columns, own = self.columns[rank], explained[:, rank]
            rows = self.weight[columns]
            # without the class itself: its log odds have a direction however sure it is
            others = _without(logits[:, columns], own.unsqueeze(1) == torch.arange(len(rows), device=own.device))
            found += [rows[own] - rows.mean(dim=0), rows[own] - F.softmax(others, dim=1) @ rows]
            odds.append(class_log_odds(logits[:, columns], own))
        joined = torch.stack(found, dim=1)
        return joined[:, ::2], joined[:, 1::2], torch.stack(odds, dim=1)


class LineageHeads(Heads):
    """One distribution over N lineages: a class is as probable as all lineages that lead through it.

    A lineage's energy is the sum of what its classes' own heads say, and of a number of its own. The logit of a class
    is the log of the sum over its lineages of exp(energy), so coarse ranks are told by everything that tells the fine
    ones apart, and ranks contradict each other less often (docs/decisions/0026).

    lineages (N, R) int64: the class of each rank, -1 where a lineage has none there; every class is in one.
    """

    lineages: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, width: int, sizes: Sequence[int], lineages: int) -> None:
        super().__init__(width, sizes)
        self.energy = nn.Parameter(torch.zeros(lineages))
        self.register_buffer("lineages", torch.zeros(lineages, len(self.sizes), dtype=torch.int64))
        self.register_buffer("scale", torch.ones(len(self.sizes)))
        self.register_buffer("shift", torch.zeros(sum(self.sizes)))

    @classmethod
    @torch.no_grad()
    def joining(cls, heads: Heads, lineages: Tensor, weights: Tensor, energies: Tensor) -> LineageHeads:
        """Of heads that were alone: each rank counts with its weight (R,). lineages (N, R), energies (N,)."""
        found = cls(heads.weight.shape[1], heads.sizes, len(lineages)).to(heads.weight)
        of_column = torch.repeat_interleave(weights, torch.tensor(heads.sizes)).to(heads.weight)
        found.weight.copy_(heads.weight * of_column.unsqueeze(1))
        found.bias.copy_(heads.bias * of_column)
        found.lineages.copy_(lineages)
        found.energy.copy_(energies)
        return found

    @torch.no_grad()
    def divide(self, rank: int, temperature: float) -> None:
        """Divide the logits of a rank by its temperature."""
        self.scale[rank] /= temperature
        self.shift[self.columns[rank]] /= temperature

    @torch.no_grad()
    def subtract(self, rank: int, shares: Tensor) -> None:
        """Take shares (C_r,) off the logits of a rank."""
        self.shift[self.columns[rank]] -= shares.to(self.shift)

    def forward(self, states: Tensor) -> Tensor:
        """Logits (B, C) of states (B, D)."""
        sums = summed(self._energies(states), self.lineages, self.sizes)
        return torch.cat([self._adjusted(rank, of_rank) for rank, of_rank in enumerate(sums)], dim=1)

    def directions(self, states: Tensor, explained: Tensor, ranks: Iterable[int]) -> tuple[Tensor, Tensor, Tensor]:
        """As of `Heads`; the mean class is the mean over classes of the mean over their lineages."""
        energies, found, odds = self._energies(states), [], []
        for rank in ranks:
            of = self.lineages[:, rank]
            (sums,) = summed(energies, of.unsqueeze(1), [self.sizes[rank]])
            towards = self._mean_row(F.softmax(_without(energies, of != explained[:, rank, None]), dim=1))
            # of a class's share among the others each lineage has its share of the class
            logits = self._adjusted(rank, sums)
            level = energies + F.pad(logits - sums, (0, 1))[:, of]
            others = _without(level, (of == explained[:, rank, None]) | (of < 0))
            mean, competing = self._mean_row(self._class_shares(rank)), self._mean_row(F.softmax(others, dim=1))
            found += [towards - mean, towards - competing]
            odds.append(class_log_odds(logits, explained[:, rank]))
        joined = torch.stack(found, dim=1)
        return joined[:, ::2], joined[:, 1::2], torch.stack(odds, dim=1)

    def _energies(self, states: Tensor) -> Tensor:
        """(B, N) of states (B, D)."""
        return self.energy + by_lineage(F.linear(states, self.weight, self.bias), self.lineages, self.sizes)

    def _mean_row(self, shares: Tensor) -> Tensor:
        """Mean (B, D) of the lineages' weights, each the sum of its classes', by shares (B, N) of the lineages."""
        of_classes = []
        for of, size in zip(self.lineages.unbind(1), self.sizes, strict=True):
            room = shares.new_zeros(len(shares), size + 1)
            of_classes.append(room.index_add(1, torch.where(of < 0, size, of), shares)[:, :size])
        return torch.cat(of_classes, dim=1) @ self.weight

    def _adjusted(self, rank: int, sums: Tensor) -> Tensor:
        """Logits (B, C_r): the sums under the rank's temperature, less what was subtracted."""
        return sums * self.scale[rank] + self.shift[self.columns[rank]]

    def _class_shares(self, rank: int) -> Tensor:
        """Shares (1, N) of the lineages with which all classes of a rank count alike."""
        of, size = self.lineages[:, rank], self.sizes[rank]
        of = torch.where(of < 0, size, of)
        count = self.energy.new_zeros(size + 1).index_add(0, of, torch.ones_like(self.energy))
        return torch.where(of < size, 1 / (count[of] * size), 0).unsqueeze(0)


def heads_of(config: Mapping[str, Any], sizes: Sequence[int]) -> Heads:
    """Those of an encoder's configuration, where `lineages` says how many there are; without it each rank is alone."""
    width, lineages = int(config["hidden_size"]), int(config.get("lineages", 0))
    return LineageHeads(width, sizes, lineages) if lineages else Heads(width, sizes)


def by_lineage(own: Tensor, lineages: Tensor, sizes: Sequence[int]) -> Tensor:
    """What the classes of each lineage (N, R) have together, (X, N), of what each class has, (X, C)."""
    parts = zip(torch.split(own, list(sizes), dim=1), lineages.unbind(1), strict=True)
    return torch.stack([F.pad(part, (0, 1))[:, of] for part, of in parts]).sum(dim=0)  # -1 is the 0 at the end


def summed(energies: Tensor, lineages: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Log of the sum of exp(energies (B, N)) over the lineages (N, R) through each class: (B, C_r) of each rank."""
    found = []
    for of, size in zip(lineages.unbind(1), sizes, strict=True):
        of = torch.where(of < 0, size, of)  # what has no class there goes to a column that is cut off
        shape = len(energies), size + 1
        top = energies.new_full(shape, -torch.inf).scatter_reduce(1, of.expand_as(energies), energies.detach(), "amax")
        total = energies.new_zeros(shape).index_add(1, of, (energies - top[:, of]).exp())
        found.append(top[:, :size] + total[:, :size].log())
    return found


def class_log_odds(logits: Tensor, own: Tensor) -> Tensor:
    """Log p / (1 - p) of classes (B,), nats (B,); logits (B, C_r) of their rank. A rank of a single class: 0."""
    if logits.shape[1] == 1:
        return logits[:, 0] * 0
    others = logits.scatter(1, own.unsqueeze(1), -torch.inf).logsumexp(dim=1)
    return logits.gather(1, own.unsqueeze(1))[:, 0] - others


def _without(scores: Tensor, hidden: Tensor) -> Tensor:
    """Scores (B, N) for a softmax that leaves out what is hidden (B, N) bool; where that is all, a uniform one."""
    return scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
