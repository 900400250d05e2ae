"""What is known of one record after classifier and Explainer have read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from seqmask.sequences.records import Record
from seqmask.sequences.spans import spread, under


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

    def kept(self, tau: float, rank: int = 0) -> NDArray[np.bool_]:
        """The nucleotides (L,) under any token with m >= tau."""
        column = min(rank, self.mask.shape[1] - 1)
        return under(self.mask[:, column] >= np.float32(tau), self.spans, len(self.record.sequence))


@dataclass(frozen=True, slots=True)
class Explanations:
    """n explanations as columns: what flows from the model to the writers. Iterating gives each `Explanation`.

    records: the n records. index (n,) int64. status (n,) uint8. logits (n, C) float32. targets (n, R) int64.
    token_counts (n,) int64: tokens of each record; spans (T, 2) int32 and mask (T, G) float32 hold them end to end.
    masked_logits, inverse_logits (n, C) float32: NaN for a record without; None where no record has them.
    """

    records: Sequence[Record]
    index: NDArray[np.int64]
    status: NDArray[np.uint8]
    logits: NDArray[np.float32]
    targets: NDArray[np.int64]
    token_counts: NDArray[np.int64]
    spans: NDArray[np.int32]
    mask: NDArray[np.float32]
    masked_logits: NDArray[np.float32] | None = None
    inverse_logits: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, items: Sequence[Explanation]) -> Explanations:
        """From n >= 1 explanations of the same ranks."""
        # A record without tokens may not know how many tracks the others have
        with_tokens = [item for item in items if len(item.spans)] or items[:1]
        checked = any(item.masked_logits is not None for item in items)
        unknown = np.full_like(items[0].logits, np.nan)

        def rows(found: list[NDArray[np.float32] | None]) -> NDArray[np.float32]:
            # np.stack, at a third of its time for thousands of short rows
            return np.concatenate([unknown if row is None else row for row in found]).reshape(len(items), -1)

        return cls(
            records=[item.record for item in items],
            index=np.array([item.index for item in items], dtype=np.int64),
            status=np.array([item.status for item in items], dtype=np.uint8),
            logits=rows([item.logits for item in items]),
            targets=np.concatenate([item.targets for item in items]).reshape(len(items), -1),
            token_counts=np.array([len(item.spans) for item in items], dtype=np.int64),
            spans=np.concatenate([item.spans for item in with_tokens]),
            mask=np.concatenate([item.mask for item in with_tokens]),
            masked_logits=rows([item.masked_logits for item in items]) if checked else None,
            inverse_logits=rows([item.inverse_logits for item in items]) if checked else None,
        )

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Explanation]:
        ends = np.cumsum(self.token_counts)
        for i, (record, stop) in enumerate(zip(self.records, ends.tolist(), strict=True)):
            tokens = slice(stop - int(self.token_counts[i]), stop)
            status = Status(self.status[i])
            yield Explanation(
                record,
                int(self.index[i]),
                status,
                self.logits[i],
                self.targets[i],
                self.spans[tokens],
                self.mask[tokens],
                _known(self.masked_logits, i),
                _known(self.inverse_logits, i),
            )

    def part(self, start: int, stop: int) -> Explanations:
        """The records start to stop."""
        ends = np.concatenate(([0], np.cumsum(self.token_counts)))
        rows, tokens = slice(start, stop), slice(int(ends[start]), int(ends[stop]))
        return Explanations(
            self.records[rows],
            self.index[rows],
            self.status[rows],
            self.logits[rows],
            self.targets[rows],
            self.token_counts[rows],
            self.spans[tokens],
            self.mask[tokens],
            None if self.masked_logits is None else self.masked_logits[rows],
            None if self.inverse_logits is None else self.inverse_logits[rows],
        )


def _known(logits: NDArray[np.float32] | None, row: int) -> NDArray[np.float32] | None:
    return None if logits is None or np.isnan(logits[row, 0]) else logits[row]
