"""What is known of one record after classifier and Explainer have read it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from seqmask.sequences.records import Record
from seqmask.sequences.spans import spread


class Status(IntEnum):
    """Why a record has a mask or has none. Stored as u1 in HDF5 `/records/status`."""

    ok = 0
    empty = 1
    too_short = 2
    no_bases = 3


@dataclass(frozen=True, slots=True)
class Explanation:
    """One record with its prediction and its mask.

    index: 0-based ordinal in the whole input. logits (C,) float32, all ranks side by side (`Ranks.slices`).
    targets (R,) int64: the class explained, a rank. spans (N, 2) int32: nt of the record, 0-based half-open, sorted by
    start; tokens of overlapping windows overlap. mask (N, 1) or (N, R) float32 in [0, 1], 1 = kept.
    Where status is not `ok`, N = 0, logits are zeros and targets are -1.
    masked_logits, inverse_logits (C,): of the hard-masked and the inverse hard-masked sequence, only with `--check`.
    """

    record: Record
    index: int
    status: Status
    logits: NDArray[np.float32]
    targets: NDArray[np.int64]
    spans: NDArray[np.int32]
    mask: NDArray[np.float32]
    masked_logits: NDArray[np.float32] | None = None
    inverse_logits: NDArray[np.float32] | None = None

    def track(self, rank: int = 0) -> NDArray[np.float32]:
        """Importance of every nucleotide (L,) float32: the mean over covering tokens, NaN where no token covers."""
        column = min(rank, self.mask.shape[1] - 1)
        return spread(self.mask[:, column], self.spans, len(self.record.sequence))
