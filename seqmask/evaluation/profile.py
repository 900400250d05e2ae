"""Importance along a reference: means at each of its positions over the sequences that stand there. Numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 500  # of the bootstrap
BLOCK = 128  # sequences summed up at once

Floats = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Means:
    """Means at L reference positions for G masks, NaN where no sequence stands.

    sequences (L,) int64: how many stand there. importance, kept (G, L): mean importance, and share of the sequences
    that keep the nucleotide. importance_interval, kept_interval (2, G, L): ends of their 95 % intervals.
    """

    sequences: NDArray[np.int64]
    importance: Floats
    importance_interval: Floats
    kept: Floats
    kept_interval: Floats


class Profile:
    """Sums over sequences at `length` reference positions of `tracks` masks, for the data and for bootstrap draws.

    A draw weighs each cluster of sequences with a number of Poisson(1) instead of drawing with replacement: the two
    agree for many clusters, and the sequences need not be kept (Chamandy et al. 2012, "Estimating uncertainty for
    massive data streams"). Memory: about 4 (DRAWS + 1) (2 tracks + 1) `length` bytes.
    """

    def __init__(self, length: int, tracks: int, seed: int = 0) -> None:
        self.length, self.tracks, self.n = length, tracks, 0
        self._seed = seed
        # Importance and kept of each track, and last whether the sequence stands there
        self._sums = np.zeros((DRAWS + 1, 2 * tracks + 1, length), dtype=np.float32)
        self._held: list[NDArray[np.float32]] = []
        self._weights: list[NDArray[np.float32]] = []

    def add(
        self, importance: NDArray[np.float32], kept: NDArray[np.bool_], positions: NDArray[np.int32], cluster: int
    ) -> None:
        """One sequence: importance (G, nt), NaN where no token covers; kept (G, nt); positions (nt,), -1 = none.

        cluster: a number >= 0; sequences of the same one are drawn together.
        """
        used = (positions >= 0) & ~np.isnan(importance[0])
        row = np.zeros((2 * self.tracks + 1, self.length), dtype=np.float32)
        row[: self.tracks, positions[used]] = importance[:, used]
        row[self.tracks : -1, positions[used]] = kept[:, used]
        row[-1, positions[used]] = 1
        self.n += 1
        self._held.append(row)
        # The same numbers for each sequence of a cluster, whenever it comes; 1 for the data themselves
        drawn = np.random.default_rng([self._seed, cluster]).poisson(1, DRAWS)
        self._weights.append(np.append(1, drawn).astype(np.float32))
        if len(self._held) == BLOCK:
            self._sum_up()

    def means(self) -> Means:
        """Of all that was added."""
        self._sum_up()
        with np.errstate(invalid="ignore"):
            ratios = self._sums[:, :-1] / self._sums[:, -1:]
        ends = np.full((2, *ratios.shape[1:]), np.nan)
        there = self._sums[0, -1] > 0
        if there.any():
            ends[..., there] = np.nanpercentile(ratios[1:, :, there], [2.5, 97.5], axis=0)
        importance, kept = slice(None, self.tracks), slice(self.tracks, None)
        return Means(
            np.rint(self._sums[0, -1]).astype(np.int64),
            ratios[0, importance],
            ends[:, importance],
            ratios[0, kept],
            ends[:, kept],
        )

    def _sum_up(self) -> None:
        if not self._held:
            return
        rows = np.stack(self._held).reshape(len(self._held), -1)
        self._sums += (np.stack(self._weights, axis=1) @ rows).reshape(self._sums.shape)
        self._held, self._weights = [], []
