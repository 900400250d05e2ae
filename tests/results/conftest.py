"""Explanations made by hand or at random, without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from seqmask.labels.ranks import Rank, Ranks
from seqmask.results.hdf5 import METADATA
from seqmask.sequences.explanations import Explanation, Status
from seqmask.sequences.records import Record

RANKS = Ranks(
    (Rank("superkingdom", ("Bacteria", "Viruses"), (2, 10239)), Rank("genus", ("Vibrio", "Pseudo monas", "Ébola")))
)


def explanation(
    sequence: str,
    spans: Sequence[tuple[int, int]] = (),
    mask: Any = (),
    *,
    name: str = "r1",
    description: str | None = None,
    index: int = 0,
    status: Status = Status.ok,
    logits: Sequence[float] = (2, 0, 0, 3, 0),
    targets: Sequence[int] = (0, 1),
    masked: Sequence[float] | None = None,
    inverse: Sequence[float] | None = None,
    tracks: int = 1,
) -> Explanation:
    """One explanation; mask is (N,) or (N, R)."""
    ok = status == Status.ok

    def row(values: Sequence[float] | None) -> Any:
        return None if values is None else np.array(values, dtype=np.float32)

    return Explanation(
        record=Record(name, name if description is None else description, sequence),
        index=index,
        status=status,
        logits=row(logits) if ok else np.zeros(len(logits), dtype=np.float32),
        targets=np.array(targets if ok else [-1] * len(targets), dtype=np.int64),
        spans=np.array(spans, dtype=np.int32).reshape(-1, 2),
        mask=np.array(mask, dtype=np.float32).reshape(len(spans), -1 if len(spans) else tracks),
        masked_logits=row(masked),
        inverse_logits=row(inverse),
    )


def random_explanations(seed: int, n: int, tracks: int = 1, *, check: bool = False, long: int = 0) -> list[Explanation]:
    """Records of 0 to 200 nt with disjoint, overlapping or doubled tokens, gaps between them, and some without mask."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        length = int(rng.integers(0, 200)) if i != 1 or not long else long
        sequence = "".join(rng.choice(list("ACGT"), length))
        status = Status.empty if length == 0 else Status.too_short if length < 6 else Status.ok
        if status == Status.ok and rng.random() < 0.1:
            sequence, status = "N" * length, Status.no_bases
        spans = np.empty((0, 2), dtype=np.int32)
        if status == Status.ok:
            starts = np.arange(0, length - 5, rng.choice([1, 3, 6, 9]))
            starts = np.sort(np.concatenate([starts, starts[: rng.integers(0, 3)]]))
            spans = np.stack([starts, starts + 6], axis=1)
        mask = np.round(rng.random((len(spans), tracks)) ** rng.choice([0.3, 1, 4]), int(rng.integers(1, 7)))
        rows = [rng.normal(size=5, scale=3).tolist() if status == Status.ok else None for _ in range(3)]
        found.append(
            explanation(
                sequence,
                spans.tolist(),
                mask.tolist(),
                name=f"read{i}",
                description=f"read{i} lane={i % 3}",
                index=i,
                status=status,
                logits=rows[0] or [0.0] * 5,
                targets=[int(np.argmax(rows[0][:2])), int(np.argmax(rows[0][2:]))] if rows[0] else [-1, -1],
                masked=rows[1] if check else None,
                inverse=rows[2] if check else None,
                tracks=tracks,
            )
        )
    return found


@pytest.fixture
def ranks() -> Ranks:
    return RANKS


@pytest.fixture
def explain() -> Callable[..., Explanation]:
    return explanation


@pytest.fixture
def at_random() -> Callable[..., list[Explanation]]:
    return random_explanations


@pytest.fixture
def metadata() -> dict[str, Any]:
    values: dict[str, Any] = dict.fromkeys(METADATA, "x")
    return values | {"tool": "seqmask", "command": ["seqmask", "mask", "é\udce9"], "threshold": 0.5, "seed": 1}
