"""Bootstrap intervals of figures over sequences, of which those of one cluster (a species) are drawn together.

Sequences of one species are right or wrong together, so that drawing each by itself gives too narrow intervals;
drawing whole clusters is the cluster bootstrap (Davison & Hinkley 1997, section 3.8). Numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.evaluation.metrics import Classes, Floats, confidence_bins

BLOCK = 4_000_000  # draws held at once: 32 MB of indices
DRAWS = 1000
MANY = 20_000  # clusters beyond which a mean is as good as normal, and other figures take fewer draws
ENDS = (2.5, 97.5)  # percentiles: a 95 % interval


@dataclass(frozen=True, slots=True)
class Resampling:
    """How n sequences are drawn with replacement: the same seed and values give the same interval.

    clusters (n,): the number of each sequence's cluster; None: each sequence is drawn by itself.
    """

    seed: int
    clusters: NDArray[np.int64] | None = None

    @classmethod
    def of_names(cls, names: Sequence[str], seed: int) -> Resampling:
        """Sequences of the same name (n,) are of one cluster; a nameless one is by itself."""
        own = [name or f"\t{i}" for i, name in enumerate(names)]  # no name of a table has a tab
        return cls(seed, np.unique(own, return_inverse=True)[1].astype(np.int64))

    def of(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Resampling:
        """The same for some of the sequences, by number or as (n,) bool."""
        return self if self.clusters is None else Resampling(self.seed, self.clusters[rows])

    def numbers(self, n: int) -> NDArray[np.int64]:
        """Cluster (n,) of each of n sequences, 0 to the number of clusters - 1 and none without a sequence."""
        if self.clusters is None:
            return np.arange(n)
        if len(self.clusters) != n:
            raise ValueError(f"clusters of {len(self.clusters)} sequences for {n} values")
        return np.unique(self.clusters, return_inverse=True)[1]

    def number(self, n: int) -> int:
        """Clusters of n sequences."""
        return int(self.numbers(n).max(initial=-1)) + 1

    def too_few(self, n: int) -> bool:
        """Whether n sequences have no interval: there are none, or a single one, or all are of one cluster."""
        return self.number(n) < 2

    def pooled(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums (G, k) over each cluster of a table (n, k)."""
        if self.clusters is None:
            return table
        numbers = self.numbers(len(table))
        sums = np.zeros((numbers.max(initial=-1) + 1, table.shape[1]))
        np.add.at(sums, numbers, table)
        return sums

    def drawn(self, pooled: NDArray[np.float64], draws: int = DRAWS) -> NDArray[np.float64]:
        """Sums (draws, k) over the G >= 1 clusters of each draw, of what is `pooled` (G, k); see `fewer`."""
        n, draws = len(pooled), fewer(draws, len(pooled))
        rng = np.random.default_rng(self.seed)
        block = max(1, BLOCK // n)
        rows = (rng.integers(0, n, (min(block, draws - done), n)) for done in range(0, draws, block))
        # column by column: the gathered table would be k times as large
        return np.concatenate([np.stack([column[of].sum(axis=1) for column in pooled.T], axis=1) for of in rows])


def fewer(draws: int, n: int) -> int:
    """Draws of n things: as many as are asked for up to MANY of them, then fewer, but at least 100."""
    return max(min(draws, MANY * draws // n), min(draws, 100))


def bootstrap_interval(values: Floats, by: Resampling, draws: int = DRAWS) -> tuple[float, float]:
    """Ends of the 95 % percentile interval of the mean over sequences (Efron 1979).

    values (n,), one a sequence, NaN left out. (NaN, NaN) for no values and for a single one or a single cluster. Beyond
    MANY clusters it is mean +- 1.96 standard errors, to which the bootstrap converges.
    """
    known = ~np.isnan(values)
    table = np.stack([values[known], np.ones(int(known.sum()))], axis=1).astype(np.float64)
    by = by.of(known)
    if by.too_few(len(table)):
        return np.nan, np.nan
    pooled = by.pooled(table)
    if len(pooled) > MANY:
        mean = pooled[:, 0].sum() / len(table)
        half = 1.96 * np.sqrt(((pooled[:, 0] - mean * pooled[:, 1]) ** 2).sum()) / len(table)
        return float(mean - half), float(mean + half)
    sums = by.drawn(pooled, draws)
    low, high = np.percentile(sums[:, 0] / sums[:, 1], ENDS)
    return float(low), float(high)


def estimate(values: Floats, by: Resampling) -> dict[str, Any]:
    """Mean of one figure a sequence, values (n,), NaN left out, and its `bootstrap_interval`: ready for JSON."""
    known = values[~np.isnan(values)].astype(np.float64)
    return {"mean": float(known.mean()) if known.size else np.nan, "interval": list(bootstrap_interval(values, by))}


def estimate_over_columns(table: NDArray[np.float64], by: Resampling) -> dict[str, Any]:
    """The mean over columns of their means over sequences, with its 95 % percentile interval: ready for JSON.

    table (n, k): a figure a sequence and column, NaN where it has none; columns count alike, however many values each
    has. A column without a value is left out, in a draw as well: it is a mean of ratios that is resampled.
    """
    known = ~np.isnan(table)
    sums = np.concatenate([np.where(known, table, 0), known], axis=1).astype(np.float64)

    def mean(of: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of sums and numbers (m, 2 k) to (m,)."""
        values, numbers = np.split(of, 2, axis=1)
        there = numbers > 0
        ratios = np.where(there, values / np.where(there, numbers, 1), 0)
        with np.errstate(invalid="ignore"):
            found: NDArray[np.float64] = ratios.sum(axis=1) / there.sum(axis=1)
        return found

    rows = np.logical_or.reduce(known, axis=1)
    interval = [np.nan, np.nan]
    if not (by := by.of(rows)).too_few(int(rows.sum())):
        drawn = mean(by.drawn(by.pooled(sums[rows])))
        interval = [float(end) for end in np.percentile(drawn, ENDS)]
    return {"mean": float(mean(sums.sum(axis=0, keepdims=True))[0]), "interval": interval}


def balanced_interval(right: Floats, true: Classes, by: Resampling) -> tuple[float, float]:
    """Ends of the 95 % percentile interval of a class-balanced mean, as of balanced accuracy, over sequences.

    right (k,): one figure a sequence, such as `correct`; true (k,): their classes, none unknown. In each draw the mean
    is over the classes that were drawn. (NaN, NaN) for no values and for a single one or a single cluster.
    """
    if by.too_few(right.size):
        return np.nan, np.nan
    drawn, sums = _draws_by_kind(right, true, by)
    with np.errstate(invalid="ignore"):
        low, high = np.percentile(np.nanmean(sums / drawn, axis=1), ENDS)
    return float(low), float(high)


def calibration_interval(
    confidence: Floats, right: NDArray[np.bool_], by: Resampling, bins: int = 15
) -> tuple[float, float]:
    """Ends of the 95 % percentile interval of `expected_calibration_error` over sequences.

    The error is a sum of absolute values, so that resampling noise only adds to it: the interval lies rather high.
    (NaN, NaN) for no values and for a single one or a single cluster.
    """
    if by.too_few(confidence.size):
        return np.nan, np.nan
    excess = right.astype(np.float64) - confidence.astype(np.float64)
    drawn, sums = _draws_by_kind(excess, confidence_bins(confidence, bins), by)
    low, high = np.percentile(np.abs(sums).sum(axis=1) / drawn.sum(axis=1), ENDS)
    return float(low), float(high)


def _draws_by_kind(values: Floats, kind: Classes, by: Resampling) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draws of k >= 1 sequences: how many of each kind (a class, a bin) were drawn, and the sum of their values.

    values, kind (k,); beyond MANY sequences fewer draws are made, at least 100. Returns (draws, kinds) each, kinds in
    rising order.
    """
    n = values.size
    draws = fewer(DRAWS, n)
    order = np.argsort(kind, kind="stable")
    ordered, numbers = values[order].astype(np.float64), by.numbers(n)[order]
    starts = np.unique(kind[order], return_index=True)[1]
    clusters = by.number(n)
    rng = np.random.default_rng(by.seed)
    drawn, sums = [], []
    for done in range(0, draws, block := max(1, BLOCK // n)):
        times = rng.multinomial(clusters, np.full(clusters, 1 / clusters), min(block, draws - done))[:, numbers]
        drawn.append(np.add.reduceat(times, starts, axis=1))
        sums.append(np.add.reduceat(times * ordered, starts, axis=1))
    return np.concatenate(drawn), np.concatenate(sums)
